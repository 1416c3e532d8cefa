//! Whom to trust and who we are, for connections with TLS. rustls does the work; certificates and keys are PEM texts.

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

/// TLS settings. Without any, the certificates that the system trusts decide whether the broker is who it says it is.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest_tls.in"));
/// # fn main() { secured(Clients::WithCertificate, async |url: String, folder: &Path| {
/// # let in_folder = |name: &str| folder.join(name);
/// use std::fs;
/// use warren_client::{Connection, Options, Tls};
///
/// let tls = Tls::new()
///     .authority(fs::read_to_string(in_folder("ca.pem"))?)
///     .certificate(fs::read(in_folder("client.pem"))?, fs::read(in_folder("client.key"))?);
/// let connection = Connection::open(Options::new(url).tls(tls)).await?;
/// assert!(connection.watch().borrow().is_connected());
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Default)]
#[must_use = "TLS settings do nothing until they are put into options"]
pub struct Tls {
    authorities: Option<String>,
    identity: Option<OwnedIdentity>,
}

impl Tls {
    /// The system's trust, and no certificate of our own.
    ///
    /// ```
    /// # use warren_client::{Options, Tls};
    /// let options = Options::new("amqps://broker.example/%2F").tls(Tls::new());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts what these authorities sign as well, in PEM.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest_tls.in"));
    /// # fn main() { secured(Clients::WithoutCertificate, async |url: String, folder: &Path| {
    /// # use warren_client::{Connection, Options, Tls};
    /// # let authority = std::fs::read_to_string(folder.join("ca.pem"))?;
    /// let stranger = Connection::open(&url).await;
    /// assert!(stranger.is_err(), "the system does not know who signed the broker's certificate");
    /// let trusting = Options::new(&url).tls(Tls::new().authority(authority));
    /// assert!(Connection::open(trusting).await.is_ok());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn authority(mut self, pem: impl AsRef<str>) -> Self {
        let authorities = self.authorities.get_or_insert_default();
        authorities.push_str(pem.as_ref());
        authorities.push('\n');
        self
    }

    /// Shows the broker this certificate, with its chain, and proves it with its key, both in PEM. A broker that takes
    /// certificates for logins wants `?auth_mechanism=external` in the URL.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest_tls.in"));
    /// # fn main() { secured(Clients::WithCertificate, async |url: String, folder: &Path| {
    /// # use warren_client::{Connection, Options, Tls};
    /// # let authority = std::fs::read_to_string(folder.join("ca.pem"))?;
    /// # let (certificate, key) = (std::fs::read(folder.join("client.pem"))?, std::fs::read(folder.join("client.key"))?);
    /// let tls = Tls::new().authority(authority);
    /// let nobody = Connection::open(Options::new(&url).tls(tls.clone())).await;
    /// assert!(nobody.is_err(), "this broker wants to see a certificate");
    /// let somebody = Options::new(&url).tls(tls.certificate(certificate, key));
    /// assert!(Connection::open(somebody).await.is_ok());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn certificate(mut self, pem: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(OwnedIdentity::PKCS8 { pem: pem.into(), key: key.into() });
        self
    }

    pub(crate) fn config(&self) -> OwnedTLSConfig {
        OwnedTLSConfig { identity: self.identity.clone(), cert_chain: self.authorities.clone() }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("authorities", &self.authorities.is_some())
            .field("certificate", &self.identity.is_some())
            .finish()
    }
}
