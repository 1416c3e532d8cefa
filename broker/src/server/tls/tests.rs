//! Files that fit, and all the ways in which they do not.

use std::fs;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;

fn write_pair(folder: &Path) -> Tls {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("makes a certificate");
    let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert_path, cert.pem()).expect("writes");
    fs::write(&key_path, signing_key.serialize_pem()).expect("writes");
    Tls { cert: Some(cert_path), key: Some(key_path), ..Tls::default() }
}

fn setup(settings: &Tls) -> Result<Option<Arc<TlsSetup>>, TlsError> {
    TlsSetup::new(settings, Duration::from_secs(1))
}

#[test]
fn there_is_no_tls_without_files() {
    assert!(setup(&Tls::default()).expect("nothing is wrong with that").is_none());
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = write_pair(folder.path());
    let other = tempfile::tempdir().expect("a folder");
    let stranger = write_pair(other.path());
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").expect("writes");
    let missing = folder.path().join("missing.pem");
    let cases = [
        (Tls { key: None, ..pair.clone() }, "TLS needs both tls.cert and tls.key"),
        (Tls { cert: Some(missing), ..pair.clone() }, "missing.pem"),
        (Tls { cert: Some(empty.clone()), ..pair.clone() }, "there is no certificate in it"),
        (Tls { key: Some(empty.clone()), ..pair.clone() }, "key "),
        (Tls { key: stranger.key.clone(), ..pair.clone() }, "cannot be used together"),
        (Tls { client_ca: Some(empty), ..pair.clone() }, "client_ca "),
    ];
    for (settings, text) in cases {
        let error = setup(&settings).expect_err("cannot be used").to_string();
        assert!(error.contains(text), "{error}");
    }
    for settings in [
        Tls { client_ca: stranger.cert, ..pair.clone() },
        Tls { min_version: TlsVersion::Tls13, require_client_cert: false, ..pair },
    ] {
        assert!(setup(&settings).expect("fits").is_some());
    }
}

#[test]
fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = write_pair(folder.path());
    let tls = setup(&settings).expect("fits").expect("is there");
    let before = tls.current.read().amqp.clone();
    write_pair(folder.path());
    tls.reload().expect("fits");
    let after = tls.current.read().amqp.clone();
    assert!(!Arc::ptr_eq(&before, &after));
    fs::write(folder.path().join("cert.pem"), "nonsense").expect("writes");
    assert!(tls.reload().is_err());
    assert!(Arc::ptr_eq(&after, &tls.current.read().amqp));
}
