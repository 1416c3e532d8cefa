//! The `[http]` section: the HTTP API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The `[http]` section: where operators and their programs reach the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Whether the API is served over TCP. Default true. The socket in the data folder is there in any case.
    pub enabled: bool,
    /// Addresses to listen on, all with the same port. Default: both loopback families.
    pub bind: Vec<IpAddr>,
    /// TCP port, 0 for a free one. Default 15672, RabbitMQ's.
    pub port: u16,
}

impl Default for Http {
    fn default() -> Self {
        let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self { enabled: true, bind, port: 15672 }
    }
}

impl Http {
    /// The socket addresses to bind, in the order of `bind`.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.bind.iter().map(move |ip| SocketAddr::new(*ip, self.port))
    }
}
