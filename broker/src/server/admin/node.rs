//! What the broker says of itself: its names, its alarms, and whether messages are traced.

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Admin, EventListener};
use crate::server::events::NODE;
use crate::server::tls::CertificateFile;

impl Admin {
    /// Does the handshake of TLS on a fresh connection of the HTTP API.
    ///
    /// # Errors
    ///
    /// What is wrong with the peer, or that there is no certificate.
    pub(crate) async fn accept_https(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let tls = self.shared.running.tls.get().cloned();
        tls.ok_or_else(|| io::Error::other("there is no certificate"))?.accept_http(stream).await
    }

    /// The certificates of the listeners that speak TLS, as of the last time their files were read.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFile> {
        self.shared.running.tls.get().map(|tls| tls.certificates()).unwrap_or_default()
    }

    /// The time, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.census.now_ms()
    }

    /// The name of the node: of this broker, seen as a cluster of one.
    #[must_use]
    pub fn node_name(&self) -> &'static str {
        NODE
    }

    /// Takes the locks that every connection needs, and so returns only while the broker works: for signs of life.
    pub fn probe(&self) {
        let _ = self.shared.queue_count();
    }

    /// Hears of what happens from now on, as it is published to `amq.rabbitmq.event` with the setting `server.event_exchange`, and without
    /// it. `None` if there are [`EVENT_LISTENERS_MAX`](crate::limits::EVENT_LISTENERS_MAX) listeners.
    #[must_use]
    pub fn listen(&self) -> Option<EventListener> {
        self.shared.events.listen()
    }

    /// Why publishers are held back, if they are: `low on memory`, `low on disk` or `low on disk & memory`.
    #[must_use]
    pub fn alarm(&self) -> Option<&'static str> {
        self.shared.alarms().reason()
    }

    /// Whether messages of a virtual host are traced.
    #[must_use]
    pub fn is_traced(&self, vhost: &str) -> bool {
        self.shared.vhost(vhost).is_some_and(|vhost| vhost.is_traced())
    }

    /// Turns tracing of a virtual host on or off, see [`crate::Broker::trace_on`]. False if there is no such virtual host.
    pub fn set_traced(&self, name: &str, traced: bool) -> bool {
        let Some(vhost) = self.shared.vhost(name) else { return false };
        vhost.set_traced(traced);
        tracing::info!(vhost = name, "message tracing is {}", if traced { "on" } else { "off" });
        true
    }
}
