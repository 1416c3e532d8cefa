//! Policies and operator policies, see [`crate::Broker::set_policy`].

use std::sync::Arc;

use super::Admin;
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::server::PolicyError;

impl Admin {
    /// Sets a policy, in the place of that of the same name. It applies to what is there when this returns.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if the policy is not valid or one too many, or if there is no such vhost. Nothing has changed then.
    pub fn set_policy(
        &self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        policy: PolicyDeclare,
    ) -> Result<(), PolicyError> {
        self.shared.set_policy(kind, vhost, name, policy)
    }

    /// Deletes a policy.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoVhost`] or [`PolicyError::NoPolicy`] if it does not exist.
    pub fn delete_policy(&self, kind: PolicyKind, vhost: &str, name: &str) -> Result<(), PolicyError> {
        self.shared.delete_policy(kind, vhost, name)
    }

    /// All policies by vhost, in each those of the highest priority first and equals by name: the first that matches applies.
    #[must_use]
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.shared.policies(kind)
    }

    /// One policy.
    #[must_use]
    pub fn policy(&self, kind: PolicyKind, vhost: &str, name: &str) -> Option<Arc<Policy>> {
        let vhost = self.shared.vhost(vhost)?;
        vhost.read(|registry| {
            registry.topology.policies(kind).iter().find(|policy| policy.name() == name).cloned()
        })
    }
}
