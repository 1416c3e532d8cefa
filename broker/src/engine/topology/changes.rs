//! The change log of a topology: what a store must write so that what is durable survives a restart.
//!
//! Durable are policies, exchanges and queues declared so, and the bindings between them. An exclusive queue goes with its
//! connection and is never durable; the exchanges that every vhost has are made anew on each start, but bindings from and
//! to them are kept. Nothing is noted where nothing changed.

use super::bindings::BindingSpec;
use super::{Handle, Topology};
use crate::engine::definitions::DefinitionChange;
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::{Policy, PolicyKind};
use crate::engine::queue::QueueOptions;

impl<Q: Handle> Topology<Q> {
    /// What is to be written since the last call, in order. To be taken under the same lock as the change itself, so that
    /// the store hears of changes in the order in which they happened.
    #[must_use]
    pub fn take_changes(&mut self) -> Vec<DefinitionChange> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn note_exchange(&mut self, options: &ExchangeOptions) {
        if options.durable {
            self.changes.push(DefinitionChange::exchange(&self.vhost, options));
        }
    }

    pub(super) fn note_no_exchange(&mut self, options: &ExchangeOptions) {
        if options.durable {
            self.changes.push(DefinitionChange::no_exchange(&self.vhost, &options.name));
        }
    }

    pub(super) fn note_queue(&mut self, options: &QueueOptions, queue: &Q) {
        if options.durable {
            self.changes.push(DefinitionChange::queue(queue.id(), options));
        }
    }

    pub(super) fn note_no_queue(&mut self, options: &QueueOptions) {
        if options.durable {
            self.changes.push(DefinitionChange::no_queue(&options.vhost, &options.name));
        }
    }

    pub(super) fn note_binding(&mut self, spec: &BindingSpec) {
        let binding = self.view_of(spec);
        if binding.durable {
            let change = DefinitionChange::binding(&self.vhost, &binding);
            self.changes.push(change);
        }
    }

    pub(super) fn note_policy(&mut self, policy: &Policy) {
        self.changes.push(DefinitionChange::policy(policy));
    }

    pub(super) fn note_no_policy(&mut self, kind: PolicyKind, name: &str) {
        self.changes.push(DefinitionChange::no_policy(&self.vhost, kind, name));
    }

    /// To be called while both ends of the binding are still there.
    pub(super) fn note_no_binding(&mut self, spec: &BindingSpec) {
        let binding = self.view_of(spec);
        if binding.durable {
            let change = DefinitionChange::no_binding(&self.vhost, &binding);
            self.changes.push(change);
        }
    }
}
