//! What an exchange to declare is.

use lapin::ExchangeKind;

use crate::Value;

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
    pub(super) kind: ExchangeKind,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) arguments: Vec<(String, Value)>,
}

impl Exchange {
    fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self { name: name.into(), kind, durable: true, auto_delete: false, arguments: Vec::new() }
    }

    /// Messages go where the routing key is the binding's.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Queue};
    /// connection.declare_exchange(Exchange::direct("logs")).await?;
    /// # connection.declare_queue(Queue::new("errors")).await?;
    /// connection.bind("logs", "errors", "error").await?;
    /// let publisher = connection.publisher().await?;
    /// publisher.send_json("logs", "error", "no more tea").await?;
    /// assert!(publisher.send_json("logs", "info", "tea is ready").await.is_err(), "nobody wants it");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Direct)
    }

    /// Messages go to every queue that is bound.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Queue};
    /// connection.declare_exchange(Exchange::fanout("news")).await?;
    /// # connection.declare_queue(Queue::new("everything")).await?;
    /// connection.bind("news", "everything", "").await?;
    /// connection.publisher().await?.send_json("news", "any key", "it works").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Fanout)
    }

    /// Messages go where the routing key fits the binding's pattern. See [`Pattern`](crate::Pattern).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Queue};
    /// connection.declare_exchange(Exchange::topic("events")).await?;
    /// # connection.declare_queue(Queue::new("audit")).await?;
    /// connection.bind("events", "audit", "order.#").await?;
    /// connection.publisher().await?.send_json("events", "order.created.eu", "tea").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Topic)
    }

    /// Messages go where their headers fit the binding's arguments.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Message, Queue, Value};
    /// connection.declare_exchange(Exchange::headers("files")).await?;
    /// # connection.declare_queue(Queue::new("pictures")).await?;
    /// connection.bind_with("files", "pictures", "", &[("kind".to_owned(), Value::from("picture"))]).await?;
    /// let cat = Message::text("cat").header("kind", "picture")?;
    /// connection.publisher().await?.send("files", "", cat).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Headers)
    }

    /// An exchange of a type that the broker has in addition, such as `x-consistent-hash`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Exchange;
    /// connection.declare_exchange(Exchange::of_kind("shards", "x-consistent-hash")).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn of_kind(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Custom(kind.into()))
    }

    /// It does not survive a restart of the broker. Exchanges do unless this is said.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Exchange;
    /// connection.declare_exchange(Exchange::fanout("ticker").transient()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn transient(mut self) -> Self {
        self.durable = false;
        self
    }

    /// It goes away with its last binding.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Exchange;
    /// connection.declare_exchange(Exchange::fanout("game-17").auto_delete()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// A further argument, such as `alternate-exchange`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Queue};
    /// connection.declare_exchange(Exchange::fanout("unknown")).await?;
    /// let orders = Exchange::direct("orders").argument("alternate-exchange", "unknown");
    /// connection.declare_exchange(orders).await?;
    /// # connection.declare_queue(Queue::new("what-is-this")).await?;
    /// # connection.bind("unknown", "what-is-this", "").await?;
    /// // No queue is bound to `orders`, and one to `unknown`.
    /// connection.publisher().await?.send_json("orders", "tea", &2).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }
}
