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
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has answers come to a queue of the connection's own, for brokers without direct reply-to, and for servers that look
    /// whether the queue for replies exists.
    pub fn reply_queue(mut self) -> Self {
        self.replies = Replies::Queue;
        self
    }
}
