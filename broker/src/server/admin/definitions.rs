//! What is defined in virtual hosts besides who may do what: the part of an export that the engine holds.

use amq_protocol::types::FieldTable;

use super::{Admin, EndKind};
use crate::engine::exchange::ExchangeOptions;
use crate::engine::queue::QueueOptions;
use crate::engine::topology::Destination;

/// What is defined in one virtual host, as of one moment: what belongs to a connection, or was always there, is left out.
#[derive(Debug, Clone, Default)]
pub struct VHostDefinitions {
    /// Exchanges, by name.
    pub exchanges: Vec<ExchangeOptions>,
    /// Queues, by name.
    pub queues: Vec<QueueOptions>,
    /// Bindings between them.
    pub bindings: Vec<DefinedBinding>,
}

/// A binding between what is defined.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinedBinding {
    /// The exchange it leads from.
    pub source: String,
    /// What it leads to.
    pub destination: String,
    /// What that is.
    pub kind: EndKind,
    /// Its key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: FieldTable,
}

impl Admin {
    /// What is defined in a virtual host; `None` if there is none of this name.
    #[must_use]
    pub fn definitions(&self, vhost: &str) -> Option<VHostDefinitions> {
        let vhost = self.shared.vhost(vhost)?;
        let mut found = vhost.read(|registry| {
            let topology = &registry.topology;
            let exchanges = topology.exchanges().map(|view| view.options);
            let exchanges = exchanges.filter(|options| !is_predeclared(&options.name)).cloned().collect();
            let queues = topology.queues().filter(|view| view.owner.is_none());
            let queues: Vec<QueueOptions> = queues.map(|view| view.options.clone()).collect();
            let names: std::collections::HashSet<&str> =
                queues.iter().map(|queue| queue.name.as_str()).collect();
            let bindings = topology.bindings().filter_map(|view| {
                let (kind, destination) = match view.destination {
                    Destination::Queue(name) if names.contains(name) => (EndKind::Queue, name),
                    Destination::Queue(_) => return None,
                    Destination::Exchange(name) => (EndKind::Exchange, name),
                };
                Some(DefinedBinding {
                    source: view.source.to_owned(),
                    destination: destination.to_owned(),
                    kind,
                    routing_key: view.routing_key.to_owned(),
                    arguments: view.arguments.clone(),
                })
            });
            let bindings = bindings.collect();
            VHostDefinitions { exchanges, queues, bindings }
        });
        found.exchanges.sort_by(|one, other| one.name.cmp(&other.name));
        found.queues.sort_by(|one, other| one.name.cmp(&other.name));
        let key = |binding: &DefinedBinding| {
            (binding.source.clone(), binding.destination.clone(), binding.routing_key.clone())
        };
        found.bindings.sort_by_cached_key(key);
        Some(found)
    }

    /// Whether there is an exchange of this name.
    #[must_use]
    pub fn has_exchange(&self, vhost: &str, name: &str) -> bool {
        let vhost = self.shared.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.read(|registry| registry.topology.exchange_options(name).is_some()))
    }
}

/// Whether every virtual host has an exchange of this name.
fn is_predeclared(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}
