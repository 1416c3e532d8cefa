//! Tokens in place of passwords.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::NamedTempFile;

use super::*;
use crate::config::TokenAlgorithm;

const SECRET: &[u8] = b"a secret that nobody will ever guess";

/// A broker that takes tokens, and the file with its key.
async fn world() -> (World, NamedTempFile) {
    patient_world(Duration::from_secs(3600)).await
}

/// The same, which looks so often whether who listens may still do so.
async fn patient_world(keep_alive: Duration) -> (World, NamedTempFile) {
    let mut keys = NamedTempFile::new().unwrap();
    let key = json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}]});
    keys.write_all(key.to_string().as_bytes()).unwrap();
    let takes_tokens = |config: &mut Config| {
        config.oauth.resource_server_id = "broker".to_owned();
        config.oauth.keys = Some(keys.path().to_owned());
        config.oauth.algorithms = vec![TokenAlgorithm::Hs256];
    };
    let world = World::with_api(takes_tokens, |api| api.keep_alive = keep_alive).await;
    (world, keys)
}

/// What is signed of a token that ends so many seconds from now.
fn unsigned(header: &Value, scope: &str, seconds: i64) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let expires_s = now_s.saturating_add_signed(seconds);
    let claims = json!({"sub": "alex", "aud": "broker", "exp": expires_s, "scope": scope});
    format!("{}.{}", part(header), part(&claims))
}

fn token(scope: &str, seconds: i64) -> String {
    let signed = unsigned(&json!({"alg": "HS256"}), scope, seconds);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn call(world: &World, token: &str, method: Method, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = request(method, path, &body)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .extension(Peer::Tcp("127.0.0.1".parse().unwrap()));
    world.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_scopes_name_and_nothing_else() {
    let (world, _keys) = world().await;
    let token = token("broker.tag:management broker.configure:%2F/mine-* broker.write:%2F/mine-*", 60);
    let get = async |path: &str| call(&world, &token, Method::GET, path, Value::Null).await;
    let put = async |path: &str| call(&world, &token, Method::PUT, path, json!({})).await;
    assert_eq!(get("/api/whoami").await.json, json!({"name": "alex", "tags": ["management"]}));
    assert_eq!(put("/api/queues/%2F/mine-1").await.status, StatusCode::CREATED);
    let refused = put("/api/queues/%2F/yours").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let reason = "configure access to queue 'yours' in vhost '/' refused for user 'alex'";
    assert_eq!(refused.json["reason"], reason);
    assert_eq!(get("/api/queues/%2F/mine-1").await.status, StatusCode::OK);
    world.put("/api/vhosts/other", json!({})).await;
    assert_eq!(get("/api/queues/other").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/api/users").await.json["reason"], "Not administrator user");
}

#[tokio::test]
async fn a_token_is_taken_in_place_of_a_password_and_its_tags_count() {
    let (world, _keys) = world().await;
    let who = format!("whoever:{}", token("broker.tag:administrator", 60));
    let answer = world.call_as(&who, Method::GET, "/api/users", Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK);
    let who = format!("whoever:{}", token("broker.read:*/*", 60));
    let answer = world.call_as(&who, Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(answer.json["reason"], "Not management user");
    assert_eq!(world.get("/api/whoami").await["name"], "guest", "passwords still are passwords");
}

#[tokio::test]
async fn tokens_that_are_not_good_open_nothing() {
    let (world, _keys) = world().await;
    let refused = async |token: &str| {
        let answer = call(&world, token, Method::GET, "/api/whoami", Value::Null).await;
        assert_eq!(
            (answer.status, &answer.json["reason"]),
            (StatusCode::UNAUTHORIZED, &json!("Login failed"))
        );
    };
    refused(&token("broker.tag:administrator", -60)).await;
    let good = token("broker.tag:administrator", 60);
    refused(&good[..good.len() - 2]).await;
    refused("guest").await;
    refused("").await;
    let none = World::new().await;
    let answer = call(&none, &good, Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "tokens are switched off");
}

/// The stream of events for who says this in the header.
async fn listen(world: &World, authorization: &str) -> Body {
    let request = request(Method::GET, "/api/events", "")
        .header(header::AUTHORIZATION, authorization)
        .extension(Peer::Tcp("127.0.0.1".parse().unwrap()));
    let request = request.body(Body::empty()).unwrap();
    let response = router::answer(world.router().clone(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

/// What comes next; nothing at the end.
async fn heard(stream: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame()).await.expect("in time")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn who_listens_with_a_token_may_do_so_as_long_as_it_is_good() {
    let scope = "broker.tag:monitoring";
    let as_bearer = |token: String| format!("Bearer {token}");
    let as_password = |token: String| format!("Basic {}", STANDARD.encode(format!("alex:{token}")));
    let headers: [&dyn Fn(String) -> String; 2] = [&as_bearer, &as_password];
    for header in headers {
        let (world, _keys) = patient_world(Duration::from_millis(10)).await;
        let mut stream = listen(&world, &header(token(scope, 600))).await;
        assert_eq!(heard(&mut stream).await.unwrap(), ": listening\n\n");
        for look in 1..=5 {
            assert_eq!(heard(&mut stream).await.unwrap(), ": still here\n\n", "look {look}");
        }

        // Nobody looks in the next hour: it ends by itself.
        let (world, _keys) = self::world().await;
        let mut stream = listen(&world, &header(token(scope, 2))).await;
        assert_eq!(heard(&mut stream).await.unwrap(), ": listening\n\n");
        assert_eq!(heard(&mut stream).await, None);
    }
}

/// Who signs tokens with a key of its own, and tells its public half.
struct Issuer {
    id: &'static str,
    key: EcdsaKeyPair,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { id, key: key.unwrap() }
    }

    fn keys(&self) -> String {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y}]}).to_string()
    }

    fn token(&self) -> String {
        let signed = unsigned(&json!({"alg": "ES256", "kid": self.id}), "broker.tag:management", 600);
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Serves what is in `answer`, whole, to whoever asks. Its port.
fn serve(answer: Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            // The broker may have ended meanwhile.
            let _ = stream.get_mut().write_all(answer.lock().unwrap().as_bytes());
        }
    });
    port
}

async fn until_let_in(world: &World, token: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while call(world, token, Method::GET, "/api/whoami", Value::Null).await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "the key was not fetched");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_from_a_url_again_and_again_and_the_last_good_ones_stay() {
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let ok = |keys: String| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
    let answer = Arc::new(Mutex::new(ok(first.keys())));
    let port = serve(answer.clone());
    let world = World::with(|config| {
        config.oauth.resource_server_id = "broker".to_owned();
        config.oauth.keys_url = format!("http://127.0.0.1:{port}/keys");
        config.oauth.keys_refresh = Duration::from_secs(1);
        config.auth.failures_per_minute_max = 1_000_000;
    });
    let world = world.await;
    until_let_in(&world, &first.token()).await;
    let refused = call(&world, &second.token(), Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

    // Another key takes its place; what comes then is of no use, so that one stays.
    *answer.lock().unwrap() = ok(second.keys());
    until_let_in(&world, &second.token()).await;
    for nonsense in [ok("{}".to_owned()), "HTTP/1.1 500 No\r\n\r\n".to_owned(), "SSH-2.0".to_owned()] {
        *answer.lock().unwrap() = nonsense;
    }
    until_let_in(&world, &second.token()).await;
    *answer.lock().unwrap() = ok(first.keys());
    until_let_in(&world, &first.token()).await;
}
