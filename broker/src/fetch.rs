//! One HTTP/1.1 exchange over any stream: writes the request, reads the answer, ends the connection.
//!
//! It knows no sockets and no JSON. The answer's size is bounded, and what is not HTTP is an error, so that a wrong port is noticed. The
//! command line asks brokers with it, a broker those who sign its tokens. `tls` is what may lie below.

pub mod tls;

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write};

/// The longest line of a head.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Most header fields of an answer.
const FIELDS_MAX: usize = 200;

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET`, `PUT`.
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub path: &'a str,
    /// The host as the URL has it.
    pub host: &'a str,
    /// The whole value of `authorization`, if any.
    pub authorization: Option<&'a str>,
    /// Further header fields; characters that would end one are left out.
    pub fields: &'a [(&'a str, &'a str)],
    /// JSON.
    pub body: Option<&'a [u8]>,
    /// The most that is read of the answer's body.
    pub answer_bytes_max: u64,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its code: 200.
    pub status: u16,
    /// Its body, without framing.
    pub body: Vec<u8>,
}

/// How the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// Sends the request and reads the whole answer.
///
/// # Errors
///
/// The stream's, and if the answer is too long or not HTTP.
pub fn exchange<S: Read + Write>(mut stream: S, request: &Request<'_>) -> io::Result<Answer> {
    let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, request.host);
    head.push_str("accept: */*\r\nconnection: close\r\n");
    if let Some(value) = request.authorization {
        let _ = write!(head, "authorization: {value}\r\n");
    }
    for (name, value) in request.fields {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if let Some(body) = request.body {
        let _ = write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    } else if request.method != "GET" {
        head.push_str("content-length: 0\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    // A broker that refuses before it has read everything may close: its answer says why.
    let sent = request.body.map_or(Ok(()), |body| stream.write_all(body)).and_then(|()| stream.flush());
    match answer(&mut BufReader::new(stream), request) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

fn answer(stream: &mut BufReader<impl Read>, request: &Request<'_>) -> io::Result<Answer> {
    loop {
        let status = status_of(&line(stream)?)?;
        let framing = framing(stream)?;
        match status {
            // Interim answers come before the real one.
            100..=199 => {}
            204 | 304 => return Ok(Answer { status, body: Vec::new() }),
            _ if request.method == "HEAD" => return Ok(Answer { status, body: Vec::new() }),
            _ => return Ok(Answer { status, body: body(stream, framing, request.answer_bytes_max)? }),
        }
    }
}

fn status_of(line: &str) -> io::Result<u16> {
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| broken("what answers there does not speak HTTP"))
}

fn framing(stream: &mut BufReader<impl Read>) -> io::Result<Framing> {
    let mut framing = Framing::UntilEnd;
    for _ in 0..FIELDS_MAX {
        let line = line(stream)?;
        if line.is_empty() {
            return Ok(framing);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("a header field without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            let length = value.parse().map_err(|_| broken("a content-length that is no number"))?;
            framing = Framing::Length(length);
        }
    }
    Err(broken("too many header fields"))
}

fn body(stream: &mut BufReader<impl Read>, framing: Framing, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => read_exactly(stream, length, bytes_max, &mut body)?,
        Framing::Chunked => loop {
            let size = line(stream)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| broken("a chunk without a size"))?;
            if size == 0 {
                while !line(stream)?.is_empty() {}
                break;
            }
            read_exactly(stream, size, bytes_max, &mut body)?;
            line(stream)?;
        },
        Framing::UntilEnd => {
            stream.take(bytes_max.saturating_add(1)).read_to_end(&mut body)?;
            if u64::try_from(body.len()).is_ok_and(|length| length > bytes_max) {
                return Err(too_long(bytes_max));
            }
        }
    }
    Ok(body)
}

/// Appends `length` bytes. Nothing is allocated for a length before the bytes are there.
fn read_exactly(stream: &mut impl Read, length: u64, bytes_max: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let so_far = body.len();
    if length.saturating_add(u64::try_from(so_far).unwrap_or(u64::MAX)) > bytes_max {
        return Err(too_long(bytes_max));
    }
    stream.take(length).read_to_end(body)?;
    if u64::try_from(body.len() - so_far).ok() == Some(length) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early"))
    }
}

fn line(stream: &mut BufReader<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early"));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| broken("what answers there does not speak HTTP"))
}

fn too_long(bytes_max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an answer of more than {bytes_max} bytes"))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A peer with its answer ready, which keeps what it was sent.
    struct Peer {
        answer: io::Cursor<Vec<u8>>,
        sent: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.answer.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.sent.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(method: &str, body: Option<&[u8]>, answer: &str) -> (io::Result<Answer>, String) {
        let mut peer = Peer { answer: io::Cursor::new(answer.as_bytes().to_vec()), sent: Vec::new() };
        let request = Request {
            method,
            path: "/api/x",
            host: "h",
            authorization: Some("Basic eA=="),
            fields: &[("x-reason", "a\r\nb")],
            body,
            answer_bytes_max: 6,
        };
        let answer = exchange(&mut peer, &request);
        (answer, String::from_utf8(peer.sent).unwrap())
    }

    #[test]
    fn a_request_says_all_that_the_other_side_needs() {
        let (answer, sent) = ask("PUT", Some(b"{}"), "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(answer.unwrap(), Answer { status: 204, body: Vec::new() });
        assert_eq!(
            sent,
            "PUT /api/x HTTP/1.1\r\nhost: h\r\naccept: */*\r\nconnection: close\r\n\
             authorization: Basic eA==\r\nx-reason: ab\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn bodies_of_every_framing_are_read() {
        let table = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
        ];
        for answer in table {
            assert_eq!(ask("GET", None, answer).0.unwrap(), Answer { status: 200, body: b"hello".to_vec() });
        }
    }

    #[test]
    fn what_is_cut_off_or_not_http_is_an_error() {
        let table = [
            "",
            "AMQP\0\0\u{9}\u{1}",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhel",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhello, and",
            "HTTP/1.0 200 OK\r\n\r\nhello, and",
            "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        ];
        for answer in table {
            assert!(ask("GET", None, answer).0.is_err(), "{answer:?}");
        }
    }
}
