//! Exchanges, queues and bindings: what they are, and the record of them from which a connection restores them when the
//! broker has forgotten them. It declares on the channel it is given and knows nothing of connections.

mod declare;
mod record;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::ExchangeKind;

use crate::Value;

pub(crate) use declare::{declare_binding, declare_exchange, declare_queue};
pub(crate) use record::Topology;

/// An exchange to declare: it passes messages on to the queues that are bound to it.
///
/// ```
/// use warren_client::Exchange;
///
/// let events = Exchange::topic("events");
/// let temporary = Exchange::fanout("logs").transient();
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an exchange is there when a connection has declared it"]
pub struct Exchange {
    pub(crate) name: String,
    kind: ExchangeKind,
    durable: bool,
    auto_delete: bool,
    arguments: Vec<(String, Value)>,
}

impl Exchange {
    fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self { name: name.into(), kind, durable: true, auto_delete: false, arguments: Vec::new() }
    }

    /// Messages go where the routing key is the binding's.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Direct)
    }

    /// Messages go to every queue that is bound.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Fanout)
    }

    /// Messages go where the routing key fits the binding's pattern. See [`Pattern`](crate::Pattern).
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Topic)
    }

    /// Messages go where their headers fit the binding's arguments.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Headers)
    }

    /// An exchange of a type that the broker has in addition, such as `x-consistent-hash`.
    pub fn of_kind(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Custom(kind.into()))
    }

    /// It does not survive a restart of the broker. Exchanges do unless this is said.
    pub fn transient(mut self) -> Self {
        self.durable = false;
        self
    }

    /// It goes away with its last binding.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// A further argument, such as `alternate-exchange`.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }
}

/// A queue to declare.
///
/// ```
/// use std::time::Duration;
/// use warren_client::Queue;
///
/// let orders = Queue::new("orders").max_length(100_000).reject_when_full();
/// let mine = Queue::exclusive();
/// let cache = Queue::new("cache").transient().message_ttl(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a queue is there when a connection has declared it"]
pub struct Queue {
    pub(crate) name: String,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    arguments: Vec<(String, Value)>,
}

impl Queue {
    /// A queue that survives a restart of the broker.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, durable: true, exclusive: false, auto_delete: false, arguments: Vec::new() }
    }

    /// A queue of this connection alone, with a name that the broker chooses. It goes away with its last consumer or
    /// the connection. When the connection comes back it has another name.
    pub fn exclusive() -> Self {
        Self { exclusive: true, durable: false, auto_delete: true, ..Self::new("") }
    }

    /// A queue of this connection alone with a name of your choice.
    pub fn exclusive_named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::exclusive() }
    }

    /// It does not survive a restart of the broker.
    pub fn transient(mut self) -> Self {
        self.durable = false;
        self
    }

    /// It goes away with its last consumer.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// How many messages it holds at most. What comes when it is full pushes out the oldest.
    pub fn max_length(self, messages: u32) -> Self {
        self.argument("x-max-length", messages)
    }

    /// What comes when it is full is refused ([`Error::Nacked`](crate::Error::Nacked)) instead.
    pub fn reject_when_full(self) -> Self {
        self.argument("x-overflow", "reject-publish")
    }

    /// How long a message may lie in it. Whole milliseconds.
    pub fn message_ttl(self, ttl: Duration) -> Self {
        let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.argument("x-message-ttl", milliseconds)
    }

    /// Where messages go that were rejected or lay in it for too long: to this exchange with this routing key. The exchange
    /// `""` takes them to the queue of that name.
    pub fn dead_letter(self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        self.argument("x-dead-letter-exchange", exchange.into())
            .argument("x-dead-letter-routing-key", routing_key.into())
    }

    /// Messages of higher priority, up to this, are delivered first.
    pub fn max_priority(self, priority: u8) -> Self {
        self.argument("x-max-priority", u32::from(priority))
    }

    /// A further argument, such as `x-queue-type`.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Its name, or what it is, for people.
    fn described(&self) -> String {
        if self.name.is_empty() {
            "a queue named by the broker".to_owned()
        } else {
            format!("queue '{}'", self.name)
        }
    }
}

/// A queue that was declared. It knows the name that the queue has at the moment: one that was named by the broker has
/// another one when the connection has come back.
#[derive(Clone, Debug)]
pub struct DeclaredQueue {
    name: Arc<Mutex<String>>,
}

impl DeclaredQueue {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: Arc::new(Mutex::new(name.into())) }
    }

    /// The queue's name at this moment.
    pub fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rename(&self, name: &str) {
        name.clone_into(&mut self.name.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name) || self.name() == other.name()
    }
}

/// A queue that is there already, or is declared elsewhere.
impl From<&str> for DeclaredQueue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// The same.
impl From<String> for DeclaredQueue {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// The same queue.
impl From<&Self> for DeclaredQueue {
    fn from(queue: &Self) -> Self {
        queue.clone()
    }
}

/// A way from an exchange to a queue.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) exchange: String,
    pub(crate) queue: DeclaredQueue,
    pub(crate) key: String,
    pub(crate) arguments: Vec<(String, Value)>,
}

impl Binding {
    fn is(&self, other: &Self) -> bool {
        self.exchange == other.exchange
            && self.key == other.key
            && self.arguments == other.arguments
            && self.queue.is(&other.queue)
    }
}
