//! The story that the headers of dead letters tell, and the shortest way to a dead letter: a rejection.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::types::{AMQPValue, FieldTable};
use warren_tests::eventually;

use crate::features::headers;
use crate::peer::{Channel, Message};

/// Takes the first message of a queue and rejects it.
#[track_caller]
pub(crate) fn reject_first(channel: Channel<'_>, queue: &str) {
    let message = channel.get(queue).expect("a message is ready");
    channel.send(basic::Reject { delivery_tag: message.delivery_tag, requeue: false });
}

/// Publishes a message and rejects it as a consumer.
#[track_caller]
pub(crate) fn reject_one(channel: Channel<'_>, queue: &str, properties: &AMQPProperties, body: &str) {
    channel.publish_with("", queue, properties, body.as_bytes());
    reject_first(channel, queue);
}

/// The tables in `x-death`.
#[track_caller]
pub(crate) fn deaths(message: &Message) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(deaths)) = headers(message).inner().get("x-death") else {
        panic!("no x-death in {:?}", headers(message));
    };
    let table = |death: &AMQPValue| match death {
        AMQPValue::FieldTable(table) => table.clone(),
        other => panic!("no table in x-death: {other:?}"),
    };
    deaths.as_slice().iter().map(table).collect()
}

/// Queue, reason and count of each death, the latest first.
#[track_caller]
pub(crate) fn summary(message: &Message) -> Vec<(String, String, i64)> {
    let long = |death: &FieldTable| match death.inner().get("count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        other => panic!("a count that is no long: {other:?}"),
    };
    deaths(message)
        .iter()
        .map(|death| (string(death, "queue"), string(death, "reason"), long(death)))
        .collect()
}

#[track_caller]
pub(crate) fn string(table: &FieldTable, name: &str) -> String {
    match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is no string: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn header(message: &Message, name: &str) -> String {
    string(headers(message), name)
}

/// How [`summary`] shows a death.
pub(crate) fn entry(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), reason.to_owned(), count)
}

/// Waits for a message and rejects it.
#[track_caller]
pub(crate) fn reject_first_of_many(channel: Channel<'_>, queue: &str) {
    let message = eventually("there is a message", || channel.get(queue));
    channel.send(basic::Reject { delivery_tag: message.delivery_tag, requeue: false });
}
