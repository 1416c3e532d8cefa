//! Keys from a URL: fetched at the start, again and again, and when a token comes that none of them has signed.
//!
//! One thread fetches and waits for nobody but the server of the keys; whoever logs in meanwhile is judged by the keys that are there.
//! A server that does not answer, or with nonsense, changes nothing.

use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::OAuth;
use super::keys::{Keys, KeysError};
use crate::config::{self, TokenAlgorithm};
use crate::fetch::{self, Request, tls};
use crate::limits::KEYS_FILE_BYTES_MAX;
use crate::server::shared::Shared;

/// How long to wait for a connection, and for each piece of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Keys are not fetched sooner after they were, however many tokens come that nobody has signed.
const LEAST_INTERVAL: Duration = Duration::from_secs(30);

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    encrypted: bool,
    host: String,
    port: u16,
    /// Path and query.
    path: String,
    ca: Option<PathBuf>,
    algorithms: Vec<TokenAlgorithm>,
    refresh: Duration,
}

impl Source {
    /// None if keys come from a file only.
    ///
    /// # Errors
    ///
    /// If it is no URL, or one of another machine without TLS: who is in between could let in anybody.
    pub(super) fn of(settings: &config::OAuth) -> Result<Option<Self>, KeysError> {
        let url = settings.keys_url.as_str();
        if url.is_empty() {
            return Ok(None);
        }
        let (encrypted, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(KeysError::Url),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| KeysError::Url)?),
            _ => (authority, if encrypted { 443 } else { 80 }),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let is_text = url.chars().all(|letter| letter.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_text || (!encrypted && !is_here) {
            return Err(KeysError::Url);
        }
        // A secret that everybody can fetch is none.
        let algorithms = settings.algorithms.iter().copied().filter(|one| *one != TokenAlgorithm::Hs256);
        Ok(Some(Self {
            encrypted,
            host: host.to_owned(),
            port,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            ca: settings.keys_ca.clone(),
            algorithms: algorithms.collect(),
            refresh: settings.keys_refresh,
        }))
    }

    fn fetch(&self) -> io::Result<Keys> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut connected = Err(io::Error::from(io::ErrorKind::NotFound));
        for address in (bare, self.port).to_socket_addrs()? {
            connected = TcpStream::connect_timeout(&address, TIMEOUT);
            if connected.is_ok() {
                break;
            }
        }
        let stream = connected?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let host = format!("{}:{}", self.host, self.port);
        let request = Request {
            method: "GET",
            path: &self.path,
            host: &host,
            authorization: None,
            fields: &[],
            body: None,
            answer_bytes_max: KEYS_FILE_BYTES_MAX,
        };
        let answer = match self.encrypted {
            true => fetch::exchange(tls::over(stream, &self.host, self.ca.as_deref())?, &request)?,
            false => fetch::exchange(stream, &request)?,
        };
        if answer.status != 200 {
            return Err(io::Error::other(format!("the server answers with status {}", answer.status)));
        }
        Keys::parse(&answer.body, &self.algorithms).map_err(io::Error::other)
    }
}

impl OAuth {
    /// Starts the thread that fetches keys for as long as the broker is there.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub(in crate::server) fn follow_keys(shared: &Arc<Shared>) -> io::Result<()> {
        let (wake, wakes) = sync_channel(1);
        *shared.access.oauth().wake.lock() = Some(wake);
        let broker = Arc::downgrade(shared);
        let follow = move || {
            loop {
                // Not held while waiting: that is what ends the broker, and with it this.
                let Some(source) = broker.upgrade().map(|shared| shared.access.oauth().source()) else {
                    return;
                };
                let refresh = match source {
                    Some(source) => {
                        let fetched = source.fetch();
                        let Some(shared) = broker.upgrade() else { return };
                        shared.access.oauth().take_fetched(&source, fetched);
                        Some(source.refresh)
                    }
                    None => None,
                };
                if !wait(&wakes, refresh) {
                    return;
                }
            }
        };
        thread::Builder::new().name("warren-keys".to_owned()).spawn(follow).map(drop)
    }

    fn source(&self) -> Option<Source> {
        self.loaded.read().as_ref()?.source.clone()
    }

    fn take_fetched(&self, from: &Source, fetched: io::Result<Keys>) {
        match fetched {
            Ok(keys) => {
                let mut loaded = self.loaded.write();
                if let Some(loaded) = loaded.as_mut().filter(|loaded| loaded.source.as_ref() == Some(from)) {
                    loaded.fetched = keys;
                }
            }
            Err(error) => {
                let host = &from.host;
                tracing::warn!(host, %error, "the keys of oauth.keys_url cannot be fetched; those that are there stay in use");
            }
        }
    }
}

/// Waits until it is time to fetch again, `refresh` after the last time or when somebody asks for it. False if the broker is gone.
fn wait(wakes: &Receiver<()>, refresh: Option<Duration>) -> bool {
    let Some(refresh) = refresh else { return wakes.recv().is_ok() };
    let earliest = Instant::now() + LEAST_INTERVAL.min(refresh);
    match wakes.recv_timeout(refresh) {
        Err(RecvTimeoutError::Timeout) => return true,
        Err(RecvTimeoutError::Disconnected) => return false,
        Ok(()) => {}
    }
    loop {
        let left = earliest.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        match wakes.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => return false,
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(url: &str) -> Result<Option<Source>, KeysError> {
        Source::of(&config::OAuth { keys_url: url.to_owned(), ..config::OAuth::default() })
    }

    #[test]
    fn keys_are_fetched_over_tls_or_from_this_machine() {
        assert_eq!(source("").unwrap(), None);
        let found = |url: &str| {
            let Source { encrypted, host, port, path, .. } = source(url).unwrap().unwrap();
            (encrypted, host, port, path)
        };
        assert_eq!(
            found("https://a.example/k?x=1"),
            (true, "a.example".to_owned(), 443, "/k?x=1".to_owned())
        );
        assert_eq!(found("https://a.example:8443"), (true, "a.example".to_owned(), 8443, "/".to_owned()));
        assert_eq!(found("http://[::1]:80/k").1, "[::1]");
        assert_eq!(found("http://localhost/k").2, 80);
        for url in [
            "http://a.example/k",
            "http://192.0.2.1/",
            "ftp://localhost/",
            "https://",
            "https://a:x/",
            "k",
            "https://u:p@a.example/",
            "https://a.example/a b",
            "http://localhost.example/k",
        ] {
            assert!(matches!(source(url), Err(KeysError::Url)), "{url}");
        }
    }
}
