//! Subscriptions: streams of typed messages that go on over every loss of the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use serde::de::DeserializeOwned;

use crate::delivery::{Decode, decode_json};
use crate::source::{Acks, Source};
use crate::{Connection, DeclaredQueue, Delivery, Error};

/// How many messages are on their way or being worked on at once unless said otherwise.
const PREFETCH: u16 = 100;

/// Settings of a [`Subscription`].
///
/// ```
/// let one_by_one = warren_client::SubscribeOptions::default().prefetch(1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is subscribed to with them"]
pub struct SubscribeOptions {
    pub(crate) prefetch: u16,
    pub(crate) acks: Acks,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { prefetch: PREFETCH, acks: Acks::ByUs }
    }
}

impl SubscribeOptions {
    /// How many messages may be without a verdict at once, 100 unless said otherwise; 0 means no limit. A low number shares
    /// messages fairly between programs, a high one saves waiting.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # connection.publisher().await?.send_json("", "orders", "tea").await?;
    /// use warren_client::SubscribeOptions;
    ///
    /// let one_by_one = SubscribeOptions::default().prefetch(1);
    /// let mut orders = connection.subscribe_with::<String>("orders", one_by_one).await?;
    /// let order = orders.next().await.expect("there is one")?;
    /// // The next one comes after this.
    /// order.ack().await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// Has the broker forget each message when it has sent it. Faster, and what was sent and not worked on is lost with the
    /// connection.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # connection.declare_queue(warren_client::Queue::new("readings")).await?;
    /// # connection.publisher().await?.send_json("", "readings", &21.5).await?;
    /// use warren_client::SubscribeOptions;
    ///
    /// let careless = SubscribeOptions::default().auto_ack();
    /// let mut readings = connection.subscribe_with::<f64>("readings", careless).await?;
    /// assert_eq!(readings.next().await.expect("there is one")?.into_value(), 21.5);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn auto_ack(mut self) -> Self {
        self.acks = Acks::ByBroker;
        self
    }
}

/// A stream of messages, as [deliveries](Delivery) of values of type `T`.
///
/// When the connection is lost it waits and goes on when the connection is back; messages without a verdict are then
/// delivered again. It ends after an error that says why: [`Error::Cancelled`] when its queue is gone, [`Error::Closed`]
/// when the connection is closed. A message that cannot be read as `T` is an [`Error::Decode`] in between: it was
/// discarded, which hands it to the queue's dead-letter exchange, if it has one, and the stream goes on.
///
/// See [`Connection::subscribe`], [`Topic`](crate::Topic) and [`Fanout`](crate::Fanout).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # connection.declare_queue(warren_client::Queue::new("numbers")).await?;
/// # let publisher = connection.publisher().await?;
/// # for number in 1..=3 {
/// #     publisher.send_json("", "numbers", &number).await?;
/// # }
/// use futures::{StreamExt, TryStreamExt};
/// use warren_client::{Delivery, SubscribeOptions};
///
/// let auto_ack = SubscribeOptions::default().auto_ack();
/// let numbers = connection.subscribe_with::<i64>("numbers", auto_ack).await?;
/// let three: Vec<i64> = numbers.take(3).map_ok(Delivery::into_value).try_collect().await?;
/// assert_eq!(three, [1, 2, 3]);
/// # Ok(())
/// # }) }
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct Subscription<T> {
    deliveries: BoxStream<'static, Result<Delivery<T>, Error>>,
}

impl<T: Send + 'static> Subscription<T> {
    pub(crate) fn new(source: Source, acks: Acks, decode: Decode<T>) -> Self {
        let deliveries = stream::unfold(Some(source), move |source| async move {
            let mut source = source?;
            let incoming = match source.next().await {
                Ok(incoming) => incoming,
                Err(end) => return Some((Err(end), None)),
            };
            let result = match decode(&incoming.delivery.data) {
                Ok(value) => Ok(Delivery::new(value, incoming)),
                Err(error) => {
                    if acks == Acks::ByUs {
                        // If it fails, the message comes again and is discarded then.
                        let _ = incoming.reject(false).await;
                    }
                    Err(error)
                }
            };
            Some((result, Some(source)))
        });
        Self { deliveries: deliveries.boxed() }
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Result<Delivery<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.deliveries.poll_next_unpin(context)
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Connection {
    /// Receives the messages of a queue, each read as JSON.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// use futures::StreamExt;
    ///
    /// let orders = connection.declare_queue(Queue::new("orders")).await?;
    /// # connection.publisher().await?.send_json("", "orders", &["tea"]).await?;
    /// let mut orders = connection.subscribe::<Vec<String>>(&orders).await?;
    /// if let Some(order) = orders.next().await {
    ///     let order = order?;
    ///     println!("ordered: {:?}", order.value());
    ///     order.ack().await?;
    /// }
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if there is no such queue, [`Error::Objection`] if the broker does not let us,
    /// [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn subscribe<T>(&self, queue: impl Into<DeclaredQueue>) -> Result<Subscription<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.subscribe_with(queue, SubscribeOptions::default()).await
    }

    /// The same with settings of your own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # connection.publisher().await?.send_json("", "orders", "tea").await?;
    /// use warren_client::SubscribeOptions;
    ///
    /// let options = SubscribeOptions::default().prefetch(10);
    /// let mut orders = connection.subscribe_with::<String>("orders", options).await?;
    /// assert_eq!(orders.next().await.expect("there is one")?.value(), "tea");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::subscribe`].
    pub async fn subscribe_with<T>(
        &self,
        queue: impl Into<DeclaredQueue>,
        options: SubscribeOptions,
    ) -> Result<Subscription<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let source = Source::open(self.main().clone(), queue.into(), options.prefetch, options.acks).await?;
        Ok(Subscription::new(source, options.acks, decode_json))
    }

    /// The same for messages of which only the bytes matter.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # connection.declare_queue(warren_client::Queue::new("pictures")).await?;
    /// # connection.publisher().await?.send("", "pictures", warren_client::Message::bytes([0xff, 0xd8])).await?;
    /// use warren_client::SubscribeOptions;
    ///
    /// let mut pictures = connection.subscribe_bytes("pictures", SubscribeOptions::default()).await?;
    /// let picture = pictures.next().await.expect("there is one")?;
    /// assert_eq!(picture.body(), [0xff, 0xd8]);
    /// picture.ack().await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::subscribe`].
    pub async fn subscribe_bytes(
        &self,
        queue: impl Into<DeclaredQueue>,
        options: SubscribeOptions,
    ) -> Result<Subscription<Vec<u8>>, Error> {
        let source = Source::open(self.main().clone(), queue.into(), options.prefetch, options.acks).await?;
        Ok(Subscription::new(source, options.acks, |body| Ok(body.to_vec())))
    }
}
