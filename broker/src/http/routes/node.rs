//! What the broker says of itself in a few words: `/api/cluster-name`, `/api/extensions`, `/api/feature-flags`, `/api/auth`.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{Administrator, Caller};
use crate::http::error::ApiError;
use crate::http::reply::Done;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/cluster-name", get(cluster_name).put(name_cluster))
        .route("/extensions", get(extensions))
        .route("/feature-flags", get(feature_flags))
        .route("/deprecated-features", get(feature_flags))
        .route("/deprecated-features/used", get(feature_flags))
}

/// Routes for those who have not logged in yet.
pub(in crate::http) fn open_routes() -> Router<Api> {
    Router::new().route("/auth", get(auth))
}

async fn cluster_name(_: Caller, State(api): State<Api>) -> Json<Value> {
    Json(json!({"name": api.admin.cluster_name()}))
}

async fn name_cluster(_: Administrator, State(api): State<Api>, sent: Sent) -> Result<Done, ApiError> {
    let name = sent.need_text("name")?.to_owned();
    api.work(move |admin| Ok(admin.set_cluster_name(&name).map(|()| Done)?)).await
}

/// Nothing is added to the API by plugins.
async fn extensions(_: Caller) -> Json<Value> {
    Json(json!([]))
}

/// No feature waits to be switched on, or off.
async fn feature_flags(_: Administrator) -> Json<Value> {
    Json(json!([]))
}

/// How to log in: not through somebody else's pages.
async fn auth() -> Json<Value> {
    Json(json!({"oauth_enabled": false}))
}
