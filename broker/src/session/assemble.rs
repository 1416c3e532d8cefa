//! [`assemble`]: a message made of its parts by the broker's own hands, checked like one that comes in frames.

use super::content::{ContentAssembler, Progress};
use super::faults;
use crate::error::AmqpError;
use crate::wire::message::Message;
use crate::wire::method::BasicPublish;
use crate::wire::properties::{ContentHeader, Properties};

/// The message, and what is wrong with its properties, to be raised after permission and exchange are checked. Names are at most 255
/// bytes long; `properties` are flags and list as on the wire.
///
/// # Errors
///
/// What a client would be told of malformed properties or too large a body.
pub fn assemble(
    exchange: &str,
    routing_key: &str,
    properties: &[u8],
    body: &[u8],
    arrived_ms: u64,
    body_bytes_max: u64,
) -> Result<(Message, Option<Box<AmqpError>>), AmqpError> {
    let publish = BasicPublish { exchange, routing_key, mandatory: true, immediate: false };
    let mut content = ContentAssembler::begin(&publish, Vec::new(), arrived_ms);
    let header = ContentHeader { body_bytes: body.len() as u64, properties: Properties::parse(properties)? };
    if content.handle_header(&header, body_bytes_max)? == Progress::Incomplete {
        content.handle_body(body)?;
    }
    let (content, _) = content.finish();
    let fault = match content.wants_direct_reply {
        true => Some(Box::new(faults::no_reply_consumer())),
        false => content.fault,
    };
    Ok((content.message, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_assembled_is_what_frames_would_have_brought() {
        let made = |properties: &[u8], body: &[u8]| assemble("e", "k", properties, body, 7, 10);
        let (message, fault) = made(&[0x18, 0, 2, 5], b"0123456789").expect("it fits");
        assert_eq!((message.exchange(), message.routing_key()), (&b"e"[..], &b"k"[..]));
        assert_eq!((message.body(), message.is_persistent()), (&b"0123456789"[..], true));
        assert_eq!((message.priority(), message.arrived_ms(), fault), (5, 7, None));
        assert!(made(&[0, 0], b"").expect("empty ones, too").0.body().is_empty());
        assert!(made(&[0x10, 0, 3], b"").expect("told later").1.is_some());
        assert!(made(&[0, 0], b"01234567890").is_err());
        assert!(made(&[0x80, 0], b"").is_err());
    }
}
