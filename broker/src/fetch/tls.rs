//! TLS below an exchange. Passwords are sent and keys are taken, so the certificate has to be right.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Where systems keep the authorities they trust.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A TLS stream to `host` over a connected socket, for which one of the authorities in `ca`, or else one of the system's, vouches.
///
/// # Errors
///
/// If there is no such file, or the host has no name that a certificate could have. What is wrong with the certificate shows when the
/// stream is used.
pub fn over(
    stream: TcpStream,
    host: &str,
    ca: Option<&Path>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(authorities(ca)?)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

fn authorities(ca: Option<&Path>) -> io::Result<RootCertStore> {
    let named = ca.map(Path::to_owned).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    let system = || SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    let file = named
        .or_else(system)
        .ok_or_else(|| io::Error::other("this system has no file of trusted authorities; name one"))?;
    let unreadable =
        |error| io::Error::other(format!("cannot read certificates from {}: {error}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(unreadable)? {
        // Systems trust some that this library does not understand.
        let _ = roots.add(certificate.map_err(unreadable)?);
    }
    if roots.is_empty() {
        return Err(io::Error::other(format!("no certificate in {}", file.display())));
    }
    Ok(roots)
}
