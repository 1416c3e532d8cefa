//! Connections with TLS to a broker in this process.

use std::fs;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use warren::access::{Permissions, Tags};
use warren::config::CertificateLogin;
use warren::server::admin::NewPassword;
use warren::{Broker, Config};
use warren_client::{Connection, Error, Message, Queue, Tls};

use crate::{drain, options};

/// A certificate that this authority has signed, and its key.
type Pair = (String, String);

/// Somebody who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn signs(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// Settings of a broker with a certificate of this authority. The folder holds what they name.
fn settings(authority: &Authority) -> (TempDir, Config) {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let mut config = Config::in_process();
    let (certificate, key) = authority.signs("localhost");
    config.tls.cert = file("broker.pem", certificate);
    config.tls.key = file("broker.key", key);
    // Of no effect until it is named in `client_ca`.
    file("ca.pem", authority.pem());
    (folder, config)
}

fn url(broker: &Broker, login: &str) -> String {
    format!("amqps://{login}localhost:{}/%2F", broker.tls_addrs()[0].port())
}

/// Whether messages go in and come out. Publishers have a connection of their own, which needs all that the first one does.
async fn works(connection: &Connection, queue: &str) {
    connection.declare_queue(Queue::new(queue)).await.unwrap();
    connection.publisher().await.unwrap().send("", queue, Message::text("whisper")).await.unwrap();
    assert_eq!(drain(connection, queue).await, ["whisper"]);
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_and_not_without() {
    let authority = Authority::new();
    let (_folder, config) = settings(&authority);
    let broker = Broker::start(config).await.unwrap();
    let url = url(&broker, "guest:guest@");

    let error = Connection::open(options(&url)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let connection =
        Connection::open(options(&url).tls(Tls::new().authority(authority.pem()))).await.unwrap();
    works(&connection, "secret").await;
    connection.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_broker_that_wants_certificates_lets_in_who_shows_one_that_its_authority_signed() {
    let authority = Authority::new();
    let (folder, mut config) = settings(&authority);
    config.tls.client_ca = Some(folder.path().join("ca.pem"));
    let broker = Broker::start(config).await.unwrap();
    let url = url(&broker, "guest:guest@");
    let trusting = Tls::new().authority(authority.pem());

    let error = Connection::open(options(&url).tls(trusting.clone())).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "no certificate: {error}");
    let (certificate, key) = Authority::new().signs("somebody");
    let error = Connection::open(options(&url).tls(trusting.clone().certificate(certificate, key)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "a stranger's certificate: {error}");
    let (certificate, key) = authority.signs("somebody");
    let connection =
        Connection::open(options(&url).tls(trusting.certificate(certificate, key))).await.unwrap();
    works(&connection, "secret").await;
    connection.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let authority = Authority::new();
    let (folder, mut config) = settings(&authority);
    config.tls.client_ca = Some(folder.path().join("ca.pem"));
    config.tls.login_from = CertificateLogin::CommonName;
    let broker = Broker::start(config).await.unwrap();
    let admin = broker.admin();
    admin.put_user("somebody", NewPassword::None, Tags::default()).unwrap();
    admin.set_permissions("somebody", "/", Permissions::new("^mine$", ".*", ".*").unwrap()).unwrap();
    let external = format!("{}?auth_mechanism=external", url(&broker, ""));
    let showing = |(certificate, key): Pair| {
        options(&external).tls(Tls::new().authority(authority.pem()).certificate(certificate, key))
    };

    let connection = Connection::open(showing(authority.signs("somebody"))).await.unwrap();
    works(&connection, "mine").await;
    let error = connection.declare_queue(Queue::new("of-others")).await.unwrap_err();
    assert!(matches!(error, Error::Topology { code: 403, .. }), "as somebody, not as guest: {error}");
    connection.close().await;

    let error = Connection::open(showing(authority.signs("nobody"))).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: 403, .. }), "{error}");
    broker.shutdown().await;
}
