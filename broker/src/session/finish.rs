//! [`FinishReason`]: why a connection is over.
//!
//! Only the word for it: the handshake and the connection come to an end and say so, `server` reads it for the log.

use crate::error::AmqpError;
use crate::wire::frame::Greeting;

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// Either side closed it and the other agreed.
    Closed,
    /// The credentials are wrong and the client cannot take a `connection.close`: pause, then close the socket.
    Refused(AmqpError),
    /// The peer wanted another protocol.
    Greeting(Greeting),
    /// The peer made a mistake before it had shown credentials.
    Handshake(AmqpError),
    /// The handshake took too long.
    HandshakeTimeout,
    /// The peer did not answer our `connection.close`.
    CloseTimeout,
    /// The peer was silent for two heartbeat intervals.
    HeartbeatMissed,
    /// The socket is gone.
    Disconnected,
}
