//! Work queues: typed jobs that are done at least once, tried again with growing pauses, and put aside when they fail too
//! often. It needs nothing of the broker but queues with a time to live and dead-lettering.

mod failure;
mod job;
mod options;
mod worker;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::source::{Acks, Source};
use crate::{Connection, Error, Message, Publisher, Queue};

pub use job::Job;
pub use options::WorkOptions;
use worker::Crew;
pub use worker::Worker;
pub(crate) use worker::panic_text;

/// A queue of jobs of type `T`: [`push`](WorkQueue::push) puts them in, [`work`](WorkQueue::work) does them.
///
/// - A job is acknowledged when the handler has returned `Ok`. If the program dies before, the broker gives it to another
///   worker: a job is done **at least once**, so it should do no harm to do it twice.
/// - A job that fails (`Err`, or a panic) is tried again after a pause, in a queue named `<name>.retry.<milliseconds>`, from
///   which it comes back by itself. Pauses double with each attempt.
/// - A job that fails too often, or cannot be read as `T`, goes to the queue `<name>.dead`, with the headers `x-attempts`,
///   `x-reason` (`failed`, `panicked` or `undecodable`), `x-error` and `x-queue`.
///
/// Both queues are durable, and declared when they are needed.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// # use std::time::Duration;
/// use warren_client::Job;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Thumbnail {
///     picture: String,
///     width: u32,
/// }
///
/// async fn make(job: Job<Thumbnail>) -> Result<(), std::io::Error> {
///     println!("{} in {} pixels, attempt {}", job.picture, job.width, job.attempt());
///     Ok(())
/// }
///
/// let thumbnails = connection.work_queue::<Thumbnail>("thumbnails").await?;
/// thumbnails.push(&Thumbnail { picture: "cat.jpg".into(), width: 64 }).await?;
/// let worker = thumbnails.work(make).await?;
/// // ... until the program is to end:
/// worker.shutdown(Duration::from_secs(20)).await?;
/// # Ok(())
/// # }) }
/// ```
#[derive(Debug)]
pub struct WorkQueue<T> {
    connection: Connection,
    name: String,
    options: WorkOptions,
    publisher: Publisher,
    jobs: PhantomData<fn(T) -> T>,
}

impl Connection {
    /// A work queue with the usual settings. Its queue is declared as a durable one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let mails = connection.work_queue::<String>("mails").await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if a queue of that name is there with other properties, [`Error::Closed`] and
    /// [`Error::GaveUp`].
    pub async fn work_queue<T>(&self, name: &str) -> Result<WorkQueue<T>, Error> {
        self.work_queue_with(name, WorkOptions::default()).await
    }

    /// A work queue with settings of your own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Queue, WorkOptions};
    ///
    /// let options = WorkOptions::default().attempts(3).queue(Queue::new("").max_priority(5));
    /// let mails = connection.work_queue_with::<String>("mails", options).await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Connection::work_queue`].
    pub async fn work_queue_with<T>(&self, name: &str, options: WorkOptions) -> Result<WorkQueue<T>, Error> {
        let queue = options.queue.clone().unwrap_or_else(|| Queue::new(name));
        self.declare_queue(queue.named(name)).await?;
        let publisher = self.publisher().await?;
        let (connection, name) = (self.clone(), name.to_owned());
        Ok(WorkQueue { connection, name, options, publisher, jobs: PhantomData })
    }
}

impl<T> WorkQueue<T> {
    /// Puts a job into the queue and waits until the broker has it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let sums = connection.work_queue::<(i64, i64)>("sums").await?;
    /// sums.push(&(1, 2)).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], and as for [`Publisher::send`].
    pub async fn push(&self, job: &T) -> Result<(), Error>
    where
        T: Serialize,
    {
        self.push_message(Message::json(job)?).await
    }

    /// The same with a message of your own, for a priority or an id. Its body must be a job as JSON.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::Message;
    ///
    /// let sums = connection.work_queue::<(i64, i64)>("sums").await?;
    /// sums.push_message(Message::json(&(1, 2))?.id("sum-1")?).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Publisher::send`].
    pub async fn push_message(&self, message: Message) -> Result<(), Error> {
        self.publisher.send("", &self.name, message).await
    }

    /// Does the jobs of the queue, several at a time, each with a call of this function.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use std::time::Duration;
    /// use warren_client::Job;
    ///
    /// let (results, mut done) = tokio::sync::mpsc::unbounded_channel();
    /// let sums = connection.work_queue::<(i64, i64)>("sums").await?;
    /// let worker = sums
    ///     .work(move |job: Job<(i64, i64)>| {
    ///         let results = results.clone();
    ///         async move { results.send(job.0 + job.1) }
    ///     })
    ///     .await?;
    /// sums.push(&(1, 2)).await?;
    /// assert_eq!(done.recv().await, Some(3));
    /// worker.shutdown(Duration::from_secs(20)).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if a queue for attempts or failures is there with other properties, [`Error::Closed`] and
    /// [`Error::GaveUp`].
    pub async fn work<H, F, E>(&self, handler: H) -> Result<Worker, Error>
    where
        T: DeserializeOwned + Send + Sync + 'static,
        H: Fn(Job<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let dead = self.dead_letters();
        self.connection.declare_queue(Queue::new(&dead)).await?;
        let mut pauses = BTreeMap::new();
        for attempt in 1..self.options.attempts {
            pauses.insert(attempt, self.declare_pause(attempt).await?);
        }
        let link = self.connection.main().clone();
        let source =
            Source::open(link, self.name.as_str().into(), self.options.reserved(), Acks::ByUs).await?;
        let crew = Crew {
            queue: self.name.clone(),
            attempts: self.options.attempts,
            pauses,
            dead,
            publisher: self.publisher.clone(),
        };
        Ok(Worker::start(source, self.options.concurrency, Arc::new(crew), handler))
    }

    /// The name of the queue for jobs that failed too often.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let sums = connection.work_queue::<(i64, i64)>("sums").await?;
    /// assert_eq!(sums.dead_letters(), "sums.dead");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// A queue from which jobs come back after the pause that follows this attempt.
    async fn declare_pause(&self, attempt: u32) -> Result<String, Error> {
        let pause = self.options.pauses.bound(attempt - 1).max(Duration::from_millis(1));
        let name = format!("{}.retry.{}", self.name, pause.as_millis());
        let queue = Queue::new(&name).message_ttl(pause).dead_letter("", &self.name);
        self.connection.declare_queue(queue).await?;
        Ok(name)
    }
}
