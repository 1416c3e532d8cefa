//! `amqp://user:password@host:port/vhost`, as the AMQP URI specification has it.
//!
//! An empty path means vhost `/`, as every client does in practice. TLS is refused: the generator measures brokers, not
//! ciphers. Called by `cli`.

use std::fmt;
use std::str::FromStr;

/// Where and as whom to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

impl Url {
    /// Host and port, with the brackets an IPv6 address needs.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Never shows the password.
impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "amqp://{}@{} vhost {}", self.user, self.address(), self.vhost)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("amqp://")
            .ok_or("expected amqp://USER:PASSWORD@HOST:PORT/VHOST (amqps:// is not supported)")?;
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, endpoint) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (decode(user)?, decode(password)?),
            None if credentials.is_empty() => ("guest".to_owned(), "guest".to_owned()),
            None => (decode(credentials)?, String::new()),
        };
        let (host, port) = split_port(endpoint)?;
        let vhost = if path.is_empty() { "/".to_owned() } else { decode(path)? };
        Ok(Self { host, port, user, password, vhost })
    }
}

fn split_port(endpoint: &str) -> Result<(String, u16), String> {
    let (host, port) = match endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match endpoint.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (endpoint, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| format!("{port:?} is not a port number"))?,
        None => 5672,
    };
    let host = decode(host)?;
    Ok((if host.is_empty() { "localhost".to_owned() } else { host }, port))
}

/// Undoes percent encoding.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let value = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(
            value.ok_or_else(|| format!("{text:?} has a % that two hexadecimal digits do not follow"))?,
        );
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8 once decoded"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("amqp://guest:guest@127.0.0.1:5672/", ("guest", "guest", "127.0.0.1", 5672, "/")),
            ("amqp://", ("guest", "guest", "localhost", 5672, "/")),
            ("amqp://host/%2f", ("guest", "guest", "host", 5672, "/")),
            ("amqp://a%40b:c%3Ad@h:1/my%20vhost?heartbeat=5", ("a@b", "c:d", "h", 1, "my vhost")),
            ("amqp://u@[::1]:99/v", ("u", "", "::1", 99, "v")),
        ];
        for (text, (user, password, host, port, vhost)) in cases {
            let url: Url = text.parse().unwrap();
            let got = (&*url.user, &*url.password, &*url.host, url.port, &*url.vhost);
            assert_eq!(got, (user, password, host, port, vhost), "{text}");
        }
    }

    #[test]
    fn broken_urls_are_refused() {
        for text in
            ["http://x", "amqps://x", "amqp://h:port/", "amqp://h/%2", "amqp://h/%zz", "amqp://h:70000"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
