//! Exchanges, queues and bindings: what they are, and the record of them from which a connection restores them when the
//! broker has forgotten them. It declares on the channel it is given and knows nothing of connections.

mod declare;
mod exchange;
mod record;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Value;

pub(crate) use declare::{declare_binding, declare_exchange, declare_queue};
pub use exchange::Exchange;
pub(crate) use record::Topology;

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
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let orders = connection.declare_queue(Queue::new("orders")).await?;
    /// assert_eq!(orders.name(), "orders");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, durable: true, exclusive: false, auto_delete: false, arguments: Vec::new() }
    }

    /// A queue of this connection alone, with a name that the broker chooses. It goes away with its last consumer or
    /// the connection. When the connection comes back it has another name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let mine = connection.declare_queue(Queue::exclusive()).await?;
    /// assert!(mine.name().starts_with("amq.gen-"));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn exclusive() -> Self {
        Self { exclusive: true, durable: false, auto_delete: true, ..Self::new("") }
    }

    /// A queue of this connection alone with a name of your choice.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let mine = connection.declare_queue(Queue::exclusive_named("answers-for-alex")).await?;
    /// assert_eq!(mine.name(), "answers-for-alex");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn exclusive_named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::exclusive() }
    }

    /// It does not survive a restart of the broker.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Error, Queue};
    /// connection.declare_queue(Queue::new("cache").transient()).await?;
    /// let error = connection.declare_queue(Queue::new("cache")).await.expect_err("it is another");
    /// assert!(matches!(error, Error::Topology { code: 406, .. }));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn transient(mut self) -> Self {
        self.durable = false;
        self
    }

    /// It goes away with its last consumer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Error, Queue};
    /// connection.declare_queue(Queue::new("game-17").auto_delete()).await?;
    /// drop(connection.subscribe::<String>("game-17").await?);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// How many messages it holds at most. What comes when it is full pushes out the oldest.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # use warren_client::Queue;
    /// connection.declare_queue(Queue::new("latest").max_length(1)).await?;
    /// let publisher = connection.publisher().await?;
    /// publisher.send_json("", "latest", "old").await?;
    /// publisher.send_json("", "latest", "new").await?;
    /// let mut latest = connection.subscribe::<String>("latest").await?;
    /// assert_eq!(latest.next().await.expect("there is one")?.value(), "new");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn max_length(self, messages: u32) -> Self {
        self.argument("x-max-length", messages)
    }

    /// What comes when it is full is refused ([`Error::Nacked`](crate::Error::Nacked)) instead.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Error, PublisherOptions, Queue};
    /// connection.declare_queue(Queue::new("seats").max_length(1).reject_when_full()).await?;
    /// let publisher = connection.publisher_with(PublisherOptions::default().attempts(1)).await?;
    /// publisher.send_json("", "seats", "alex").await?;
    /// assert!(matches!(publisher.send_json("", "seats", "kim").await, Err(Error::Nacked { .. })));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn reject_when_full(self) -> Self {
        self.argument("x-overflow", "reject-publish")
    }

    /// How long a message may lie in it. Whole milliseconds.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # use std::time::Duration;
    /// # use warren_client::Queue;
    /// connection.declare_queue(Queue::new("too-late")).await?;
    /// let offers = Queue::new("offers").message_ttl(Duration::from_millis(10)).dead_letter("", "too-late");
    /// connection.declare_queue(offers).await?;
    /// connection.publisher().await?.send_json("", "offers", "today only").await?;
    /// let mut too_late = connection.subscribe::<String>("too-late").await?;
    /// assert_eq!(too_late.next().await.expect("there is one")?.value(), "today only");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn message_ttl(self, ttl: Duration) -> Self {
        let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.argument("x-message-ttl", milliseconds)
    }

    /// Where messages go that were rejected or lay in it for too long: to this exchange with this routing key. The exchange
    /// `""` takes them to the queue of that name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # use warren_client::Queue;
    /// connection.declare_queue(Queue::new("letters.dead")).await?;
    /// connection.declare_queue(Queue::new("letters").dead_letter("", "letters.dead")).await?;
    /// connection.publisher().await?.send_json("", "letters", "scribble").await?;
    /// let mut letters = connection.subscribe::<String>("letters").await?;
    /// letters.next().await.expect("there is one")?.discard().await?;
    /// let mut dead = connection.subscribe::<String>("letters.dead").await?;
    /// assert_eq!(dead.next().await.expect("there is one")?.value(), "scribble");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn dead_letter(self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        self.argument("x-dead-letter-exchange", exchange.into())
            .argument("x-dead-letter-routing-key", routing_key.into())
    }

    /// Messages of higher priority, up to this, are delivered first.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # use warren_client::{Message, Queue};
    /// connection.declare_queue(Queue::new("calls").max_priority(9)).await?;
    /// let publisher = connection.publisher().await?;
    /// publisher.send("", "calls", Message::json("cat on a tree")?).await?;
    /// publisher.send("", "calls", Message::json("fire")?.priority(9)).await?;
    /// let mut calls = connection.subscribe::<String>("calls").await?;
    /// assert_eq!(calls.next().await.expect("there is one")?.value(), "fire");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn max_priority(self, priority: u8) -> Self {
        self.argument("x-max-priority", u32::from(priority))
    }

    /// A further argument, such as `x-queue-type`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// connection.declare_queue(Queue::new("ledger").argument("x-queue-type", "quorum")).await?;
    /// # Ok(())
    /// # }) }
    /// ```
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
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use warren_client::{Exchange, Queue};
/// connection.declare_exchange(Exchange::fanout("news")).await?;
/// let mine = connection.declare_queue(Queue::exclusive()).await?;
/// connection.bind("news", &mine, "").await?;
/// let news = connection.subscribe::<String>(&mine).await?;
/// assert!(mine.name().starts_with("amq.gen-"));
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct DeclaredQueue {
    name: Arc<Mutex<String>>,
}

impl DeclaredQueue {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: Arc::new(Mutex::new(name.into())) }
    }

    /// The queue's name at this moment.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let orders = connection.declare_queue(Queue::new("orders")).await?;
    /// assert_eq!(orders.name(), "orders");
    /// # Ok(())
    /// # }) }
    /// ```
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
