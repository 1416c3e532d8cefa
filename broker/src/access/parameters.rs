//! Parameters: values that operators and their programs keep with a broker, of a virtual host or of all.
//!
//! What the broker itself goes by is elsewhere: limits of virtual hosts and operators' policies, which RabbitMQ counts among its
//! parameters, have places of their own. Here is what is kept for others, and told to whoever asks.

use serde_json::Value;

use super::record::{self, Record};
use super::user::check_name;
use super::{AccessError, Directory};
use crate::limits::{PARAMETER_BYTES_MAX, PARAMETERS_MAX};

/// The global parameter that names the cluster; RabbitMQ's.
pub const CLUSTER_NAME: &str = "cluster_name";

/// A parameter of a virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Where.
    pub vhost: String,
    /// Whose: the feature that it configures.
    pub component: String,
    /// What it is called there.
    pub name: String,
    /// What it is.
    pub value: Value,
}

impl Directory {
    /// Sets a parameter of a virtual host, in the place of that of the same component and name.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, a name is none, the value is too long, or there are too many.
    pub fn set_parameter(&mut self, parameter: Parameter) -> Result<(), AccessError> {
        self.existing_vhost(&parameter.vhost)?;
        check_name("component", &parameter.component)?;
        check_name("parameter", &parameter.name)?;
        check_value(&parameter.value)?;
        let key = (parameter.vhost.clone(), parameter.component.clone(), parameter.name.clone());
        if self.parameters.len() >= PARAMETERS_MAX && !self.parameters.contains_key(&key) {
            return Err(AccessError::TooMany(PARAMETERS_MAX));
        }
        self.parameters.insert(key, parameter.value.clone());
        self.note(Record::Parameter(parameter).change());
        Ok(())
    }

    /// Deletes a parameter of a virtual host. False if there is none.
    pub fn clear_parameter(&mut self, vhost: &str, component: &str, name: &str) -> bool {
        let key = (vhost.to_owned(), component.to_owned(), name.to_owned());
        let found = self.parameters.remove(&key).is_some();
        if found {
            self.note_none(record::parameter_key(vhost, component, name));
        }
        found
    }

    /// Deletes all parameters of a virtual host.
    pub(super) fn clear_parameters_of(&mut self, vhost: &str) {
        let theirs = self.parameters.keys().filter(|(of, _, _)| of == vhost);
        let theirs: Vec<_> = theirs.cloned().collect();
        for (vhost, component, name) in theirs {
            self.clear_parameter(&vhost, &component, &name);
        }
    }

    /// All parameters, by virtual host, component and name.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        self.parameters.iter().map(|((vhost, component, name), value)| Parameter {
            vhost: vhost.clone(),
            component: component.clone(),
            name: name.clone(),
            value: value.clone(),
        })
    }

    /// Sets a parameter of the whole broker.
    ///
    /// # Errors
    ///
    /// If the name is none, the value is too long, or there are too many.
    pub fn set_global_parameter(&mut self, name: &str, value: Value) -> Result<(), AccessError> {
        check_name("global parameter", name)?;
        check_value(&value)?;
        if name == CLUSTER_NAME {
            check_name("cluster", value.as_str().unwrap_or_default())?;
        }
        if self.global_parameters.len() >= PARAMETERS_MAX && !self.global_parameters.contains_key(name) {
            return Err(AccessError::TooMany(PARAMETERS_MAX));
        }
        self.global_parameters.insert(name.to_owned(), value.clone());
        self.note(Record::GlobalParameter(name.to_owned(), value).change());
        Ok(())
    }

    /// Deletes a parameter of the whole broker. False if there is none.
    pub fn clear_global_parameter(&mut self, name: &str) -> bool {
        let found = self.global_parameters.remove(name).is_some();
        if found {
            self.note_none(record::global_parameter_key(name));
        }
        found
    }

    /// A parameter of the whole broker.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<&Value> {
        self.global_parameters.get(name)
    }

    /// What the cluster is to be called, if that was said.
    #[must_use]
    pub fn cluster_name(&self) -> Option<&str> {
        self.global_parameter(CLUSTER_NAME)?.as_str()
    }

    /// All parameters of the whole broker, by name.
    pub fn global_parameters(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.global_parameters.iter().map(|(name, value)| (name.as_str(), value))
    }
}

fn check_value(value: &Value) -> Result<(), AccessError> {
    let bytes = value.to_string().len();
    if bytes > PARAMETER_BYTES_MAX { Err(AccessError::LongParameter(PARAMETER_BYTES_MAX)) } else { Ok(()) }
}
