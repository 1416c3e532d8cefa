//! Policies of a running broker: set, deleted and listed, by vhost and name.
//!
//! A change is written in the order of all definitions, and holds for everything that is there before the call returns. What
//! policies say and to whom they apply is the engine's. Called by programs through [`Broker`].

use std::sync::Arc;

use crate::engine::policy::{AppliedPolicies, InvalidPolicy, Policy, PolicyDeclare, PolicyKind};
use crate::engine::topology::{Outcome, TooManyPolicies};
use crate::server::Broker;
use crate::server::events::fields;
use crate::server::shared::Shared;
use crate::server::vhost::VHost;

/// Why a policy was not set or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such virtual host.
    #[error("there is no vhost '{0}'")]
    NoVhost(String),
    /// The policy is not valid. The texts are RabbitMQ's.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    /// The vhost has as many policies as it may have.
    #[error(transparent)]
    TooMany(#[from] TooManyPolicies),
    /// There is no policy of this name to delete.
    #[error("there is no {kind} '{name}' in vhost '{vhost}'")]
    NoPolicy {
        /// Whose it would be.
        kind: PolicyKind,
        /// The vhost.
        vhost: String,
        /// The name.
        name: String,
    },
}

impl Broker {
    /// Sets a policy, in the place of that of the same name: settings for all queues and exchanges of a vhost whose names match.
    /// It applies to what is there when this returns, and to what is declared later. With a data folder it is kept.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use warren::engine::policy::PolicyDeclare;
    /// use warren::{Broker, Config};
    ///
    /// let broker = Broker::start(Config::in_process()).await?;
    /// let definition = serde_json::json!({"max-length": 1000, "overflow": "reject-publish"});
    /// broker.set_policy("/", "limits", PolicyDeclare::new("^tasks", definition))?;
    /// assert_eq!(broker.policies()[0].name(), "limits");
    /// broker.delete_policy("/", "limits")?;
    /// # broker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if the policy is not valid or one too many, or if there is no such vhost. Nothing has changed then.
    pub fn set_policy(&self, vhost: &str, name: &str, policy: PolicyDeclare) -> Result<(), PolicyError> {
        self.shared.set_policy(PolicyKind::User, vhost, name, policy)
    }

    /// The same for an operator policy: upper bounds for queues, which neither their arguments nor policies can exceed.
    ///
    /// # Errors
    ///
    /// As [`Broker::set_policy`]; only limits and times to live can be set.
    pub fn set_operator_policy(
        &self,
        vhost: &str,
        name: &str,
        policy: PolicyDeclare,
    ) -> Result<(), PolicyError> {
        self.shared.set_policy(PolicyKind::Operator, vhost, name, policy)
    }

    /// Deletes a policy. Other policies, or none, apply to its queues and exchanges when this returns.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NoVhost`] or [`PolicyError::NoPolicy`] if it does not exist.
    pub fn delete_policy(&self, vhost: &str, name: &str) -> Result<(), PolicyError> {
        self.shared.delete_policy(PolicyKind::User, vhost, name)
    }

    /// The same for an operator policy.
    ///
    /// # Errors
    ///
    /// As [`Broker::delete_policy`].
    pub fn delete_operator_policy(&self, vhost: &str, name: &str) -> Result<(), PolicyError> {
        self.shared.delete_policy(PolicyKind::Operator, vhost, name)
    }

    /// All policies by vhost, in each those of the highest priority first and equals by name: the first that matches applies.
    #[must_use]
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        self.shared.policies(PolicyKind::User)
    }

    /// The same for operator policies.
    #[must_use]
    pub fn operator_policies(&self) -> Vec<Arc<Policy>> {
        self.shared.policies(PolicyKind::Operator)
    }

    /// The policies that apply to a queue; none if there is no such queue.
    #[must_use]
    pub fn queue_policies(&self, vhost: &str, queue: &str) -> Option<AppliedPolicies> {
        self.shared.vhost(vhost)?.read(|registry| {
            let queue = registry.topology.find_queue(queue)?;
            Some(registry.topology.policies_of(queue.options()))
        })
    }

    /// The policies that apply to an exchange; none if there is no such exchange.
    #[must_use]
    pub fn exchange_policies(&self, vhost: &str, exchange: &str) -> Option<AppliedPolicies> {
        self.shared
            .vhost(vhost)?
            .read(|registry| registry.topology.exchange(exchange).map(|view| view.policies.clone()))
    }
}

impl Shared {
    /// See [`Broker::set_policy`].
    pub(super) fn set_policy(
        &self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        declare: PolicyDeclare,
    ) -> Result<(), PolicyError> {
        let virtual_host = self.vhost_for_policy(vhost)?;
        let policy = Policy::from_declare(kind, vhost, name, declare)?;
        let pattern = policy.pattern().to_owned();
        let told = self.events.wanted().map(|events| (events, fields::of_policy(&policy)));
        let changed = virtual_host.change_policies(|topology| topology.set_policy(policy))?;
        if changed == Outcome::Changed {
            tracing::info!(vhost, policy = name, kind = kind.name(), pattern, "a policy was set");
            if let Some((events, headers)) = told {
                events.tell("policy.set", headers);
            }
            // Shorter queues hold less.
            self.check_memory();
        }
        Ok(())
    }

    /// See [`Broker::delete_policy`].
    pub(super) fn delete_policy(&self, kind: PolicyKind, vhost: &str, name: &str) -> Result<(), PolicyError> {
        let virtual_host = self.vhost_for_policy(vhost)?;
        let deleted: Result<_, PolicyError> =
            virtual_host.change_policies(|topology| Ok(topology.delete_policy(kind, name)));
        if deleted? == Outcome::Unchanged {
            return Err(PolicyError::NoPolicy { kind, vhost: vhost.to_owned(), name: name.to_owned() });
        }
        tracing::info!(vhost, policy = name, kind = kind.name(), "a policy was deleted");
        if let Some(events) = self.events.wanted() {
            events.tell("policy.cleared", fields::of_no_policy(vhost, name));
        }
        self.check_memory();
        Ok(())
    }

    /// See [`Broker::policies`].
    pub(super) fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        let of = |vhost: Arc<VHost>| vhost.read(|registry| registry.topology.policies(kind).to_vec());
        let mut vhosts = self.vhosts();
        vhosts.sort_by(|one, other| one.name().cmp(other.name()));
        vhosts.into_iter().flat_map(of).collect()
    }

    fn vhost_for_policy(&self, name: &str) -> Result<Arc<VHost>, PolicyError> {
        self.vhost(name).ok_or_else(|| PolicyError::NoVhost(name.to_owned()))
    }
}
