//! `/api/connections`, `/api/channels` and `/api/consumers`: who is connected, and what they have open.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::acting::{see_vhost, vhosts_to_list};
use crate::access::Tag;
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Row, objects};
use crate::http::listing::Listing;
use crate::http::measures::{self, Past};
use crate::http::reply::Done;
use crate::http::{table, time};
use crate::server::admin::{Admin, ChannelView, ConnectionView, ConsumerView, NODE, TlsDetails, Windows};

/// Why a connection is closed if nobody says why; RabbitMQ's.
const REASON: &str = "Closed via management plugin";

/// The longest reason, in bytes: it has to fit a short string with what stands in front of it.
const REASON_BYTES_MAX: usize = 200;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/connections", get(list))
        .route("/vhosts/{name}/connections", get(list))
        .route("/connections/{name}", get(one).delete(close))
        .route("/connections/{name}/channels", get(channels_of))
        .route("/connections/username/{user}", get(of_user).delete(close_of_user))
        .route("/channels", get(channels))
        .route("/vhosts/{name}/channels", get(channels))
        .route("/channels/{name}", get(channel))
        .route("/consumers", get(consumers))
        .route("/consumers/{vhost}", get(consumers))
}

impl Row for ConnectionView {
    fn fields(&self, out: &mut Fields<'_>) {
        let local = self.local.map(|local| (local.ip().to_canonical().to_string(), local.port())).unzip();
        out.add("name", || &self.name);
        out.add("user", || &self.user);
        out.add("user_who_performed_action", || &self.user);
        out.add("vhost", || &self.vhost);
        out.add("node", || NODE);
        out.add("type", || "network");
        out.add("protocol", || "AMQP 0-9-1");
        out.add("auth_mechanism", || self.mechanism);
        out.add("state", || self.state);
        out.add("channels", || self.channels.len());
        out.add("channel_max", || self.channel_max);
        out.add("frame_max", || self.frame_max);
        out.add("timeout", || self.heartbeat_s);
        out.add("ssl", || self.tls.is_some());
        let tls = self.tls.as_deref();
        out.add("ssl_protocol", || tls.map(|tls| tls.protocol));
        out.add("ssl_key_exchange", || tls.map(|tls| &tls.key_exchange));
        out.add("ssl_cipher", || tls.map(|tls| &tls.cipher));
        out.add("ssl_hash", || tls.map(|_| TlsDetails::HASH));
        let certificate = tls.and_then(|tls| tls.peer.as_ref());
        out.add("peer_cert_subject", || certificate.map(|peer| &peer.subject));
        out.add("peer_cert_issuer", || certificate.map(|peer| &peer.issuer));
        out.add("peer_cert_validity", || {
            certificate.map(|peer| {
                let (from, to) = peer.validity;
                format!("{} - {}", time::zulu(from), time::zulu(to))
            })
        });
        out.add("peer_host", || self.peer.ip().to_canonical().to_string());
        out.add("peer_port", || self.peer.port());
        out.add("host", || local.0);
        out.add("port", || local.1);
        out.add("connected_at", || self.connected_at_ms);
        out.add("client_properties", || client_json(self));
        measures::add(out, &self.data);
        out.add_some("user_provided_name", self.client.connection_name.as_deref());
        out.add_some("message_stats", measures::if_any(&self.message_stats));
    }
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

/// A channel of a connection.
struct ChannelRow<'a> {
    of: &'a ConnectionView,
    view: &'a ChannelView,
    windows: Windows,
}

impl Row for ChannelRow<'_> {
    fn fields(&self, out: &mut Fields<'_>) {
        let Self { of, view, windows } = self;
        let channel = &view.details;
        out.add("name", || channel_name(&of.name, channel.channel.0));
        out.add("number", || channel.channel.0);
        out.add("node", || NODE);
        out.add("user", || &of.user);
        out.add("user_who_performed_action", || &of.user);
        out.add("vhost", || &of.vhost);
        out.add("state", || "running");
        out.add("prefetch_count", || channel.prefetch);
        out.add("global_prefetch_count", || channel.channel_prefetch);
        out.add("messages_unacknowledged", || channel.unacked);
        out.add("messages_unconfirmed", || channel.unconfirmed);
        out.add("messages_uncommitted", || channel.uncommitted);
        out.add("acks_uncommitted", || channel.uncommitted_acks);
        out.add("consumer_count", || channel.consumers);
        out.add("confirm", || channel.confirms);
        out.add("transactional", || channel.transactional);
        out.add("connection_details", || {
            json!({
                "name": of.name,
                "peer_host": of.peer.ip().to_canonical().to_string(),
                "peer_port": of.peer.port(),
            })
        });
        out.add("idle_since", || time::text(view.idle_since_ms()));
        if out.wants("message_stats") {
            out.add_some("message_stats", measures::if_any(&view.message_stats(windows.messages)));
        }
    }
}

fn all_channels(of: &ConnectionView, windows: Windows) -> impl Iterator<Item = ChannelRow<'_>> {
    of.channels.iter().map(move |view| ChannelRow { of, view, windows })
}

impl Row for ConsumerView {
    fn fields(&self, out: &mut Fields<'_>) {
        let status = match (self.active, self.queue.single_active_consumer) {
            (true, true) => "single_active",
            (true, false) => "up",
            (false, _) => "waiting",
        };
        out.add("queue", || json!({"name": self.queue.name, "vhost": &*self.queue.vhost}));
        out.add("consumer_tag", || &self.consumer_tag);
        out.add("exclusive", || self.exclusive);
        out.add("ack_required", || self.ack_required);
        out.add("prefetch_count", || self.prefetch);
        out.add("active", || self.active);
        out.add("activity_status", || status);
        out.add("arguments", || table::to_json(&self.arguments));
        out.add("channel_details", || {
            json!({
                "name": channel_name(&self.connection, self.channel),
                "number": self.channel,
                "connection_name": self.connection,
                "node": NODE,
                "user": self.user,
                "peer_host": self.peer.ip().to_canonical().to_string(),
                "peer_port": self.peer.port(),
            })
        });
    }
}

/// The connections that a caller may see: its own, or all; in one virtual host, if the path names one.
fn seen(
    caller: &Caller,
    admin: &Admin,
    vhost: Option<Path<String>>,
    windows: Windows,
) -> Result<Vec<ConnectionView>, ApiError> {
    let mut views = admin.connections(windows);
    views.retain(|view| caller.has(Tag::Monitoring) || caller.user() == Some(&view.user));
    if let Some(Path(vhost)) = vhost {
        see_vhost(caller, admin, &vhost)?;
        views.retain(|view| view.vhost == vhost);
    }
    Ok(views)
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
    vhost: Option<Path<String>>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer_paged(&["name"], seen(&caller, admin, vhost, windows)?)).await
}

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| Ok(listing.one(find(&caller, admin, &name, windows)?))).await
}

async fn close(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Done, ApiError> {
    let reason = reason_in(&headers);
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

/// What to tell clients whose connections are closed.
fn reason_in(headers: &HeaderMap) -> String {
    let reason = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).unwrap_or(REASON);
    reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

async fn of_user(
    caller: Caller,
    State(api): State<Api>,
    Path(user): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    if !caller.has(Tag::Monitoring) && !caller.is_or_administers(&user) {
        return Err(ApiError::not_authorised("User not authorised to access object"));
    }
    api.work(move |admin| {
        let mut views = admin.connections(windows);
        views.retain(|view| view.user == user);
        listing.answer(&["name"], views)
    })
    .await
}

/// Closes all; also none.
async fn close_of_user(
    caller: Caller,
    State(api): State<Api>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<Done, ApiError> {
    if !caller.is_or_administers(&user) {
        return Err(ApiError::not_authorised("User not authorised to access object"));
    }
    let reason = reason_in(&headers);
    api.work(move |admin| {
        let views = admin.connections(Windows::default());
        for view in views.iter().filter(|view| view.user == user) {
            // It may have gone by itself.
            let _ = admin.close_connection(&view.name, &reason);
        }
        Ok(Done)
    })
    .await
}

async fn channels_of(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let view = find(&caller, admin, &name, Windows::default())?;
        listing.answer(&["number"], all_channels(&view, windows).collect())
    })
    .await
}

async fn channels(
    caller: Caller,
    State(api): State<Api>,
    vhost: Option<Path<String>>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let views = seen(&caller, admin, vhost, Windows::default())?;
        let rows = views.iter().flat_map(|view| all_channels(view, windows)).collect();
        listing.answer_paged(&["name"], rows)
    })
    .await
}

/// `127.0.0.1:40000 -> 127.0.0.1:5672 (1)`, with its consumers.
async fn channel(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let (connection, number) = name.rsplit_once(" (").ok_or_else(ApiError::not_found)?;
        let number: u16 = number.trim_end_matches(')').parse().map_err(|_| ApiError::not_found())?;
        let view = find(&caller, admin, connection, Windows::default())?;
        let found = all_channels(&view, windows).find(|row| row.view.details.channel.0 == number);
        let row = found.ok_or_else(ApiError::not_found)?;
        let consumers = view.consumers.iter().filter(|consumer| consumer.channel == number);
        Ok(listing.one_with(|out| {
            row.fields(out);
            out.add("consumer_details", || objects(&consumers.collect::<Vec<_>>()));
        }))
    })
    .await
}

async fn consumers(
    caller: Caller,
    State(api): State<Api>,
    vhost: Option<Path<String>>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let vhosts = vhosts_to_list(&caller, admin, vhost)?;
        let mut views = admin.consumers(None);
        views.retain(|view| vhosts.iter().any(|vhost| **vhost == *view.queue.vhost));
        listing.answer(&["channel_details.name"], views)
    })
    .await
}
