//! A small layer over lapin for the two things most programs do with a broker: publish messages without losing any
//! unnoticed, and work through a queue. It speaks to any AMQP 0-9-1 broker.
//!
//! It does not hide lapin: [`Client::connection`] gives access to everything else, and it does not reconnect by itself.
//!
//! ```no_run
//! use futures::StreamExt;
//!
//! # async fn example() -> Result<(), warren_client::Error> {
//! let client = warren_client::connect("amqp://guest:guest@127.0.0.1:5672/%2F", "orders").await?;
//!
//! let mut orders = client.work_queue("orders", 10).await?;
//! let publisher = client.publisher().await?;
//! publisher.publish_json("", "orders", &["tea", "milk"]).await?;
//!
//! if let Some(task) = orders.next().await {
//!     let task = task?;
//!     let items: Vec<String> = task.json()?;
//!     println!("ordered: {items:?}");
//!     task.done().await?;
//! }
//! client.close().await
//! # }
//! ```

mod error;
mod publisher;
mod work_queue;

use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

pub use error::Error;
pub use publisher::Publisher;
pub use work_queue::{Task, WorkQueue};

/// How long a broker may take to let us in. lapin would wait for as long as the other side keeps the connection open.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a broker. Dropping it closes it without waiting for the broker to agree.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

/// Connects to the broker at an address such as `amqp://user:password@host:5672/%2F`.
///
/// `name` is what the broker calls the connection in its logs and lists: usually the name of the program.
///
/// ```no_run
/// # async fn example() -> Result<(), warren_client::Error> {
/// let client = warren_client::connect("amqp://guest:guest@127.0.0.1:5672/%2F", "invoice-mailer").await?;
/// # client.close().await
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Url`] if the address cannot be understood, [`Error::Unreachable`] if nobody answers there, [`Error::Silent`] if
/// somebody does who is no broker, and [`Error::Refused`] if the broker does not let this user into this virtual host.
pub async fn connect(url: &str, name: &str) -> Result<Client, Error> {
    let uri: AMQPUri = url.parse().map_err(|problem| Error::Url { problem })?;
    // Without user and password, because errors are printed.
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match timeout(PATIENCE, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(Client { connection }),
        Ok(Err(error)) => Err(Error::from_connecting(address, error)),
        Err(_) => Err(Error::Silent { address, patience: PATIENCE }),
    }
}

impl Client {
    /// A publisher with a channel of its own. A program needs only one: it can be used by many tasks at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] or [`Error::Closed`] if the connection does not give another channel.
    pub async fn publisher(&self) -> Result<Publisher, Error> {
        Publisher::open(&self.connection).await
    }

    /// Declares a durable queue and consumes from it, with at most `prefetch` tasks unfinished at a time.
    ///
    /// A low prefetch shares the work fairly between programs; a high one saves waiting for the next task when tasks are
    /// short. 0 means no limit.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the broker refuses, for example because the queue exists with other properties, or
    /// [`Error::Lost`].
    pub async fn work_queue(&self, queue: &str, prefetch: u16) -> Result<WorkQueue, Error> {
        WorkQueue::open(&self.connection, queue, prefetch).await
    }

    /// The lapin connection, for everything that is not here.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes the connection and waits until the broker has seen everything that was sent.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the connection broke before that.
    pub async fn close(self) -> Result<(), Error> {
        // lapin closes a dropped channel in the background, and fails if the connection is closed meanwhile. The broker's
        // answer to opening another channel comes after its answer to that; without it closing is worth a try all the same.
        let last = self.connection.create_channel().await;
        self.connection.close(200, "OK".into()).await?;
        drop(last);
        Ok(())
    }
}
