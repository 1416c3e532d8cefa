//! `/api/overview` and `/api/nodes`: the broker as a whole, and its process.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::acting::visible_vhosts;
use crate::access::Tag;
use crate::engine::exchange::ExchangeKind;
use crate::http::Api;
use crate::http::caller::{Caller, Monitor};
use crate::http::error::ApiError;
use crate::http::fields;
use crate::http::listing::Listing;
use crate::http::measures::{self, Numbers, Past, Totals};
use crate::server::admin::{Admin, ListenerView, NODE, NodeView, Windows};

/// The RabbitMQ whose API this is, for programs that ask before they use it.
const API_VERSION: &str = "4.0.0";

/// The broker's own version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/overview", get(overview))
        .route("/nodes", get(nodes))
        .route("/nodes/{name}", get(node))
}

async fn overview(
    caller: Caller,
    State(api): State<Api>,
    listing: Listing,
    Past(windows): Past,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let mut object = about(admin);
        if caller.has(Tag::Monitoring) {
            add_totals(&mut object, admin, windows);
        } else {
            add_own_totals(&mut object, &caller, admin);
        }
        Ok(listing.one(Value::Object(object)))
    })
    .await
}

fn about(admin: &Admin) -> Map<String, Value> {
    let types: Vec<Value> =
        ExchangeKind::ALL.iter().map(|kind| json!({"name": kind.name(), "enabled": true})).collect();
    let object = json!({
        "management_version": API_VERSION,
        "rabbitmq_version": API_VERSION,
        "product_name": "Warren",
        "product_version": VERSION,
        "cluster_name": admin.cluster_name(),
        // What other programs show of the machine below RabbitMQ; here is none.
        "erlang_version": "none",
        "erlang_full_version": "none",
        "rates_mode": "basic",
        "exchange_types": types,
        "statistics_db_event_queue": 0,
        "disable_stats": false,
        "enable_queue_totals": false,
        // For how many seconds there are samples.
        "sample_retention_policies": {"global": [600, 3600, 28800, 86400], "basic": [600], "detailed": [600]},
    });
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn add_totals(object: &mut Map<String, Value>, admin: &Admin, windows: Windows) {
    let view = admin.overview(windows);
    let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
    add("node", view.node.into());
    add("queue_totals", json!(Numbers(&view.lengths)));
    add("message_stats", json!(Numbers(&view.message_stats)));
    add("churn_rates", json!(Numbers(&view.churn)));
    let totals = json!({
        "connections": view.connections,
        "channels": view.channels,
        "exchanges": view.exchanges,
        "queues": view.queues,
        "consumers": view.consumers,
    });
    add("object_totals", totals);
    add("listeners", admin.listeners().iter().map(listener_json).collect());
    add("contexts", contexts(admin));
}

/// What somebody sees who may not look at the whole: the sums of the virtual hosts that are open to them.
fn add_own_totals(object: &mut Map<String, Value>, caller: &Caller, admin: &Admin) {
    let vhosts = visible_vhosts(caller, admin);
    let totals = Totals::of(admin, &vhosts);
    let exchanges: usize = vhosts.iter().map(|vhost| admin.exchanges(Some(vhost)).len()).sum();
    let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
    add("queue_totals", json!(Numbers(&totals.lengths)));
    add("message_stats", json!(Numbers(&totals.message_stats)));
    let counts = json!({"queues": totals.queues, "consumers": totals.consumers, "exchanges": exchanges});
    add("object_totals", counts);
}

fn listener_json(view: &ListenerView) -> Value {
    json!({
        "node": NODE,
        "protocol": view.protocol,
        "ip_address": view.address.ip().to_string(),
        "port": view.address.port(),
        "socket_opts": {},
    })
}

/// Where this API is served.
fn contexts(admin: &Admin) -> Value {
    let listeners = admin.listeners();
    let here = listeners.iter().filter(|listener| listener.protocol.starts_with("http"));
    let context = |listener: &ListenerView| {
        json!({
            "node": NODE,
            "description": "Warren HTTP API",
            "path": "/",
            "ip": listener.address.ip().to_string(),
            "port": listener.address.port().to_string(),
            "cowboy_opts": "[]",
        })
    };
    here.map(context).collect()
}

fn node_json(admin: &Admin) -> Value {
    let view: NodeView = admin.node();
    let mut object = json!({
        "name": view.name,
        "type": "disc",
        "running": true,
        "uptime": u64::try_from(view.uptime.as_millis()).unwrap_or(u64::MAX),
        "os_pid": view.process_id.to_string(),
        "processors": view.processors,
        "mem_used": view.memory_bytes.unwrap_or(view.messages_bytes),
        "mem_limit": view.memory_limit_bytes,
        "mem_alarm": view.memory_alarm,
        "messages_memory": view.messages_bytes,
        "disk_free": view.disk.map(|disk| disk.free_bytes),
        "disk_free_limit": view.disk_free_limit_bytes,
        "disk_free_alarm": view.disk_alarm,
        "fd_used": view.files,
        "fd_total": view.files_max,
        "sockets_used": view.sockets,
        "db_dir": view.folder.as_deref().map(|folder| folder.display().to_string()),
        "rates_mode": "basic",
        "enabled_plugins": [],
        "applications": [{"name": "warren", "description": "Warren", "version": VERSION}],
        "exchange_types": about(admin).remove("exchange_types"),
        "contexts": contexts(admin),
        "partitions": [],
        "cluster_links": [],
        "being_drained": false,
        "mem_calculation_strategy": "rss",
    });
    if let (Value::Object(object), Value::Object(churn)) =
        (&mut object, fields::object(|out| measures::add(out, &admin.churn())))
    {
        object.extend(churn);
    }
    object
}

async fn nodes(_: Monitor, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer(&["name"], vec![node_json(admin)])).await
}

async fn node(
    _: Monitor,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| match name == NODE {
        true => Ok(listing.one(node_json(admin))),
        false => Err(ApiError::not_found()),
    })
    .await
}
