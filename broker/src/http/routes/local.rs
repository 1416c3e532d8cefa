//! `/api/local`: what only the owner of the data folder may do, over the socket in it. Not part of RabbitMQ's API, and not there over
//! the network.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::config::Takes;
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{self, Owner};
use crate::http::error::ApiError;
use crate::http::reply::Done;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/local/stop", post(stop))
        .route("/local/reload", post(reload))
        .route("/local/environment", get(environment))
        .route("/local/authenticate", post(authenticate))
}

/// Answers before the broker stops. Whoever asked can wait for the end of its process.
async fn stop(_: Owner, State(api): State<Api>) -> Json<Value> {
    api.admin.request_stop();
    Json(json!({"pid": std::process::id()}))
}

async fn reload(_: Owner, State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    api.work(|admin| {
        let report = admin.reload().map_err(|error| ApiError::bad_request(error.to_string()))?;
        let changes = report.changes.iter().map(|change| {
            json!({
                "key": change.key,
                "from": change.from,
                "to": change.to,
                "restart": change.takes == Takes::Restart,
            })
        });
        Ok(Json(json!({"changes": changes.collect::<Vec<_>>(), "certificates": report.certificates})))
    })
    .await
}

async fn environment(_: Owner, State(api): State<Api>) -> Json<Value> {
    Json(json!({"settings": api.admin.environment()}))
}

/// Checks a password. Over the socket a caller is the owner whatever it says, so it cannot find out by asking as somebody else.
async fn authenticate(_: Owner, State(api): State<Api>, sent: Sent) -> Result<Done, ApiError> {
    let name = sent.need_text("name")?.to_owned();
    let password = sent.need_text("password")?.as_bytes().to_vec();
    caller::login(&api, name, password, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.map(|_| Done)
}
