//! How a work queue behaves.

use std::time::Duration;

use crate::{Backoff, Queue};

/// How often a job is tried unless said otherwise.
const ATTEMPTS: u32 = 5;

/// How many jobs a worker does at once unless said otherwise.
const CONCURRENCY: usize = 4;

/// Settings of a [`WorkQueue`](crate::WorkQueue).
///
/// ```
/// use std::time::Duration;
/// use warren_client::{Backoff, WorkOptions};
///
/// let options = WorkOptions::default()
///     .concurrency(16)
///     .attempts(3)
///     .pauses(Backoff::new(Duration::from_secs(5), Duration::from_secs(300)));
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a work queue is made with them"]
pub struct WorkOptions {
    pub(crate) concurrency: usize,
    prefetch: Option<u16>,
    pub(crate) attempts: u32,
    pub(crate) pauses: Backoff,
    pub(crate) queue: Option<Queue>,
}

impl Default for WorkOptions {
    fn default() -> Self {
        Self {
            concurrency: CONCURRENCY,
            prefetch: None,
            attempts: ATTEMPTS,
            pauses: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            queue: None,
        }
    }
}

impl WorkOptions {
    /// How many jobs a worker does at once, 4 unless said otherwise and at least 1.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::WorkOptions;
    ///
    /// let mails = connection.work_queue_with::<String>("mails", WorkOptions::default().concurrency(16)).await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// How many jobs the broker reserves for a worker. As many as it does at once unless said otherwise; more saves
    /// waiting where jobs are short.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::WorkOptions;
    ///
    /// let mails = connection.work_queue_with::<String>("mails", WorkOptions::default().concurrency(4).prefetch(100)).await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn prefetch(mut self, jobs: u16) -> Self {
        self.prefetch = Some(jobs);
        self
    }

    /// How often a job is tried before it is put aside, 5 unless said otherwise and at least 1.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// use warren_client::{Job, WorkOptions};
    ///
    /// let once = WorkOptions::default().attempts(1);
    /// let mails = connection.work_queue_with::<String>("mails", once).await?;
    /// let worker = mails.work(async |_: Job<String>| Err::<(), _>("the network is down")).await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// let mut dead = connection.subscribe::<String>(mails.dead_letters()).await?;
    /// assert_eq!(dead.next().await.expect("after one attempt")?.value(), "alex@example.com");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The pauses between attempts: exactly the bounds, from 1 second to a minute unless said otherwise. There is a queue for
    /// each different pause. Whole milliseconds, at least 1.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use std::time::Duration;
    /// use warren_client::{Backoff, WorkOptions};
    ///
    /// // 10, 20, 40 and 60 seconds between five attempts.
    /// let pauses = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
    /// let mails = connection.work_queue_with::<String>("mails", WorkOptions::default().pauses(pauses)).await?;
    /// mails.push(&"alex@example.com".to_owned()).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn pauses(mut self, pauses: Backoff) -> Self {
        self.pauses = pauses;
        self
    }

    /// What the queue is declared as, instead of a plain durable one. The name is that of the work queue.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Message, Queue, WorkOptions};
    ///
    /// let options = WorkOptions::default().queue(Queue::new("").max_priority(5));
    /// let mails = connection.work_queue_with::<String>("mails", options).await?;
    /// mails.push_message(Message::json("alex@example.com")?.priority(5)).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// What the broker is asked for.
    pub(crate) fn reserved(&self) -> u16 {
        self.prefetch.unwrap_or_else(|| u16::try_from(self.concurrency).unwrap_or(u16::MAX))
    }
}
