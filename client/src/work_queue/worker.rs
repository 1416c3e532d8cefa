//! Doing jobs: decoding, calling the handler, and the verdict.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde::de::DeserializeOwned;

use super::Job;
use super::failure::{ATTEMPTS, Failure, Reason, copy};
use crate::delivery::{Incoming, decode_json};
use crate::pool::Pool;
use crate::source::Source;
use crate::{Error, Publisher};

/// What all jobs of a worker have in common.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) queue: String,
    pub(super) attempts: u32,
    /// The queue in which a job waits after this attempt.
    pub(super) pauses: BTreeMap<u32, String>,
    pub(super) dead: String,
    pub(super) publisher: Publisher,
}

/// A worker that does the jobs of a [`WorkQueue`](crate::WorkQueue). Dropping it ends it at once, with the jobs that run,
/// which go back to the queue.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use std::time::Duration;
/// use warren_client::Job;
///
/// let mails = connection.work_queue::<String>("mails").await?;
/// let worker = mails.work(async |job: Job<String>| Ok::<(), String>(println!("to {}", *job))).await?;
/// // ... until the program is to end:
/// worker.shutdown(Duration::from_secs(20)).await?;
/// # Ok(())
/// # }) }
/// ```
#[derive(Debug)]
#[must_use = "a worker ends when it is dropped"]
pub struct Worker(Pool);

impl Worker {
    pub(super) fn start<T, H, F, E>(source: Source, concurrency: usize, crew: Arc<Crew>, handler: H) -> Self
    where
        T: DeserializeOwned + Send + Sync + 'static,
        H: Fn(Job<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let handler = Arc::new(handler);
        let work = move |incoming: Incoming| {
            let (crew, handler) = (crew.clone(), handler.clone());
            async move { crew.work_on(incoming, &*handler).await }.boxed()
        };
        Self(Pool::start(source, concurrency, Box::new(work)))
    }

    /// Takes no more jobs, and lets those that run end within this time. Those that do not are ended, and go back to the
    /// queue for another worker. Says how many.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use std::time::Duration;
    /// # use warren_client::Job;
    /// # let mails = connection.work_queue::<String>("mails").await?;
    /// let worker = mails.work(async |job: Job<String>| Ok::<(), String>(println!("to {}", *job))).await?;
    /// let unfinished = worker.shutdown(Duration::from_secs(20)).await?;
    /// assert_eq!(unfinished, 0);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// Why the worker had ended before, as for [`Worker::ended`].
    pub async fn shutdown(self, patience: Duration) -> Result<usize, Error> {
        self.0.shutdown(patience).await
    }

    /// Waits until the worker ends by itself, which it does only if it has to. Losing the connection for a while is no
    /// reason.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use warren_client::{Error, Job};
    /// # let mails = connection.work_queue::<String>("mails").await?;
    /// let worker = mails.work(async |job: Job<String>| Ok::<(), String>(println!("to {}", *job))).await?;
    /// connection.close().await;
    /// assert!(matches!(worker.ended().await, Err(Error::Closed)));
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

impl Crew {
    async fn work_on<T, H, F, E>(&self, incoming: Incoming, handler: &H)
    where
        T: DeserializeOwned,
        H: Fn(Job<T>) -> F,
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let attempt = attempt_of(&incoming);
        let hopeless = Arc::new(AtomicBool::new(false));
        let outcome = match decode_json(&incoming.delivery.data) {
            Err(error) => Err(Failure { reason: Reason::Undecodable, error: error.to_string() }),
            Ok(value) => {
                let job = Job {
                    value,
                    attempt,
                    attempts: self.attempts,
                    is_redelivered: incoming.delivery.redelivered,
                    id: incoming.properties().message_id().as_ref().map(ToString::to_string),
                    hopeless: hopeless.clone(),
                };
                call(handler, job).await
            }
        };
        let verdict = match outcome {
            Ok(()) => incoming.ack().await,
            Err(failure) => self.fail(&incoming, attempt, &failure, hopeless.load(Ordering::Relaxed)).await,
        };
        if let Err(error) = verdict {
            // The broker gives the job to somebody again.
            tracing::warn!(queue = self.queue, %error, "the broker could not be told what became of a job");
        }
    }

    /// Publishes the job where it waits for the next attempt, or where those are that failed, and only then acknowledges
    /// it: a crash in between makes two of it, and never none.
    async fn fail(
        &self,
        incoming: &Incoming,
        attempt: u32,
        failure: &Failure,
        is_hopeless: bool,
    ) -> Result<(), Error> {
        let next =
            self.pauses.get(&attempt).filter(|_| failure.reason != Reason::Undecodable && !is_hopeless);
        let (error, reason) = (&failure.error, failure.reason);
        let target = next.unwrap_or(&self.dead);
        if next.is_some() {
            tracing::info!(queue = self.queue, attempt, ?reason, error, "a job failed, and is tried again");
        } else {
            tracing::warn!(queue = self.queue, attempt, ?reason, error, "a job failed, and is put aside");
        }
        let message = copy(&incoming.delivery.data, incoming.properties(), &self.queue, attempt, failure);
        match self.publisher.send("", target, message).await {
            Ok(()) => incoming.ack().await,
            Err(error) => {
                tracing::warn!(target, %error, "a failed job could not be published, and returns to its queue");
                incoming.reject(true).await
            }
        }
    }
}

/// Which attempt this is, counted from 1.
fn attempt_of(incoming: &Incoming) -> u32 {
    let before = incoming.header(ATTEMPTS).and_then(|value| value.as_int()).unwrap_or(0);
    u32::try_from(before).unwrap_or(0).saturating_add(1)
}

async fn call<T, H, F, E>(handler: &H, job: Job<T>) -> Result<(), Failure>
where
    H: Fn(Job<T>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    // Nothing of the job is used after a panic but its message.
    match AssertUnwindSafe(async { handler(job).await }).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure { reason: Reason::Failed, error: error.to_string() }),
        Err(panic) => Err(Failure { reason: Reason::Panicked, error: panic_text(&*panic) }),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
