//! What is linked with what: a binding enters and leaves the lists it stands in, and an exchange goes with its bindings.

use super::bindings::BindingSpec;
use super::entries::{ExchangeEntry, QueueEntry};
use super::{Handle, Topology};
use crate::engine::arena::Arena;
use crate::engine::exchange::{BindingRule, Entry, Target};

impl<Q: Handle> Topology<Q> {
    pub(super) fn link(&mut self, spec: BindingSpec, rule: BindingRule) {
        let (source, target) = (spec.source, spec.target);
        let number = self.bindings.insert(spec);
        let binding = &mut self.bindings.arena[number];
        let exchange = &mut self.exchanges[source];
        binding.slot_in_routes =
            exchange.routes.insert(&binding.spec.routing_key, rule, Entry { target, binding: number });
        if let Some(history) = &mut exchange.history {
            history.version += 1;
        }
        binding.slot_in_outgoing = append(exchange.outgoing_mut(target), number);
        binding.slot_in_incoming =
            append(incoming_mut(&mut self.queues, &mut self.exchanges, target), number);
        self.generation += 1;
    }

    /// Takes a binding out of all lists; returns its source.
    pub(super) fn unlink(&mut self, number: u32) -> Option<u32> {
        let binding = self.bindings.remove(number)?;
        self.note_no_binding(&binding.spec);
        let (source, target) = (binding.spec.source, binding.spec.target);
        let exchange = &mut self.exchanges[source];
        let entry = Entry { target, binding: number };
        if let Some(moved) = exchange.routes.remove(&binding.spec.routing_key, entry, binding.slot_in_routes)
        {
            self.bindings.arena[moved].slot_in_routes = binding.slot_in_routes;
        }
        if let Some(moved) = take(exchange.outgoing_mut(target), binding.slot_in_outgoing) {
            self.bindings.arena[moved].slot_in_outgoing = binding.slot_in_outgoing;
        }
        let incoming = incoming_mut(&mut self.queues, &mut self.exchanges, target);
        if let Some(moved) = take(incoming, binding.slot_in_incoming) {
            self.bindings.arena[moved].slot_in_incoming = binding.slot_in_incoming;
        }
        self.generation += 1;
        Some(source)
    }

    /// Removes an exchange with all its bindings; those that had bindings to it become suspects of being unused.
    pub(super) fn drop_exchange(&mut self, number: u32, suspects: &mut Vec<u32>) {
        while let Some(binding) = self.exchanges[number].any_outgoing() {
            self.unlink(binding);
        }
        while let Some(&binding) = self.exchanges[number].incoming.last() {
            suspects.extend(self.unlink(binding));
        }
        if let Some(exchange) = self.exchanges.remove(number) {
            self.exchange_names.remove(exchange.options.name.as_str());
            self.note_no_exchange(&exchange.options);
        }
        self.generation += 1;
    }

    /// Removes those of the suspects, which just lost a binding, that are auto-delete and have lost the last one; and so
    /// on from there.
    pub(super) fn drop_unused(&mut self, mut suspects: Vec<u32>) {
        while let Some(suspect) = suspects.pop() {
            let unused = self
                .exchanges
                .get(suspect)
                .is_some_and(|exchange| exchange.options.auto_delete && exchange.any_outgoing().is_none());
            if unused {
                self.drop_exchange(suspect, &mut suspects);
            }
        }
    }
}

fn incoming_mut<'a, Q: Handle>(
    queues: &'a mut Arena<QueueEntry<Q>>,
    exchanges: &'a mut Arena<ExchangeEntry<Q>>,
    target: Target,
) -> &'a mut Vec<u32> {
    match target {
        Target::Queue(queue) => &mut queues[queue].incoming,
        Target::Exchange(exchange) => &mut exchanges[exchange].incoming,
    }
}

pub(super) fn append(list: &mut Vec<u32>, number: u32) -> u32 {
    list.push(number);
    u32::try_from(list.len() - 1).expect("fewer than 2^32 bindings or queues fit in memory")
}

/// Removes by place; what is returned, if anything, has moved there.
pub(super) fn take(list: &mut Vec<u32>, at: u32) -> Option<u32> {
    list.swap_remove(at as usize);
    if list.is_empty() {
        *list = Vec::new();
    }
    list.get(at as usize).copied()
}
