//! Connections with TLS to a broker in this process.

use std::fs;

use tempfile::TempDir;
use warren::Config;
use warren_client::{Connection, Error, Message, Queue, Tls};

use crate::options;

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_and_not_without() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let mut config = Config::in_process();
    config.tls.cert = file("broker.pem", cert.pem());
    config.tls.key = file("broker.key", signing_key.serialize_pem());
    let broker = warren::Broker::start(config).await.unwrap();
    let url = format!("amqps://guest:guest@localhost:{}/%2F", broker.tls_addrs()[0].port());

    let error = Connection::open(options(&url)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let trusting = options(&url).tls(Tls::new().authority(cert.pem()));
    let connection = Connection::open(trusting).await.unwrap();
    connection.declare_queue(Queue::new("secret")).await.unwrap();
    connection.publisher().await.unwrap().send("", "secret", Message::text("whisper")).await.unwrap();
    assert_eq!(crate::drain(&connection, "secret").await, ["whisper"]);
    connection.close().await;
    broker.shutdown().await;
}
