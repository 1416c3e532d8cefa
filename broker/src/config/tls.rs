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
    /// Where a client's certificate names the user that logs in with it. Default [`CertificateLogin::DistinguishedName`].
    pub login_from: CertificateLogin,
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

/// Where a client's certificate names a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateLogin {
    /// The whole subject, as RFC 4514 writes it: `CN=alex,O=Burrow`.
    DistinguishedName,
    /// The common names of the subject, with commas between them.
    CommonName,
    /// The first DNS name of the alternative names.
    Dns,
    /// The first e-mail address of the alternative names.
    Email,
    /// The first URI of the alternative names.
    Uri,
    /// The first IP address of the alternative names.
    Ip,
}

impl CertificateLogin {
    /// All, with their names as a setting.
    pub(super) const NAMED: [(&'static str, Self); 6] = [
        ("distinguished_name", Self::DistinguishedName),
        ("common_name", Self::CommonName),
        ("san_dns", Self::Dns),
        ("san_email", Self::Email),
        ("san_uri", Self::Uri),
        ("san_ip", Self::Ip),
    ];
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            port: 5671,
            client_ca: None,
            require_client_cert: true,
            login_from: CertificateLogin::DistinguishedName,
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
