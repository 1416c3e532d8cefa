//! What the log says of connections that come and go. A peer's fault is `info` or `warn`, never `error`.

use std::io;
use std::net::SocketAddr;

use crate::session::connection::{ConnectionDetails, FinishReason};
use crate::wire::frame::Greeting;

/// Why a connection's task ends, as far as the socket tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum SocketEnd<'a> {
    /// The session was finished and everything was written.
    Finished,
    /// The peer closed the socket.
    Eof,
    /// Reading or writing failed.
    Failed(&'a io::Error),
}

/// How far a connection had come when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastSeen {
    /// It had not opened a vhost.
    Handshake,
    /// It was in use.
    Running,
    /// The broker had told it to close.
    Closing,
}

/// A client has logged in and opened a vhost.
pub(super) fn opened(peer: SocketAddr, details: &ConnectionDetails<'_>) {
    let client = &details.peer.client;
    tracing::info!(
        %peer,
        user = details.peer.username,
        vhost = details.peer.vhost,
        name = client.connection_name.as_deref(),
        client = client.product.as_deref(),
        "client connected"
    );
}

/// A connection is over; `reason` is the session's if it finished by itself before the socket ended.
pub(super) fn ended(peer: SocketAddr, reason: Option<&FinishReason>, last: LastSeen, end: SocketEnd<'_>) {
    match (reason, end) {
        (Some(FinishReason::Greeting(greeting)), _) => refused_greeting(peer, *greeting),
        (Some(FinishReason::Handshake(error)), _) => {
            tracing::info!(%peer, %error, "handshake failed");
        }
        // The refusal itself was logged with the user's name.
        (Some(FinishReason::Refused(_)), _) => {}
        (Some(FinishReason::HandshakeTimeout), _) => {
            tracing::info!(%peer, "handshake took too long; connection dropped");
        }
        (Some(FinishReason::CloseTimeout), _) => {
            tracing::info!(%peer, "client did not answer connection.close; connection dropped");
        }
        (Some(FinishReason::HeartbeatMissed), _) => {
            tracing::warn!(%peer, "client sent nothing for two heartbeat intervals; connection dropped");
        }
        (Some(FinishReason::Closed), _) => tracing::info!(%peer, "client disconnected"),
        // Load balancers and health checks look whether somebody answers, and leave.
        (_, SocketEnd::Eof | SocketEnd::Finished) if last == LastSeen::Handshake => {
            tracing::debug!(%peer, "connection closed during the handshake");
        }
        (_, SocketEnd::Failed(error)) if last == LastSeen::Handshake => {
            tracing::debug!(%peer, %error, "connection lost during the handshake");
        }
        // Many clients just leave when they are told to; that is an answer, too.
        (_, _) if last == LastSeen::Closing => tracing::info!(%peer, "client disconnected"),
        (_, SocketEnd::Failed(error)) => tracing::warn!(%peer, %error, "connection lost"),
        (_, SocketEnd::Eof | SocketEnd::Finished) => {
            tracing::info!(%peer, "client closed the socket without closing the connection");
        }
    }
}

fn refused_greeting(peer: SocketAddr, greeting: Greeting) {
    let what = match greeting {
        Greeting::Http => "an HTTP client connected to the AMQP port",
        Greeting::Tls => "a TLS client connected to the port without TLS; use an amqp:// URL, not amqps://",
        Greeting::Amqp10 => "an AMQP 1.0 client connected; this broker speaks AMQP 0-9-1",
        Greeting::OtherAmqp => "a client asked for a version of AMQP other than 0-9-1",
        Greeting::Garbage | Greeting::Incomplete | Greeting::Amqp091 => {
            "a client that does not speak AMQP connected"
        }
    };
    tracing::info!(%peer, "{what}");
}
