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
    /// Whether the API is served unencrypted at that port. Default true.
    pub plaintext: bool,
    /// TCP port for TLS, 0 for a free one, with the certificate of the `[tls]` section. Default none: the API does not speak TLS.
    pub tls_port: Option<u16>,
}

impl Default for Http {
    fn default() -> Self {
        let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self { enabled: true, bind, port: 15672, plaintext: true, tls_port: None }
    }
}

impl Http {
    /// The socket addresses to bind for a port, in the order of `bind`.
    pub fn addrs_at(&self, port: u16) -> impl Iterator<Item = SocketAddr> + '_ {
        self.bind.iter().map(move |ip| SocketAddr::new(*ip, port))
    }
}
