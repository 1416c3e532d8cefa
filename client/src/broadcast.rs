//! Events for everybody who wants them: fanout exchanges, and topic exchanges with patterns. A subscriber has a queue of its
//! own, for as long as it listens, or for good.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::delivery::decode_json;
use crate::source::Source;
use crate::{
    Connection, DeclaredQueue, Error, Exchange, Message, Pattern, Publisher, PublisherOptions, Queue,
    SubscribeOptions, Subscription,
};

/// What topics and fanouts have in common: an exchange, and a publisher that is made when it is needed.
#[derive(Clone, Debug)]
struct Broadcast {
    connection: Connection,
    exchange: String,
    publisher: Arc<OnceCell<Publisher>>,
}

impl Broadcast {
    async fn open(connection: &Connection, exchange: Exchange) -> Result<Self, Error> {
        let name = exchange.name.clone();
        connection.declare_exchange(exchange).await?;
        Ok(Self { connection: connection.clone(), exchange: name, publisher: Arc::default() })
    }

    async fn publish(&self, routing_key: &str, message: Message) -> Result<(), Error> {
        let options = PublisherOptions::default().allow_unroutable();
        let publisher = self.publisher.get_or_try_init(|| self.connection.publisher_with(options)).await?;
        publisher.send(&self.exchange, routing_key, message).await
    }

    async fn subscribe<T>(
        &self,
        queue: Queue,
        keys: &[&str],
        options: SubscribeOptions,
    ) -> Result<Subscription<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let is_temporary = queue.is_exclusive();
        let queue: DeclaredQueue = self.connection.declare_queue(queue).await?;
        for key in keys {
            self.connection.bind(&self.exchange, &queue, key).await?;
        }
        let link = self.connection.main().clone();
        let source = Source::open(link, queue, options.prefetch, options.acks).await?;
        let source = if is_temporary { source.temporary() } else { source };
        Ok(Subscription::new(source, options.acks, decode_json))
    }
}

/// Events of type `T` with routing keys, of which every subscriber chooses by [patterns](Pattern).
///
/// An event that nobody listens to is no error. Messages are JSON, in a durable topic exchange.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// use futures::StreamExt;
///
/// let prices = connection.topic::<f64>("prices").await?;
/// let mut of_tea = prices.subscribe(["tea.*"]).await?;
/// prices.publish("milk.whole", &1.2).await?;
/// prices.publish("tea.green", &4.5).await?;
/// if let Some(price) = of_tea.next().await {
///     let price = price?;
///     println!("{} costs {}", price.routing_key(), price.value());
///     price.ack().await?;
/// }
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct Topic<T> {
    events: Broadcast,
    of: PhantomData<fn(T) -> T>,
}

/// Events of type `T` for every subscriber.
///
/// An event that nobody listens to is no error. Messages are JSON, in a durable fanout exchange.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// use futures::StreamExt;
///
/// let news = connection.fanout::<String>("news").await?;
/// let mut mine = news.subscribe().await?;
/// news.publish(&"it works".to_owned()).await?;
/// if let Some(item) = mine.next().await {
///     println!("{}", item?.into_value());
/// }
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct Fanout<T> {
    events: Broadcast,
    of: PhantomData<fn(T) -> T>,
}

impl Connection {
    /// Events with routing keys, in a topic exchange of this name, which is declared.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let prices = connection.topic::<f64>("prices").await?;
    /// prices.publish("tea.green", &4.5).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if an exchange of that name is there with other properties, [`Error::Closed`] and
    /// [`Error::GaveUp`].
    pub async fn topic<T>(&self, exchange: &str) -> Result<Topic<T>, Error> {
        let events = Broadcast::open(self, Exchange::topic(exchange)).await?;
        Ok(Topic { events, of: PhantomData })
    }

    /// Events for everybody, in a fanout exchange of this name, which is declared.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let news = connection.fanout::<String>("news").await?;
    /// news.publish(&"it works".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::topic`].
    pub async fn fanout<T>(&self, exchange: &str) -> Result<Fanout<T>, Error> {
        let events = Broadcast::open(self, Exchange::fanout(exchange)).await?;
        Ok(Fanout { events, of: PhantomData })
    }
}

impl<T> Topic<T> {
    /// Publishes an event and waits until the broker has it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # let prices = connection.topic::<f64>("prices").await?;
    /// let mut all = prices.subscribe(["#"]).await?;
    /// prices.publish("tea.green", &4.5).await?;
    /// let price = all.next().await.expect("there is one")?;
    /// assert_eq!((price.routing_key(), *price.value()), ("tea.green", 4.5));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], and as for [`Publisher::send`].
    pub async fn publish(&self, routing_key: &str, event: &T) -> Result<(), Error>
    where
        T: Serialize,
    {
        self.events.publish(routing_key, Message::json(event)?).await
    }

    /// The events whose routing keys fit one of the patterns, from now on and as long as the subscription is kept. What is
    /// published while the connection is lost is missed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # let prices = connection.topic::<f64>("prices").await?;
    /// let mut of_tea = prices.subscribe(["tea.*", "*.tea"]).await?;
    /// prices.publish("milk.whole", &1.2).await?;
    /// prices.publish("iced.tea", &3.0).await?;
    /// assert_eq!(of_tea.next().await.expect("there is one")?.routing_key(), "iced.tea");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no pattern, and as for [`Connection::subscribe`].
    pub async fn subscribe<P>(&self, patterns: impl IntoIterator<Item = P>) -> Result<Subscription<T>, Error>
    where
        P: TryInto<Pattern>,
        Error: From<P::Error>,
        T: DeserializeOwned + Send + 'static,
    {
        self.subscribe_with(Queue::exclusive(), patterns, SubscribeOptions::default()).await
    }

    /// The events that fit, collected in a queue of your own also while nobody listens. All who use the queue share its
    /// events.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Pattern, Queue, SubscribeOptions};
    ///
    /// let orders = connection.topic::<String>("orders").await?;
    /// let options = SubscribeOptions::default().prefetch(10);
    /// let audit = orders.subscribe_with(Queue::new("audit"), [Pattern::everything()], options).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if the queue is there with other properties, and as for [`Topic::subscribe`].
    pub async fn subscribe_with<P>(
        &self,
        queue: Queue,
        patterns: impl IntoIterator<Item = P>,
        options: SubscribeOptions,
    ) -> Result<Subscription<T>, Error>
    where
        P: TryInto<Pattern>,
        Error: From<P::Error>,
        T: DeserializeOwned + Send + 'static,
    {
        let patterns: Vec<Pattern> = patterns.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let keys: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
        self.events.subscribe(queue, &keys, options).await
    }
}

impl<T> Fanout<T> {
    /// Publishes an event and waits until the broker has it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # let news = connection.fanout::<String>("news").await?;
    /// let (mut mine, mut yours) = (news.subscribe().await?, news.subscribe().await?);
    /// news.publish(&"it works".to_owned()).await?;
    /// assert_eq!(mine.next().await.expect("there is one")?.value(), "it works");
    /// assert_eq!(yours.next().await.expect("there is one")?.value(), "it works");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], and as for [`Publisher::send`].
    pub async fn publish(&self, event: &T) -> Result<(), Error>
    where
        T: Serialize,
    {
        self.events.publish("", Message::json(event)?).await
    }

    /// All events from now on, as long as the subscription is kept. What is published while the connection is lost is missed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// # let temperatures = connection.fanout::<f64>("temperatures").await?;
    /// let mut measured = temperatures.subscribe().await?;
    /// temperatures.publish(&21.5).await?;
    /// assert_eq!(*measured.next().await.expect("there is one")?.value(), 21.5);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::subscribe`].
    pub async fn subscribe(&self) -> Result<Subscription<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.subscribe_with(Queue::exclusive(), SubscribeOptions::default()).await
    }

    /// All events, collected in a queue of your own also while nobody listens. All who use the queue share its events.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// use warren_client::{Queue, SubscribeOptions};
    ///
    /// # let news = connection.fanout::<String>("news").await?;
    /// let archive = || news.subscribe_with(Queue::new("archive"), SubscribeOptions::default());
    /// drop(archive().await?);
    /// // Nobody listens now, and the queue keeps it.
    /// news.publish(&"for later".to_owned()).await?;
    /// assert_eq!(archive().await?.next().await.expect("there is one")?.value(), "for later");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if the queue is there with other properties, and as for [`Connection::subscribe`].
    pub async fn subscribe_with(
        &self,
        queue: Queue,
        options: SubscribeOptions,
    ) -> Result<Subscription<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.events.subscribe(queue, &[""], options).await
    }
}
