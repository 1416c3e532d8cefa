//! The connection that programs hold: it makes publishers, subscriptions and so on, and declares exchanges and queues.

use std::sync::Arc;

use lapin::Channel;
use tokio::sync::{OnceCell, watch};

use crate::link::{Link, Live};
use crate::topology::{Binding, declare_binding, declare_exchange, declare_queue};
use crate::{DeclaredQueue, Error, Exchange, Options, Queue, State, Value};

/// A connection to a broker that comes back by itself.
///
/// When the broker goes away, it is looked for at all addresses, with growing pauses. When it is back, everything that was
/// declared with this connection is declared again, subscriptions go on, and publishes that were not confirmed are
/// published again. It ends for good only where trying again cannot help: a wrong password or virtual host, or a
/// declaration that the broker does not accept. [`Connection::watch`] shows all of it.
///
/// It is cheap to clone, and the connection is closed when the last clone and the last of what was made with it are
/// dropped. Publishers share a second connection to the broker (named the same, with ` (publishers)`), because a broker
/// that is short of memory stops reading from connections that publish, and consumers must be able to acknowledge then.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { run(async |url: String| {
/// use warren_client::{Connection, Message, Options, Queue};
///
/// let connection = Connection::open(Options::new(url).name("docs")).await?;
/// connection.declare_queue(Queue::new("hello")).await?;
/// connection.publisher().await?.send("", "hello", Message::text("Hello world!")).await?;
/// connection.close().await;
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    main: Link,
    publishing: Arc<OnceCell<Link>>,
}

impl Connection {
    /// Connects to a broker. A URL such as `amqp://user:password@host:5672/%2F` will do for the options.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use warren_client::{Connection, Error};
    /// let connection = Connection::open(url).await?;
    /// assert!(connection.watch().borrow().is_connected());
    ///
    /// let error = Connection::open("amqp://127.0.0.1:1").await.expect_err("nobody is there");
    /// assert!(matches!(error, Error::Unreachable { .. }));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the address cannot be understood, [`Error::Unreachable`] if nobody answers there,
    /// [`Error::Silent`] if somebody does who is no broker, and [`Error::Refused`] if the broker does not let this user into
    /// this virtual host. With [`Options::patient_start`] only what cannot heal.
    pub async fn open(options: impl Into<Options>) -> Result<Self, Error> {
        let main = Link::open(options.into()).await?;
        Ok(Self { main, publishing: Arc::default() })
    }

    /// What the connection is doing, now and from now on.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::State;
    ///
    /// let mut states = connection.watch();
    /// connection.close().await;
    /// let last = states.wait_for(|state| !state.is_connected()).await?;
    /// assert!(matches!(*last, State::Closed { reason: None }));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn watch(&self) -> watch::Receiver<State> {
        self.main.states()
    }

    /// Declares an exchange, now and whenever the connection comes back.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Error, Exchange};
    ///
    /// connection.declare_exchange(Exchange::topic("events")).await?;
    /// let error = connection.declare_exchange(Exchange::fanout("events")).await.expect_err("it is another");
    /// assert!(matches!(error, Error::Topology { code: 406, .. }));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if the broker does not accept it, for example because it is there with other properties, and
    /// [`Error::Closed`] or [`Error::GaveUp`]. While the connection is lost this waits.
    pub async fn declare_exchange(&self, exchange: Exchange) -> Result<(), Error> {
        self.until_there(async |channel| declare_exchange(channel, &exchange).await).await?;
        self.main.record(|topology| topology.note_exchange(exchange));
        Ok(())
    }

    /// Declares a queue, now and whenever the connection comes back.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let mine = connection.declare_queue(Queue::exclusive()).await?;
    /// println!("the broker calls it {}", mine.name());
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::declare_exchange`].
    pub async fn declare_queue(&self, queue: Queue) -> Result<DeclaredQueue, Error> {
        let declared = DeclaredQueue::new(queue.name.clone());
        self.until_there(async |channel| declare_queue(channel, &queue, &declared).await).await?;
        self.main.record(|topology| topology.note_queue(queue, declared.clone()));
        Ok(declared)
    }

    /// Binds a queue to an exchange, now and whenever the connection comes back: messages with this routing key, or one that
    /// fits it in a topic exchange, go to the queue.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Queue};
    /// connection.declare_exchange(Exchange::topic("events")).await?;
    /// let audit = connection.declare_queue(Queue::new("audit")).await?;
    /// connection.bind("events", &audit, "order.#").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::declare_exchange`].
    pub async fn bind(
        &self,
        exchange: &str,
        queue: impl Into<DeclaredQueue>,
        key: &str,
    ) -> Result<(), Error> {
        self.bind_with(exchange, queue, key, &[]).await
    }

    /// The same with arguments, which headers exchanges look at.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Exchange, Message, Queue, Value};
    ///
    /// connection.declare_exchange(Exchange::headers("files")).await?;
    /// let pictures = connection.declare_queue(Queue::new("pictures")).await?;
    /// let kind = [("kind".to_owned(), Value::from("picture"))];
    /// connection.bind_with("files", &pictures, "", &kind).await?;
    ///
    /// let publisher = connection.publisher().await?;
    /// publisher.send("files", "", Message::text("cat").header("kind", "picture")?).await?;
    /// assert!(publisher.send("files", "", Message::text("song")).await.is_err());
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::declare_exchange`].
    pub async fn bind_with(
        &self,
        exchange: &str,
        queue: impl Into<DeclaredQueue>,
        key: &str,
        arguments: &[(String, Value)],
    ) -> Result<(), Error> {
        let (exchange, key) = (exchange.to_owned(), key.to_owned());
        let binding = Binding { exchange, queue: queue.into(), key, arguments: arguments.to_vec() };
        self.until_there(async |channel| declare_binding(channel, &binding).await).await?;
        self.main.record(|topology| topology.note_binding(binding));
        Ok(())
    }

    /// Declares the queue no more when the connection comes back. The queue itself stays.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// let orders = connection.declare_queue(Queue::new("orders")).await?;
    /// connection.forget_queue(&orders);
    /// // It is still there, and if somebody deletes it, it stays deleted.
    /// connection.publisher().await?.send_json("", "orders", "tea").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn forget_queue(&self, queue: &DeclaredQueue) {
        self.main.record(|topology| topology.forget_queue(queue));
    }

    /// Declares the exchange no more, nor its bindings, when the connection comes back. The exchange itself stays.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Exchange, Message, PublisherOptions};
    /// connection.declare_exchange(Exchange::fanout("news")).await?;
    /// connection.forget_exchange("news");
    /// // It is still there, and if somebody deletes it, it stays deleted.
    /// let publisher = connection.publisher_with(PublisherOptions::default().allow_unroutable()).await?;
    /// publisher.send("news", "", Message::text("it works")).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn forget_exchange(&self, name: &str) {
        self.main.record(|topology| topology.forget_exchange(name));
    }

    /// Closes the connection, and waits until the broker has seen everything that was sent, or does not answer within
    /// [`Options::connect_timeout`]. What uses it ends with
    /// [`Error::Closed`]; publishes that are not confirmed by then are lost with a warning in the log, so
    /// [flush](crate::Publisher::flush) first.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Error;
    /// let publisher = connection.publisher().await?;
    /// publisher.flush().await?;
    /// connection.close().await;
    /// assert!(matches!(publisher.send_json("", "orders", "tea").await, Err(Error::Closed)));
    /// # Ok(())
    /// # }) }
    /// ```
    pub async fn close(self) {
        if let Some(publishing) = self.publishing.get() {
            publishing.close().await;
        }
        self.main.close().await;
    }

    /// A channel of lapin, for everything that is not here. It is yours alone, and it ends with the connection of the
    /// moment: nothing on it comes back by itself. The lapin that it belongs to is [`warren_client::lapin`](lapin).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Queue;
    /// use warren_client::lapin::options::QueuePurgeOptions;
    ///
    /// # connection.declare_queue(Queue::new("orders")).await?;
    /// let channel = connection.lapin_channel().await?;
    /// let purged = channel.queue_purge("orders".into(), QueuePurgeOptions::default()).await?;
    /// assert_eq!(purged, 0);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn lapin_channel(&self) -> Result<Channel, Error> {
        self.main.live().await?.channel().await
    }

    pub(crate) fn main(&self) -> &Link {
        &self.main
    }

    /// The connection of the publishers, made when the first of them is.
    ///
    /// # Errors
    ///
    /// As for [`Connection::open`] with patience.
    pub(crate) async fn publishing(&self) -> Result<Link, Error> {
        let open = async || {
            let mut options = self.main.options().clone().patient_start();
            options.name = options.name.map(|name| format!("{name} (publishers)"));
            Link::open(options).await
        };
        self.publishing.get_or_try_init(open).await.cloned()
    }

    /// Does something on a channel, again and again until the broker accepts it or objects.
    async fn until_there(&self, act: impl AsyncFn(&Channel) -> Result<(), Error>) -> Result<(), Error> {
        let mut lost = None;
        loop {
            let Live { generation, connection } = self.main.live_after(lost).await?;
            let result = match connection.create_channel().await {
                Ok(channel) => act(&channel).await,
                Err(error) => Err(error.into()),
            };
            match result {
                Err(Error::Lost { .. }) => lost = Some(generation),
                result => return result,
            }
        }
    }
}
