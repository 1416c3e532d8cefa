//! `warren health`: greets a broker as a client would and checks that `connection.start` comes back.
//!
//! It does not log in, so it needs no password and leaves no trace in the broker but a closed connection. Container
//! engines call it, through the image's HEALTHCHECK.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use warren::config::Config;

use super::banner::reachable;

mod tls;

/// What a client sends first (AMQP 0-9-1, section 4.2.2).
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// What a load balancer says that asks for itself (PROXY protocol, version 1).
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// How the answer begins: a method frame on channel 0, then its size.
const FRAME_HEADER_BYTES: usize = 7;

/// Class 10, method 10, version 0-9.
const CONNECTION_START: [u8; 6] = [0, 10, 0, 10, 0, 9];

/// No broker's `connection.start` is larger: 8192 bytes is the most before anything is negotiated.
const START_BYTES_MAX: usize = 8192;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The broker to check, as host:port [default: the first listener of the configuration]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Speak TLS with it; the certificate is not looked at [default: only if the configuration allows nothing else]
    #[arg(long)]
    tls: bool,
    /// How long to wait, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
}

pub(super) fn check(args: &HealthArgs, config: &Config) -> ExitCode {
    let timeout = Duration::from_millis(args.timeout_ms);
    let tls = args.tls || (args.address.is_none() && !config.listen.plaintext);
    let checked = resolve(args.address.as_deref(), config, tls)
        .and_then(|addr| Ok((addr, greet(addr, tls, config, timeout)?)));
    match checked {
        Ok((addr, ())) => {
            println!("ok: {addr} speaks AMQP 0-9-1{}", if tls { " over TLS" } else { "" });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("warren health: {error}");
            ExitCode::FAILURE
        }
    }
}

fn resolve(address: Option<&str>, config: &Config, tls: bool) -> io::Result<SocketAddr> {
    let port = if tls { config.tls.port } else { config.listen.port };
    let addr = match address {
        Some(text) => text.to_socket_addrs()?.next(),
        None => config.listen.addrs_at(port).next().map(reachable),
    };
    addr.ok_or_else(|| io::Error::other("no address to check"))
}

fn greet(addr: SocketAddr, tls: bool, config: &Config, timeout: Duration) -> io::Result<()> {
    let named = |what: &'static str| {
        move |error: io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                io::Error::other(format!("{addr}: {what} within {} ms", timeout.as_millis()))
            }
            _ => io::Error::other(format!("{addr}: {what}: {error}")),
        }
    };
    let mut stream = TcpStream::connect_timeout(&addr, timeout).map_err(named("cannot connect"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // From an address of load balancers the broker takes nothing else first.
    let own = stream.local_addr()?.ip();
    if config.listen.proxy_from.iter().any(|network| network.contains(own)) {
        stream.write_all(PROXY_HEADER).map_err(named("cannot send the PROXY header"))?;
    }
    if tls {
        let mut stream = tls::over(stream, addr)?;
        stream.write_all(PROTOCOL_HEADER).map_err(named("no TLS"))?;
        return read_start(&mut stream).map_err(named("no connection.start"));
    }
    stream.write_all(PROTOCOL_HEADER).map_err(named("cannot send the protocol header"))?;
    read_start(&mut stream).map_err(named("no connection.start"))
}

/// Reads one whole frame and checks that it is `connection.start`.
fn read_start(stream: &mut impl io::Read) -> io::Result<()> {
    let mut header = [0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let [kind, channel_high, channel_low, size @ ..] = header;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if (kind, channel_high, channel_low) != (1, 0, 0) || size > START_BYTES_MAX {
        return Err(io::Error::other("the answer is not an AMQP 0-9-1 method frame"));
    }
    let mut rest = Vec::with_capacity(size + 1);
    stream.take(size as u64 + 1).read_to_end(&mut rest)?;
    if rest.len() != size + 1 || rest.last() != Some(&0xce) || !rest.starts_with(&CONNECTION_START) {
        return Err(io::Error::other("the answer is another frame"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const GOOD: &[u8] = &[1, 0, 0, 0, 0, 0, 8, 0, 10, 0, 10, 0, 9, 0, 0, 0xce];

    #[test]
    fn only_a_whole_connection_start_is_healthy() {
        assert!(read_start(&mut &*GOOD).is_ok());
        let change = |at: usize, to: u8| {
            let mut bytes = GOOD.to_vec();
            bytes[at] = to;
            bytes
        };
        // Type, channel, size beyond the bound, method, version, frame end.
        for bytes in [change(0, 8), change(2, 1), change(4, 1), change(10, 11), change(12, 8), change(15, 0)]
        {
            assert!(read_start(&mut &*bytes).is_err(), "{bytes:?}");
        }
        assert!(read_start(&mut &GOOD[..15]).is_err());
        assert!(read_start(&mut &b"AMQP\x00\x00\x09\x01"[..]).is_err());
        assert!(read_start(&mut &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).is_err());
    }

    #[test]
    fn a_peer_that_says_nothing_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error =
            greet(listener.local_addr().unwrap(), false, &Config::default(), Duration::from_millis(50))
                .unwrap_err();
        assert!(error.to_string().contains("no connection.start within 50 ms"), "{error}");
    }

    #[test]
    fn a_greeting_over_a_socket_is_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; 8];
            stream.read_exact(&mut header).unwrap();
            stream.write_all(GOOD).unwrap();
            header
        });
        greet(addr, false, &Config::default(), Duration::from_secs(10)).unwrap();
        assert_eq!(&broker.join().unwrap(), PROTOCOL_HEADER);
    }

    #[test]
    fn a_check_from_an_address_of_load_balancers_begins_as_theirs_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = vec![0; PROXY_HEADER.len() + PROTOCOL_HEADER.len()];
            stream.read_exact(&mut sent).unwrap();
            stream.write_all(GOOD).unwrap();
            sent
        });
        let mut config = Config::default();
        config.listen.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
        greet(addr, false, &config, Duration::from_secs(10)).unwrap();
        assert_eq!(broker.join().unwrap(), [PROXY_HEADER, PROTOCOL_HEADER].concat());
    }

    #[test]
    fn the_first_listener_is_checked_unless_told_otherwise() {
        let mut config = Config::default();
        config.listen.bind = vec!["0.0.0.0".parse().unwrap()];
        config.listen.port = 7;
        assert_eq!(resolve(None, &config, false).unwrap(), "127.0.0.1:7".parse().unwrap());
        assert_eq!(resolve(None, &config, true).unwrap(), "127.0.0.1:5671".parse().unwrap());
        assert_eq!(resolve(Some("127.0.0.2:8"), &config, false).unwrap(), "127.0.0.2:8".parse().unwrap());
        assert!(resolve(Some("nonsense"), &config, false).is_err());
    }
}
