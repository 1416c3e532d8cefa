//! Commands that publish and get single messages. For looking and trying out: programs should speak AMQP.

use std::io::{self, Read as _, stdin};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::command::{AckMode, Get, Publish};
use super::failure::{DATA, Failure, UNAVAILABLE};
use super::{Session, api};

/// Where the API has the default exchange, whose name is empty.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// The most that is read from standard input: no broker takes larger bodies.
const BODY_BYTES_MAX: u64 = 512 << 20;

/// `publish`.
pub(super) fn publish(session: &Session, args: &Publish) -> Result<(), Failure> {
    let properties = api::object("properties", &args.properties)?;
    let payload = match args.payload.as_str() {
        "-" => read().map_err(|error| Failure::new(DATA, format!("cannot read standard input: {error}")))?,
        text => text.as_bytes().to_vec(),
    };
    let (payload, encoding) = match String::from_utf8(payload) {
        Ok(text) => (text, "string"),
        Err(bytes) => (STANDARD.encode(bytes.as_bytes()), "base64"),
    };
    let exchange = if args.exchange.is_empty() { DEFAULT_EXCHANGE } else { &args.exchange };
    let body = json!({
        "routing_key": args.routing_key,
        "payload": payload,
        "payload_encoding": encoding,
        "properties": properties,
    });
    let answer = session.api.post(&["exchanges", &session.vhost, exchange, "publish"], &body)?;
    if session.out.is_json() {
        session.out.value(&answer);
    } else if answer["routed"] == json!(true) {
        session.out.note("Message published");
    } else {
        return Err(Failure::new(UNAVAILABLE, "Message published but NOT routed: no queue is bound for it"));
    }
    Ok(())
}

fn read() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdin().lock().take(BODY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `get`.
pub(super) fn get(session: &Session, args: &Get) -> Result<(), Failure> {
    let mode = match args.ack {
        AckMode::Requeue => "ack_requeue_true",
        AckMode::Remove => "ack_requeue_false",
    };
    let mut body = json!({"count": args.count, "ackmode": mode, "encoding": "auto"});
    if let Some(truncate) = args.truncate {
        body["truncate"] = json!(truncate);
    }
    let found =
        session.api.post(&["queues", &session.vhost, &args.queue, "get"], &body).map_err(|failure| {
            failure.if_not_found(
                UNAVAILABLE,
                format!("there is no queue '{}' in vhost '{}'", args.queue, session.vhost),
            )
        })?;
    let columns = [
        "routing_key",
        "exchange",
        "message_count",
        "payload",
        "payload_bytes",
        "payload_encoding",
        "properties",
        "redelivered",
    ];
    let row = |message: &Value| columns.iter().map(|&column| message[column].clone()).collect();
    let rows: Vec<Vec<Value>> = found.as_array().into_iter().flatten().map(row).collect();
    session.out.rows(&columns, &rows);
    Ok(())
}
