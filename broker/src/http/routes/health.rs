//! `/api/health/checks`: 200 if all is well, 503 if not. `/api/aliveness-test`: whether a virtual host is served.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::error::ApiError;

pub(in crate::http) fn routes() -> Router<Api> {
    let checks = Router::new()
        .route("/alarms", get(alarms))
        .route("/local-alarms", get(alarms))
        .route("/port-listener/{port}", get(port_listener))
        .route("/protocol-listener/{protocol}", get(protocol_listener))
        .route("/virtual-hosts", get(well))
        .route("/is-in-service", get(in_service))
        .route("/ready-to-serve-clients", get(ready))
        .route("/node-is-quorum-critical", get(single_node))
        .route("/node-is-mirror-sync-critical", get(single_node));
    Router::new().nest("/health/checks", checks).route("/aliveness-test/{vhost}", get(aliveness))
}

fn ok(details: Value) -> Response {
    Json(with("ok", details)).into_response()
}

fn failed(details: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(with("failed", details))).into_response()
}

fn with(status: &str, mut details: Value) -> Value {
    details["status"] = status.into();
    details
}

async fn alarms(_: Caller, State(api): State<Api>) -> Response {
    let Some(reason) = api.admin.alarm() else { return ok(json!({})) };
    let resources: Vec<Value> = ["memory", "disk"]
        .into_iter()
        .filter(|resource| reason.contains(resource))
        .map(|resource| json!({"node": api.admin.node_name(), "resource": resource}))
        .collect();
    failed(json!({"reason": "There are alarms in effect in the cluster", "alarms": resources}))
}

/// All that is checked here is so while the broker answers at all.
async fn well(_: Caller) -> Response {
    ok(json!({}))
}

async fn single_node(_: Caller) -> Response {
    ok(json!({"reason": "single node cluster"}))
}

async fn in_service(_: Caller, State(api): State<Api>) -> Response {
    match api.is_stopping() {
        false => ok(json!({})),
        true => failed(json!({"reason": "this node is shutting down"})),
    }
}

async fn ready(_: Caller, State(api): State<Api>) -> Response {
    let takes_clients = api.admin.listeners().iter().any(|view| view.protocol.starts_with("amqp"));
    match takes_clients && !api.is_stopping() {
        true => ok(json!({})),
        false => failed(json!({"reason": "this node does not take connections of clients"})),
    }
}

async fn port_listener(
    _: Caller,
    State(api): State<Api>,
    Path(port): Path<String>,
) -> Result<Response, ApiError> {
    let port: u16 = port.parse().map_err(|_| ApiError::bad_request("Invalid port"))?;
    let mut ports: Vec<u16> = api.admin.listeners().iter().map(|view| view.address.port()).collect();
    if ports.contains(&port) {
        return Ok(ok(json!({"port": port})));
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(failed(json!({"reason": "No active listener", "missing": port, "ports": ports})))
}

async fn protocol_listener(_: Caller, State(api): State<Api>, Path(asked): Path<String>) -> Response {
    // RabbitMQ's names and the other ones that it understands.
    let protocol = match asked.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp091s" => "amqp/ssl",
        other => other,
    };
    let listeners = api.admin.listeners();
    let mut protocols: Vec<&str> = listeners.iter().map(|view| view.protocol).collect();
    if protocols.contains(&protocol) {
        return ok(json!({"protocol": protocol}));
    }
    protocols.dedup();
    failed(json!({"reason": "No active listener", "missing": asked, "protocols": protocols}))
}

async fn aliveness(
    caller: Caller,
    State(api): State<Api>,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    api.admin.vhost(&vhost).ok_or_else(ApiError::not_found)?;
    caller.enter(&api.admin, &vhost)?;
    // RabbitMQ 3 publishes a message and gets it back; RabbitMQ 4 only answers, as is done here.
    Ok(ok(json!({})))
}
