//! [`Topology`]: the exchanges, bindings and queue names of one vhost, and the way a message takes through them.
//!
//! It holds the server's handle `Q` of each queue and never looks inside. Queues, exchanges and bindings have dense
//! numbers, so that duplicates are found by comparing integers and nothing needs to be said twice by name. No locks, no
//! permissions (the server has checked them), no messages. The server is the only caller.

use std::fmt;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use foldhash::{HashMap, HashMapExt};

use super::{
    ConnectionId, QueueId,
    arena::Arena,
    definitions::DefinitionChange,
    exchange::{BindingRule, ExchangeKind, ExchangeOptions, RouteTable, Target},
    policy::{Policies, PolicyTarget},
    queue::QueueOptions,
};
use crate::error::AmqpError;

mod bindings;
mod changes;
mod checks;
mod entries;
mod history;
mod links;
mod listing;
mod names;
mod policies;
mod restore;
mod route;
#[cfg(test)]
pub(crate) mod tests;

use self::{
    bindings::{BindingSpec, BindingTable},
    checks::{RESERVED_PREFIX, check_binding_ends, check_not_default, check_not_reserved},
    entries::{ExchangeEntry, QueueEntry},
    links::{append, take},
    names::ByName,
};
pub use self::{
    changes::News,
    history::History,
    listing::{BindingView, ExchangeView, QueueView},
    policies::{PolicyChange, TooManyPolicies},
    restore::RestoreError,
    route::Routed,
};

/// The default exchange is the first one made.
const DEFAULT_EXCHANGE: u32 = 0;

/// What a topology must know of the server's handle of a queue.
pub trait Handle: Clone {
    /// The server's handle of the messages that a recent history exchange keeps. New ones are empty, clones are the same one.
    type History: Clone + Default + fmt::Debug;

    /// The server's handle of what is counted of an exchange. New ones have counted nothing, clones are the same one.
    type Meter: Clone + Default + fmt::Debug;

    /// The queue's number, which outlives a restart if the queue does.
    fn id(&self) -> QueueId;
}

/// What a binding leads to, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination<'a> {
    /// A queue.
    Queue(&'a str),
    /// A further exchange.
    Exchange(&'a str),
}

/// Who thought of a queue's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// The client, who may not create names that begin with `amq.`.
    Given,
    /// The broker itself.
    Generated,
}

/// What a queue declaration came to.
#[derive(Debug, Clone)]
pub struct Declared<Q> {
    /// The queue's handle.
    pub queue: Q,
    /// Whether it was made just now.
    pub created: bool,
}

/// Whether a request changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did.
    Changed,
    /// Everything was so already.
    Unchanged,
}

/// One vhost's exchanges, bindings and queue names.
#[derive(Debug)]
pub struct Topology<Q: Handle> {
    vhost: Box<str>,
    generation: u64,
    queues: Arena<QueueEntry<Q>>,
    queue_names: HashMap<ByName<QueueOptions>, u32>,
    exclusive: HashMap<ConnectionId, Vec<u32>>,
    exchanges: Arena<ExchangeEntry<Q>>,
    exchange_names: HashMap<ByName<ExchangeOptions>, u32>,
    bindings: BindingTable,
    policies: Policies,
    changes: Vec<DefinitionChange>,
    /// What happened, if somebody wants to know.
    news: Option<Vec<News>>,
}

impl<Q: Handle> Topology<Q> {
    /// A vhost with the exchanges that every vhost has.
    #[must_use]
    pub fn new(vhost: &str) -> Self {
        let mut topology = Self {
            vhost: vhost.into(),
            generation: 0,
            queues: Arena::default(),
            queue_names: HashMap::new(),
            exclusive: HashMap::new(),
            exchanges: Arena::default(),
            exchange_names: HashMap::new(),
            bindings: BindingTable::default(),
            policies: Policies::default(),
            changes: Vec::new(),
            news: None,
        };
        for (name, kind, internal) in [
            ("", ExchangeKind::Direct, false),
            ("amq.direct", ExchangeKind::Direct, false),
            ("amq.fanout", ExchangeKind::Fanout, false),
            ("amq.topic", ExchangeKind::Topic, false),
            ("amq.headers", ExchangeKind::Headers, false),
            ("amq.match", ExchangeKind::Headers, false),
            ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
        ] {
            topology.add_exchange(Arc::new(ExchangeOptions::predeclared(name, kind, internal)));
        }
        debug_assert_eq!(topology.exchange_names.get(""), Some(&DEFAULT_EXCHANGE));
        topology
    }

    /// Adds an exchange that the broker's settings ask for.
    pub fn predeclare_exchange(&mut self, name: &str, kind: ExchangeKind, internal: bool) {
        if !self.exchange_names.contains_key(name) {
            self.add_exchange(Arc::new(ExchangeOptions::predeclared(name, kind, internal)));
        }
    }

    /// A number that changes whenever any route may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// `exchange.declare`, not passive.
    pub fn declare_exchange(&mut self, options: ExchangeOptions) -> Result<Outcome, AmqpError> {
        check_not_default(&options.name)?;
        if let Some(&existing) = self.exchange_names.get(options.name.as_str()) {
            self.exchanges[existing].options.check_equivalent(&options, &self.vhost)?;
            return Ok(Outcome::Unchanged);
        }
        check_not_reserved("exchange", &options.name)?;
        let options = Arc::new(options);
        self.note_exchange(&options);
        self.add_exchange(options);
        Ok(Outcome::Changed)
    }

    /// `exchange.declare`, passive: only whether it exists.
    pub fn check_exchange(&self, name: &str) -> Result<(), AmqpError> {
        check_not_default(name)?;
        self.exchange_number(name).map(|_| ())
    }

    /// `exchange.delete`. A missing exchange is as good as deleted.
    pub fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<Outcome, AmqpError> {
        check_not_default(name)?;
        if name.starts_with(RESERVED_PREFIX) {
            return Err(AmqpError::access_refused(format!(
                "deletion of system exchange '{name}' in vhost '{}' not allowed",
                self.vhost
            )));
        }
        let Some(&number) = self.exchange_names.get(name) else { return Ok(Outcome::Unchanged) };
        if if_unused && self.exchanges[number].any_outgoing().is_some() {
            return Err(AmqpError::precondition_failed(format!(
                "exchange '{name}' in vhost '{}' in use",
                self.vhost
            )));
        }
        let mut suspects = Vec::new();
        self.drop_exchange(number, &mut suspects);
        self.drop_unused(suspects);
        Ok(Outcome::Changed)
    }

    /// `queue.bind` and `exchange.bind`, asked for by the connection `by`. Binding twice is binding once.
    pub fn bind(
        &mut self,
        destination: Destination<'_>,
        source: &str,
        routing_key: &str,
        arguments: &FieldTable,
        by: ConnectionId,
    ) -> Result<Outcome, AmqpError> {
        check_binding_ends(destination, source)?;
        // RabbitMQ names the exchange when both are missing.
        let source = self.exchange_number(source)?;
        let target = self.target(destination)?;
        let rule = self.binding_rule(source, target, routing_key, arguments)?;
        self.check_owner(target, by)?;
        let spec =
            BindingSpec { source, target, routing_key: routing_key.into(), arguments: arguments.clone() };
        if self.bindings.find(&spec).is_some() {
            return Ok(Outcome::Unchanged);
        }
        self.note_binding(&spec);
        self.link(spec, rule);
        Ok(Outcome::Changed)
    }

    /// `queue.unbind` and `exchange.unbind`. What is missing is as good as unbound, be it the binding, the source or the
    /// destination.
    pub fn unbind(
        &mut self,
        destination: Destination<'_>,
        source: &str,
        routing_key: &str,
        arguments: &FieldTable,
        by: ConnectionId,
    ) -> Result<Outcome, AmqpError> {
        check_binding_ends(destination, source)?;
        let (Ok(source), Ok(target)) = (self.exchange_number(source), self.target(destination)) else {
            return Ok(Outcome::Unchanged);
        };
        let spec =
            BindingSpec { source, target, routing_key: routing_key.into(), arguments: arguments.clone() };
        let Some(binding) = self.bindings.find(&spec) else { return Ok(Outcome::Unchanged) };
        self.check_owner(target, by)?;
        self.unlink(binding);
        self.drop_unused(vec![source]);
        Ok(Outcome::Changed)
    }

    /// `queue.declare`, not passive, by the connection `by`, who is also the `owner` if the queue is exclusive. The handle
    /// is made only if the queue is new.
    pub fn declare_queue(
        &mut self,
        options: QueueOptions,
        naming: QueueName,
        owner: Option<ConnectionId>,
        by: ConnectionId,
        make: impl FnOnce(Arc<QueueOptions>) -> Q,
    ) -> Result<Declared<Q>, AmqpError> {
        debug_assert!(
            owner.is_none_or(|owner| owner == by),
            "a queue is exclusive to the connection that declares it"
        );
        if let Some(&existing) = self.queue_names.get(options.name.as_str()) {
            let entry = &self.queues[existing];
            // Before all else, and strictly: an owner may not redeclare its exclusive queue as shared, nor anybody a
            // shared one as exclusive.
            if entry.owner != owner {
                return Err(self.locked(&options.name));
            }
            entry.options.check_equivalent(&options)?;
            return Ok(Declared { queue: entry.queue.clone(), created: false });
        }
        if naming == QueueName::Given {
            check_not_reserved("queue", &options.name)?;
        }
        let options = Arc::new(self.with_policies(options));
        let queue = make(options.clone());
        self.note_queue(&options, owner, &queue);
        self.add_queue(options, owner, queue.clone());
        Ok(Declared { queue, created: true })
    }

    /// A queue, for the connection `by`: 404 if it is missing, 405 if another connection owns it.
    pub fn queue(&self, name: &str, by: ConnectionId) -> Result<&Q, AmqpError> {
        let number = self.queue_number(name)?;
        self.check_owner(Target::Queue(number), by)?;
        Ok(&self.queues[number].queue)
    }

    /// A queue, whoever owns it.
    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<&Q> {
        self.queue_names.get(name).map(|&number| &self.queues[number].queue)
    }

    /// Removes a queue with its bindings, and the auto-delete exchanges that nothing leads from then.
    pub fn remove_queue(&mut self, name: &str) -> Option<Q> {
        let number = self.queue_names.remove(name)?;
        let mut suspects = Vec::new();
        while let Some(&binding) = self.queues[number].incoming.last() {
            suspects.extend(self.unlink(binding));
        }
        self.drop_unused(suspects);
        let entry = self.queues.remove(number)?;
        self.note_no_queue(&entry.options);
        if let Some(owner) = entry.owner
            && let Some(owned) = self.exclusive.get_mut(&owner)
        {
            if let Some(moved) = take(owned, entry.slot_in_exclusive) {
                self.queues[moved].slot_in_exclusive = entry.slot_in_exclusive;
            }
            if owned.is_empty() {
                self.exclusive.remove(&owner);
            }
        }
        self.generation += 1;
        Some(entry.queue)
    }

    /// The exclusive queues of a connection, to be removed when it ends.
    pub fn queues_of(&self, owner: ConnectionId) -> impl Iterator<Item = &Q> {
        self.exclusive.get(&owner).into_iter().flatten().map(|&queue| &self.queues[queue].queue)
    }

    fn add_exchange(&mut self, options: Arc<ExchangeOptions>) {
        let messages_max = options.history_messages_max;
        let history =
            (messages_max > 0).then(|| History { handle: Q::History::default(), version: 0, messages_max });
        let number = self.exchanges.insert(ExchangeEntry {
            routes: RouteTable::new(&options),
            history,
            meter: Q::Meter::default(),
            policies: self.policies.applied(PolicyTarget::Exchange { name: &options.name }),
            options: options.clone(),
            to_queues: Vec::new(),
            to_exchanges: Vec::new(),
            incoming: Vec::new(),
        });
        self.exchange_names.insert(ByName(options), number);
        self.generation += 1;
    }

    fn add_queue(&mut self, options: Arc<QueueOptions>, owner: Option<ConnectionId>, queue: Q) {
        let number = self.queues.insert(QueueEntry {
            options: options.clone(),
            owner,
            queue,
            slot_in_exclusive: 0,
            incoming: Vec::new(),
        });
        self.queue_names.insert(ByName(options), number);
        if let Some(owner) = owner {
            let owned = self.exclusive.entry(owner).or_default();
            self.queues[number].slot_in_exclusive = append(owned, number);
        }
        self.generation += 1;
    }

    /// What the source must know of a binding beside its key.
    fn binding_rule(
        &self,
        source: u32,
        target: Target,
        routing_key: &str,
        arguments: &FieldTable,
    ) -> Result<BindingRule, AmqpError> {
        let name = match target {
            Target::Queue(queue) => &self.queues[queue].options.name,
            Target::Exchange(exchange) => &self.exchanges[exchange].options.name,
        };
        BindingRule::parse(self.exchanges[source].options.kind, (target, name), routing_key, arguments)
    }

    fn target(&self, destination: Destination<'_>) -> Result<Target, AmqpError> {
        match destination {
            Destination::Queue(name) => self.queue_number(name).map(Target::Queue),
            Destination::Exchange(name) => self.exchange_number(name).map(Target::Exchange),
        }
    }

    fn queue_number(&self, name: &str) -> Result<u32, AmqpError> {
        self.queue_names
            .get(name)
            .copied()
            .ok_or_else(|| AmqpError::not_found(format!("no queue '{name}' in vhost '{}'", self.vhost)))
    }

    fn exchange_number(&self, name: &str) -> Result<u32, AmqpError> {
        self.exchange_names
            .get(name)
            .copied()
            .ok_or_else(|| AmqpError::not_found(format!("no exchange '{name}' in vhost '{}'", self.vhost)))
    }

    fn check_owner(&self, target: Target, by: ConnectionId) -> Result<(), AmqpError> {
        let Target::Queue(number) = target else { return Ok(()) };
        let entry = &self.queues[number];
        match entry.owner {
            Some(owner) if owner != by => Err(self.locked(&entry.options.name)),
            _ => Ok(()),
        }
    }

    fn locked(&self, queue: &str) -> AmqpError {
        AmqpError::resource_locked(format!(
            "cannot obtain exclusive access to locked queue '{queue}' in vhost '{}'. It could be originally declared on \
             another connection or the exclusive property value does not match that of the original declaration.",
            self.vhost
        ))
    }
}
