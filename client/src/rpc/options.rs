//! How calls are made.

use std::time::Duration;

/// How long an answer may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where answers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    Direct,
    Queue,
}

/// Settings of an [`RpcClient`](crate::RpcClient).
///
/// ```
/// use std::time::Duration;
///
/// let options = warren_client::RpcOptions::default().timeout(Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a client is made with them"]
pub struct RpcOptions {
    pub(crate) timeout: Duration,
    pub(crate) replies: Replies,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self { timeout: TIMEOUT, replies: Replies::Direct }
    }
}

impl RpcOptions {
    /// How long an answer may take, 30 seconds unless said otherwise. A request that no server has begun with by then is
    /// dropped by the broker.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// use std::time::Duration;
    /// use warren_client::{CallError, Error, RpcOptions};
    ///
    /// # connection.declare_queue(warren_client::Queue::new("slow")).await?;
    /// let hasty = RpcOptions::default().timeout(Duration::from_millis(50));
    /// let client = connection.rpc_client_with(hasty).await?;
    /// let late = client.call::<i64, i64, String>("slow", &12).await;
    /// assert!(matches!(late, Err(CallError::Failed(Error::NoAnswer { .. }))));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has answers come to a queue of the connection's own, for brokers without direct reply-to, and for servers that look
    /// whether the queue for replies exists.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let server = connection.serve("square", 8, async |n: i64| n.checked_mul(n).ok_or("too large".to_owned())).await?;
    /// use warren_client::RpcOptions;
    ///
    /// let client = connection.rpc_client_with(RpcOptions::default().reply_queue()).await?;
    /// assert_eq!(client.call::<i64, i64, String>("square", &12).await?, 144);
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn reply_queue(mut self) -> Self {
        self.replies = Replies::Queue;
        self
    }
}
