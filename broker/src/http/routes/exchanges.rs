//! `/api/exchanges`: exchanges, their bindings, and publishing.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::acting::{
    actor, arguments_in, check_name, exchange_name, see_vhost, told, told_of_publish, vhosts_to_list,
};
use super::bindings;
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Row};
use crate::http::listing::Listing;
use crate::http::measures::{self, Past};
use crate::http::reply::{Done, Put};
use crate::http::table;
use crate::server::admin::{EndKind, ExchangeView, NewMessage, Published, Windows};
use crate::session::action::TopologyRequest;
use crate::wire::properties;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/exchanges", get(list))
        .route("/exchanges/{vhost}", get(list))
        .route("/exchanges/{vhost}/{name}", get(one).put(put).delete(delete))
        .route("/exchanges/{vhost}/{name}/bindings/source", get(bound_from))
        .route("/exchanges/{vhost}/{name}/bindings/destination", get(bound_to))
        .route("/exchanges/{vhost}/{name}/publish", post(publish))
}

/// An exchange, and what of its past is asked for.
struct ExchangeRow {
    of: ExchangeView,
    windows: Windows,
}

impl Row for ExchangeRow {
    fn fields(&self, out: &mut Fields<'_>) {
        let Self { of, windows } = self;
        let options = &of.options;
        out.add("name", || &options.name);
        out.add("vhost", || &of.vhost);
        out.add("type", || options.kind.name());
        out.add("durable", || options.durable);
        out.add("auto_delete", || options.auto_delete);
        out.add("internal", || options.internal);
        out.add("arguments", || table::to_json(&options.arguments));
        out.add_some("policy", of.policies.policy_name());
        if out.wants("message_stats") {
            out.add_some("message_stats", measures::if_any(&of.message_stats(windows.messages)));
        }
    }
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    vhost: Option<Path<String>>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let vhosts = vhosts_to_list(&caller, admin, vhost)?;
        let views = vhosts.iter().flat_map(|vhost| admin.exchanges(Some(vhost)));
        let rows = views.map(|of| ExchangeRow { of, windows }).collect();
        listing.answer_paged(&["vhost", "name"], rows)
    })
    .await
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let of = admin.exchange(&vhost, exchange_name(&name)).ok_or_else(ApiError::not_found)?;
        Ok(listing.one(ExchangeRow { of, windows }))
    })
    .await
}

async fn put(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let request = TopologyRequest::DeclareExchange {
        name: name.clone(),
        kind: sent.text("type")?.unwrap_or("direct").to_owned(),
        passive: false,
        durable: sent.boolean("durable")?.unwrap_or(false),
        auto_delete: sent.boolean("auto_delete")?.unwrap_or(false),
        internal: sent.boolean("internal")?.unwrap_or(false),
        arguments: arguments_in(&sent)?,
    };
    check_name(&name)?;
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &vhost)?;
        let existed = admin.exchange(&vhost, &name).is_some();
        actor.topology(request).map_err(told)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn delete(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Done, ApiError> {
    let if_unused = query.iter().any(|(name, value)| name == "if-unused" && value == "true");
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &vhost)?;
        let name = exchange_name(&name).to_owned();
        admin.exchange(&vhost, &name).ok_or_else(ApiError::not_found)?;
        actor.topology(TopologyRequest::DeleteExchange { name, if_unused }).map_err(told)?;
        Ok(Done)
    })
    .await
}

async fn bound_from(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let views = admin.bindings_from(&vhost, exchange_name(&name)).ok_or_else(ApiError::not_found)?;
        listing.answer(&bindings::SORTED_BY, views)
    })
    .await
}

async fn bound_to(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let views = admin.bindings_to(&vhost, EndKind::Exchange, exchange_name(&name));
        let views = views.ok_or_else(ApiError::not_found)?;
        listing.answer(&bindings::SORTED_BY, views)
    })
    .await
}

async fn publish(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let exchange = exchange_name(&name).to_owned();
    let routing_key = sent.need_text("routing_key")?.to_owned();
    check_name(&exchange)?;
    check_name(&routing_key)?;
    let payload = sent.need_text("payload")?;
    let body = match sent.need_text("payload_encoding")? {
        "string" => payload.as_bytes().to_vec(),
        "base64" => STANDARD.decode(payload).map_err(|_| ApiError::bad_request("payload is not base64"))?,
        other => return Err(ApiError::bad_request(format!("unsupported encoding: {other}"))),
    };
    let given = table::from_json("properties", Some(sent.need("properties")?))?;
    let properties = properties::from_table(&given).map_err(ApiError::bad_request)?;
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &vhost)?;
        let message = NewMessage { exchange, routing_key, properties, body };
        match actor.publish(message).map_err(told_of_publish)? {
            Published::Routed => Ok(Json(json!({"routed": true}))),
            Published::Unroutable => Ok(Json(json!({"routed": false}))),
            Published::Refused => Err(ApiError::bad_request("a queue is full and refuses the message")),
        }
    })
    .await
}
