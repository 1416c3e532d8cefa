//! The bytes of one message in the log.
//!
//! Lengths, flags and the time it was stored, then exchange, routing key, properties and body as they lie in a [`Message`]. The checksum is
//! kept beside its length in the frame, not in here.

use crate::wire::message::{Message, MessageParts};

/// Bytes in front of the names: exchange and routing key lengths, flags, properties length, time.
const HEAD_BYTES: usize = 16;

/// In the flags: delivery-mode is 2.
const PERSISTENT: u16 = 1;

/// The higher half of the flags is the priority.
const PRIORITY_SHIFT: u32 = 8;

/// Appends the message to `bytes`, with the time it arrived: how long a message may live counts from it.
pub(in crate::store) fn encode(message: &Message, bytes: &mut Vec<u8>) {
    let (parts, prefix, body) = message.parts();
    bytes.push(parts.exchange_bytes);
    bytes.push(parts.routing_key_bytes);
    let persistent = if parts.persistent { PERSISTENT } else { 0 };
    let flags = persistent | u16::from(parts.priority) << PRIORITY_SHIFT;
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&parts.properties_bytes.to_le_bytes());
    bytes.extend_from_slice(&parts.arrived_ms.to_le_bytes());
    bytes.extend_from_slice(prefix);
    bytes.extend_from_slice(body);
}

/// The message in `bytes`, which passed their checksum; none if the lengths in them do not fit.
pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Message> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let parts = MessageParts {
        exchange_bytes: head[0],
        routing_key_bytes: head[1],
        persistent: u16::from_le_bytes([head[2], head[3]]) & PERSISTENT != 0,
        priority: head[3],
        arrived_ms: u64::from_le_bytes(*head[8..].first_chunk()?),
        properties_bytes: u32::from_le_bytes([head[4], head[5], head[6], head[7]]),
    };
    (parts.body_at() <= rest.len()).then(|| Message::from_parts(parts, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INLINE_BODY_BYTES_MAX;

    #[test]
    fn a_message_comes_back_as_it_was() {
        for size in [0, 1, INLINE_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX + 1] {
            for persistent in [true, false] {
                let (parts, names) = (
                    MessageParts {
                        exchange_bytes: 4,
                        routing_key_bytes: 3,
                        properties_bytes: 3,
                        persistent,
                        priority: 255,
                        arrived_ms: 1_234_567_890_123,
                    },
                    b"logsa.b\x10\0\x02",
                );
                let message = Message::from_parts(parts, &[names, &vec![7; size][..]].concat());
                let mut bytes = Vec::new();
                encode(&message, &mut bytes);
                let back = decode(&bytes).expect("it was just encoded");
                assert_eq!((back.arrived_ms(), back.priority()), (1_234_567_890_123, 255));
                assert_eq!(back.exchange(), message.exchange());
                assert_eq!(back.routing_key(), message.routing_key());
                assert_eq!(back.properties(), message.properties());
                assert_eq!(back.body(), message.body());
                assert_eq!(back.is_persistent(), persistent);
            }
        }
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        let mut bytes = Vec::new();
        encode(&Message::new("logs", "a.b", &[0x10, 0, 2], true, b""), &mut bytes);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "decoded {end} bytes");
        }
    }
}
