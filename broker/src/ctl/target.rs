//! [`Target`]: which broker a command is for, and how it is reached: the socket in a data folder, or a URL with user and password.
//!
//! User and password come from the URL, or from a file that nobody else can read; they are never shown.

use std::fs;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use warren::fetch::{self, Answer, Request, tls};

use super::failure::{DATA, Failure, NO_HOST, TEMPORARY, UNAVAILABLE, USAGE};

/// The socket's name in the data folder.
const SOCKET: &str = "ctl.sock";

/// The most that is read of an answer: the definitions of a very large broker.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker, and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The socket of a broker on this machine.
    Local(PathBuf),
    /// The HTTP API.
    Remote(Remote),
}

/// Where the HTTP API is, and as whom it is asked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Remote {
    tls: bool,
    host: String,
    port: u16,
    user: String,
    password: String,
    /// Authorities to trust, in PEM, instead of the system's.
    ca: Option<PathBuf>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// What is sent, however the broker is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) method: &'a str,
    /// Path and query, percent-encoded.
    pub(super) path: &'a str,
    /// Somebody else's `authorization` than the target's own.
    pub(super) authorization: Option<&'a str>,
    /// Further header fields.
    pub(super) fields: &'a [(&'a str, &'a str)],
    /// JSON.
    pub(super) body: Option<&'a [u8]>,
}

impl Default for Sent<'_> {
    fn default() -> Self {
        Self { method: "GET", path: "/", authorization: None, fields: &[], body: None }
    }
}

/// What a profile file may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
    user: Option<String>,
    password: Option<String>,
    cacert: Option<PathBuf>,
}

impl Target {
    /// The broker that uses this data folder.
    pub(super) fn local(folder: &Path) -> Self {
        Self::Local(folder.join(SOCKET))
    }

    /// Reads `http://user:password@host:15672`.
    pub(super) fn from_url(url: &str, ca: Option<PathBuf>) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(USAGE, format!("the URL {why}; write it as http://user:password@host:15672"))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("has a scheme other than http and https")),
        };
        let rest = rest.trim_end_matches('/');
        let rest = rest.strip_suffix("/api").unwrap_or(rest);
        let (user_info, authority) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("has a port that is none"))?)
            }
            _ => (authority, if tls { 15_671 } else { 15_672 }),
        };
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ', '\r', '\n']) {
            return Err(wrong("has no host, or a path"));
        }
        let decoded =
            |text| percent_decoded(text).ok_or_else(|| wrong("has a % that is not followed by two digits"));
        let (user, password) = (decoded(user)?, decoded(password)?);
        Ok(Self::Remote(Remote { tls, host: host.to_owned(), port, user, password, ca }))
    }

    /// Reads a profile file. It holds a password, so nobody else may be able to read it.
    pub(super) fn from_profile(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let unreadable = |error: io::Error| Failure::new(DATA, format!("cannot read {name}: {error}"));
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                DATA,
                format!("others can read {name}, and it holds a password: chmod 600 {name}"),
            ));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        // The error would quote the line, and that may be the password's.
        let profile: Profile = toml::from_str(&text).map_err(|_| {
            Failure::new(DATA, format!("{name} has to hold url, and may hold user, password and cacert"))
        })?;
        let target = Self::from_url(&profile.url, profile.cacert)?;
        Ok(match target {
            Self::Remote(remote) => Self::Remote(Remote {
                user: profile.user.unwrap_or(remote.user),
                password: profile.password.unwrap_or(remote.password),
                ..remote
            }),
            local @ Self::Local(_) => local,
        })
    }

    /// The same broker, asked as somebody else.
    pub(super) fn with_login(&self, user: &str, password: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.clone()),
            Self::Remote(remote) => Self::Remote(Remote {
                user: user.to_owned(),
                password: password.to_owned(),
                ..remote.clone()
            }),
        }
    }

    /// Whether it is a broker of this machine, which needs no password.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// How it is called in messages: never with a password.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Remote(remote) => {
                let scheme = if remote.tls { "https" } else { "http" };
                format!("{scheme}://{}:{}", remote.host, remote.port)
            }
        }
    }

    /// Sends a request and reads the answer.
    pub(super) fn send(&self, sent: &Sent<'_>, timeout: Option<Duration>) -> Result<Answer, Failure> {
        let &Sent { method, path, authorization, fields, body } = sent;
        match self {
            Self::Local(socket) => {
                let request = Request {
                    method,
                    path,
                    host: "localhost",
                    authorization,
                    fields,
                    body,
                    answer_bytes_max: ANSWER_BYTES_MAX,
                };
                let stream = UnixStream::connect(socket).map_err(|error| self.unreachable(&error))?;
                let answer = stream
                    .set_read_timeout(timeout)
                    .and_then(|()| stream.set_write_timeout(timeout))
                    .and_then(|()| fetch::exchange(stream, &request));
                answer.map_err(|error| self.interrupted(&error))
            }
            Self::Remote(remote) => {
                let own = authorization.map_or_else(|| basic(&remote.user, &remote.password), str::to_owned);
                let host = format!("{}:{}", remote.host, remote.port);
                let request = Request {
                    method,
                    path,
                    host: &host,
                    authorization: Some(&own),
                    fields,
                    body,
                    answer_bytes_max: ANSWER_BYTES_MAX,
                };
                let stream = self.connect(remote, timeout)?;
                let answer = if remote.tls {
                    tls::over(stream, &remote.host, remote.ca.as_deref())
                        .and_then(|stream| fetch::exchange(stream, &request))
                } else {
                    fetch::exchange(stream, &request)
                };
                answer.map_err(|error| self.interrupted(&error))
            }
        }
    }

    fn connect(&self, remote: &Remote, timeout: Option<Duration>) -> Result<TcpStream, Failure> {
        let host = remote.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, remote.port)
            .to_socket_addrs()
            .map_err(|error| Failure::new(NO_HOST, format!("there is no host {host}: {error}")))?;
        let limit = timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect_timeout(&address, limit) {
                Ok(stream) => {
                    stream
                        .set_read_timeout(timeout)
                        .and_then(|()| stream.set_write_timeout(timeout))
                        .map_err(|error| self.unreachable(&error))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(self.unreachable(&last))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let what = match self {
            Self::Local(_) => {
                "is a broker running with this data folder? name the folder with --data, or a broker elsewhere with --url"
            }
            Self::Remote(_) => "is the broker running, and its HTTP API switched on?",
        };
        Failure::new(UNAVAILABLE, format!("cannot reach a broker at {}: {error}\n{what}", self.name()))
    }

    fn interrupted(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Failure::new(TEMPORARY, format!("{} did not answer in time; see --timeout", self.name()))
            }
            _ => Failure::new(UNAVAILABLE, format!("no answer from {}: {error}", self.name())),
        }
    }
}

/// The value of `authorization` for a user and password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> Remote {
        match Target::from_url(url, None) {
            Ok(Target::Remote(remote)) => remote,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            ("http://alex:1%3a2@broker:1234", (false, "broker", 1234, "alex", "1:2")),
            ("http://alex:a@b@broker/", (false, "broker", 15_672, "alex", "a@b")),
            ("https://[::1]", (true, "[::1]", 15_671, "guest", "guest")),
            ("https://x:@[::1]:7/api/", (true, "[::1]", 7, "x", "")),
        ];
        for (url, expected) in table {
            let found = remote(url);
            let found = (found.tls, &*found.host, found.port, &*found.user, &*found.password);
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn urls_that_lead_nowhere_are_a_usage_error_which_does_not_quote_them() {
        for url in [
            "broker",
            "amqp://h",
            "http://",
            "http://u:secret@h:port",
            "http://h/x",
            "http://u:%zz@h",
            "http://u:s@h\r\nx",
        ] {
            let failure = Target::from_url(url, None).unwrap_err();
            assert_eq!(failure.code, USAGE, "{url}");
            assert!(!failure.text.contains("secret"), "{failure}");
        }
    }

    #[test]
    fn a_profile_that_others_can_read_is_refused_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.toml");
        fs::write(&path, "url = \"http://h\"\nuser = \"alex\"\npassword = \"s3cret\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Target::from_profile(&path).unwrap_err().text.contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let target = Target::from_profile(&path).unwrap();
        assert_eq!(target.name(), "http://h:15672");
        assert!(!format!("{target:?}").contains("s3cret"));
        let Target::Remote(remote) = target else { panic!("remote") };
        assert_eq!((&*remote.user, &*remote.password), ("alex", "s3cret"));
        fs::write(&path, "url = \"http://h\"\npasword = \"s3cret\"\n").unwrap();
        let failure = Target::from_profile(&path).unwrap_err();
        assert_eq!(failure.code, DATA);
        assert!(!failure.text.contains("s3cret"), "{failure}");
    }
}
