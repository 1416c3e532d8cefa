//! TLS: certificates from files, taken anew when the files change, and the handshake of a connection.
//!
//! The protocol is rustls's. Connections that are open keep the certificate that they began with. Called by the listener.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{Tls, TlsVersion};

mod details;
mod identity;

pub use details::{PeerCertificate, TlsDetails};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Handshakes at a time; more wait in line. Each costs a millisecond of computing and some kilobytes, and strangers can ask
/// for them.
const HANDSHAKES_MAX: usize = 256;

/// Why TLS cannot be set up with the files that are named.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Only one of certificate and key is named, or the authorities of clients without them.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A file cannot be read, or has nothing of use in it.
    #[error("{what} {}: {reason}", path.display())]
    File {
        /// What it is.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The certificate and the key do not belong together, or cannot be used.
    #[error("certificate {} and key {} cannot be used together: {reason}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What connections are encrypted with.
#[derive(Debug)]
pub(super) struct TlsSetup {
    settings: RwLock<Tls>,
    current: RwLock<Loaded>,
    handshakes: Semaphore,
    handshake_timeout: Duration,
}

impl TlsSetup {
    /// Reads the files; none if none are named.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if some are missing or do not fit.
    pub(super) fn new(settings: &Tls, handshake_timeout: Duration) -> Result<Option<Arc<Self>>, TlsError> {
        let Some((cert, key)) = settings.pair() else {
            let is_partial =
                settings.cert.is_some() || settings.key.is_some() || settings.client_ca.is_some();
            return match is_partial {
                true => Err(TlsError::Incomplete("TLS needs both tls.cert and tls.key")),
                false => Ok(None),
            };
        };
        let current = load(settings, cert, key)?;
        Ok(Some(Arc::new(Self {
            settings: RwLock::new(settings.clone()),
            current: RwLock::new(current),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            handshake_timeout,
        })))
    }

    /// Reads the files again; connections from now on get what is in them.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if they do not fit; then everything stays as it was.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let settings = self.settings.read().clone();
        self.reload_with(&settings)
    }

    /// The same with other settings.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the files do not fit; then everything stays as it was.
    pub(super) fn reload_with(&self, settings: &Tls) -> Result<(), TlsError> {
        if let Some((cert, key)) = settings.pair() {
            *self.current.write() = load(settings, cert, key)?;
            *self.settings.write() = settings.clone();
        }
        Ok(())
    }

    /// Does the handshake on a fresh connection of AMQP.
    ///
    /// # Errors
    ///
    /// What rustls says of the peer, or that it took too long.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.shake_hands(stream, |loaded| loaded.amqp.clone()).await
    }

    /// The same for HTTP, where no client needs a certificate.
    ///
    /// # Errors
    ///
    /// What rustls says of the peer, or that it took too long.
    pub(super) async fn accept_http(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.shake_hands(stream, |loaded| loaded.http.clone()).await
    }

    /// What is in the files, as of the last time they were read.
    pub(super) fn certificates(&self) -> Vec<CertificateFile> {
        self.current.read().files.clone()
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        config: impl Fn(&Loaded) -> Arc<ServerConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let handshake = async {
            let _one = self.handshakes.acquire().await.map_err(io::Error::other)?;
            let config = config(&self.current.read());
            TlsAcceptor::from(config).accept(stream).await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
        tokio::time::timeout(self.handshake_timeout, handshake).await.map_err(late)?
    }

    /// The user that the client's certificate names, if it has shown one. It was verified in the handshake.
    pub(super) fn user_of(&self, stream: &TlsStream<TcpStream>) -> Option<String> {
        let (_, connection) = stream.get_ref();
        let certificate = connection.peer_certificates()?.first()?;
        identity::user_of(certificate, self.settings.read().login_from)
    }

    /// Reads the files again whenever they change, until the task is aborted. A bad pair is logged, and the old one stays.
    pub(super) async fn follow_files(self: Arc<Self>) {
        let mut seen = self.state_of_files();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.state_of_files();
            if now == seen {
                continue;
            }
            seen = now;
            match self.reload() {
                Ok(()) => tracing::info!("TLS certificate changed; new connections get the new one"),
                Err(error) => {
                    tracing::error!(%error, "TLS certificate changed, but cannot be used; the old one stays in use");
                }
            }
        }
    }

    /// When each file was changed last, and its length: a new certificate may be as old as the one before.
    fn state_of_files(&self) -> Vec<Option<(SystemTime, u64)>> {
        let Tls { cert, key, client_ca, .. } = &*self.settings.read();
        let state = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [cert, key, client_ca].into_iter().flatten().map(state).collect()
    }
}

/// What was made of the files.
#[derive(Debug)]
struct Loaded {
    amqp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    files: Vec<CertificateFile>,
}

/// The certificates in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// Whether it has the authorities that clients' certificates are signed by, not the broker's own certificate.
    pub is_authority: bool,
    /// Which file.
    pub path: PathBuf,
    /// From when to when each is valid, in seconds since 1970; none of one that cannot be read.
    pub validity: Vec<Option<(i64, i64)>>,
}

impl CertificateFile {
    fn of(is_authority: bool, path: &Path, certificates: &[CertificateDer<'_>]) -> Self {
        let validity = certificates.iter().map(identity::validity).collect();
        Self { is_authority, path: path.to_owned(), validity }
    }
}

fn load(settings: &Tls, cert: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let chain = certificates("certificate", cert)?;
    let mut files = vec![CertificateFile::of(false, cert, &chain)];
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error("key", key, &error))?;
    let versions: &[_] = match settings.min_version {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair_error = |error: &rustls::Error| TlsError::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| pair_error(&error))?;
    let mut http = builder
        .clone()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), private.clone_key())
        .map_err(|error| pair_error(&error))?;
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let authorities = certificates("client_ca", path)?;
            files.push(CertificateFile::of(true, path, &authorities));
            for authority in authorities {
                roots.add(authority).map_err(|error| file_error("client_ca", path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match settings.require_client_cert {
                true => verifier,
                false => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(
                verifier.build().map_err(|error| file_error("client_ca", path, &error))?,
            )
        }
    };
    let amqp = builder.with_single_cert(chain, private).map_err(|error| pair_error(&error))?;
    Ok(Loaded { amqp: Arc::new(amqp), http: Arc::new(http), files })
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(what, path, &error))?;
    if found.is_empty() {
        return Err(file_error(what, path, &"there is no certificate in it"));
    }
    Ok(found)
}

fn file_error(what: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { what, path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
