//! The serving side: works on the requests of a queue, several at a time, and answers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer;
use crate::delivery::{Incoming, decode_json};
use crate::pool::Pool;
use crate::source::{Acks, Source};
use crate::work_queue::panic_text;
use crate::{Connection, Error, Message, Publisher, PublisherOptions, Queue};

/// A server that answers calls. Dropping it ends it at once, with the calls that run: another server gets them.
///
/// A request is acknowledged when its answer is in the broker. If the server dies before, another server gets the request, so
/// that a call may be worked on more than once.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use std::time::Duration;
/// #[derive(serde::Deserialize)]
/// struct Division {
///     dividend: i64,
///     divisor: i64,
/// }
///
/// async fn divide(division: Division) -> Result<i64, String> {
///     division.dividend.checked_div(division.divisor).ok_or_else(|| "not by zero".to_owned())
/// }
///
/// let server = connection.serve("divide", 4, divide).await?;
/// // ... until the program is to end:
/// server.shutdown(Duration::from_secs(20)).await?;
/// # Ok(())
/// # }) }
/// ```
#[derive(Debug)]
#[must_use = "a server ends when it is dropped"]
pub struct RpcServer(Pool);

impl Connection {
    /// Answers the calls that come to a queue, up to `concurrency` of them at a time, with what this function returns. The
    /// queue is declared: it goes away with its last server, so that calls without one fail at once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let lengths = connection.serve("length", 4, async |text: String| Ok::<_, String>(text.len())).await?;
    ///
    /// let client = connection.rpc_client().await?;
    /// assert_eq!(client.call::<_, usize, String>("length", "tea").await?, 3);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if a queue of that name is there with other properties, [`Error::Closed`] and
    /// [`Error::GaveUp`].
    pub async fn serve<Q, R, E, H, F>(
        &self,
        queue: &str,
        concurrency: usize,
        handler: H,
    ) -> Result<RpcServer, Error>
    where
        Q: DeserializeOwned + Send + 'static,
        R: Serialize + Send + Sync + 'static,
        E: Serialize + Send + Sync + 'static,
        H: Fn(Q) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let declared = self.declare_queue(Queue::new(queue).auto_delete()).await?;
        // A client that has gone is no error.
        let publisher = self.publisher_with(PublisherOptions::default().allow_unroutable()).await?;
        let prefetch = u16::try_from(concurrency).unwrap_or(u16::MAX).max(1);
        let source = Source::open(self.main().clone(), declared, prefetch, Acks::ByUs).await?.temporary();
        let handler = Arc::new(handler);
        let work = move |incoming: Incoming| {
            let (publisher, handler) = (publisher.clone(), handler.clone());
            async move { answer_one(&publisher, incoming, &*handler).await }.boxed()
        };
        Ok(RpcServer(Pool::start(source, concurrency, Box::new(work))))
    }
}

impl RpcServer {
    /// Takes no more calls, and lets those that run end within this time. Those that do not are ended, and go to another
    /// server. Says how many.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use std::time::Duration;
    /// let lengths = connection.serve("length", 4, async |text: String| Ok::<_, String>(text.len())).await?;
    /// let unfinished = lengths.shutdown(Duration::from_secs(20)).await?;
    /// assert_eq!(unfinished, 0);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// Why the server had ended before, as for [`RpcServer::ended`].
    pub async fn shutdown(self, patience: Duration) -> Result<usize, Error> {
        self.0.shutdown(patience).await
    }

    /// Waits until the server ends by itself, which it does only if it has to.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::Error;
    /// let lengths = connection.serve("length", 4, async |text: String| Ok::<_, String>(text.len())).await?;
    /// connection.close().await;
    /// assert!(matches!(lengths.ended().await, Err(Error::Closed)));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the queue was deleted, [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn ended(mut self) -> Result<(), Error> {
        self.0.ended().await
    }
}

async fn answer_one<Q, R, E, H, F>(publisher: &Publisher, incoming: Incoming, handler: &H)
where
    Q: DeserializeOwned,
    R: Serialize,
    E: Serialize,
    H: Fn(Q) -> F,
    F: Future<Output = Result<R, E>>,
{
    let written = match decode_json::<Q>(&incoming.delivery.data) {
        Err(error) => answer::fault(&error.to_string()),
        Ok(request) => {
            // Nothing of the request is used after a panic.
            match AssertUnwindSafe(async { handler(request).await }).catch_unwind().await {
                Ok(result) => answer::write(&result).or_else(|error| answer::fault(&error.to_string())),
                Err(panic) => {
                    let text = panic_text(&*panic);
                    tracing::error!(text, "the handler of a call panicked");
                    answer::fault(&format!("the handler panicked: {text}"))
                }
            }
        }
    };
    let result = match written {
        Ok(message) => send(publisher, &incoming, message).await,
        Err(error) => Err(error),
    };
    let verdict = match result {
        Ok(()) => incoming.ack().await,
        Err(error) => {
            tracing::warn!(%error, "a call could not be answered, and goes to another server");
            incoming.reject(true).await
        }
    };
    if let Err(error) = verdict {
        tracing::debug!(%error, "the broker could not be told what became of a call");
    }
}

/// Sends the answer to where the client waits for it. A request that names no such place wants none.
async fn send(publisher: &Publisher, incoming: &Incoming, message: Message) -> Result<(), Error> {
    let properties = incoming.properties();
    let Some(reply_to) = properties.reply_to() else { return Ok(()) };
    let mut message = message.transient();
    if let Some(id) = properties.correlation_id() {
        message = message.correlation_id(id.as_str())?;
    }
    publisher.send("", reply_to.as_str(), message).await
}
