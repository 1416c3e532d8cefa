//! [`TlsDetails`]: what was agreed with a client and what it showed, in RabbitMQ's words.

use rustls::ProtocolVersion;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::identity;

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDetails {
    /// `tlsv1.3` or `tlsv1.2`.
    pub protocol: &'static str,
    /// `ecdhe_rsa`; `any` since TLS 1.3.
    pub key_exchange: String,
    /// `aes_256_gcm`.
    pub cipher: String,
    /// The certificate that the client has shown, if it has.
    pub peer: Option<PeerCertificate>,
}

/// The client's certificate, which was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is, as RFC 4514 writes it.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when to when it is valid, in seconds since 1970.
    pub validity: (i64, i64),
}

impl TlsDetails {
    /// What tells integrity: all ciphers that there are do so themselves.
    pub const HASH: &'static str = "aead";

    /// Of a connection whose handshake is done.
    pub(in crate::server) fn of(stream: &TlsStream<TcpStream>) -> Self {
        let (_, connection) = stream.get_ref();
        let protocol = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            _ => "tlsv1.3",
        };
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let (key_exchange, cipher) = words(suite.unwrap_or_default());
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        Self { protocol, key_exchange, cipher, peer: certificate.and_then(identity::details) }
    }
}

/// Key exchange and cipher of a suite.
fn words(suite: &str) -> (String, String) {
    let (key_exchange, rest) = match suite.split_once("_WITH_") {
        Some((exchange, rest)) => (exchange.trim_start_matches("TLS_"), rest),
        None => ("ANY", suite.trim_start_matches("TLS13_")),
    };
    let cipher = rest.rsplit_once("_SHA").map_or(rest, |(cipher, _)| cipher);
    (key_exchange.to_ascii_lowercase(), cipher.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With what RabbitMQ 3.10.8 said of the same suites.
    #[test]
    fn every_suite_that_can_be_agreed_on_has_rabbitmqs_words() {
        let all: Vec<_> = rustls::crypto::ring::ALL_CIPHER_SUITES
            .iter()
            .map(|suite| {
                let name = suite.suite().as_str().unwrap_or_default();
                let (key_exchange, cipher) = words(name);
                format!("{name} {key_exchange} {cipher}")
            })
            .collect();
        let expected = [
            "TLS13_AES_256_GCM_SHA384 any aes_256_gcm",
            "TLS13_AES_128_GCM_SHA256 any aes_128_gcm",
            "TLS13_CHACHA20_POLY1305_SHA256 any chacha20_poly1305",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ecdhe_ecdsa aes_256_gcm",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ecdhe_ecdsa aes_128_gcm",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ecdhe_ecdsa chacha20_poly1305",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 ecdhe_rsa aes_256_gcm",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ecdhe_rsa aes_128_gcm",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 ecdhe_rsa chacha20_poly1305",
        ];
        assert_eq!(all, expected);
    }
}
