//! The address of a broker, read from a URL. What is printed of it has neither user nor password.

use std::net::Ipv6Addr;

use lapin::uri::AMQPUri;

use crate::Error;

/// One place where a broker may be.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) uri: AMQPUri,
}

impl Address {
    /// # Errors
    ///
    /// [`Error::Url`].
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let mut uri: AMQPUri = url.parse().map_err(|problem| Error::Url { problem })?;
        // lapin's parser knows names only, and takes "localhost" for everything else.
        if let Some(address) = ipv6_in(url) {
            uri.authority.host = address.to_string();
        }
        Ok(Self { uri })
    }

    /// Host and port, for people.
    pub(crate) fn shown(&self) -> String {
        let (host, port) = (&self.uri.authority.host, self.uri.authority.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shown())
    }
}

/// The address in square brackets that stands where the host does.
fn ipv6_in(url: &str) -> Option<Ipv6Addr> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_numbers() {
        for (url, shown) in [
            ("amqp://broker.example", "broker.example:5672"),
            ("amqps://user:p@127.0.0.1:99/%2F", "127.0.0.1:99"),
            ("amqp://[::1]:5673", "[::1]:5673"),
            ("amqp://user:p%40ss@[fe80::1]/vhost?heartbeat=10", "[fe80::1]:5672"),
        ] {
            assert_eq!(Address::parse(url).unwrap().shown(), shown);
        }
        for wrong in ["localhost", "http://localhost", "amqp://localhost:notaport", ""] {
            assert!(matches!(Address::parse(wrong), Err(Error::Url { .. })), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let address = Address::parse("amqp://user:sesame@localhost").unwrap();
        assert!(!format!("{address:?}").contains("sesame"));
    }
}
