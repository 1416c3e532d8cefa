//! Requests to the router of a broker in memory, without sockets: who is let in, what is answered.

mod access;
mod definitions;
mod messages;
mod parameters;
mod resources;
mod tokens;
mod users;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::caller::Peer;
use super::{Api, router};
use crate::access::{Permissions, Tags};
use crate::server::admin::Admin;
use crate::{Broker, Config};

/// A broker and its routes. Users: `guest` (administrator), and for each tag one of its name, password `x`; `management` has
/// permissions in `/`.
pub(super) struct World {
    pub(super) broker: Broker,
    router: Router,
    _running: watch::Sender<bool>,
}

/// What was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Null if there was no body.
    pub(super) json: Value,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    pub(super) async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::with_api(adjust, |_| {}).await
    }

    /// The same with an API of other habits.
    async fn with_api(adjust: impl FnOnce(&mut Config), change: impl FnOnce(&mut Api)) -> Self {
        let mut config = Config::in_process();
        config.auth.failure_delay = std::time::Duration::ZERO;
        adjust(&mut config);
        let broker = Broker::start(config).await.unwrap();
        let admin = broker.admin();
        for tag in ["monitoring", "policymaker", "management", "none"] {
            admin.add_user(tag, b"x", Tags::new([tag])).unwrap();
        }
        admin.set_permissions("management", "/", Permissions::all()).unwrap();
        let (running, stopping) = watch::channel(false);
        let mut api = Api::new(admin, stopping);
        change(&mut api);
        let router = router::router(api);
        Self { broker, router, _running: running }
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    pub(super) fn admin(&self) -> Admin {
        self.broker.admin()
    }

    /// A request of `guest`. A body of null is none.
    pub(super) async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call_as("guest:guest", method, path, body).await
    }

    /// The same by somebody else, `name:password`.
    pub(super) async fn call_as(&self, who: &str, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request(method, path, &body)
            .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(who)));
        let peer = Peer::Tcp("127.0.0.1".parse().unwrap());
        self.send(request.extension(peer).body(Body::from(body)).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = router::answer(self.router.clone(), request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let json = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status, json }
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
        answer.json
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> StatusCode {
        self.call(Method::PUT, path, body).await.status
    }

    pub(super) async fn delete(&self, path: &str) -> StatusCode {
        self.call(Method::DELETE, path, Value::Null).await.status
    }

    /// Tries a request as each of `monitoring`, `policymaker`, `management` and `none`: which are let in?
    pub(super) async fn let_in(&self, method: Method, path: &str, body: Value) -> Vec<&'static str> {
        let mut let_in = Vec::new();
        for who in ["monitoring", "policymaker", "management", "none"] {
            let answer = self.call_as(&format!("{who}:x"), method.clone(), path, body.clone()).await;
            if answer.status != StatusCode::UNAUTHORIZED {
                let_in.push(who);
            }
        }
        let_in
    }
}

fn request(method: Method, path: &str, body: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::CONTENT_LENGTH, body.len())
}

#[tokio::test]
async fn everybody_with_a_tag_that_opens_the_api_learns_who_they_are() {
    let world = World::new().await;
    assert_eq!(world.get("/api/whoami").await, json!({"name": "guest", "tags": ["administrator"]}));
    let let_in = world.let_in(Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(let_in, ["monitoring", "policymaker", "management"]);
}

#[tokio::test]
async fn over_the_local_socket_everybody_is_an_administrator() {
    let world = World::new().await;
    let local = request(Method::GET, "/api/whoami", "").extension(Peer::Local).body(Body::empty()).unwrap();
    let answer = world.send(local).await;
    assert_eq!(answer.json, json!({"name": "local", "tags": ["administrator"]}));
}

#[tokio::test]
async fn refusals_have_rabbitmqs_codes_and_texts() {
    let world = World::new().await;
    let refused = async |who: &str, path: &str| {
        let answer = world.call_as(who, Method::GET, path, Value::Null).await;
        let text = |name: &str| answer.json[name].as_str().unwrap().to_owned();
        format!("{} {}: {}", answer.status.as_u16(), text("error"), text("reason"))
    };
    assert_eq!(refused("guest:bad", "/api/whoami").await, "401 not_authorized: Login failed");
    assert_eq!(refused("nobody:x", "/api/whoami").await, "401 not_authorized: Login failed");
    assert_eq!(refused("none:x", "/api/whoami").await, "401 not_authorised: Not management user");
    assert_eq!(refused("monitoring:x", "/api/users").await, "401 not_authorised: Not administrator user");
    assert_eq!(refused("guest:guest", "/api/users/nope").await, "404 Object Not Found: Not Found");
    assert_eq!(refused("guest:guest", "/api/nope").await, "404 Object Not Found: Not Found");
    let peer = Peer::Tcp("127.0.0.1".parse().unwrap());
    let anonymous = request(Method::GET, "/api/whoami", "").extension(peer).body(Body::empty()).unwrap();
    let answer = world.send(anonymous).await;
    assert_eq!(answer, Answer { status: StatusCode::UNAUTHORIZED, json: Value::Null });
    let method = world.call(Method::PATCH, "/api/users/guest", Value::Null).await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_in_the_form_of_all_refusals() {
    let world = World::new().await;
    let answer = world.call(Method::GET, "/api/queues/%2F/%FF", Value::Null).await;
    assert_eq!((answer.status, &answer.json["error"]), (StatusCode::BAD_REQUEST, &json!("bad_request")));
}

#[tokio::test]
async fn guest_is_let_in_from_this_machine_only() {
    let world = World::new().await;
    let far = Peer::Tcp("192.0.2.1".parse().unwrap());
    let credentials = format!("Basic {}", STANDARD.encode("guest:guest"));
    let request = request(Method::GET, "/api/whoami", "").extension(far);
    let request = request.header(header::AUTHORIZATION, credentials).body(Body::empty()).unwrap();
    assert_eq!(world.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_of_other_sites_can_change_nothing() {
    let world = World::new().await;
    let credentials = format!("Basic {}", STANDARD.encode("guest:guest"));
    let request = request(Method::DELETE, "/api/users/none", "")
        .extension(Peer::Tcp("127.0.0.1".parse().unwrap()))
        .header(header::AUTHORIZATION, credentials)
        .header("sec-fetch-site", "cross-site");
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(world.admin().user("none").is_some());
}

#[tokio::test]
async fn bodies_are_bounded_whether_their_length_is_announced_or_not() {
    let world = World::new().await;
    let max = crate::limits::HTTP_BODY_BYTES_MAX;
    let send = async |announced: Option<usize>, body: Vec<u8>| {
        let mut request = Request::builder().method(Method::PUT).uri("/api/users/a").extension(Peer::Local);
        request = match announced {
            Some(bytes) => request.header(header::CONTENT_LENGTH, bytes),
            None => request.header(header::TRANSFER_ENCODING, "chunked"),
        };
        world.send(request.body(Body::from(body)).unwrap()).await.status
    };
    assert_eq!(send(Some(max + 1), Vec::new()).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(None, vec![b' '; max + 1]).await, StatusCode::PAYLOAD_TOO_LARGE);
    let mut body = br#"{"tags": "", "password": "x"}"#.to_vec();
    body.resize(max, b' ');
    assert_eq!(send(Some(max), body).await, StatusCode::CREATED);
}
