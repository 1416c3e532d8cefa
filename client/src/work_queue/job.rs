//! One job, as its handler sees it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A job to do, which reads like its value. The verdict is what the handler returns.
///
/// ```
/// use warren_client::Job;
///
/// async fn mail(job: Job<String>) -> Result<(), String> {
///     if !job.contains('@') {
///         job.do_not_retry();
///         return Err(format!("{} is no address", *job));
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Job<T> {
    pub(crate) value: T,
    pub(crate) attempt: u32,
    pub(crate) attempts: u32,
    pub(crate) is_redelivered: bool,
    pub(crate) id: Option<String>,
    pub(crate) hopeless: Arc<AtomicBool>,
}

impl<T> Job<T> {
    /// The value, owned.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { given(async |job: Job<String>| {
    /// let address: String = job.into_value();
    /// assert_eq!(address, "alex@example.com");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn into_value(self) -> T {
        self.value
    }

    /// Which attempt this is, counted from 1. Attempts that ended with the program are not counted.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { given(async |job: Job<String>| {
    /// assert_eq!(job.attempt(), 1);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the job is put aside if it fails now.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { given(async |job: Job<String>| {
    /// assert!(!job.is_last_attempt(), "four more may follow, unless the options say otherwise");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.attempts
    }

    /// Whether a worker was given this job before and ended without a verdict, so that part of the work may be done.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { given(async |job: Job<String>| {
    /// assert!(!job.is_redelivered(), "nobody had it before");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn is_redelivered(&self) -> bool {
        self.is_redelivered
    }

    /// What tells this job from all others. It stays the same over all attempts.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { given(async |job: Job<String>| {
    /// // Pushed with `Message::id("mail-1")`; otherwise it is a random one.
    /// assert_eq!(job.id(), Some("mail-1"));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// If the job fails now, trying it again would not help: it is put aside at once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # use futures::StreamExt;
    /// use warren_client::Job;
    ///
    /// async fn mail(job: Job<String>) -> Result<(), String> {
    ///     job.do_not_retry();
    ///     Err(format!("{} is no address", *job))
    /// }
    ///
    /// let mails = connection.work_queue::<String>("mails").await?;
    /// let worker = mails.work(mail).await?;
    /// mails.push(&"alex".to_owned()).await?;
    /// let mut dead = connection.subscribe::<String>(mails.dead_letters()).await?;
    /// assert_eq!(dead.next().await.expect("after one attempt")?.value(), "alex");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn do_not_retry(&self) {
        self.hopeless.store(true, Ordering::Relaxed);
    }
}

impl<T> Deref for Job<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
