//! How a publisher behaves.

use std::time::Duration;

use crate::Backoff;

/// How many messages may be on their way at once unless said otherwise. Enough for the round trips of one broker.
const WINDOW: usize = 1000;

/// How often a message is published that the broker declines.
const ATTEMPTS: u32 = 5;

/// Settings of a [`Publisher`](crate::Publisher).
///
/// ```
/// use std::time::Duration;
/// use warren_client::PublisherOptions;
///
/// let careful = PublisherOptions::default().window(100).confirm_timeout(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a publisher is made with them"]
pub struct PublisherOptions {
    pub(crate) window: usize,
    pub(crate) mandatory: bool,
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) confirm_timeout: Option<Duration>,
    pub(crate) blocked_timeout: Option<Duration>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            window: WINDOW,
            mandatory: true,
            attempts: ATTEMPTS,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            confirm_timeout: None,
            blocked_timeout: None,
        }
    }
}

impl PublisherOptions {
    /// How many messages may be unconfirmed at once, 1000 unless said otherwise and at least 1. What they hold stays in
    /// memory until it is confirmed.
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
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// A message that reaches no queue is no error, as for events that nobody has to listen to.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Message, PublisherOptions};
    ///
    /// let publisher = connection.publisher_with(PublisherOptions::default().allow_unroutable()).await?;
    /// publisher.send("amq.fanout", "", Message::text("nobody listens")).await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn allow_unroutable(mut self) -> Self {
        self.mandatory = false;
        self
    }

    /// How often a message is published that the broker declines, 5 unless said otherwise, with pauses that grow between.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use warren_client::{Error, Message, PublisherOptions, Queue};
    ///
    /// connection.declare_queue(Queue::new("full").max_length(0).reject_when_full()).await?;
    /// let publisher = connection.publisher_with(PublisherOptions::default().attempts(2)).await?;
    /// let result = publisher.send("", "full", Message::text("too much")).await;
    /// assert!(matches!(result, Err(Error::Nacked { attempts: 2, .. })));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The pauses between these attempts.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use std::time::Duration;
    /// use warren_client::{Backoff, PublisherOptions};
    ///
    /// let quick = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    /// let publisher = connection.publisher_with(PublisherOptions::default().backoff(quick)).await?;
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// publisher.send_json("", "orders", "tea").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long to wait for the broker's confirmation, over all attempts and connections. Without it a message waits for as
    /// long as the broker is away.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use std::time::Duration;
    /// use warren_client::PublisherOptions;
    ///
    /// let patience = PublisherOptions::default().confirm_timeout(Duration::from_secs(30));
    /// let publisher = connection.publisher_with(patience).await?;
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// publisher.send_json("", "orders", "tea").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn confirm_timeout(mut self, patience: Duration) -> Self {
        self.confirm_timeout = Some(patience);
        self
    }

    /// How long the broker may refuse to take messages (`connection.blocked`, when it is short of memory or disk) before
    /// publishing fails: with [`Error::Blocked`](crate::Error::Blocked) for messages that were not sent, and with
    /// [`Error::Unconfirmed`](crate::Error::Unconfirmed) for those that were on their way, of which nobody knows whether the
    /// broker has read them. Without it all of them wait until the broker takes messages again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use std::time::Duration;
    /// use warren_client::PublisherOptions;
    ///
    /// let patience = PublisherOptions::default().blocked_timeout(Duration::from_secs(10));
    /// let publisher = connection.publisher_with(patience).await?;
    /// # connection.declare_queue(warren_client::Queue::new("orders")).await?;
    /// publisher.send_json("", "orders", "tea").await?;
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn blocked_timeout(mut self, patience: Duration) -> Self {
        self.blocked_timeout = Some(patience);
        self
    }
}
