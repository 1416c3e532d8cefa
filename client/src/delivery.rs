//! What is received: a value, what came with it, and the means to say what became of it.

use lapin::message::Delivery as LapinDelivery;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use lapin::{BasicProperties, Channel};
use serde::de::DeserializeOwned;

use crate::{Error, Value};

/// How the bytes of a message become a value.
pub(crate) type Decode<T> = fn(&[u8]) -> Result<T, Error>;

pub(crate) fn decode_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Decode(error.into()))
}

/// A message as it came, with the channel on which it is acknowledged.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) delivery: LapinDelivery,
    // lapin closes a channel when nobody holds it any more.
    _channel: Channel,
}

impl Incoming {
    pub(crate) fn new(delivery: LapinDelivery, channel: Channel) -> Self {
        Self { delivery, _channel: channel }
    }

    pub(crate) fn properties(&self) -> &BasicProperties {
        &self.delivery.properties
    }

    pub(crate) fn header(&self, name: &str) -> Option<Value> {
        let headers = self.properties().headers().as_ref()?;
        headers.inner().get(name).map(Value::from_amqp)
    }

    pub(crate) async fn ack(&self) -> Result<(), Error> {
        known(self.delivery.ack(BasicAckOptions::default()).await)
    }

    pub(crate) async fn reject(&self, requeue: bool) -> Result<(), Error> {
        known(self.delivery.reject(BasicRejectOptions { requeue }).await)
    }
}

/// lapin says `false` when the channel is gone.
fn known(result: lapin::Result<bool>) -> Result<(), Error> {
    if result? {
        return Ok(());
    }
    let gone = lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed);
    Err(Error::Lost { cause: gone.into() })
}

/// A message that was received. It needs a verdict, [`ack`](Self::ack), [`requeue`](Self::requeue) or
/// [`discard`](Self::discard), unless the broker was told to forget messages when it sends them
/// ([`SubscribeOptions::auto_ack`](crate::SubscribeOptions::auto_ack)). If it is dropped without one, the broker keeps it
/// reserved until the subscription ends, and then gives it to somebody else.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use futures::StreamExt;
/// # use warren_client::Queue;
/// # connection.declare_queue(Queue::new("numbers")).await?;
/// # connection.publisher().await?.send_json("", "numbers", &42).await?;
/// let mut numbers = connection.subscribe::<i32>("numbers").await?;
/// if let Some(delivery) = numbers.next().await {
///     let delivery = delivery?;
///     assert_eq!(*delivery.value(), 42);
///     delivery.ack().await?;
/// }
/// # Ok(())
/// # }) }
/// ```
#[derive(Debug)]
#[must_use = "a delivery needs a verdict: ack, requeue or discard"]
pub struct Delivery<T> {
    value: T,
    incoming: Incoming,
}

impl<T> Delivery<T> {
    pub(crate) fn new(value: T, incoming: Incoming) -> Self {
        Self { value, incoming }
    }

    /// What the body says.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// // Published by `publisher.send_json("", "greetings", "hello")`.
    /// assert_eq!(delivery.value(), "hello");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn value(&self) -> &T {
        &self.value
    }

    /// What the body says, without the means to give a verdict. For subscriptions that need none.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// let greeting: String = delivery.into_value();
    /// assert_eq!(greeting, "hello");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn into_value(self) -> T {
        self.value
    }

    /// The bytes of the message.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// assert_eq!(delivery.body(), b"\"hello\"", "as JSON");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.incoming.delivery.data
    }

    /// The exchange it was published to.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// assert_eq!(delivery.exchange(), "", "straight to a queue");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn exchange(&self) -> &str {
        self.incoming.delivery.exchange.as_str()
    }

    /// Its routing key.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// assert_eq!(delivery.routing_key(), "greetings");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn routing_key(&self) -> &str {
        self.incoming.delivery.routing_key.as_str()
    }

    /// Whether somebody was given this message before and did not finish it, so that part of the work may be done.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// assert!(!delivery.is_redelivered(), "it was never given to anybody before");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn is_redelivered(&self) -> bool {
        self.incoming.delivery.redelivered
    }

    /// What tells this message from all others, if its publisher said so.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// // Published with `Message::id("m-1")`; without that a publisher of this crate chooses one.
    /// assert_eq!(delivery.message_id(), Some("m-1"));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn message_id(&self) -> Option<&str> {
        self.incoming.properties().message_id().as_ref().map(|id| id.as_str())
    }

    /// A header.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// use warren_client::Value;
    ///
    /// // Published with `Message::header("shop", "vienna")`.
    /// assert_eq!(delivery.header("shop"), Some(Value::from("vienna")));
    /// assert_eq!(delivery.header("till"), None);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn header(&self, name: &str) -> Option<Value> {
        self.incoming.header(name)
    }

    /// The properties as lapin has them.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// let kind = delivery.properties().content_type().as_ref().map(|kind| kind.as_str());
    /// assert_eq!(kind, Some("application/json"));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn properties(&self) -> &BasicProperties {
        self.incoming.properties()
    }

    /// The message as lapin has it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// assert_eq!(delivery.lapin_delivery().delivery_tag, 1);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn lapin_delivery(&self) -> &LapinDelivery {
        &self.incoming.delivery
    }

    /// It is done: the broker forgets the message.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { received(async |delivery: Delivery<String>| {
    /// println!("{}", delivery.value());
    /// delivery.ack().await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the connection on which it came is gone; the message will be delivered again.
    pub async fn ack(self) -> Result<(), Error> {
        self.incoming.ack().await
    }

    /// It could not be done now: the broker gives the message to a consumer again, maybe to this one at once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # use warren_client::Queue;
    /// # connection.declare_queue(Queue::new("letters")).await?;
    /// # connection.publisher().await?.send_json("", "letters", "dear all").await?;
    /// let mut letters = connection.subscribe::<String>("letters").await?;
    /// letters.next().await.expect("there is one")?.requeue().await?;
    /// let again = letters.next().await.expect("it came back")?;
    /// assert!(again.is_redelivered());
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Delivery::ack`].
    pub async fn requeue(self) -> Result<(), Error> {
        self.incoming.reject(true).await
    }

    /// It can never be done: the broker drops the message, or hands it to the queue's dead-letter exchange.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// use warren_client::Queue;
    ///
    /// connection.declare_queue(Queue::new("unreadable")).await?;
    /// connection.declare_queue(Queue::new("letters").dead_letter("", "unreadable")).await?;
    /// # connection.publisher().await?.send_json("", "letters", "scribble").await?;
    /// let mut letters = connection.subscribe::<String>("letters").await?;
    /// letters.next().await.expect("there is one")?.discard().await?;
    /// let mut unreadable = connection.subscribe::<String>("unreadable").await?;
    /// assert_eq!(unreadable.next().await.expect("it was put aside")?.value(), "scribble");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Delivery::ack`].
    pub async fn discard(self) -> Result<(), Error> {
        self.incoming.reject(false).await
    }
}
