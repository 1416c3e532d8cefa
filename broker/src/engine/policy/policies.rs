//! [`Policies`]: all policies of one vhost, and which of them apply to an object.

use std::sync::Arc;

use super::{AppliedPolicies, Policy, PolicyKind, PolicyTarget};

/// Policies and operator policies, each kind in the order in which they are tried.
#[derive(Debug, Default, Clone)]
pub(crate) struct Policies {
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
}

impl Policies {
    /// The policy of this name.
    pub(crate) fn get(&self, kind: PolicyKind, name: &str) -> Option<&Arc<Policy>> {
        self.of(kind).iter().find(|policy| policy.name() == name)
    }

    /// Adds a policy, or puts it in the place of that of the same name.
    pub(crate) fn set(&mut self, policy: Arc<Policy>) {
        self.remove(policy.kind(), policy.name());
        let list = self.of_mut(policy.kind());
        // RabbitMQ leaves it open which of equals applies; here it is the first by name, whatever the order of their coming.
        let at = list
            .partition_point(|other| (other.priority(), policy.name()) > (policy.priority(), other.name()));
        list.insert(at, policy);
    }

    /// Removes a policy; whether it was there.
    pub(crate) fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        let list = self.of_mut(kind);
        let at = list.iter().position(|policy| policy.name() == name);
        at.map(|at| list.remove(at)).is_some()
    }

    /// All of a kind: those of the highest priority first, equals by name.
    pub(crate) fn of(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    /// The policies for an object.
    pub(crate) fn applied(&self, target: PolicyTarget<'_>) -> AppliedPolicies {
        let first = |list: &[Arc<Policy>]| list.iter().find(|policy| policy.matches(target)).cloned();
        AppliedPolicies { policy: first(&self.user), operator_policy: first(&self.operator) }
    }

    fn of_mut(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }
}
