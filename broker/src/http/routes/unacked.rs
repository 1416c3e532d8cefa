//! `/api/queues/VHOST/NAME/unacked`: which messages of a queue were delivered and await settlement, who has them, and for how
//! long. RabbitMQ has nothing like it.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::acting::told;
use super::messages::{BODY_BYTES, MESSAGES_COUNT, param, shown_json, whole};
use super::queues::{Encoding, existing};
use crate::http::Api;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::fields::{Row as _, object};
use crate::server::admin::{HeldSince, HolderView, UNACKED_COUNT_MAX, UnackedMessage, UnackedWanted};

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new().route("/queues/{vhost}/{name}/unacked", get(list))
}

async fn list(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    let wanted = wanted(&query)?;
    let encoding = Encoding::named(param(&query, "encoding"))?;
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        let seen = actor.unacked(admin, &name, &wanted).map_err(told)?;
        let shown = |unacked| message_json(unacked, encoding, wanted.body_bytes_max);
        Ok(Json(json!({
            "messages": seen.messages.iter().map(shown).collect::<Vec<_>>(),
            "next": seen.next.map(place_text),
        })))
    })
    .await
}

fn wanted(query: &[(String, String)]) -> Result<UnackedWanted, ApiError> {
    let count = whole(query, "count")?.unwrap_or(MESSAGES_COUNT);
    if count == 0 || count > UNACKED_COUNT_MAX {
        return Err(ApiError::bad_request(format!("count has to be from 1 to {UNACKED_COUNT_MAX}")));
    }
    let age_s: u64 = whole(query, "min_age")?.unwrap_or(0);
    Ok(UnackedWanted {
        after: param(query, "after").map(place).transpose()?,
        age_ms_min: age_s.saturating_mul(1000),
        count,
        body_bytes_max: whole(query, "max_body_bytes")?.unwrap_or(BODY_BYTES),
    })
}

/// A place in the list: when the message was delivered, and its slot, which tells those of the same moment apart.
fn place_text(since: HeldSince) -> String {
    format!("{}-{}", since.delivered_ms, since.slot)
}

fn place(text: &str) -> Result<HeldSince, ApiError> {
    let parts = text.split_once('-');
    let parsed = parts.and_then(|(time, slot)| {
        Some(HeldSince { delivered_ms: time.parse().ok()?, slot: slot.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        ApiError::bad_request(format!("after has to be what next was in an answer before, not {text}"))
    })
}

fn message_json(unacked: &UnackedMessage, encoding: Encoding, body_bytes_max: usize) -> Value {
    let UnackedMessage { held, age_ms, holder } = unacked;
    let mut fields = shown_json(&held.message, encoding, body_bytes_max);
    let (kind, consumer) = match holder {
        HolderView::Consumer(consumer) => ("consumer", Some(object(|out| consumer.fields(out)))),
        HolderView::UnknownConsumer => ("consumer", None),
        HolderView::GoneConsumer => ("cancelled_consumer", None),
        HolderView::Get => ("get", None),
    };
    fields.insert("id".to_owned(), held.id.to_string().into());
    fields.insert("delivered_at".to_owned(), held.since.delivered_ms.into());
    fields.insert("age_ms".to_owned(), (*age_ms).into());
    fields.insert("holder".to_owned(), kind.into());
    fields.insert("consumer".to_owned(), consumer.into());
    fields.insert("redelivered".to_owned(), held.redelivered.into());
    fields.insert("delivery_count".to_owned(), held.returned.into());
    Value::Object(fields)
}
