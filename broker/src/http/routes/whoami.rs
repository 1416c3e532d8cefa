//! `/api/whoami`: who asks.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::Api;
use crate::http::caller::Caller;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new().route("/whoami", get(whoami))
}

async fn whoami(caller: Caller) -> Json<Value> {
    let tags: Vec<&str> = caller.tags().iter().collect();
    Json(json!({"name": caller.name(), "tags": tags}))
}
