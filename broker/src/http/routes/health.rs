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
use crate::http::time;
use crate::server::admin::ListenerView;

pub(in crate::http) fn routes() -> Router<Api> {
    let checks = Router::new()
        .route("/alarms", get(alarms))
        .route("/local-alarms", get(alarms))
        .route("/port-listener/{port}", get(port_listener))
        .route("/protocol-listener/{protocol}", get(protocol_listener))
        .route("/certificate-expiration/{within}/{unit}", get(certificate_expiration))
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

/// Whether a certificate of a listener expires within some time. Texts and shapes are RabbitMQ's.
async fn certificate_expiration(
    _: Caller,
    State(api): State<Api>,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let until_s = i64::try_from(api.admin.now_ms() / 1000).unwrap_or(i64::MAX);
    let until_s = until_s.saturating_add(seconds(&within, &unit)?);
    let files = api.admin.certificates();
    let expiring = |is_authority: bool| -> (Option<String>, Vec<Value>) {
        let file = files.iter().find(|file| file.is_authority == is_authority);
        let told = |validity: &Option<(i64, i64)>| match validity {
            Some((_, end)) if *end >= until_s => None,
            Some((_, end)) => Some(json!(time::plain(u64::try_from(*end).unwrap_or_default()))),
            None => Some(json!({"error": "Invalid date format in certificate"})),
        };
        let found = file.into_iter().flat_map(|file| &file.validity).filter_map(told);
        (file.map(|file| file.path.display().to_string()), found.collect())
    };
    let ((cert, cert_ends), (authority, authority_ends)) = (expiring(false), expiring(true));
    let asks_clients = |view: &ListenerView| view.protocol == "amqp/ssl";
    let listeners = api.admin.listeners();
    let expired: Vec<Value> = listeners
        .iter()
        .filter(|view| matches!(view.protocol, "amqp/ssl" | "https"))
        .filter(|view| !cert_ends.is_empty() || (asks_clients(view) && !authority_ends.is_empty()))
        .map(|view| {
            let (authority, authority_ends) = match asks_clients(view) {
                true => (authority.as_deref(), authority_ends.as_slice()),
                false => (None, [].as_slice()),
            };
            json!({
                "node": api.admin.node_name(),
                "protocol": view.protocol,
                "interface": view.address.ip().to_string(),
                "port": view.address.port(),
                "certfile": cert,
                "certfile_expires_on": cert_ends,
                "cacertfile": authority.unwrap_or("undefined"),
                "cacertfile_expires_on": authority_ends,
            })
        })
        .collect();
    match expired.is_empty() {
        true => Ok(ok(json!({}))),
        false => Ok(failed(json!({"reason": "Certificates expiring", "expired": expired}))),
    }
}

fn seconds(within: &str, unit: &str) -> Result<i64, ApiError> {
    const DAY_S: i64 = 86_400;
    let number: i64 = within.parse().map_err(|_| ApiError::bad_request("Invalid expiration value."))?;
    let unit_s = match unit.to_lowercase().as_str() {
        "days" => DAY_S,
        "weeks" => 7 * DAY_S,
        // A twelfth of a year.
        "months" => 365 * DAY_S / 12,
        "years" => 365 * DAY_S,
        _ => {
            return Err(ApiError::bad_request(
                "Time unit not recognised. Supported units: days, weeks, months, years.",
            ));
        }
    };
    Ok(number.saturating_mul(unit_s))
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
