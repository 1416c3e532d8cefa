//! `/api/queues`: queues, what is in them, and what may be done with them.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::acting::{actor, arguments_in, check_name, number, see_vhost, told, vhosts_to_list};
use super::bindings;
use crate::engine::queue::{QueueKind, QueueOptions};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, Row, objects};
use crate::http::listing::Listing;
use crate::http::measures::{self, Past};
use crate::http::reply::{Done, Put};
use crate::http::{table, time};
use crate::server::admin::{Admin, EndKind, GotMessage, NODE, QueueView, Requeue};
use crate::session::action::TopologyRequest;
use crate::wire::message::Message;
use crate::wire::properties;

/// The most messages that one request gets.
const GET_MAX: u64 = 10_000;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/queues", get(list))
        .route("/queues/{vhost}", get(list))
        .route("/queues/{vhost}/{name}", get(one).put(put).delete(remove))
        .route("/queues/{vhost}/{name}/bindings", get(bound))
        .route("/queues/{vhost}/{name}/contents", delete(purge))
        .route("/queues/{vhost}/{name}/actions", post(act))
        .route("/queues/{vhost}/{name}/get", post(get_messages))
}

/// What is in the arguments is there only; here are names, numbers and policies.
impl Row for QueueView {
    fn fields(&self, out: &mut Fields<'_>) {
        let options: &QueueOptions = &self.options;
        out.add("name", || &options.name);
        out.add("vhost", || &*options.vhost);
        out.add("node", || NODE);
        out.add("type", || kind(options));
        out.add("durable", || options.durable);
        out.add("auto_delete", || options.auto_delete);
        out.add("exclusive", || options.exclusive);
        out.add("arguments", || table::to_json(&options.arguments));
        out.add("policy", || self.policies.policy_name());
        out.add("operator_policy", || self.policies.operator_policy_name());
        out.add("effective_policy_definition", || self.policies.effective_definition().unwrap_or_default());
        out.add("state", || "running");
        out.add("paused", || self.paused);
        out.add("consumers", || self.consumer_count);
        let capacity = f64::from(self.consumer_capacity) / 1_000_000.0;
        out.add("consumer_capacity", || capacity);
        out.add("consumer_utilisation", || capacity);
        out.add("memory", || self.memory_bytes);
        out.add("message_bytes", || self.ready_bytes + self.unacked_bytes);
        out.add("message_bytes_ready", || self.ready_bytes);
        out.add("message_bytes_unacknowledged", || self.unacked_bytes);
        out.add("idle_since", || time::text(self.idle_since_ms));
        measures::add(out, &self.lengths);
        out.add_some("message_stats", measures::if_any(&self.message_stats));
        out.add_some("owner_pid_details", self.owner.as_ref().map(|owner| json!({"name": owner})));
    }
}

/// What there is of one queue besides, for which its consumers are asked.
fn add_consumers(out: &mut Fields<'_>, view: &QueueView) {
    let active = || view.consumers.iter().find(|consumer| consumer.active);
    let tag = |wanted: bool| active().filter(|_| wanted).map(|consumer| &consumer.consumer_tag);
    out.add("exclusive_consumer_tag", || tag(view.consumers.iter().any(|consumer| consumer.exclusive)));
    out.add("single_active_consumer_tag", || tag(view.options.single_active_consumer));
    out.add("consumer_details", || objects(&view.consumers));
}

fn kind(options: &QueueOptions) -> &'static str {
    match options.kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
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
        let views = vhosts.iter().flat_map(|vhost| admin.queues(Some(vhost), windows)).collect();
        listing.answer_paged(&["vhost", "name"], views)
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
        let view = admin.queue(&vhost, &name, windows).ok_or_else(ApiError::not_found)?;
        Ok(listing.one_with(|out| {
            view.fields(out);
            add_consumers(out, &view);
        }))
    })
    .await
}

async fn put(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let request = TopologyRequest::DeclareQueue {
        name: name.clone(),
        passive: false,
        durable: sent.boolean("durable")?.unwrap_or(false),
        exclusive: false,
        auto_delete: sent.boolean("auto_delete")?.unwrap_or(false),
        arguments: arguments_in(&sent)?,
    };
    check_name(&name)?;
    api.work(move |admin| {
        let mut actor = actor(&caller, admin, &vhost)?;
        let existed = admin.has_queue(&vhost, &name);
        actor.topology(request).map_err(told)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn remove(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Done, ApiError> {
    let asked = |what: &str| query.iter().any(|(name, value)| name == what && value == "true");
    let (if_unused, if_empty) = (asked("if-unused"), asked("if-empty"));
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        let request = TopologyRequest::DeleteQueue { queue: name, if_unused, if_empty };
        actor.topology(request).map_err(told)?;
        Ok(Done)
    })
    .await
}

async fn bound(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        see_vhost(&caller, admin, &vhost)?;
        let views = admin.bindings_to(&vhost, EndKind::Queue, &name).ok_or_else(ApiError::not_found)?;
        listing.answer(&bindings::SORTED_BY, views)
    })
    .await
}

async fn purge(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Done, ApiError> {
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        actor.topology(TopologyRequest::PurgeQueue { queue: name }).map_err(told)?;
        Ok(Done)
    })
    .await
}

/// `pause` and `resume` are Warren's own. `sync` and `cancel_sync` are about mirrors, which there are none of: they are done at once.
async fn act(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Done, ApiError> {
    let action = sent.need_text("action")?.to_owned();
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        match action.as_str() {
            "sync" | "cancel_sync" => Ok(Done),
            "pause" => actor.set_paused(&name, true).map(|()| Done).map_err(told),
            "resume" => actor.set_paused(&name, false).map(|()| Done).map_err(told),
            other => Err(ApiError::bad_request(format!(
                "unknown action {other}: there are pause, resume, sync and cancel_sync"
            ))),
        }
    })
    .await
}

/// Who acts on a queue that has to be there.
pub(super) fn existing(
    caller: &Caller,
    admin: &Admin,
    vhost: &str,
    name: &str,
) -> Result<crate::server::admin::Actor, ApiError> {
    let actor = actor(caller, admin, vhost)?;
    if admin.has_queue(vhost, name) { Ok(actor) } else { Err(ApiError::not_found()) }
}

/// How a payload is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text if it is one.
    Auto,
    Base64,
}

impl Encoding {
    pub(super) fn named(name: Option<&str>) -> Result<Self, ApiError> {
        match name {
            None | Some("auto") => Ok(Self::Auto),
            Some("base64") => Ok(Self::Base64),
            Some(other) => {
                Err(ApiError::bad_request(format!("unknown encoding {other}: there are auto and base64")))
            }
        }
    }
}

async fn get_messages(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let count = number(&sent, "count")?.unwrap_or(1);
    if count > GET_MAX {
        return Err(ApiError::bad_request(format!("count has to be at most {GET_MAX}")));
    }
    let count = usize::try_from(count).unwrap_or_default();
    let truncate = number(&sent, "truncate")?.and_then(|bytes| usize::try_from(bytes).ok());
    let requeue = requeue_in(&sent)?;
    let encoding = Encoding::named(sent.text("encoding")?)?;
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        let got = actor.get(&name, count, requeue).map_err(told)?;
        Ok(Json(got.iter().map(|got| message_json(got, encoding, truncate)).collect()))
    })
    .await
}

/// `ackmode`, or `requeue` as clients of older RabbitMQs send it.
fn requeue_in(sent: &Sent) -> Result<Requeue, ApiError> {
    match (sent.text("ackmode")?, sent.boolean("requeue")?) {
        (Some("ack_requeue_true" | "reject_requeue_true"), _) | (None, None | Some(true)) => Ok(Requeue::Yes),
        (Some("ack_requeue_false"), _) | (None, Some(false)) => Ok(Requeue::Acknowledge),
        (Some("reject_requeue_false"), _) => Ok(Requeue::Reject),
        (Some(other), _) => Err(ApiError::bad_request(format!("unknown ackmode {other}"))),
    }
}

fn message_json(got: &GotMessage, encoding: Encoding, truncate: Option<usize>) -> Value {
    let mut fields = content_json(&got.message, encoding, truncate);
    fields.insert("redelivered".to_owned(), got.redelivered.into());
    fields.insert("message_count".to_owned(), got.remaining.into());
    Value::Object(fields)
}

/// What is in a message, with so many bytes of its body.
pub(super) fn content_json(
    message: &Message,
    encoding: Encoding,
    truncate: Option<usize>,
) -> Map<String, Value> {
    let body = message.body();
    let shown = &body[..truncate.unwrap_or(usize::MAX).min(body.len())];
    let (payload, encoded) = match (encoding, std::str::from_utf8(shown)) {
        (Encoding::Auto, Ok(text)) => (text.to_owned(), "string"),
        _ => (STANDARD.encode(shown), "base64"),
    };
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let properties = table::to_json(&properties::to_table(message.properties()));
    let fields = [
        ("payload_bytes", body.len().into()),
        ("exchange", name(message.exchange()).into()),
        ("routing_key", name(message.routing_key()).into()),
        ("properties", properties),
        ("payload", payload.into()),
        ("payload_encoding", encoded.into()),
    ];
    fields.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}
