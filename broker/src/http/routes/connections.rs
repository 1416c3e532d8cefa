//! `/api/connections`, `/api/channels` and `/api/consumers`: who is connected, and what they have open.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::acting::{see_vhost, visible_vhosts};
use crate::access::Tag;
use crate::http::Api;
use crate::http::arguments;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::measures::{self, Past};
use crate::http::reply::Done;
use crate::server::admin::{Admin, ConnectionView, ConsumerView, NODE, Windows};
use crate::session::connection::ChannelDetails;

/// Why a connection is closed if nobody says why; RabbitMQ's.
const REASON: &str = "Closed via management plugin";

/// The longest reason, in bytes: it has to fit a short string with what stands in front of it.
const REASON_BYTES_MAX: usize = 200;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/connections", get(list))
        .route("/vhosts/{name}/connections", get(list_vhost))
        .route("/connections/{name}", get(one).delete(close))
        .route("/connections/{name}/channels", get(channels_of))
        .route("/channels", get(channels))
        .route("/vhosts/{name}/channels", get(channels_vhost))
        .route("/channels/{name}", get(channel))
        .route("/consumers", get(consumers))
        .route("/consumers/{vhost}", get(consumers_vhost))
}

fn json_of(view: &ConnectionView) -> Value {
    let local = view.local.map(|local| (local.ip().to_canonical().to_string(), local.port())).unzip();
    let mut object = json!({
        "name": view.name,
        "user": view.user,
        "user_who_performed_action": view.user,
        "vhost": view.vhost,
        "node": NODE,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "auth_mechanism": view.mechanism,
        "state": view.state,
        "channels": view.channels.len(),
        "channel_max": view.channel_max,
        "frame_max": view.frame_max,
        "timeout": view.heartbeat_s,
        "ssl": view.encrypted,
        "peer_host": view.peer.ip().to_canonical().to_string(),
        "peer_port": view.peer.port(),
        "host": local.0,
        "port": local.1,
        "connected_at": view.connected_at_ms,
        "client_properties": client_json(view),
    });
    let Value::Object(fields) = &mut object else { return object };
    for measure in &view.data {
        measures::add(fields, measure);
    }
    if let Some(name) = &view.client.connection_name {
        fields.insert("user_provided_name".to_owned(), (**name).into());
    }
    if !view.message_stats.is_empty() {
        fields.insert("message_stats".to_owned(), measures::object_of(&view.message_stats).into());
    }
    object
}

fn client_json(view: &ConnectionView) -> Map<String, Value> {
    let client = &view.client;
    let texts = [
        ("product", &client.product),
        ("version", &client.version),
        ("platform", &client.platform),
        ("connection_name", &client.connection_name),
    ];
    let mut object: Map<String, Value> = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.as_deref()?))))
        .collect();
    let capabilities = &client.capabilities;
    object.insert(
        "capabilities".to_owned(),
        json!({
            "authentication_failure_close": capabilities.authentication_failure_close,
            "consumer_cancel_notify": capabilities.consumer_cancel_notify,
            "connection.blocked": capabilities.connection_blocked,
        }),
    );
    object
}

fn channel_name(connection: &str, channel: u16) -> String {
    format!("{connection} ({channel})")
}

fn channel_json(view: &ConnectionView, channel: &ChannelDetails) -> Value {
    json!({
        "name": channel_name(&view.name, channel.channel.0),
        "number": channel.channel.0,
        "node": NODE,
        "user": view.user,
        "user_who_performed_action": view.user,
        "vhost": view.vhost,
        "state": "running",
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.channel_prefetch,
        "messages_unacknowledged": channel.unacked,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": channel.uncommitted,
        "acks_uncommitted": channel.uncommitted_acks,
        "consumer_count": channel.consumers,
        "confirm": channel.confirms,
        "transactional": channel.transactional,
        "connection_details": {
            "name": view.name,
            "peer_host": view.peer.ip().to_canonical().to_string(),
            "peer_port": view.peer.port(),
        },
    })
}

fn all_channels(view: &ConnectionView) -> Vec<Value> {
    view.channels.iter().map(|channel| channel_json(view, channel)).collect()
}

/// A consumer in JSON.
pub(super) fn consumer_json(view: &ConsumerView) -> Value {
    let status = match (view.active, view.queue.single_active_consumer) {
        (true, true) => "single_active",
        (true, false) => "up",
        (false, _) => "waiting",
    };
    json!({
        "queue": {"name": view.queue.name, "vhost": &*view.queue.vhost},
        "consumer_tag": view.consumer_tag,
        "exclusive": view.exclusive,
        "ack_required": view.ack_required,
        "prefetch_count": view.prefetch,
        "active": view.active,
        "activity_status": status,
        "arguments": arguments::to_json(&view.arguments),
        "channel_details": {
            "name": channel_name(&view.connection, view.channel),
            "number": view.channel,
            "connection_name": view.connection,
            "node": NODE,
            "user": view.user,
            "peer_host": view.peer.ip().to_canonical().to_string(),
            "peer_port": view.peer.port(),
        },
    })
}

/// The connections that a caller may see: its own, or all.
fn seen(caller: &Caller, admin: &Admin, windows: Windows) -> Vec<ConnectionView> {
    let mut views = admin.connections(windows);
    views.retain(|view| caller.has(Tag::Monitoring) || caller.user() == Some(&view.user));
    views
}

fn find(caller: &Caller, admin: &Admin, name: &str, windows: Windows) -> Result<ConnectionView, ApiError> {
    let view = admin.connection(name, windows).ok_or_else(ApiError::not_found)?;
    if caller.has(Tag::Monitoring) || caller.user() == Some(&view.user) {
        return Ok(view);
    }
    Err(ApiError::not_authorised("User not authorised to access object"))
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        listing.answer_paged(&["name"], seen(&caller, admin, windows).iter().map(json_of).collect())
    })
    .await
}

async fn list_vhost(
    caller: Caller,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let mut views = seen(&caller, admin, windows);
        views.retain(|view| view.vhost == vhost);
        listing.answer_paged(&["name"], views.iter().map(json_of).collect())
    })
    .await
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| Ok(listing.one(json_of(&find(&caller, admin, &name, windows)?)))).await
}

async fn close(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Done, ApiError> {
    let reason = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).unwrap_or(REASON);
    let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
    api.work(move |admin| {
        let view = admin.connection(&name, Windows::default()).ok_or_else(ApiError::not_found)?;
        if !caller.is_or_administers(&view.user) {
            return Err(ApiError::not_authorised("User not authorised to access object"));
        }
        match admin.close_connection(&name, &reason) {
            true => Ok(Done),
            false => Err(ApiError::not_found()),
        }
    })
    .await
}

async fn channels_of(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let view = find(&caller, admin, &name, Windows::default())?;
        listing.answer(&["number"], all_channels(&view))
    })
    .await
}

async fn channels(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let views = seen(&caller, admin, Windows::default());
        listing.answer_paged(&["name"], views.iter().flat_map(all_channels).collect())
    })
    .await
}

async fn channels_vhost(
    caller: Caller,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let views = seen(&caller, admin, Windows::default());
        let views = views.iter().filter(|view| view.vhost == vhost);
        listing.answer_paged(&["name"], views.flat_map(all_channels).collect())
    })
    .await
}

/// `127.0.0.1:40000 -> 127.0.0.1:5672 (1)`, with its consumers.
async fn channel(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let (connection, number) = name.rsplit_once(" (").ok_or_else(ApiError::not_found)?;
        let number: u16 = number.trim_end_matches(')').parse().map_err(|_| ApiError::not_found())?;
        let view = find(&caller, admin, connection, Windows::default())?;
        let channel = view.channels.iter().find(|channel| channel.channel.0 == number);
        let mut object = channel_json(&view, channel.ok_or_else(ApiError::not_found)?);
        if let Value::Object(fields) = &mut object {
            let consumers = view.consumers.iter().filter(|consumer| consumer.channel == number);
            fields.insert("consumer_details".to_owned(), consumers.map(consumer_json).collect());
        }
        Ok(listing.one(object))
    })
    .await
}

async fn consumers(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let visible = visible_vhosts(&caller, admin);
        let mut views = admin.consumers(None);
        views.retain(|view| visible.iter().any(|vhost| **vhost == *view.queue.vhost));
        listing.answer(&["channel_details.name"], views.iter().map(consumer_json).collect())
    })
    .await
}

async fn consumers_vhost(
    caller: Caller,
    State(api): State<Api>,
    Path(vhost): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let views = admin.consumers(Some(&vhost));
        listing.answer(&["channel_details.name"], views.iter().map(consumer_json).collect())
    })
    .await
}
