//! Definitions: policies, durable exchanges, queues and bindings, and users and virtual hosts, as the keys and values in which a
//! store keeps them.
//!
//! The topology makes a [`DefinitionChange`] of all that it changes for longer than a run; on start [`load`] makes
//! [`Definition`]s of what the store has kept, in an order in which the topology can take them back. Writes and reads
//! nothing itself, and does not know what is durable. Called by [`super::topology`] and, on start, by the server.

use std::collections::{HashMap, hash_map::Entry};
use std::fmt;

use amq_protocol::types::FieldTable;

use super::QueueId;
use super::exchange::ExchangeOptions;
use super::policy::{Policy, PolicyKind};
use super::queue::QueueOptions;
use super::topology::{BindingView, Destination};
use crate::access;

mod key;
mod value;

/// One thing to write: the value that now belongs to the key, or none if the key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionChange {
    /// What it is about. Keys sort by kind: policies, exchanges, queues, bindings.
    pub key: Vec<u8>,
    /// What it is from now on; `None` if it is no more.
    pub value: Option<Vec<u8>>,
}

/// Something durable as it was declared.
#[derive(Debug, Clone)]
pub enum Definition {
    /// A user, a virtual host, or what the one may do in the other.
    Access(access::Record),
    /// A policy or operator policy, which names its vhost.
    Policy(Policy),
    /// An exchange.
    Exchange {
        /// The vhost it lives in.
        vhost: String,
        /// As declared.
        options: ExchangeOptions,
    },
    /// A queue, without its messages.
    Queue {
        /// The number under which its messages are kept.
        id: QueueId,
        /// As declared; they name the vhost.
        options: QueueOptions,
        /// What was noted since.
        notes: QueueNotes,
    },
    /// A binding.
    Binding(BindingDefinition),
}

/// What a start is to know of a queue beside what it was declared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueNotes {
    /// It was given a message that says itself when it expires. Then a start looks for them.
    pub has_expirations: bool,
    /// It gives nobody messages.
    pub paused: bool,
}

/// A binding, with the names of its ends.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingDefinition {
    /// The vhost it lives in.
    pub vhost: String,
    /// The exchange it leads from.
    pub source: String,
    /// What it leads to.
    pub destination: BoundTo,
    /// Its key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// A [`Destination`] that owns its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BoundTo {
    /// A queue.
    Queue(String),
    /// A further exchange.
    Exchange(String),
}

/// Why a key and its value are no definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("definition \"{}\" is unreadable: {reason}", key.escape_ascii())]
pub struct DefinitionError {
    /// The key as found.
    pub key: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

/// What a store held.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is about access, then policies, exchanges, queues and bindings, so that whatever one refers to comes before it.
    pub definitions: Vec<Definition>,
    /// What is not to be used, to be told and set aside.
    pub unreadable: Vec<Unreadable>,
}

/// A key and value that is no definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The value as found.
    pub value: Vec<u8>,
    /// The key as found, and what is wrong.
    pub error: DefinitionError,
}

/// Reads all that a store held, in any order. Of two queues with one number, whose messages could not be told apart, the
/// second is unreadable.
pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (K, V)>) -> Loaded {
    let mut loaded = Loaded::default();
    let mut ids = HashMap::new();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.as_ref());
        match decode(key, value).and_then(|definition| claim_id(&mut ids, definition)) {
            Ok(definition) => loaded.definitions.push(definition),
            Err(error) => loaded.unreadable.push(Unreadable { value: value.to_vec(), error }),
        }
    }
    loaded.definitions.sort_by_key(Definition::rank);
    loaded
}

fn claim_id(
    ids: &mut HashMap<QueueId, String>,
    definition: Definition,
) -> Result<Definition, DefinitionError> {
    if let Definition::Queue { id, options, .. } = &definition {
        match ids.entry(*id) {
            Entry::Vacant(vacant) => {
                vacant.insert(options.resource());
            }
            Entry::Occupied(taken) => {
                let reason = format!("its number {} is that of {}, too", id.0, taken.get());
                return Err(DefinitionError { key: definition.key(), reason });
            }
        }
    }
    Ok(definition)
}

/// Reads one definition.
///
/// # Errors
///
/// If the value is not one that this version writes, or belongs to another key.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Definition, DefinitionError> {
    let failed = |reason| DefinitionError { key: key.to_vec(), reason };
    if access::is_key(key) {
        return access::Record::decode(key, value).map(Definition::Access).map_err(failed);
    }
    let definition = value::decode(value).map_err(failed)?;
    if definition.key() != key {
        return Err(failed(format!("its value is that of {definition}")));
    }
    Ok(definition)
}

impl Definition {
    /// The key under which it is kept.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Access(record) => record.key(),
            Self::Policy(policy) => key::policy(policy.kind(), policy.vhost(), policy.name()),
            Self::Exchange { vhost, options } => key::exchange(vhost, &options.name),
            Self::Queue { options, .. } => key::queue(&options.vhost, &options.name),
            Self::Binding(binding) => key::binding(&binding.vhost, &binding.view()),
        }
    }

    /// The value that is kept.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        match self {
            Self::Access(record) => record.value(),
            Self::Policy(policy) => value::policy(policy),
            Self::Exchange { vhost, options } => value::exchange(vhost, options),
            Self::Queue { id, options, notes } => value::queue(*id, options, *notes),
            Self::Binding(binding) => value::binding(&binding.vhost, &binding.view()),
        }
    }

    /// The vhost it belongs to; empty if it is about access.
    #[must_use]
    pub fn vhost(&self) -> &str {
        match self {
            Self::Access(_) => "",
            Self::Policy(policy) => policy.vhost(),
            Self::Exchange { vhost, .. } => vhost,
            Self::Queue { options, .. } => &options.vhost,
            Self::Binding(binding) => &binding.vhost,
        }
    }

    /// What is referred to ranks before what refers to it.
    fn rank(&self) -> u8 {
        match self {
            Self::Access(_) | Self::Policy(_) => 0,
            Self::Exchange { .. } => 1,
            Self::Queue { .. } => 2,
            Self::Binding(_) => 3,
        }
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(record) => record.fmt(f),
            Self::Policy(policy) => {
                write!(f, "{} '{}' in vhost '{}'", policy.kind(), policy.name(), policy.vhost())
            }
            Self::Exchange { vhost, options } => write!(f, "exchange '{}' in vhost '{vhost}'", options.name),
            Self::Queue { options, .. } => f.write_str(&options.resource()),
            Self::Binding(BindingDefinition { vhost, source, destination, routing_key, .. }) => {
                let (what, name) = match destination {
                    BoundTo::Queue(name) => ("queue", name),
                    BoundTo::Exchange(name) => ("exchange", name),
                };
                write!(
                    f,
                    "the binding from exchange '{source}' to {what} '{name}' with key '{routing_key}' in vhost '{vhost}'"
                )
            }
        }
    }
}

impl BindingDefinition {
    pub(super) fn view(&self) -> BindingView<'_> {
        BindingView {
            source: &self.source,
            destination: self.destination.borrowed(),
            routing_key: &self.routing_key,
            arguments: &self.arguments,
            durable: true,
        }
    }
}

impl BoundTo {
    /// The same, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Destination<'_> {
        match self {
            Self::Queue(name) => Destination::Queue(name),
            Self::Exchange(name) => Destination::Exchange(name),
        }
    }
}

impl DefinitionChange {
    pub(super) fn policy(policy: &Policy) -> Self {
        let key = key::policy(policy.kind(), policy.vhost(), policy.name());
        Self { key, value: Some(value::policy(policy)) }
    }

    pub(super) fn no_policy(vhost: &str, kind: PolicyKind, name: &str) -> Self {
        Self { key: key::policy(kind, vhost, name), value: None }
    }

    pub(super) fn exchange(vhost: &str, options: &ExchangeOptions) -> Self {
        Self { key: key::exchange(vhost, &options.name), value: Some(value::exchange(vhost, options)) }
    }

    pub(super) fn queue(id: QueueId, options: &QueueOptions) -> Self {
        Self {
            key: key::queue(&options.vhost, &options.name),
            value: Some(value::queue(id, options, QueueNotes::default())),
        }
    }

    /// What is noted about a durable queue has changed.
    #[must_use]
    pub fn queue_noted(id: QueueId, options: &QueueOptions, notes: QueueNotes) -> Self {
        Self { key: key::queue(&options.vhost, &options.name), value: Some(value::queue(id, options, notes)) }
    }

    pub(super) fn binding(vhost: &str, binding: &BindingView<'_>) -> Self {
        Self { key: key::binding(vhost, binding), value: Some(value::binding(vhost, binding)) }
    }

    pub(super) fn no_exchange(vhost: &str, name: &str) -> Self {
        Self { key: key::exchange(vhost, name), value: None }
    }

    pub(super) fn no_queue(vhost: &str, name: &str) -> Self {
        Self { key: key::queue(vhost, name), value: None }
    }

    pub(super) fn no_binding(vhost: &str, binding: &BindingView<'_>) -> Self {
        Self { key: key::binding(vhost, binding), value: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
