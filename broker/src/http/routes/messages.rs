//! `/api/queues/VHOST/NAME/messages`: looking at the messages of a queue without touching them, and deleting or moving chosen ones.
//! RabbitMQ has nothing like it.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::acting::{check_name, exchange_name, number, told, told_of_publish};
use super::queues::{Encoding, content_json, existing};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::server::admin::{
    BROWSE_COUNT_MAX, Browse, BrowseFrom, BrowsedMessage, CHOSEN_COUNT_MAX, CHOSEN_IDS_MAX, Choice,
    ChosenDone, MessageFilter, MessageId, MoveTarget,
};
use crate::wire::message::Message;

/// Messages that are looked at, if a request does not say.
pub(super) const MESSAGES_COUNT: usize = 100;

/// How much of each body is shown, in bytes, if a request does not say.
pub(super) const BODY_BYTES: usize = 4096;

/// Messages that are deleted or moved, if a request does not say.
const CHOSEN_COUNT: u64 = 1_000;

/// Headers that one filter may name.
const HEADERS_MAX: usize = 16;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/queues/{vhost}/{name}/messages", get(browse))
        .route("/queues/{vhost}/{name}/messages/delete", post(delete))
        .route("/queues/{vhost}/{name}/messages/move", post(move_to))
}

async fn browse(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    let wanted = wanted(&query)?;
    let encoding = Encoding::named(param(&query, "encoding"))?;
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        let seen = actor.browse(&name, &wanted).map_err(told)?;
        let shown = |message| message_json(message, encoding, wanted.body_bytes_max);
        Ok(Json(json!({
            "messages": seen.messages.iter().map(shown).collect::<Vec<_>>(),
            "scanned": seen.scanned,
            "next": seen.next.map(|id| id.to_string()),
            "next_position": seen.next_position,
        })))
    })
    .await
}

/// The value of a parameter.
pub(super) fn param<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let pair = query.iter().find(|(key, _)| key == name);
    pair.map(|(_, value)| value.as_str())
}

/// A parameter that is a whole number.
pub(super) fn whole<T: std::str::FromStr>(
    query: &[(String, String)],
    name: &str,
) -> Result<Option<T>, ApiError> {
    let wrong = |_| ApiError::bad_request(format!("{name} has to be a number that is not negative"));
    param(query, name).map(|text| text.parse().map_err(wrong)).transpose()
}

fn wanted(query: &[(String, String)]) -> Result<Browse, ApiError> {
    let count = whole(query, "count")?.unwrap_or(MESSAGES_COUNT);
    if count == 0 || count > BROWSE_COUNT_MAX {
        return Err(ApiError::bad_request(format!("count has to be from 1 to {BROWSE_COUNT_MAX}")));
    }
    let from = match (param(query, "after"), whole(query, "from")?) {
        (None, position) => BrowseFrom::Position(position.unwrap_or(0)),
        (Some(id), None) => BrowseFrom::Behind(message_id(id)?),
        (Some(_), Some(_)) => return Err(ApiError::bad_request("either from or after, not both")),
    };
    let headers =
        query.iter().filter(|(key, _)| key == "header").map(|(_, text)| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.clone(), None),
        });
    let owned = |name| param(query, name).map(str::to_owned);
    let filter = MessageFilter {
        headers: headers.collect(),
        text: owned("text").filter(|text| !text.is_empty()),
        exchange: owned("exchange").map(|name| exchange_name(&name).to_owned()),
        routing_key: owned("routing_key"),
        message_id: owned("message_id"),
    };
    check_filter(&filter)?;
    let body_bytes_max = whole(query, "max_body_bytes")?.unwrap_or(BODY_BYTES);
    Ok(Browse { from, count, filter, body_bytes_max })
}

fn check_filter(filter: &MessageFilter) -> Result<(), ApiError> {
    if filter.headers.len() > HEADERS_MAX {
        return Err(ApiError::bad_request(format!("a filter names at most {HEADERS_MAX} headers")));
    }
    Ok(())
}

fn message_id(text: &str) -> Result<MessageId, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "{text} is no id of a message: they are like 17, or 3-17 with a priority"
        ))
    })
}

/// What is in a message, with so many bytes of its body, and whether that is all of it.
pub(super) fn shown_json(message: &Message, encoding: Encoding, body_bytes_max: usize) -> Map<String, Value> {
    let body = message.body();
    // A text is not to become base64 because it was cut within a letter.
    let cut = match std::str::from_utf8(&body[..body_bytes_max.min(body.len())]) {
        Err(error) if error.error_len().is_none() && body_bytes_max < body.len() => error.valid_up_to(),
        _ => body_bytes_max,
    };
    let mut fields = content_json(message, encoding, Some(cut));
    fields.insert("truncated".to_owned(), (cut < body.len()).into());
    fields
}

fn message_json(browsed: &BrowsedMessage, encoding: Encoding, body_bytes_max: usize) -> Value {
    let mut fields = shown_json(&browsed.message, encoding, body_bytes_max);
    fields.insert("id".to_owned(), browsed.id.to_string().into());
    fields.insert("position".to_owned(), browsed.position.into());
    fields.insert("redelivered".to_owned(), browsed.redelivered.into());
    fields.insert("delivery_count".to_owned(), browsed.delivery_count.into());
    Value::Object(fields)
}

async fn delete(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let choice = choice_in(&sent)?;
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        let done = actor.delete_messages(&name, &choice).map_err(told)?;
        let mut answer = done_json(&done);
        answer["deleted"] = done.done.into();
        Ok(Json(answer))
    })
    .await
}

async fn move_to(
    caller: Caller,
    State(api): State<Api>,
    Path((vhost, name)): Path<(String, String)>,
    sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let choice = choice_in(&sent)?;
    let (queue, target) = target_in(&sent)?;
    if queue.as_ref() == Some(&name) {
        return Err(ApiError::bad_request("destination_queue is the queue that the messages are in"));
    }
    api.work(move |admin| {
        let mut actor = existing(&caller, admin, &vhost, &name)?;
        if let Some(queue) = queue.filter(|queue| !admin.has_queue(&vhost, queue)) {
            return Err(ApiError::missing(format!("no queue '{queue}' in vhost '{vhost}'")));
        }
        let done = actor.move_messages(&name, &choice, &target).map_err(told_of_publish)?;
        let mut answer = done_json(&done);
        answer["moved"] = done.done.into();
        answer["unroutable"] = done.unroutable.into();
        answer["refused"] = done.refused.into();
        Ok(Json(answer))
    })
    .await
}

fn done_json(done: &ChosenDone) -> Value {
    json!({
        "not_found": done.not_found.iter().map(MessageId::to_string).collect::<Vec<_>>(),
        "gone": done.gone,
        "scanned": done.scanned,
        "next": done.next.map(|id| id.to_string()),
    })
}

/// Which messages: `ids`, or `filter`. One of them has to be there: nobody is to delete everything by leaving something out.
fn choice_in(sent: &Sent) -> Result<Choice, ApiError> {
    match (sent.get("ids"), sent.get("filter")) {
        (Some(Value::Array(ids)), None) => {
            if ids.len() > CHOSEN_IDS_MAX {
                return Err(ApiError::bad_request(format!("at most {CHOSEN_IDS_MAX} ids at a time")));
            }
            let id = |id: &Value| match id {
                Value::String(text) => message_id(text),
                other => message_id(&other.to_string()),
            };
            Ok(Choice::Ids(ids.iter().map(id).collect::<Result<_, _>>()?))
        }
        (None, Some(Value::Object(filter))) => {
            let filter = filter_in(&Sent::from(filter.clone()))?;
            let after = sent.text("after")?.map(message_id).transpose()?;
            let count = number(sent, "count")?.unwrap_or(CHOSEN_COUNT);
            if count == 0 || count > CHOSEN_COUNT_MAX {
                return Err(ApiError::bad_request(format!("count has to be from 1 to {CHOSEN_COUNT_MAX}")));
            }
            Ok(Choice::Matching { filter, after, count })
        }
        _ => Err(ApiError::bad_request(
            "either ids, a list, or filter, an object; an empty one means all messages",
        )),
    }
}

fn filter_in(sent: &Sent) -> Result<MessageFilter, ApiError> {
    sent.only(&["headers", "text", "exchange", "routing_key", "message_id"])?;
    let headers = match sent.get("headers") {
        None => Vec::new(),
        Some(Value::Object(headers)) => {
            let header = |(name, value): (&String, &Value)| {
                let value = match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
                (name.clone(), value)
            };
            headers.iter().map(header).collect()
        }
        Some(_) => return Err(ApiError::bad_request("headers has to be an object of names and values")),
    };
    let owned = |name| sent.text(name).map(|text| text.map(str::to_owned));
    let filter = MessageFilter {
        headers,
        text: owned("text")?.filter(|text| !text.is_empty()),
        exchange: owned("exchange")?.map(|name| exchange_name(&name).to_owned()),
        routing_key: owned("routing_key")?,
        message_id: owned("message_id")?,
    };
    check_filter(&filter)?;
    Ok(filter)
}

/// Where to: a queue, or an exchange.
fn target_in(sent: &Sent) -> Result<(Option<String>, MoveTarget), ApiError> {
    let key = sent.text("routing_key")?;
    let target = match (sent.text("destination_queue")?, sent.text("destination_exchange")?) {
        (Some(queue), None) => {
            let target = MoveTarget { exchange: String::new(), routing_key: Some(queue.to_owned()) };
            (Some(queue.to_owned()), target)
        }
        (None, Some(exchange)) => {
            let exchange = exchange_name(exchange).to_owned();
            (None, MoveTarget { exchange, routing_key: key.map(str::to_owned) })
        }
        _ => return Err(ApiError::bad_request("either destination_queue or destination_exchange")),
    };
    check_name(&target.1.exchange)?;
    check_name(target.1.routing_key.as_deref().unwrap_or_default())?;
    Ok(target)
}
