//! The `[tls]` section: encrypted connections.

use std::path::PathBuf;

/// The `[tls]` section. TLS is spoken once a certificate and its key are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain in PEM, the broker's own first. Default none: no TLS.
    pub cert: Option<PathBuf>,
    /// Its private key in PEM. Default none.
    pub key: Option<PathBuf>,
    /// TCP port, 0 for a free one. Default 5671, the port registered for AMQP over TLS.
    pub port: u16,
    /// Certificates in PEM that clients' certificates must be signed by. Default none: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without a certificate are turned away, if they are asked for one. Default true.
    pub require_client_cert: bool,
    /// The lowest version of the protocol that is spoken. Default [`TlsVersion::Tls12`].
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, from 2008.
    Tls12,
    /// TLS 1.3, from 2018.
    Tls13,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            port: 5671,
            client_ca: None,
            require_client_cert: true,
            min_version: TlsVersion::Tls12,
        }
    }
}

impl Tls {
    /// The certificate and its key, if TLS is to be spoken.
    #[must_use]
    pub fn pair(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.cert.as_ref().zip(self.key.as_ref())
    }
}
