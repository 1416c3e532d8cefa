//! Listening sockets: accepting connections and giving each its task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::server::connection::ConnectionTask;
use crate::server::driver::Driver;
use crate::server::shared::Shared;

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

/// Accepts connections until the task is aborted.
pub(super) async fn accept_loop(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => serve(stream, peer, &shared),
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
    let Some(mut driver) = Driver::new(shared, peer.ip(), Instant::now()) else {
        tracing::warn!(%peer, connections = shared.connection_count(), "connection refused: as many as allowed are open");
        return;
    };
    if let Ok(local) = stream.local_addr() {
        driver.set_endpoints(peer, local);
    }
    tracing::debug!(%peer, "connection accepted");
    tokio::spawn(ConnectionTask::new(stream, peer, driver));
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
