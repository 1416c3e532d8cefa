//! The broker as a running thing: sockets, tasks, timers, locks, and shutdown.
//!
//! The only part that knows tokio. It brings sessions and the engine together: [`driver`] runs one connection without its
//! socket, `connection` gives it one, `executor` carries out what sessions ask for, `queue_handle` is the one place
//! that locks queues. Rules of the protocol are in `session`, rules of queues and routing in `engine`.

pub mod access;
pub mod admin;
mod admission;
pub mod alarms;
mod backups;
mod census;
mod connection;
mod dead_letters;
pub mod disk_monitor;
pub mod driver;
mod durable_waiters;
mod endpoints;
mod events;
mod executor;
mod history;
mod journal;
mod listener;
mod memory_gauge;
mod oauth;
mod outbox;
mod pager;
mod policies;
mod proxy_protocol;
mod queue_handle;
mod queue_limit;
mod random;
mod reload;
mod restore;
mod server_properties;
mod sessions;
mod shared;
mod sockets;
#[cfg(test)]
mod tests;
mod timers;
mod tls;
mod vhost;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::access::password::{Hashing, PasswordHash};
use crate::access::{AccessError, Directory};
use crate::clock::Clock;
use crate::config::{self, Config, Listen};
use crate::error::AmqpError;
use crate::http::{self, Http, LocalSocket};
use crate::session::config::SessionConfig;
use crate::store::folder::FolderError;
use crate::store::{MemoryStore, OpenError, Store};

pub use oauth::{KeysError, TokenRefused};
pub use policies::PolicyError;
pub use reload::{ConfigSource, ReloadError, ReloadReport};
pub use shared::Shared;
pub use sockets::Sockets;
pub use tls::TlsError;
use tls::TlsSetup;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What is in the data folder cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// An address could not be listened on for the HTTP API.
    #[error("cannot listen on {address} for the HTTP API")]
    ListenHttp {
        /// Which one.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A socket that was handed over cannot be listened on.
    #[error("cannot listen on a socket that was handed over")]
    Inherited(#[source] io::Error),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of tokens cannot be used.
    #[error(transparent)]
    OAuth(#[from] KeysError),
    /// The definitions of the settings cannot be used.
    #[error("the definitions in {}: {reason}", path.display())]
    Definitions {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The first user cannot be made.
    #[error("the settings auth.user and auth.password make no user")]
    User(#[source] AccessError),
    /// Unencrypted connections are switched off, and encrypted ones are not set up.
    #[error(
        "listen.plaintext is false and there is no TLS: set tls.cert and tls.key, or leave listen.plaintext true"
    )]
    NothingToListen,
    /// The HTTP API is to be served, but in no way that is set up.
    #[error(
        "the HTTP API cannot be served: http.tls_port needs tls.cert and tls.key, and http.plaintext = false needs http.tls_port"
    )]
    NothingToServe,
    /// There is no address to listen on.
    #[error("no address to listen on: none is configured, or this machine has none of them")]
    NoAddress,
}

/// A running broker. Dropping it ends its connections at once; [`Broker::shutdown`] does so politely.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    local_addrs: Vec<SocketAddr>,
    tls_addrs: Vec<SocketAddr>,
    http: Option<Http>,
    /// Removed before the folder that it is in is unlocked.
    local_socket: Option<LocalSocket>,
    acceptors: Vec<JoinHandle<()>>,
    data: Option<restore::Data>,
}

impl Broker {
    /// Starts a broker inside the running tokio runtime. It is ready for clients when this returns.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use warren::{Broker, Config};
    ///
    /// let broker = Broker::start(Config::in_process()).await?;
    /// println!("amqp://guest:guest@{}", broker.local_addrs()[0]);
    /// broker.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError`] if the data folder cannot be used or an address cannot be listened on. An IPv6 address that the machine does not have is passed over
    /// while another address works.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Sockets::default()).await
    }

    /// The same on sockets that are open already.
    ///
    /// # Errors
    ///
    /// As of [`Broker::start`].
    pub async fn start_on(config: Config, sockets: Sockets) -> Result<Self, StartError> {
        let oauth = oauth::Loaded::read(&config.oauth)?;
        let tls = TlsSetup::new(&config.tls, config.limits.handshake_timeout)?;
        let addrs = |listeners: &[TcpListener]| -> Vec<SocketAddr> {
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
        };
        let plain = match config.listen.plaintext {
            _ if !sockets.amqp.is_empty() => sockets::adopt(sockets.amqp).map_err(StartError::Inherited)?,
            true => bind_all(&config.listen, config.listen.port)?,
            false if tls.is_none() => return Err(StartError::NothingToListen),
            false => Vec::new(),
        };
        let encrypted = match tls {
            Some(_) if !sockets.amqps.is_empty() => {
                sockets::adopt(sockets.amqps).map_err(StartError::Inherited)?
            }
            Some(_) => bind_all(&config.listen, config.tls.port)?,
            None => Vec::new(),
        };
        let (local_addrs, tls_addrs): (Vec<_>, Vec<_>) = (addrs(&plain), addrs(&encrypted));
        let http = bind_http(&config.http, tls.is_some(), sockets.http)?;
        let (shared, data) = match &config.data.folder {
            Some(path) => restore::start(&config, path).map(|(shared, data)| (shared, Some(data)))?,
            None => {
                let directory = default_directory(&config, Hashing::Fast).map_err(StartError::User)?;
                (shared_with(&config, Arc::new(MemoryStore), directory, Hashing::Fast), None)
            }
        };
        if let Some(tls) = &tls {
            // It has none yet.
            let _ = shared.running.tls.set(tls.clone());
        }
        shared.access.oauth().replace(oauth);
        timers::Timers::start(&shared).map_err(StartError::Thread)?;
        dead_letters::DeadLetters::start(&shared).map_err(StartError::Thread)?;
        events::Events::start(&shared).map_err(StartError::Thread)?;
        oauth::OAuth::follow_keys(&shared).map_err(StartError::Thread)?;
        census::Census::start(&shared).map_err(StartError::Thread)?;
        shared.census.note(admin::Facts {
            started: Instant::now(),
            listeners: listeners_of(&local_addrs, &tls_addrs, &http),
        });
        if let Some(path) = &config.server.definitions {
            // Before anybody can connect.
            http::definitions::load_file(&admin::Admin::new(shared.clone()), path)
                .map_err(|reason| StartError::Definitions { path: path.clone(), reason })?;
        }
        let local_socket = config.data.folder.as_deref().and_then(http::open_local);
        let http = serve_http(&shared, http, local_socket.as_ref()).map_err(StartError::Thread)?;
        let accept = |listener, tls| tokio::spawn(listener::accept_loop(listener, tls, shared.clone()));
        let mut acceptors: Vec<_> = plain.into_iter().map(|listener| accept(listener, None)).collect();
        acceptors.extend(encrypted.into_iter().map(|listener| accept(listener, tls.clone())));
        acceptors.extend(tls.clone().map(|tls| tokio::spawn(tls.follow_files())));
        Ok(Self { shared, local_addrs, tls_addrs, http, local_socket, acceptors, data })
    }

    /// Where it listens, with the ports that were free if port 0 was asked for.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Where it listens for the HTTP API, with the ports that were free if port 0 was asked for; nowhere unless it is configured.
    #[must_use]
    pub fn http_addrs(&self) -> &[SocketAddr] {
        self.http.as_ref().map_or(&[], Http::addrs)
    }

    /// The same for the HTTP API over TLS.
    #[must_use]
    pub fn https_addrs(&self) -> &[SocketAddr] {
        self.http.as_ref().map_or(&[], Http::tls_addrs)
    }

    /// Turns tracing on in a vhost: for each message that is published there, and each delivery, a copy goes to the exchange
    /// `amq.rabbitmq.trace`, with the routing key `publish.{exchange}` or `deliver.{queue}` and headers that say what happened, as
    /// RabbitMQ's `trace_on` does. A restart ends it. False if there is no such vhost.
    ///
    /// It costs every message in the vhost a second one, so it is for looking, not for leaving on.
    pub fn trace_on(&self, vhost: &str) -> bool {
        self.set_traced(vhost, true)
    }

    /// Turns tracing off again. False if there is no such vhost.
    pub fn trace_off(&self, vhost: &str) -> bool {
        self.set_traced(vhost, false)
    }

    fn set_traced(&self, name: &str, traced: bool) -> bool {
        self.admin().set_traced(name, traced)
    }

    /// Where it listens for TLS; nowhere unless a certificate is configured.
    #[must_use]
    pub fn tls_addrs(&self) -> &[SocketAddr] {
        &self.tls_addrs
    }

    /// Reads certificate and key again; that also happens by itself within seconds after their files have changed. Without TLS it
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if they cannot be used; the old ones stay in use.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.shared.running.tls.get().map_or(Ok(()), |tls| tls.reload())
    }

    /// Stops accepting, tells every client (`connection.close` 320), gives them the configured grace to answer, ends the
    /// connections that are left, and writes what the data folder does not have yet.
    pub async fn shutdown(mut self) {
        self.stop_accepting();
        let (shared, grace) =
            (self.shared.clone(), self.shared.running.read(|config| config.limits.shutdown_grace));
        // The error says that the runtime stops.
        let _ = tokio::task::spawn_blocking(move || shared.backups.close(grace)).await;
        if let Some(http) = self.http.take() {
            // It waits for what is being worked on. The error says that the runtime stops.
            let _ = tokio::task::spawn_blocking(|| http.stop()).await;
        }
        drop(self.local_socket.take());
        for acceptor in std::mem::take(&mut self.acceptors) {
            // The error says that it was aborted. Until then it may still let somebody in.
            let _ = acceptor.await;
        }
        self.shared.close_all(&AmqpError::connection_forced(
            "broker forced connection closure with reason 'shutdown'",
        ));
        if tokio::time::timeout(grace, self.shared.all_gone()).await.is_err() {
            let connections = self.shared.connection_count();
            tracing::warn!(connections, "clients did not answer connection.close in time; dropping them");
            self.shared.kill_all();
            self.shared.all_gone().await;
        }
        // What they held has returned to its queues, which may have given it up. The error says that the runtime stops.
        let dead_letters = self.shared.dead_letters.clone();
        let drained = tokio::task::spawn_blocking(move || dead_letters.drain(grace)).await;
        if drained.is_ok_and(|drained| !drained) {
            tracing::warn!("not all dead letters were published in time; their messages are where they were");
        }
        if let Some(data) = self.data.take() {
            // It waits for the disk, and may write a good deal. The error says that the runtime stops.
            let _ = tokio::task::spawn_blocking(|| drop(data)).await;
        }
    }

    fn stop_accepting(&self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop_accepting();
        self.shared.backups.close(Duration::ZERO);
        self.shared.kill_all();
    }
}

fn listeners_of(
    plain: &[SocketAddr],
    encrypted: &[SocketAddr],
    http: &http::Listeners,
) -> Vec<admin::ListenerView> {
    let addrs = |listeners: &[std::net::TcpListener]| -> Vec<SocketAddr> {
        listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    };
    let (http, https) = (addrs(&http.tcp), addrs(&http.tls));
    let all = [("amqp", plain), ("amqp/ssl", encrypted), ("http", &http), ("https", &https)];
    let view = |(protocol, addresses): (&'static str, &[SocketAddr])| {
        addresses.iter().map(move |&address| admin::ListenerView { protocol, address }).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(view).collect()
}

/// The state that a broker with these settings starts from, if it has no data folder.
///
/// # Panics
///
/// If the settings name no user.
pub fn shared_state(config: &Config, store: Arc<dyn Store>) -> Arc<Shared> {
    let directory = default_directory(config, Hashing::Fast).expect("the settings name a user");
    shared_with(config, store, directory, Hashing::Fast)
}

/// What a broker begins with that knows no users.
fn default_directory(config: &Config, hashing: Hashing) -> Result<Directory, AccessError> {
    let auth = &config.auth;
    let password = PasswordHash::new(auth.password.0.as_bytes(), hashing, random::random_bytes())?;
    Directory::with_default_user(&auth.user, password)
}

fn shared_with(
    config: &Config,
    store: Arc<dyn Store>,
    directory: Directory,
    hashing: Hashing,
) -> Arc<Shared> {
    let access = access::AccessControl::new(directory, store.clone(), &config.auth, hashing);
    let session_config = session_config(config, &access, system_clock());
    let exchange =
        if config.server.event_exchange { events::EventExchange::On } else { events::EventExchange::Off };
    let events = Arc::new(events::Events::new(session_config.clock, exchange));
    Shared::new(config, session_config, access, store, events)
}

/// A clock that shows the system's time.
fn system_clock() -> Clock {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock::new(Instant::now(), u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

fn session_config(config: &Config, access: &access::AccessControl, clock: Clock) -> Arc<SessionConfig> {
    let (limits, server) = (&config.limits, &config.server);
    let cluster_name = access.cluster_name().unwrap_or_else(|| server.cluster_name.clone());
    Arc::new(SessionConfig {
        server_properties: server_properties::table(&server.product, &cluster_name),
        clock,
        channel_max: limits.channel_max,
        frame_max: limits.frame_max,
        heartbeat_s: limits.heartbeat_secs(),
        handshake_timeout: limits.handshake_timeout,
        message_bytes_max: limits.message_bytes_max,
        consumers_per_channel_max: limits.consumers_per_channel_max,
        random: random::random_bytes,
    })
}

fn bind_all(listen: &Listen, port: u16) -> Result<Vec<TcpListener>, StartError> {
    let bound = bind_each(listen.addrs_at(port), listen.bind.len());
    bound
        .map_err(|(address, source)| StartError::Listen { address, source })
        .and_then(|listeners| if listeners.is_empty() { Err(StartError::NoAddress) } else { Ok(listeners) })
}

/// Where the API is served: on what the service manager has opened, or else on what is bound here.
fn bind_http(
    settings: &config::Http,
    has_tls: bool,
    opened: Vec<std::net::TcpListener>,
) -> Result<http::Listeners, StartError> {
    let mut listeners = http::Listeners { tcp: opened, ..http::Listeners::default() };
    if !settings.enabled {
        return Ok(listeners);
    }
    let is_plain = settings.plaintext || !listeners.tcp.is_empty();
    match settings.tls_port {
        Some(port) if has_tls => listeners.tls = bind_http_port(settings, port)?,
        None if is_plain => {}
        _ => return Err(StartError::NothingToServe),
    }
    if settings.plaintext && listeners.tcp.is_empty() {
        listeners.tcp = bind_http_port(settings, settings.port)?;
    }
    Ok(listeners)
}

fn bind_http_port(settings: &config::Http, port: u16) -> Result<Vec<std::net::TcpListener>, StartError> {
    let failed = |address, source| StartError::ListenHttp { address, source };
    let listeners = bind_each(settings.addrs_at(port), settings.bind.len());
    let listeners = listeners.map_err(|(address, source)| failed(address, source))?;
    // They go to a runtime of their own.
    let plain = |listener: TcpListener| {
        let address = listener.local_addr();
        listener.into_std().map_err(|source| match address {
            Ok(address) => failed(address, source),
            Err(_) => StartError::Thread(source),
        })
    };
    listeners.into_iter().map(plain).collect()
}

/// Serves the HTTP API if there is anything to serve it on.
fn serve_http(
    shared: &Arc<Shared>,
    mut listeners: http::Listeners,
    socket: Option<&LocalSocket>,
) -> io::Result<Option<Http>> {
    listeners.local = socket.map(LocalSocket::listener).transpose()?;
    if listeners.tcp.is_empty() && listeners.tls.is_empty() && listeners.local.is_none() {
        return Ok(None);
    }
    Http::start(admin::Admin::new(shared.clone()), listeners).map(Some)
}

fn bind_each(
    addresses: impl Iterator<Item = SocketAddr>,
    count: usize,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for mut address in addresses {
        if address.port() == 0
            && let Some(first) = listeners.first().and_then(|listener| listener.local_addr().ok())
        {
            // One port for all families: clients that resolve a host name to either find the broker.
            address.set_port(first.port());
        }
        match listener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && count > 1 && is_unavailable(&error) => {
                tracing::info!(%address, %error, "not listening on this address: the machine does not have it");
            }
            Err(source) => return Err((address, source)),
        }
    }
    Ok(listeners)
}

/// Whether an address family or address is missing, rather than taken or forbidden.
fn is_unavailable(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}
