//! Tokens in place of passwords: what they permit, until when, and how they are refreshed.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use amq_protocol::protocol::{AMQPClass, connection, queue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;
use tempfile::NamedTempFile;
use warren::config::TokenAlgorithm;

use crate::peer::{Options, Peer};
use crate::target::{OwnBroker, needs_own_broker};

const SECRET: &[u8] = b"a secret that nobody will ever guess";

const HOUR_S: u64 = 3600;

fn keys() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    let keys = json!({ "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET) }] });
    file.write_all(keys.to_string().as_bytes()).expect("room for a key");
    file
}

/// A broker that accepts tokens, and the file with its key.
pub(crate) fn broker() -> (OwnBroker, NamedTempFile) {
    let keys = keys();
    let broker = OwnBroker::start(|config| {
        config.oauth.resource_server_id = "broker".to_owned();
        config.oauth.keys = Some(keys.path().to_owned());
        config.oauth.algorithms = vec![TokenAlgorithm::Hs256];
        config.auth.failure_delay = std::time::Duration::ZERO;
    });
    (broker, keys)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

/// The end of a token that outlives the test.
pub(crate) fn in_an_hour_s() -> u64 {
    now_s() + HOUR_S
}

pub(crate) fn token(user: &str, expires_s: u64, scope: &str) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "HS256", "typ": "JWT" }));
    let claims = part(json!({ "sub": user, "aud": "broker", "exp": expires_s, "scope": scope }));
    let signed = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Connects with a token; what comes with it as a name is of no account.
pub(crate) fn connect(broker: &OwnBroker, token: String) -> Peer {
    let options = Options { user: ("ignored".to_owned(), token), ..Options::default() };
    Peer::connect(broker.address(), &options)
}

fn refresh(peer: &Peer, token: &str) {
    peer.control().send(connection::UpdateSecret { new_secret: token.into(), reason: "refresh".into() });
}

#[test]
fn scopes_permit_what_they_name() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = broker();
    let scope = "broker.configure:%2F/mine* broker.read:%2F/mine* broker.write:%2F/amq.default broker.write:%2F/amq.topic/a.*";
    let peer = connect(&broker, token("alex", now_s() + HOUR_S, scope));
    let channel = peer.open(1);
    channel.queue("mine");
    channel.publish("", "mine", "m");
    assert_eq!(channel.drain("mine"), ["m"]);
    channel.publish("amq.topic", "a.b", "m");
    channel.send(queue::Declare { queue: "yours".into(), ..Default::default() });
    let refused = |access: &str| format!("ACCESS_REFUSED - {access} refused for user 'alex'");
    channel.expect_close(403, &refused("configure access to queue 'yours' in vhost '/'"), (50, 10));
    let channel = peer.open(2);
    channel.publish("amq.topic", "b", "m");
    let topic = "write access to topic 'b' in exchange 'amq.topic' in vhost '/'";
    channel.expect_close(403, &refused(topic), (60, 40));
    let channel = peer.open(3);
    channel.publish("amq.fanout", "a.b", "m");
    channel.expect_close(403, &refused("write access to exchange 'amq.fanout' in vhost '/'"), (60, 40));
}

#[test]
fn a_token_opens_no_vhost_that_it_does_not_name() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = broker();
    let token = token("alex", now_s() + HOUR_S, "broker.read:other/* broker.tag:administrator");
    let options = Options { user: (String::new(), token), ..Options::default() };
    let peer = Peer::authenticated(broker.address(), &options);
    peer.control().send(connection::Open { virtual_host: "/".into() });
    peer.expect_close(530, "NOT_ALLOWED - access to vhost '/' refused for user 'alex'", (10, 40));
}

#[test]
fn tokens_that_are_not_good_are_refused_and_passwords_still_are() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = broker();
    let good = token("alex", now_s() + HOUR_S, "broker.read:*/*");
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    for bad in [token("alex", now_s() - 1, "broker.read:*/*"), format!("{signed}.AAAA"), format!("{signed}.")]
    {
        let peer = Peer::dial(broker.address());
        peer.log_in_as(Options::default().capabilities, "guest", &bad);
        let close = peer.control().expect::<connection::Close>();
        assert_eq!(close.reply_code, 403, "{close:?}");
    }
    broker.connect().open(1);
}

#[test]
fn a_connection_ends_with_its_token_unless_that_is_refreshed() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = broker();
    let soon_s = now_s() + 2;
    let all = "broker.read:*/* broker.write:*/* broker.configure:*/*";
    let (left, kept) =
        (connect(&broker, token("alex", soon_s, all)), connect(&broker, token("alex", soon_s, all)));
    left.open(1);
    let channel = kept.open(1);
    channel.queue("q");
    // Fewer rights than before hold from the next method on.
    refresh(&kept, &token("alex", now_s() + HOUR_S, "broker.read:*/*"));
    kept.control().expect::<connection::UpdateSecretOk>();
    channel.publish("", "q", "m");
    let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'alex'";
    channel.expect_close(403, text, (60, 40));
    let text = format!("ACCESS_REFUSED - Provided JWT token has expired at timestamp {soon_s}");
    left.expect_close(403, &text, (0, 0));
    // The other's first token has ended as well by now.
    assert!(kept.open(2).get("q").is_none());
}

#[test]
fn only_a_good_token_of_the_same_user_refreshes() {
    if needs_own_broker() {
        return;
    }
    let (broker, _keys) = broker();
    let good = |user| token(user, now_s() + HOUR_S, "broker.read:*/*");
    for bad in [good("sam"), token("alex", now_s() - 1, "broker.read:*/*"), "guest".to_owned()] {
        let peer = connect(&broker, good("alex"));
        refresh(&peer, &bad);
        let text = "NOT_ALLOWED - New secret was refused by one of the backends";
        peer.expect_close(530, text, (10, 70));
    }
    // Who came with a password has nothing to refresh.
    let peer = broker.connect();
    refresh(&peer, "guest");
    let answer = peer.control().next().method;
    assert!(matches!(answer, AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(_))), "{answer:?}");
}
