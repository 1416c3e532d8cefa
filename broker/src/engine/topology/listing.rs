//! Views of a topology for administration: everything that exists, by name, in no particular order.

use amq_protocol::types::FieldTable;

use super::{BindingSpec, Destination, ExchangeEntry, Handle, QueueEntry, Target, Topology};
use crate::engine::policy::AppliedPolicies;
use crate::engine::{ConnectionId, exchange::ExchangeOptions, queue::QueueOptions};

/// An exchange in a listing.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeView<'a, M> {
    /// As declared.
    pub options: &'a ExchangeOptions,
    /// The policies that apply to it.
    pub policies: &'a AppliedPolicies,
    /// Where messages go that reach no queue from it, by argument or policy.
    pub alternate_exchange: Option<&'a str>,
    /// Bindings from it.
    pub bindings_from: usize,
    /// Bindings to it.
    pub bindings_to: usize,
    /// The server's handle of what is counted of it.
    pub meter: &'a M,
}

/// A queue in a listing.
#[derive(Debug, Clone, Copy)]
pub struct QueueView<'a, Q> {
    /// As declared.
    pub options: &'a QueueOptions,
    /// Whose it is, if it is exclusive.
    pub owner: Option<ConnectionId>,
    /// The server's handle.
    pub queue: &'a Q,
    /// Bindings to it, not counting the one from the default exchange.
    pub bindings: usize,
}

/// A binding in a listing. Those from the default exchange exist without being listed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BindingView<'a> {
    /// The exchange it leads from.
    pub source: &'a str,
    /// What it leads to.
    pub destination: Destination<'a>,
    /// Its key.
    pub routing_key: &'a str,
    /// Its arguments.
    pub arguments: &'a FieldTable,
    /// Whether both its ends survive a restart, and therefore it too.
    pub durable: bool,
}

impl<Q: Handle> Topology<Q> {
    /// The vhost's name.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// All exchanges, the default one and the other predeclared ones included.
    pub fn exchanges(&self) -> impl Iterator<Item = ExchangeView<'_, Q::Meter>> {
        self.exchanges.iter().map(|(_, entry)| exchange_view(entry))
    }

    /// One exchange.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<ExchangeView<'_, Q::Meter>> {
        self.exchange_names.get(name).map(|&number| exchange_view(&self.exchanges[number]))
    }

    /// One exchange as declared.
    #[must_use]
    pub fn exchange_options(&self, name: &str) -> Option<&ExchangeOptions> {
        self.exchange_names.get(name).map(|&number| &*self.exchanges[number].options)
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = QueueView<'_, Q>> {
        self.queues.iter().map(|(_, entry)| view(entry))
    }

    /// How many queues there are.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// All bindings.
    pub fn bindings(&self) -> impl Iterator<Item = BindingView<'_>> {
        self.bindings.arena.iter().map(|(_, binding)| self.view_of(&binding.spec))
    }

    /// The bindings from an exchange; none if it does not exist.
    pub fn bindings_from(&self, exchange: &str) -> impl Iterator<Item = BindingView<'_>> {
        let entry = self.exchange_names.get(exchange).map(|&number| &self.exchanges[number]);
        entry
            .into_iter()
            .flat_map(|entry| entry.to_queues.iter().chain(&entry.to_exchanges))
            .map(|&binding| self.binding(binding))
    }

    /// The bindings to a queue or exchange; none if it does not exist.
    pub fn bindings_of(&self, destination: Destination<'_>) -> impl Iterator<Item = BindingView<'_>> {
        let incoming = match self.target(destination) {
            Ok(Target::Queue(queue)) => self.queues[queue].incoming.as_slice(),
            Ok(Target::Exchange(exchange)) => self.exchanges[exchange].incoming.as_slice(),
            Err(_) => &[],
        };
        incoming.iter().map(|&binding| self.binding(binding))
    }

    fn binding(&self, number: u32) -> BindingView<'_> {
        self.view_of(&self.bindings.arena[number].spec)
    }

    /// A binding whose ends are there, whether it is there itself or not.
    pub(super) fn view_of<'a>(&'a self, spec: &'a BindingSpec) -> BindingView<'a> {
        let source = &self.exchanges[spec.source].options;
        let (destination, durable) = match spec.target {
            Target::Queue(queue) => {
                let options = &self.queues[queue].options;
                (Destination::Queue(&options.name), options.durable)
            }
            Target::Exchange(exchange) => {
                let options = &self.exchanges[exchange].options;
                (Destination::Exchange(&options.name), options.durable)
            }
        };
        BindingView {
            source: &source.name,
            destination,
            routing_key: &spec.routing_key,
            arguments: &spec.arguments,
            durable: source.durable && durable,
        }
    }
}

fn exchange_view<Q: Handle>(entry: &ExchangeEntry<Q>) -> ExchangeView<'_, Q::Meter> {
    ExchangeView {
        options: &entry.options,
        policies: &entry.policies,
        alternate_exchange: entry.alternate_exchange(),
        bindings_from: entry.to_queues.len() + entry.to_exchanges.len(),
        bindings_to: entry.incoming.len(),
        meter: &entry.meter,
    }
}

fn view<Q>(entry: &QueueEntry<Q>) -> QueueView<'_, Q> {
    QueueView {
        options: &entry.options,
        owner: entry.owner,
        queue: &entry.queue,
        bindings: entry.incoming.len(),
    }
}
