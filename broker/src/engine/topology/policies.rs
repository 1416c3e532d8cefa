//! Policies of a vhost: set, deleted, and spread to the queues and exchanges that are there.

use std::sync::Arc;

use super::{Handle, Outcome, QueueEntry, Topology};
use crate::engine::policy::{AppliedPolicies, Policies, Policy, PolicyKind, PolicyTarget};
use crate::engine::queue::{QueueOptions, QueueSettings};
use crate::limits::POLICIES_PER_VHOST_MAX;

/// What a policy that was set or deleted changes.
#[derive(Debug)]
pub struct PolicyChange<Q> {
    /// Whether there is another set of policies now.
    pub outcome: Outcome,
    /// Queues with other policies than before, and what each is to do from now on.
    pub queues: Vec<(Q, Option<Arc<QueueSettings>>)>,
}

/// The vhost has [`POLICIES_PER_VHOST_MAX`] policies of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {POLICIES_PER_VHOST_MAX} policies already")]
pub struct TooManyPolicies;

impl<Q: Handle> Topology<Q> {
    /// Sets a policy of this vhost, in the place of that of the same kind and name.
    ///
    /// # Errors
    ///
    /// If it would be one too many.
    pub fn set_policy(&mut self, policy: Policy) -> Result<PolicyChange<Q>, TooManyPolicies> {
        match self.policies.get(policy.kind(), policy.name()) {
            Some(known) if **known == policy => {
                return Ok(PolicyChange { outcome: Outcome::Unchanged, queues: Vec::new() });
            }
            None if self.policies.of(policy.kind()).len() >= POLICIES_PER_VHOST_MAX => {
                return Err(TooManyPolicies);
            }
            _ => {}
        }
        self.note_policy(&policy);
        Ok(self.change_policies(|policies| policies.set(Arc::new(policy))))
    }

    /// Deletes a policy.
    pub fn delete_policy(&mut self, kind: PolicyKind, name: &str) -> PolicyChange<Q> {
        if self.policies.get(kind, name).is_none() {
            return PolicyChange { outcome: Outcome::Unchanged, queues: Vec::new() };
        }
        self.note_no_policy(kind, name);
        self.change_policies(|policies| {
            policies.remove(kind, name);
        })
    }

    /// Takes a policy back, on start. Before all queues: they are restored with it.
    pub fn restore_policy(&mut self, policy: Policy) {
        let change = self.change_policies(|policies| policies.set(Arc::new(policy)));
        debug_assert!(change.queues.is_empty(), "a queue was restored before a policy");
    }

    /// Takes policies in the place of those that are there.
    pub(crate) fn adopt_policies(&mut self, policies: Policies) {
        self.change_policies(|known| *known = policies);
    }

    /// The policies of a kind: those of the highest priority first, equals by name.
    #[must_use]
    pub fn policies(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        self.policies.of(kind)
    }

    /// The policies that apply to a queue. They are found anew each time: to keep them would cost more memory than a queue has
    /// use for.
    #[must_use]
    pub fn policies_of(&self, options: &QueueOptions) -> AppliedPolicies {
        self.policies.applied(target(options))
    }

    /// All policies, to look at without the vhost's lock.
    #[must_use]
    pub(crate) fn all_policies(&self) -> Policies {
        self.policies.clone()
    }

    /// The queue as it was declared, with the settings that policies give it. Nothing is computed where no policy applies, which
    /// is the rule.
    #[must_use]
    pub fn with_policies(&self, options: QueueOptions) -> QueueOptions {
        let policies = self.policies_of(&options);
        if policies.is_empty() {
            return options;
        }
        QueueOptions { settings: policies.queue_settings(options.kind, &options.arguments), ..options }
    }

    /// Finds the policies of everything before and after. One that was set anew is another policy, whatever its name.
    fn change_policies(&mut self, change: impl FnOnce(&mut Policies)) -> PolicyChange<Q> {
        let before = self.policies.clone();
        change(&mut self.policies);
        for entry in self.exchanges.values_mut() {
            entry.policies = self.policies.applied(PolicyTarget::Exchange { name: &entry.options.name });
        }
        let changed = self.queues.iter().filter_map(|(_, QueueEntry { options, queue, .. })| {
            let policies = self.policies_of(options);
            let is_changed = !policies.is_same(&before.applied(target(options)));
            is_changed.then(|| (queue.clone(), policies.queue_settings(options.kind, &options.arguments)))
        });
        let queues = changed.collect();
        // Alternate exchanges may be others, and other queues refuse messages.
        self.generation += 1;
        PolicyChange { outcome: Outcome::Changed, queues }
    }
}

fn target(options: &QueueOptions) -> PolicyTarget<'_> {
    PolicyTarget::Queue { name: &options.name, kind: options.kind }
}

impl Policies {
    /// The policies for a queue.
    pub(crate) fn of_queue(&self, options: &QueueOptions) -> AppliedPolicies {
        self.applied(target(options))
    }
}
