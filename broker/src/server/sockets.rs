//! [`Sockets`]: listening sockets that somebody else opened, as a service manager does that starts the broker on demand.

use std::io;
use std::net::TcpListener as StdListener;

use tokio::net::TcpListener;

/// Listening TCP sockets for a broker. Where there are none of a kind, the broker opens those of its configuration.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For AMQP.
    pub amqp: Vec<StdListener>,
    /// For AMQP over TLS; there must be a certificate.
    pub amqps: Vec<StdListener>,
    /// For the HTTP API.
    pub http: Vec<StdListener>,
}

/// Makes sockets of this process's runtime of them.
pub(super) fn adopt(sockets: Vec<StdListener>) -> io::Result<Vec<TcpListener>> {
    sockets
        .into_iter()
        .map(|socket| {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        })
        .collect()
}
