//! `/api/definitions`: all definitions, or those of one virtual host, out and in. For administrators.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use crate::http::Api;
use crate::http::body::Raw;
use crate::http::caller::Administrator;
use crate::http::definitions;
use crate::http::error::ApiError;
use crate::http::form;
use crate::http::reply::Done;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/definitions", get(export).post(import))
        .route("/definitions/{vhost}", get(export_vhost).post(import_vhost))
}

type Params = Query<Vec<(String, String)>>;

/// With `download=NAME` browsers save it under that name.
fn answer(json: Value, Query(params): Params) -> Response {
    let mut response = Json(json).into_response();
    let name = params.iter().find(|(name, _)| name == "download").map(|(_, name)| name.as_str());
    // Only what needs no quoting.
    let plain =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    if let Some(name) = name.filter(plain)
        && let Ok(value) = HeaderValue::try_from(format!("attachment; filename={name}"))
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

async fn export(_: Administrator, State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    let json = api.work(|admin| Ok(definitions::export(admin))).await?;
    Ok(answer(json, params))
}

async fn export_vhost(
    _: Administrator,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let json = api.work(move |admin| Ok(definitions::export_vhost(admin, &vhost))).await?;
    // RabbitMQ's code and text.
    Ok(answer(json.ok_or_else(|| ApiError::bad_request("vhost_not_found"))?, params))
}

async fn import(
    _: Administrator,
    State(api): State<Api>,
    headers: HeaderMap,
    body: Raw,
) -> Result<Done, ApiError> {
    let boundary = form::boundary(&headers);
    api.work(move |admin| definitions::import(admin, None, parse(&body, boundary.as_deref())?).map(|()| Done))
        .await
}

async fn import_vhost(
    _: Administrator,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    headers: HeaderMap,
    body: Raw,
) -> Result<Done, ApiError> {
    let boundary = form::boundary(&headers);
    api.work(move |admin| {
        admin.vhost(&vhost).ok_or_else(ApiError::not_found)?;
        definitions::import(admin, Some(&vhost), parse(&body, boundary.as_deref())?).map(|()| Done)
    })
    .await
}

/// From JSON, or from the file of a form.
fn parse(body: &Raw, boundary: Option<&str>) -> Result<serde_json::Map<String, Value>, ApiError> {
    let json = match boundary {
        Some(boundary) => form::part(&body.bytes, boundary, "file")
            .ok_or_else(|| ApiError::bad_request("the form has no part called file"))?,
        None => &body.bytes,
    };
    // RabbitMQ's text.
    serde_json::from_slice(json).map_err(|_| ApiError::bad_request("failed_to_parse_json"))
}
