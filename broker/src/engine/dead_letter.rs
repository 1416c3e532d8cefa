//! Dead letters: what becomes of a message that a queue gives up, and which queues must not get it again.
//!
//! [`bury`] makes the message that is published to the dead letter exchange, with the headers that tell its story (`x-death`
//! and its companions), [`is_cycle`] finds messages that would go round for ever. All of the story is in the headers, so a
//! message that a client publishes again with them goes on with it, as in RabbitMQ before 4.0. Does not route. Called by
//! the server's dead letter worker.

use super::queue::{DeadLettering, DeathReason};
use crate::limits::DEATHS_PER_MESSAGE_MAX;
use crate::wire::message::Message;
use crate::wire::properties::{self, Properties};
use crate::wire::table::{Field, TableWriter, elements, fields};

/// The header with one entry for each queue and reason, the latest first.
const DEATHS: &str = "x-death";

/// The header whose keys route in addition.
const CC: &[u8] = b"CC";

/// The fields of an entry that a message brings along, in RabbitMQ's order.
const ENTRY: [&str; 7] =
    ["original-expiration", "count", "reason", "queue", "time", "exchange", "routing-keys"];

/// Why and from where a message is given up.
#[derive(Debug, Clone, Copy)]
pub struct Burial<'a> {
    /// The queue that gives it up.
    pub queue: &'a str,
    /// Why.
    pub reason: DeathReason,
    /// Where it is to go.
    pub dead_lettering: &'a DeadLettering,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// A message on its way to a dead letter exchange.
#[derive(Debug)]
pub struct Buried {
    /// The message, under its new exchange and routing key.
    pub message: Message,
    /// Routing keys beside the message's own: those in its CC header, unless the queue has a routing key for dead letters.
    pub more_keys: Vec<String>,
}

/// Makes the message that is published to the dead letter exchange.
#[must_use]
pub fn bury(message: &Message, burial: &Burial<'_>) -> Buried {
    let view = Properties::parse(message.properties()).ok();
    let headers = view.as_ref().and_then(Properties::headers_bytes).unwrap_or(&[0; 4]);
    let expiration = view.as_ref().and_then(Properties::expiration);
    let copies = copy_keys(headers);
    let mut table = TableWriter::default();
    let entries = deaths(headers, message, &copies, expiration, burial);
    table.tables(DEATHS, entries.iter().map(Vec::as_slice));
    let is_first = !fields(headers).any(|field| field.name == b"x-first-death-reason");
    for prefix in ["x-first-death", "x-last-death"].into_iter().skip(usize::from(!is_first)) {
        table.text(&format!("{prefix}-exchange"), message.exchange());
        table.text(&format!("{prefix}-queue"), burial.queue.as_bytes());
        table.text(&format!("{prefix}-reason"), burial.reason.as_str().as_bytes());
    }
    let new_key = burial.dead_lettering.routing_key.as_deref();
    for field in fields(headers) {
        let is_replaced = field.name == DEATHS.as_bytes()
            || field.name.starts_with(b"x-last-death-")
            || (is_first && field.name.starts_with(b"x-first-death-"))
            || (new_key.is_some() && field.name == CC);
        if !is_replaced {
            table.copy(field.bytes);
        }
    }
    let properties = properties::buried(message.properties(), &table.finish())
        .unwrap_or_else(|_| message.properties().to_vec());
    let own_key = std::str::from_utf8(message.routing_key()).unwrap_or_default();
    let exchange = &burial.dead_lettering.exchange;
    let message = message.republished(exchange, new_key.unwrap_or(own_key), &properties, burial.now_ms);
    let more_keys = if new_key.is_some() { Vec::new() } else { copies };
    Buried { message, more_keys }
}

/// Whether a message just given up for `reason` has been in this queue before and came back without anybody's doing: the queue
/// must not get it once more. A rejection on the way is somebody's doing (RabbitMQ's `rabbit_dead_letter:is_cycle/2`).
#[must_use]
pub fn is_cycle(message: &Message, reason: DeathReason, queue: &str) -> bool {
    if reason == DeathReason::Rejected {
        return false;
    }
    let Ok(view) = Properties::parse(message.properties()) else { return false };
    for entry in entries_of(view.headers_bytes().unwrap_or(&[0; 4])) {
        if text_of(entry, "reason") == Some(DeathReason::Rejected.as_str().as_bytes()) {
            return false;
        }
        if text_of(entry, "queue") == Some(queue.as_bytes()) {
            return true;
        }
    }
    false
}

/// The entries of the new `x-death`: the one for this queue and reason, counted up, and then all others as they were.
fn deaths(
    headers: &[u8],
    message: &Message,
    copies: &[String],
    expiration: Option<&str>,
    burial: &Burial<'_>,
) -> Vec<Vec<u8>> {
    let is_same = |entry: &&[u8]| {
        text_of(entry, "queue") == Some(burial.queue.as_bytes())
            && text_of(entry, "reason") == Some(burial.reason.as_str().as_bytes())
    };
    let first = match entries_of(headers).find(is_same) {
        Some(entry) => counted_up(entry),
        None => new_entry(message, copies, expiration, burial),
    };
    let others = entries_of(headers).filter(|entry| !is_same(entry)).map(<[u8]>::to_vec);
    std::iter::once(first).chain(others).take(DEATHS_PER_MESSAGE_MAX).collect()
}

fn new_entry(message: &Message, copies: &[String], expiration: Option<&str>, burial: &Burial<'_>) -> Vec<u8> {
    let mut entry = TableWriter::default();
    if let Some(expiration) = expiration {
        entry.text("original-expiration", expiration.as_bytes());
    }
    entry.long("count", 1);
    entry.text("reason", burial.reason.as_str().as_bytes());
    entry.text("queue", burial.queue.as_bytes());
    entry.timestamp("time", burial.now_ms / 1000);
    entry.text("exchange", message.exchange());
    let keys = std::iter::once(message.routing_key()).chain(copies.iter().map(String::as_bytes));
    entry.texts("routing-keys", keys);
    entry.finish()
}

/// The same entry with a count that is higher by one, and its fields in RabbitMQ's order: a client may have sorted them.
fn counted_up(entry: &[u8]) -> Vec<u8> {
    let mut table = TableWriter::default();
    for name in ENTRY {
        match field_of(entry, name) {
            Some(field) if name == "count" => table.long(name, number(&field).saturating_add(1)),
            Some(field) => table.copy(field.bytes),
            None if name == "count" => table.long(name, 1),
            None => {}
        }
    }
    for field in fields(entry).filter(|field| !ENTRY.iter().any(|name| name.as_bytes() == field.name)) {
        table.copy(field.bytes);
    }
    table.finish()
}

/// Clients send integers back in the width they like.
fn number(field: &Field<'_>) -> i64 {
    let value = field.value();
    match (field.kind(), value) {
        (b'b', &[byte]) => i64::from(i8::from_be_bytes([byte])),
        (b'B', &[byte]) => i64::from(byte),
        (b's', &[a, b]) => i64::from(i16::from_be_bytes([a, b])),
        (b'u', &[a, b]) => i64::from(u16::from_be_bytes([a, b])),
        (b'I', &[a, b, c, d]) => i64::from(i32::from_be_bytes([a, b, c, d])),
        (b'i', &[a, b, c, d]) => i64::from(u32::from_be_bytes([a, b, c, d])),
        (b'l' | b'L', value) => value.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)),
        _ => 0,
    }
}

fn entries_of(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    let deaths = fields(headers).find(|field| field.name == DEATHS.as_bytes() && field.kind() == b'A');
    let array = deaths.map_or(&[][..], |field| field.value());
    elements(array).filter_map(|(kind, value)| (kind == b'F').then_some(value))
}

fn copy_keys(headers: &[u8]) -> Vec<String> {
    let copies = fields(headers).find(|field| field.name == CC && field.kind() == b'A');
    let array = copies.map_or(&[][..], |field| field.value());
    elements(array)
        .filter(|(kind, _)| *kind == b'S')
        .map(|(_, value)| String::from_utf8_lossy(&value[4..]).into_owned())
        .collect()
}

fn field_of<'a>(entry: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(entry).find(|field| field.name == name.as_bytes())
}

fn text_of<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field_of(entry, name)?.text()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
