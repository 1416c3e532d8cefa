//! A plain HTTP client: one connection for each request, nothing understood that it need not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use warren_tests::{Broker, DEADLINE};

/// Where the API is, and as whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    port: u16,
    credentials: Option<String>,
    socket: PathBuf,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body, which has to be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    /// For a broker, as `guest`.
    pub(crate) fn new(broker: &mut Broker) -> Self {
        let port = broker.api().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let socket = broker.data().expect("a data folder").join("ctl.sock");
        Self { port, credentials: Some("guest:guest".to_owned()), socket }
    }

    /// The same broker as somebody else, `name:password`, or as nobody.
    pub(crate) fn as_user(&self, credentials: Option<&str>) -> Self {
        Self { credentials: credentials.map(str::to_owned), ..self.clone() }
    }

    /// Another broker on this machine, by the port of its API.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The socket in the data folder.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Over TCP.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the API is there");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        exchange(stream, &self.request(method, path, body))
    }

    /// A request that may find nobody: the status, if there was an answer.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: &Value) -> Option<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(self.request(method, path, Some(body)).as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    /// Over the socket in the data folder.
    pub(crate) fn call_locally(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let stream = UnixStream::connect(&self.socket).expect("the socket is there");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let nobody = self.as_user(None);
        exchange(stream, &nobody.request(method, path, body))
    }

    /// The JSON of what has to be there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let authorization = self.credentials.as_ref().map_or(String::new(), |credentials| {
            format!("Authorization: Basic {}\r\n", base64(credentials.as_bytes()))
        });
        let body = body.map_or(String::new(), Value::to_string);
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )
    }
}

/// A name in a path.
pub(crate) fn quoted(name: &str) -> String {
    name.replace(' ', "%20").replace('>', "%3E")
}

/// Sends bytes and reads what comes until the end.
pub(crate) fn exchange<S: Read + Write>(mut stream: S, request: &str) -> Answer {
    // The broker may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("the answer is UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// The mode of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            text.push(if at <= chunk.len() { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' });
        }
    }
    text
}
