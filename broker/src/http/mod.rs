//! The HTTP API: what an operator does to a running broker, in the paths and JSON of RabbitMQ's management plugin.
//!
//! It has a thread and a runtime of its own, so that no request can starve the connections of clients, and touches the broker only
//! through [`Admin`]. `listener` accepts and bounds connections, `caller` says who asks, `body` reads what is sent, `error` and
//! `listing` give answers their form, and each resource has a file in `routes`. The server starts it.

mod body;
mod caller;
pub(crate) mod definitions;
mod error;
mod fields;
mod form;
mod listener;
mod listing;
mod measures;
mod openapi;
mod reply;
mod router;
mod routes;
mod same_origin;
mod socket;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod time;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::limits::{HTTP_BODIES_BYTES_MAX, HTTP_WORKERS_MAX};
use crate::server::admin::Admin;

pub(crate) use socket::LocalSocket;

/// How long what is being worked on may take when the broker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often a client that waits for something hears that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What every request can use.
#[derive(Clone)]
struct Api {
    admin: Admin,
    /// Room for bodies, in KiB.
    bodies: Arc<Semaphore>,
    /// Turns to `true` when the broker stops: what lasts as long as its client wants ends with it.
    stopping: watch::Receiver<bool>,
    /// How often who listens hears that the connection lives, if nothing happens, and has to be one who may listen.
    keep_alive: Duration,
}

impl Api {
    fn new(admin: Admin, stopping: watch::Receiver<bool>) -> Self {
        let bodies = Arc::new(Semaphore::new(HTTP_BODIES_BYTES_MAX / body::PERMIT_BYTES));
        Self { admin, bodies, stopping, keep_alive: KEEP_ALIVE }
    }

    /// Whether the broker has begun to stop.
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Does what takes locks or time on a thread that nobody else waits for.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> Result<T, error::ApiError> + Send + 'static,
    ) -> Result<T, error::ApiError> {
        let admin = self.admin.clone();
        // The error says that it panicked or that the broker stops.
        tokio::task::spawn_blocking(move || work(&admin))
            .await
            .unwrap_or_else(|_| Err(error::ApiError::internal()))
    }
}

/// Where to serve the API.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Over TCP, where callers prove who they are.
    pub(crate) tcp: Vec<TcpListener>,
    /// The same, encrypted.
    pub(crate) tls: Vec<TcpListener>,
    /// In the data folder, where they need not.
    pub(crate) local: Option<UnixListener>,
}

/// The API being served, until [`Http::stop`] or drop.
pub(crate) struct Http {
    addrs: Vec<SocketAddr>,
    tls_addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Starts serving.
    ///
    /// # Errors
    ///
    /// If the system gives no thread, or refuses a listener.
    pub(crate) fn start(admin: Admin, listeners: Listeners) -> io::Result<Self> {
        let addrs = |listeners: &[TcpListener]| -> Vec<SocketAddr> {
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
        };
        let (addrs, tls_addrs) = (addrs(&listeners.tcp), addrs(&listeners.tls));
        let (stop, stopping) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(HTTP_WORKERS_MAX)
            .thread_name("warren-http")
            .enable_all()
            .build()?;
        let serve = move || {
            runtime.block_on(listener::serve(Api::new(admin, stopping.clone()), listeners, stopping));
            runtime.shutdown_timeout(STOP_GRACE);
        };
        let thread = thread::Builder::new().name("warren-http-main".to_owned()).spawn(serve)?;
        Ok(Self { addrs, tls_addrs, stop, thread: Some(thread) })
    }

    /// Where it listens, with the ports that were free if port 0 was asked for.
    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The same for TLS.
    pub(crate) fn tls_addrs(&self) -> &[SocketAddr] {
        &self.tls_addrs
    }

    /// Stops accepting, ends what is being worked on, and waits for that. For a thread that may wait.
    pub(crate) fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // The error says that it panicked, which the panic has said already.
            let _ = thread.join();
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

/// Opens the socket in a data folder, if the system lets us.
pub(crate) fn open_local(folder: &Path) -> Option<LocalSocket> {
    let path = folder.join(socket::NAME);
    LocalSocket::open(&path)
        .inspect_err(|error| {
            let path = path.display();
            tracing::warn!(%error, %path, "no local socket: warren ctl needs --url and a password");
        })
        .ok()
}
