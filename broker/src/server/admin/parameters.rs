//! Parameters that are kept for others, and the one that is a name: the cluster's.

use serde_json::Value;

use super::Admin;
use crate::access::{AccessError, CLUSTER_NAME, Parameter};

impl Admin {
    /// The name of the cluster, a label for people: the global parameter of this name, or what the configuration says.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        let given = self.shared().access.cluster_name();
        given.unwrap_or_else(|| self.shared().running.read(|config| config.server.cluster_name.clone()))
    }

    /// Names the cluster. Clients that connect from now on are told so.
    ///
    /// # Errors
    ///
    /// If the name is none: 1 to 255 bytes.
    pub fn set_cluster_name(&self, name: &str) -> Result<(), AccessError> {
        self.set_global_parameter(CLUSTER_NAME, name.into())
    }

    /// A parameter of the whole broker.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        self.shared().access.read(|directory| directory.global_parameter(name).cloned())
    }

    /// All parameters of the whole broker, by name.
    #[must_use]
    pub fn global_parameters(&self) -> Vec<(String, Value)> {
        self.shared().access.read(|directory| {
            let all = directory.global_parameters();
            all.map(|(name, value)| (name.to_owned(), value.clone())).collect()
        })
    }

    /// Sets a parameter of the whole broker.
    ///
    /// # Errors
    ///
    /// If the name is none, the value is too long, or there are too many; and if the cluster's name is no name.
    pub fn set_global_parameter(&self, name: &str, value: Value) -> Result<(), AccessError> {
        self.shared().access.change(|directory| directory.set_global_parameter(name, value))?;
        self.shared().renew_session_config();
        Ok(())
    }

    /// Deletes a parameter of the whole broker. False if there is none.
    pub fn clear_global_parameter(&self, name: &str) -> bool {
        let found = self.shared().access.change(|directory| directory.clear_global_parameter(name));
        self.shared().renew_session_config();
        found
    }

    /// All parameters of virtual hosts that are kept for others, by virtual host, component and name.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        self.shared().access.read(|directory| directory.parameters().collect())
    }

    /// Sets a parameter of a virtual host.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, a name is none, the value is too long, or there are too many.
    pub fn set_parameter(&self, parameter: Parameter) -> Result<(), AccessError> {
        self.shared().access.change(|directory| directory.set_parameter(parameter))
    }

    /// Deletes a parameter of a virtual host. False if there is none.
    pub fn clear_parameter(&self, vhost: &str, component: &str, name: &str) -> bool {
        self.shared().access.change(|directory| directory.clear_parameter(vhost, component, name))
    }
}
