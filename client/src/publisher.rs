//! Publishing with certainty: every message is confirmed by the broker, or it is an error. Programs hold a [`Publisher`];
//! a task of its own does the work, so that a program that gives up waiting does not leave anything half done.

mod driver;
mod ledger;
mod settings;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::value::short;
use crate::{Connection, Error, Message};

use driver::Driver;
use ledger::Entry;
pub use settings::PublisherOptions;

/// Publishes messages and says what became of each: `Ok` means that the broker has it in a queue, as safe as that queue
/// is.
///
/// - Many messages can be on their way at once, up to a [window](PublisherOptions::window); beyond it publishing waits.
/// - A message that reaches no queue is an error ([`Error::Returned`]), unless
///   [that is allowed](PublisherOptions::allow_unroutable).
/// - One that the broker declines (`basic.nack`, from a full queue) is published again a few times, with pauses.
/// - When the connection is lost, what was not confirmed is published again on the next one. It may therefore arrive
///   **twice**, with the same message id: at least once is what is promised, not exactly once.
/// - When the broker closes the channel because of a message, the messages that were on their way are published again one by
///   one, so that only the one at fault fails. They may arrive in another order then, as they may after a nack.
///
/// It is cheap to clone; clones share the window. When the last clone is dropped with messages still unconfirmed, that is
/// logged with their number, and they are published in the background as long as the program runs. Call
/// [`Publisher::flush`] before the end of a program.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use warren_client::Queue;
/// use warren_client::Message;
///
/// # connection.declare_queue(Queue::new("orders")).await?;
/// let publisher = connection.publisher().await?;
/// // One message, and what became of it.
/// publisher.send("", "orders", Message::json(&["tea", "milk"])?).await?;
/// // Many, without waiting for each.
/// for number in 0..1000 {
///     publisher.enqueue("", "orders", Message::json(&number)?).await?;
/// }
/// publisher.flush().await?;
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    window: Arc<Semaphore>,
    settings: Arc<PublisherOptions>,
}

/// What the driver is told. There are no more of them than the window allows, and flushes.
#[derive(Debug)]
enum Command {
    Publish(Entry),
    Flush(oneshot::Sender<Result<(), Error>>),
}

impl Connection {
    /// A publisher with the usual settings. A program needs only one: it can be used by many tasks at once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// let publisher = connection.publisher().await?;
    /// publisher.send_json("", "orders", &["tea", "milk"]).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn publisher(&self) -> Result<Publisher, Error> {
        self.publisher_with(PublisherOptions::default()).await
    }

    /// A publisher with settings of your own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::PublisherOptions;
    ///
    /// let publisher = connection.publisher_with(PublisherOptions::default().window(10)).await?;
    /// assert_eq!(publisher.room(), 10);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::publisher`].
    pub async fn publisher_with(&self, settings: PublisherOptions) -> Result<Publisher, Error> {
        let publishing = self.publishing().await?;
        let settings = Arc::new(settings);
        let (commands, orders) = mpsc::unbounded_channel();
        let driver = Driver::new(self.main().clone(), publishing, settings.clone(), orders);
        tokio::spawn(driver.run());
        Ok(Publisher { commands, window: Arc::new(Semaphore::new(settings.window)), settings })
    }
}

impl Publisher {
    /// Publishes a message and waits until the broker has it. With the exchange `""` the routing key is the name of a
    /// queue.
    ///
    /// Dropping the future does not take the message back: it may arrive or not.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # let publisher = connection.publisher().await?;
    /// use warren_client::{Error, Message};
    ///
    /// publisher.send("", "orders", Message::text("tea")).await?;
    /// let error = publisher.send("", "odrers", Message::text("tea")).await.expect_err("a wrong name");
    /// assert!(matches!(error, Error::Returned { .. }));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Returned`] if no queue was there to take it, [`Error::Nacked`] if the broker declined it,
    /// [`Error::Objection`] if the broker objects to it, for example because the exchange does not exist,
    /// [`Error::Unconfirmed`] and [`Error::Blocked`] after the times in the settings, [`Error::Closed`] and
    /// [`Error::GaveUp`].
    pub async fn send(&self, exchange: &str, routing_key: &str, message: Message) -> Result<(), Error> {
        self.enqueue(exchange, routing_key, message).await?.await
    }

    /// Publishes a value as JSON.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # let publisher = connection.publisher().await?;
    /// publisher.send_json("", "orders", &["tea", "milk"]).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], and as for [`Publisher::send`].
    pub async fn send_json<T>(&self, exchange: &str, routing_key: &str, value: &T) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        self.send(exchange, routing_key, Message::json(value)?).await
    }

    /// Publishes a message as soon as there is room in the window, and does not wait for the broker. What became of it can be
    /// awaited later; if nobody does, [`Publisher::flush`] tells.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # let publisher = connection.publisher().await?;
    /// use warren_client::Message;
    ///
    /// let first = publisher.enqueue("", "orders", Message::text("tea")).await?;
    /// let second = publisher.enqueue("", "orders", Message::text("milk")).await?;
    /// first.await?;
    /// second.await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the exchange or the routing key has more than 255 bytes, and [`Error::Closed`].
    pub async fn enqueue(
        &self,
        exchange: &str,
        routing_key: &str,
        mut message: Message,
    ) -> Result<Confirm, Error> {
        let exchange = short("name of the exchange", exchange)?;
        let routing_key = short("routing key", routing_key)?;
        let room = self.window.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let id = message.identify();
        let (reply, confirm) = oneshot::channel();
        let deadline = self.settings.confirm_timeout.map(|patience| Instant::now() + patience);
        let message = Arc::new(message);
        let entry = Entry { exchange, routing_key, message, id, attempts: 0, deadline, reply, _room: room };
        self.commands.send(Command::Publish(entry)).map_err(|_| Error::Closed)?;
        Ok(Confirm(confirm))
    }

    /// Publishes many messages and waits for all of them. Says what became of each, in their order.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Message, Queue};
    /// # connection.declare_queue(Queue::new("numbers")).await?;
    /// # let publisher = connection.publisher().await?;
    /// let messages = (0..100).map(|number: u32| Message::text(number.to_string()));
    /// let results = publisher.send_all("", "numbers", messages).await;
    /// assert!(results.iter().all(Result::is_ok));
    /// # Ok(())
    /// # }) }
    /// ```
    pub async fn send_all(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Vec<Result<(), Error>> {
        let mut confirms = Vec::new();
        for message in messages {
            confirms.push(self.enqueue(exchange, routing_key, message).await);
        }
        let mut results = Vec::with_capacity(confirms.len());
        for confirm in confirms {
            results.push(match confirm {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Waits until it is known of everything that was published before what became of it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// # let publisher = connection.publisher().await?;
    /// use warren_client::{Error, Message};
    ///
    /// publisher.enqueue("", "orders", Message::text("tea")).await?;
    /// publisher.flush().await?;
    ///
    /// publisher.enqueue("", "odrers", Message::text("tea")).await?;
    /// assert!(matches!(publisher.flush().await, Err(Error::Flush { failed: 1, .. })));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Flush`] if messages failed since the last flush whose [`Confirm`] was dropped, and [`Error::Closed`].
    pub async fn flush(&self) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Flush(reply)).map_err(|_| Error::Closed)?;
        done.await.unwrap_or(Err(Error::Closed))
    }

    /// How many messages more may be published before publishing waits.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let publisher = connection.publisher().await?;
    /// assert_eq!(publisher.room(), 1000, "the window, unless said otherwise");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn room(&self) -> usize {
        self.window.available_permits()
    }
}

/// What will become of a message that was [enqueued](Publisher::enqueue).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use warren_client::{Error, Message};
/// # let publisher = connection.publisher().await?;
/// let confirm = publisher.enqueue("", "nowhere", Message::text("lost")).await?;
/// // ... something else meanwhile ...
/// assert!(matches!(confirm.await, Err(Error::Returned { .. })));
/// # Ok(())
/// # }) }
/// ```
#[derive(Debug)]
pub struct Confirm(oneshot::Receiver<Result<(), Error>>);

impl Future for Confirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The driver answers unless it was ended with its runtime.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
