//! The PROXY protocol, versions 1 and 2: what a load balancer says of a connection in front of its first byte.
//!
//! Read from addresses that are trusted (`listen.proxy_from`), and there it must be: whoever could leave it out could claim to be the
//! load balancer. From anybody else it is no valid greeting. Nothing behind the header is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;

/// What may follow the fixed part of version 2: addresses, and additions that are passed over. Load balancers send some hundred
/// bytes at most.
const REST_BYTES_MAX: u16 = 2048;

/// Where the connection comes from and where it was going, as far as it is told.
pub(super) type Ends = Option<(SocketAddr, SocketAddr)>;

/// Reads the header. None for connections of the load balancer itself, which are what they seem.
///
/// # Errors
///
/// If the peer sends something else, or ends.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Ends> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(bad(
            "it does not begin with a header of the PROXY protocol, which connections from this address must",
        ));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(bad("the line of the PROXY protocol is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| bad("the line of the PROXY protocol is not text"))?;
    parse_line(line.trim_end())
}

fn parse_line(line: &str) -> io::Result<Ends> {
    let mut words = line.split(' ');
    let (Some("PROXY"), Some(family)) = (words.next(), words.next()) else {
        return Err(bad("no address family"));
    };
    let is_right: fn(&IpAddr) -> bool = match family {
        "UNKNOWN" => return Ok(None),
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return Err(bad("an unknown address family")),
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(is_right);
    let ips = (address(), address());
    let mut port = || words.next()?.parse::<u16>().ok();
    match (ips, port(), port(), words.next()) {
        ((Some(from), Some(to)), Some(from_port), Some(to_port), None) => {
            Ok(Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))))
        }
        _ => Err(bad("its addresses cannot be read")),
    }
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Ends> {
    let version_and_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = stream.read_u16().await?;
    if length > REST_BYTES_MAX {
        return Err(bad("the header of the PROXY protocol is too long"));
    }
    let mut rest = vec![0; length.into()];
    stream.read_exact(&mut rest).await?;
    match version_and_command {
        // Checks of the load balancer itself.
        0x20 => Ok(None),
        0x21 => parse_addresses(family, &rest),
        _ => Err(bad("an unknown version or command of the PROXY protocol")),
    }
}

fn parse_addresses(family: u8, rest: &[u8]) -> io::Result<Ends> {
    let mut rest = rest;
    let short = || bad("its addresses are cut short");
    let ips: (IpAddr, IpAddr) = match family {
        0x11 => {
            let mut ip = || take::<4>(&mut rest).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            ip().zip(ip()).ok_or_else(short)?
        }
        0x21 => {
            let mut ip = || take::<16>(&mut rest).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            ip().zip(ip()).ok_or_else(short)?
        }
        // Unspecified, or a socket that is no TCP.
        _ => return Ok(None),
    };
    let mut port = || take::<2>(&mut rest).map(u16::from_be_bytes);
    let ports = port().zip(port()).ok_or_else(short)?;
    Ok(Some((SocketAddr::new(ips.0, ports.0), SocketAddr::new(ips.1, ports.1))))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is read of the input, and what is left for others.
    async fn read_all(mut input: &[u8]) -> (io::Result<Ends>, &[u8]) {
        let ends = read(&mut input).await;
        (ends, input)
    }

    fn ends(from: &str, to: &str) -> Ends {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"AMQP"].concat()
    }

    #[tokio::test]
    async fn lines_tell_both_ends_and_leave_what_follows() {
        for (line, expected) in [
            ("PROXY TCP4 10.1.2.3 10.0.0.1 40000 5672\r\n", ends("10.1.2.3:40000", "10.0.0.1:5672")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ends("[2001:db8::1]:1", "[::1]:2")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:: whatever 1 2\r\n", None),
        ] {
            let input = format!("{line}AMQP");
            let (read, left) = read_all(input.as_bytes()).await;
            assert_eq!((read.unwrap(), left), (expected, &b"AMQP"[..]), "{line}");
        }
    }

    #[tokio::test]
    async fn binary_headers_tell_both_ends_and_leave_what_follows() {
        let four = [10, 1, 2, 3, 10, 0, 0, 1, 0x9C, 0x40, 0x16, 0x28];
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
        let additions = [&four[..], &[4, 0, 2, 7, 7]].concat();
        let v4 = ends("10.1.2.3:40000", "10.0.0.1:5672");
        for (input, expected) in [
            (binary(0x21, 0x11, &four), v4),
            (binary(0x21, 0x11, &additions), v4),
            (binary(0x21, 0x21, &six), ends("[::1]:3", "[::2]:4")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let (read, left) = read_all(&input).await;
            assert_eq!((read.unwrap(), left), (expected, &b"AMQP"[..]), "{input:?}");
        }
    }

    #[tokio::test]
    async fn everything_else_is_refused_and_no_more_than_the_bound_is_read() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 1000]].concat();
        for input in [
            b"AMQP\0\0\x09\x01AMQP\0\0\x09\x01".to_vec(),
            b"PROXY TCP4 10.1.2.3 10.0.0.1 40000\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 10.1.2.3 10.0.0.1 1 65536\r\n".to_vec(),
            b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2 3\r\n".to_vec(),
            b"PROXY UDP4 10.1.2.3 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            b"PROXY TC".to_vec(),
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x11, &[0; 2049]),
        ] {
            assert!(read_all(&input).await.0.is_err(), "{input:?}");
        }
        let (read, left) = read_all(&long).await;
        assert!(read.is_err());
        assert_eq!(left.len(), long.len() - LINE_BYTES_MAX);
    }
}
