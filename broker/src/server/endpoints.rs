//! [`Endpoints`]: the two ends of a connection's socket, and the name that RabbitMQ makes of them.

use std::fmt;
use std::net::SocketAddr;

/// Where a connection comes from and where it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

impl fmt::Display for Endpoints {
    /// `127.0.0.1:40000 -> 127.0.0.1:5672`. An IPv4 peer of an IPv6 socket is shown as what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        write!(f, "{} -> {}", plain(&self.peer), plain(&self.local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_named_by_their_ends() {
        let name = |peer: &str, local: &str| {
            let parse = |address: &str| address.parse().expect("an address");
            Endpoints { peer: parse(peer), local: parse(local) }.to_string()
        };
        assert_eq!(name("127.0.0.1:4000", "127.0.0.1:5672"), "127.0.0.1:4000 -> 127.0.0.1:5672");
        assert_eq!(name("[::ffff:10.0.0.1]:4000", "[::1]:5672"), "10.0.0.1:4000 -> [::1]:5672");
    }
}
