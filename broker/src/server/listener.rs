//! Listening sockets: accepting connections and giving each its task.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::server::admission::Place;
use crate::server::connection::ConnectionTask;
use crate::server::driver::Driver;
use crate::server::shared::Shared;
use crate::server::tls::TlsSetup;

/// Connections that the kernel may hold ready before they are accepted.
const BACKLOG: i32 = 4096;

/// How long to wait before accepting again after the process ran out of file descriptors; once a second is often enough to
/// say so in the log.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

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
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match &tls {
                None => serve(stream, peer, &shared),
                Some(tls) => {
                    drop(tokio::spawn(serve_tls(tls.clone(), stream, peer, Arc::downgrade(&shared))));
                }
            },
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

fn serve(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // Small answers must not wait for the peer's delayed acknowledgement. An error means that the peer is gone already,
    // which the first read will show.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    if let Some(place) = admit(peer, shared) {
        tokio::spawn(task(stream, place, (peer, local), Encrypted::No, shared));
    }
}

/// Does not hold the broker while the peer takes its time.
async fn serve_tls(tls: Arc<TlsSetup>, stream: TcpStream, peer: SocketAddr, shared: Weak<Shared>) {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    let Some(place) = shared.upgrade().and_then(|shared| admit(peer, &shared)) else { return };
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%peer, %error, "TLS handshake failed");
            return;
        }
    };
    let task = shared.upgrade().map(|shared| task(stream, place, (peer, local), Encrypted::Yes, &shared));
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

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encrypted {
    Yes,
    No,
}

/// The task of a connection.
fn task<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    place: Place,
    (peer, local): (SocketAddr, Option<SocketAddr>),
    encrypted: Encrypted,
    shared: &Arc<Shared>,
) -> ConnectionTask<S> {
    let mut driver = Driver::with_place(shared, place, peer.ip(), Instant::now());
    if let Some(local) = local {
        driver.set_endpoints(peer, local);
    }
    if encrypted == Encrypted::Yes {
        driver.set_encrypted();
    }
    ConnectionTask::new(stream, peer, driver)
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
