//! TLS from the client's side: pika against a broker in this process, with certificates made here.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use warren::access::{Permissions, Tags};
use warren::config::{CertificateLogin, Config, Tls, TlsVersion};
use warren::server::admin::{NewPassword, Windows};
use warren::{Broker, StartError};
use warren_tests::{Program, built, clients, eventually, python};

/// An authority, and what it signed: for the broker and for a client.
struct Papers {
    folder: TempDir,
}

impl Papers {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for (file, name) in [("broker", "localhost"), ("client", "somebody"), ("nobody", "nobody")] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            // With the authority's own name it would look self-signed.
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            let cert = params.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(format!("{file}.pem")), cert.pem()).unwrap();
            fs::write(folder.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn settings(&self) -> Tls {
        let pair = (Some(self.path("broker.pem")), Some(self.path("broker.key")));
        Tls { cert: pair.0, key: pair.1, port: 0, ..Tls::default() }
    }
}

async fn broker(tls: Tls) -> Broker {
    Broker::start(Config { tls, ..Config::in_process() }).await.unwrap()
}

/// The command line against the API over TLS; what it says, and whether it worked.
async fn ctl(port: u16, ca: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(built("warren"));
    let url = format!("https://guest:guest@localhost:{port}");
    command.args(["ctl", "--url", &url, "--cacert"]).arg(ca).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_served_to_python_over_tls_and_not_without_it_if_so_wanted() {
    let papers = Papers::new();
    // Clients of AMQP need a certificate, those of the API none.
    let tls = Tls { client_ca: Some(papers.path("ca.pem")), ..papers.settings() };
    let mut config = Config { tls, ..Config::in_process() };
    config.http.enabled = true;
    config.http.plaintext = false;
    config.http.tls_port = Some(0);
    let broker = Broker::start(config.clone()).await.unwrap();
    assert!(broker.http_addrs().is_empty());
    let port = broker.https_addrs()[0].port();
    let (worked, text) = ctl(port, &papers.path("ca.pem"), &["list_vhosts", "-q"]).await;
    assert!(worked && text.contains("name\n/\n"), "{text}");
    let (worked, text) = ctl(port, &papers.path("client.pem"), &["list_vhosts"]).await;
    assert!(!worked, "another authority: {text}");

    // rcgen's certificates end in the year 4096.
    let check = |within: &str| {
        let path = format!("/api/health/checks/certificate-expiration/{within}/years");
        let mut command = Command::new(python());
        let script = "import json, ssl, sys, urllib.request as r, urllib.error, base64\n\
            context = ssl.create_default_context(cafile=sys.argv[2])\n\
            q = r.Request(sys.argv[1], headers={'Authorization': 'Basic ' + base64.b64encode(b'guest:guest').decode()})\n\
            try: a = r.urlopen(q, context=context)\n\
            except urllib.error.HTTPError as e: a = e\n\
            print(a.status, a.read().decode())";
        command.args(["-c", script, &format!("https://localhost:{port}{path}")]).arg(papers.path("ca.pem"));
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }
    };
    assert_eq!(check("10").await.trim(), "200 {\"status\":\"ok\"}");
    let expiring = check("9999").await;
    for part in
        ["503 ", "Certificates expiring", "\"protocol\":\"amqp/ssl\"", "\"protocol\":\"https\"", "4096-01-01"]
    {
        assert!(expiring.contains(part), "{part}: {expiring}");
    }
    broker.shutdown().await;

    config.tls = Tls::default();
    let error = Broker::start(config).await.unwrap_err();
    assert!(error.to_string().contains("http.tls_port needs tls.cert"), "{error}");
}

/// Runs pika's scenarios. Blocks, so not on a thread that the broker needs.
async fn run_pika(broker: &Broker, papers: &Papers, certificate: Option<&str>) -> Vec<String> {
    let mut script = Command::new(python());
    script.arg(clients().join("tls_smoke.py"));
    script.env("AMQPS_URL", format!("amqps://guest:guest@127.0.0.1:{}/%2F", broker.tls_addrs()[0].port()));
    script.env("CA", papers.path("ca.pem"));
    if let Some(name) = certificate {
        script.env("CERT", papers.path(&format!("{name}.pem")));
        script.env("KEY", papers.path(&format!("{name}.key")));
    }
    let lines =
        tokio::task::spawn_blocking(move || Program::start("pika", &mut script).succeed()).await.unwrap();
    lines.into_iter().filter(|line| line.starts_with("PASS ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_a_login_of_pika_if_there_is_a_user_of_its_name() {
    let papers = Papers::new();
    let tls = Tls { client_ca: Some(papers.path("ca.pem")), require_client_cert: false, ..papers.settings() };
    for (login_from, user) in
        [(CertificateLogin::DistinguishedName, "CN=somebody"), (CertificateLogin::CommonName, "somebody")]
    {
        let broker = broker(Tls { login_from, ..tls.clone() }).await;
        let admin = broker.admin();
        admin.put_user(user, NewPassword::None, Tags::default()).unwrap();
        admin.set_permissions(user, "/", Permissions::new("^amq\\.gen-", ".*", ".*").unwrap()).unwrap();
        assert_eq!(run_external(&broker, &papers, user).await.len(), 5);
        broker.shutdown().await;
    }
}

/// A client that stays. Its certificate is shown if it has one.
const STAY: &str = "import os, pika, ssl\n\
    context = ssl.create_default_context(cafile=os.environ['CA'])\n\
    context.maximum_version = getattr(ssl.TLSVersion, os.environ['VERSION'])\n\
    if 'CERT' in os.environ: context.load_cert_chain(os.environ['CERT'], os.environ['KEY'])\n\
    tls = pika.SSLOptions(context, 'localhost')\n\
    at = pika.ConnectionParameters('127.0.0.1', int(os.environ['PORT']), ssl_options=tls)\n\
    pika.BlockingConnection(at).process_data_events(time_limit=60)";

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_how_a_connection_of_pika_is_encrypted_and_what_certificate_was_shown() {
    let papers = Papers::new();
    let tls = Tls { client_ca: Some(papers.path("ca.pem")), require_client_cert: false, ..papers.settings() };
    let broker = broker(tls).await;
    for (version, key_exchange, certificate) in
        [("TLSv1_2", "ecdhe_ecdsa", None), ("TLSv1_3", "any", Some("client"))]
    {
        let mut script = Command::new(python());
        script.args(["-c", STAY]).env("CA", papers.path("ca.pem")).env("VERSION", version);
        script.env("PORT", broker.tls_addrs()[0].port().to_string());
        if let Some(name) = certificate {
            script.env("CERT", papers.path(&format!("{name}.pem")));
            script.env("KEY", papers.path(&format!("{name}.key")));
        }
        let admin = broker.admin();
        let seen = tokio::task::spawn_blocking(move || {
            let _client = Program::start("pika", &mut script);
            eventually("it is connected", || admin.connections(Windows::default()).pop())
        });
        let details = seen.await.unwrap().tls.unwrap();
        assert_eq!(details.protocol, version.to_lowercase().replace("v1_", "v1."));
        assert_eq!(details.key_exchange, key_exchange);
        assert!(["aes_256_gcm", "aes_128_gcm", "chacha20_poly1305"].contains(&&*details.cipher));
        let subject = details.peer.as_ref().map(|peer| peer.subject.as_str());
        assert_eq!(subject, certificate.map(|_| "CN=somebody"));
        let admin = broker.admin();
        let gone = move || {
            eventually("it is gone", || admin.connections(Windows::default()).is_empty().then_some(()));
        };
        tokio::task::spawn_blocking(gone).await.unwrap();
    }
    broker.shutdown().await;
}

/// Runs pika's scenarios for logins with a certificate. Blocks, so not on a thread that the broker needs.
async fn run_external(broker: &Broker, papers: &Papers, user: &str) -> Vec<String> {
    let mut script = Command::new(python());
    script.arg(clients().join("tls_external.py"));
    script.env("TLS_PORT", broker.tls_addrs()[0].port().to_string());
    script.env("PLAIN_PORT", broker.local_addrs()[0].port().to_string());
    script.env("EXPECTED_USER", user);
    script.env("CA", papers.path("ca.pem"));
    for (name, file) in [
        ("CERT", "client.pem"),
        ("KEY", "client.key"),
        ("OTHER_CERT", "nobody.pem"),
        ("OTHER_KEY", "nobody.key"),
    ] {
        script.env(name, papers.path(file));
    }
    let lines =
        tokio::task::spawn_blocking(move || Program::start("pika", &mut script).succeed()).await.unwrap();
    lines.into_iter().filter(|line| line.starts_with("PASS ")).collect()
}

fn health(address: SocketAddr, arguments: &[&str]) -> bool {
    let mut command = Command::new(built("warren"));
    command.args(["health", "--address", &address.to_string()]).args(arguments).current_dir(Path::new("/"));
    command.output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_works_over_tls() {
    let papers = Papers::new();
    for min_version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let broker = broker(Tls { min_version, ..papers.settings() }).await;
        assert_eq!(run_pika(&broker, &papers, None).await.len(), 2);
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pika_with_a_certificate_is_let_in_if_one_is_asked_for() {
    let papers = Papers::new();
    let broker = broker(Tls { client_ca: Some(papers.path("ca.pem")), ..papers.settings() }).await;
    assert_eq!(run_pika(&broker, &papers, Some("client")).await.len(), 3);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_no_tls_is_hung_up_on_and_the_health_check_can() {
    let papers = Papers::new();
    let mut config = Config { tls: papers.settings(), ..Config::in_process() };
    config.listen.plaintext = false;
    let broker = Broker::start(config).await.unwrap();
    assert!(broker.local_addrs().is_empty());
    let address = broker.tls_addrs()[0];
    tokio::task::spawn_blocking(move || {
        let mut plain = TcpStream::connect(address).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        plain.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        let mut answer = Vec::new();
        // An alert of TLS, or a reset; but an end.
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(&[1, 0, 0]), "greeted in the clear: {answer:?}");
        assert!(health(address, &["--tls"]));
        assert!(!health(address, &["--timeout-ms", "500"]));
    })
    .await
    .unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_for_pika_while_the_broker_runs() {
    let papers = Papers::new();
    let broker = broker(papers.settings()).await;
    run_pika(&broker, &papers, None).await;
    // Another authority and all it signed, in the places of the old ones.
    let others = Papers::new();
    for file in ["ca.pem", "broker.pem", "broker.key"] {
        fs::copy(others.path(file), papers.path(file)).unwrap();
    }
    broker.reload_tls().unwrap();
    run_pika(&broker, &papers, None).await;
    fs::write(papers.path("broker.key"), "nonsense").unwrap();
    assert!(broker.reload_tls().is_err());
    run_pika(&broker, &papers, None).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_broker_that_would_listen_nowhere_does_not_start() {
    let mut config = Config::in_process();
    config.listen.plaintext = false;
    let error = Broker::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::NothingToListen));
    assert!(error.to_string().contains("tls.cert"), "{error}");
}
