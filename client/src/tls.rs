//! Whom to trust and who we are, for connections with TLS. rustls does the work; certificates and keys are PEM texts.

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

/// TLS settings. Without any, the certificates that the system trusts decide whether the broker is who it says it is.
///
/// ```no_run
/// # fn example() -> std::io::Result<()> {
/// use std::fs;
/// use warren_client::{Options, Tls};
///
/// let tls = Tls::new()
///     .authority(fs::read_to_string("ca.pem")?)
///     .certificate(fs::read_to_string("client.pem")?, fs::read_to_string("client.key")?);
/// let options = Options::new("amqps://broker.example/%2F").tls(tls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "TLS settings do nothing until they are put into options"]
pub struct Tls {
    authorities: Option<String>,
    identity: Option<OwnedIdentity>,
}

impl Tls {
    /// The system's trust, and no certificate of our own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts what these authorities sign as well, in PEM.
    pub fn authority(mut self, pem: impl AsRef<str>) -> Self {
        let authorities = self.authorities.get_or_insert_default();
        authorities.push_str(pem.as_ref());
        authorities.push('\n');
        self
    }

    /// Shows the broker this certificate, with its chain, and proves it with its key, both in PEM. A broker that takes
    /// certificates for logins wants `?auth_mechanism=external` in the URL.
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
