//! Listening sockets: accepting connections and giving each its task.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::server::admission::Place;
use crate::server::connection::ConnectionTask;
use crate::server::driver::Driver;
use crate::server::proxy_protocol;
use crate::server::shared::Shared;
use crate::server::tls::{TlsDetails, TlsSetup};

/// Connections that the kernel may hold ready before they are accepted.
const BACKLOG: i32 = 4096;

/// How long to wait before accepting again after the process ran out of file descriptors; once a second is often enough to
/// say so in the log.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Headers of the PROXY protocol that are read at a time; more wait in line.
const HEADERS_MAX: usize = 256;

/// Opens a listening socket.
///
/// # Errors
///
/// What the operating system says, above all that the address is in use.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restarted broker must not wait for the old one's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the task is aborted; encrypted ones if there is something to encrypt them with.
pub(super) async fn accept_loop(listener: TcpListener, tls: Option<Arc<TlsSetup>>, shared: Arc<Shared>) {
    let headers = Arc::new(Semaphore::new(HEADERS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers must not wait for the peer's delayed acknowledgement. An error means that the peer is gone
                // already, which the first read will show.
                let _ = stream.set_nodelay(true);
                let arrived = Arrived { peer, local: stream.local_addr().ok(), stream };
                if shared.running.read(|config| config.listen.is_proxy(peer.ip())) {
                    let (tls, headers, shared) = (tls.clone(), headers.clone(), Arc::downgrade(&shared));
                    drop(tokio::spawn(serve_proxied(arrived, tls, headers, shared)));
                } else if let Some(tls) = &tls {
                    drop(tokio::spawn(serve_tls(tls.clone(), arrived, Arc::downgrade(&shared))));
                } else if let Some(place) = admit(peer, &shared) {
                    tokio::spawn(arrived.task(place, Transport::Plain, &shared));
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if is_out_of_files(&error) {
                    tracing::error!(%error, "cannot accept connections: raise the limit on open files (ulimit -n)");
                } else {
                    tracing::error!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection from a load balancer: the client's address comes first.
async fn serve_proxied(
    mut arrived: Arrived<TcpStream>,
    tls: Option<Arc<TlsSetup>>,
    headers: Arc<Semaphore>,
    shared: Weak<Shared>,
) {
    let proxy = arrived.peer;
    let Some(limit) = shared.upgrade().map(|shared| shared.session_config().handshake_timeout) else {
        return;
    };
    let header = async {
        let _one = headers.acquire().await.map_err(io::Error::other)?;
        proxy_protocol::read(&mut arrived.stream).await
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the header of the PROXY protocol took too long");
    match tokio::time::timeout(limit, header).await.map_err(late).and_then(|header| header) {
        Ok(Some((peer, local))) => (arrived.peer, arrived.local) = (peer, Some(local)),
        Ok(None) => {}
        // Load balancers look whether the port is open, and close.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%proxy, "a load balancer closed a connection without saying whose it is");
            return;
        }
        Err(error) => {
            tracing::warn!(%proxy, %error, "connection from a load balancer refused");
            return;
        }
    }
    if let Some(tls) = tls {
        serve_tls(tls, arrived, shared).await;
        return;
    }
    let task = shared.upgrade().and_then(|shared| {
        let place = admit(arrived.peer, &shared)?;
        Some(arrived.task(place, Transport::Plain, &shared))
    });
    drop(shared);
    if let Some(task) = task {
        task.await;
    }
}

/// Does not hold the broker while the peer takes its time.
async fn serve_tls(tls: Arc<TlsSetup>, arrived: Arrived<TcpStream>, shared: Weak<Shared>) {
    let Arrived { stream, peer, local } = arrived;
    let Some(place) = shared.upgrade().and_then(|shared| admit(peer, &shared)) else { return };
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%peer, %error, "TLS handshake failed");
            return;
        }
    };
    let transport = Transport::Tls { user: tls.user_of(&stream), details: TlsDetails::of(&stream) };
    let task = shared.upgrade().map(|shared| Arrived { stream, peer, local }.task(place, transport, &shared));
    drop(shared);
    if let Some(task) = task {
        task.await;
    }
}

/// A place for a connection, before anything costly is done for it; none if there is no room even to refuse it.
fn admit(peer: SocketAddr, shared: &Shared) -> Option<Place> {
    let place = shared.admission.enter(peer.ip(), Instant::now());
    match &place {
        None => {
            tracing::warn!(%peer, connections = shared.connection_count(), "connection dropped: over a limit, like many others now");
        }
        Some(place) => match place.refusal() {
            Some(reason) => tracing::warn!(%peer, %reason, "connection over a limit"),
            None => tracing::debug!(%peer, "connection accepted"),
        },
    }
    place
}

/// What carries a connection.
#[derive(Debug)]
enum Transport {
    Plain,
    /// With the user that the client's certificate names, who may log in without a password.
    Tls {
        user: Option<String>,
        details: TlsDetails,
    },
}

/// A connection that nothing was read of yet, except for what was said of it.
struct Arrived<S> {
    stream: S,
    peer: SocketAddr,
    local: Option<SocketAddr>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Arrived<S> {
    /// Its task.
    fn task(self, place: Place, transport: Transport, shared: &Arc<Shared>) -> ConnectionTask<S> {
        let Self { stream, peer, local } = self;
        let mut driver = Driver::with_place(shared, place, peer.ip(), Instant::now());
        if let Some(local) = local {
            driver.set_endpoints(peer, local);
        }
        if let Transport::Tls { user, details } = transport {
            driver.set_encrypted(details);
            driver.set_certificate_user(user);
        }
        ConnectionTask::new(stream, peer, driver)
    }
}

/// Whether the process or the system has no file descriptor left.
fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

/// Errors of `accept` that say something of one peer, not of the listener (accept(2)).
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
