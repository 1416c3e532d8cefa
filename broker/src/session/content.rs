//! [`ContentAssembler`]: `basic.publish`, its content header and its body frames to one [`Message`].
//!
//! It checks what properties and sizes alone can tell. Whether the exchange exists or a confirm is due is not known here.
//! Memory follows the bytes that have arrived, never the size that was announced. Called by the channel.

use bytes::Bytes;

use super::faults;
use super::names::REPLY_TO_QUEUE;
use crate::error::AmqpError;
use crate::limits::{CONTENT_SPARE_BYTES_MAX, INLINE_BODY_BYTES_MAX};
use crate::wire::message::{Message, MessageParts};
use crate::wire::method::BasicPublish;
use crate::wire::properties::{ContentHeader, Properties};

/// The longest expiration that RabbitMQ accepts: ten years, in milliseconds.
const EXPIRATION_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// Room for the names and properties of most messages.
const FIRST_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AwaitHeader,
    AwaitBody { remaining_bytes: u64 },
}

/// What a content frame led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More frames are to follow.
    Incomplete,
    /// This was the last one.
    Complete,
}

/// A complete content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) message: Message,
    pub(super) mandatory: bool,
    /// Whether answers are to go to the channel's direct reply-to consumer.
    pub(super) wants_direct_reply: bool,
    /// What is wrong with the properties, to be raised after the checks that go before it.
    pub(super) fault: Option<Box<AmqpError>>,
}

/// A content on its way in.
#[derive(Debug)]
pub(super) struct ContentAssembler {
    stage: Stage,
    mandatory: bool,
    wants_direct_reply: bool,
    fault: Option<Box<AmqpError>>,
    parts: MessageParts,
    /// Exchange, routing key, properties, and the body if it is small.
    bytes: Vec<u8>,
    /// The body if it is large.
    large_body: Vec<u8>,
    is_large: bool,
}

impl ContentAssembler {
    /// Starts with `basic.publish`, which came at `arrived_ms`; `spare` is an empty buffer to gather in.
    #[inline]
    pub(super) fn begin(publish: &BasicPublish<'_>, mut spare: Vec<u8>, arrived_ms: u64) -> Self {
        if spare.capacity() == 0 {
            spare.reserve(FIRST_BYTES);
        }
        spare.extend_from_slice(publish.exchange.as_bytes());
        spare.extend_from_slice(publish.routing_key.as_bytes());
        Self {
            stage: Stage::AwaitHeader,
            mandatory: publish.mandatory,
            wants_direct_reply: false,
            fault: None,
            parts: MessageParts {
                exchange_bytes: short_length(publish.exchange),
                routing_key_bytes: short_length(publish.routing_key),
                arrived_ms,
                ..MessageParts::default()
            },
            bytes: spare,
            large_body: Vec::new(),
            is_large: false,
        }
    }

    /// How many bytes have been gathered: names, properties and what has arrived of the body.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.large_body.len()
    }

    /// The error for a frame that is not the one awaited.
    pub(super) fn unexpected_frame(&self) -> AmqpError {
        match self.stage {
            Stage::AwaitHeader => faults::expected_header(),
            Stage::AwaitBody { .. } => faults::expected_body(),
        }
    }

    /// Whether the header has come already, so that another one is a fault whatever is in it.
    pub(super) fn awaits_body(&self) -> bool {
        self.stage != Stage::AwaitHeader
    }

    /// Takes the content header.
    #[inline]
    pub(super) fn handle_header(
        &mut self,
        header: &ContentHeader<'_>,
        body_bytes_max: u64,
    ) -> Result<Progress, AmqpError> {
        if header.body_bytes > body_bytes_max {
            return Err(faults::message_too_large(header.body_bytes, body_bytes_max));
        }
        let properties = &header.properties;
        let raw = properties.raw();
        self.parts.properties_bytes =
            u32::try_from(raw.len()).map_err(|_| AmqpError::frame_error("content header too large"))?;
        self.parts.persistent = properties.delivery_mode() == Some(2);
        self.parts.priority = properties.priority().unwrap_or(0);
        self.bytes.extend_from_slice(raw);
        self.wants_direct_reply = properties.reply_to() == Some(REPLY_TO_QUEUE);
        self.fault = check_properties(properties).map(Box::new);
        self.is_large = header.body_bytes > INLINE_BODY_BYTES_MAX as u64;
        self.advance(header.body_bytes)
    }

    /// Takes one body frame.
    #[inline]
    pub(super) fn handle_body(&mut self, payload: &[u8]) -> Result<Progress, AmqpError> {
        let Stage::AwaitBody { remaining_bytes } = self.stage else {
            return Err(faults::expected_header());
        };
        let Some(rest) = remaining_bytes.checked_sub(payload.len() as u64) else {
            return Err(faults::body_too_long(payload.len() as u64 - remaining_bytes));
        };
        if self.is_large {
            reserve_within(&mut self.large_body, payload.len(), remaining_bytes);
            self.large_body.extend_from_slice(payload);
        } else {
            self.bytes.extend_from_slice(payload);
        }
        self.advance(rest)
    }

    /// Makes the message and gives the buffer back for the next one.
    #[inline]
    pub(super) fn finish(self) -> (Content, Vec<u8>) {
        let mut bytes = self.bytes;
        let message = if self.is_large {
            Message::with_large_body(self.parts, &bytes, Bytes::from(self.large_body))
        } else {
            Message::from_parts(self.parts, &bytes)
        };
        bytes.clear();
        if bytes.capacity() > CONTENT_SPARE_BYTES_MAX {
            bytes = Vec::new();
        }
        let content = Content {
            message,
            mandatory: self.mandatory,
            wants_direct_reply: self.wants_direct_reply,
            fault: self.fault,
        };
        (content, bytes)
    }

    #[inline]
    fn advance(&mut self, remaining_bytes: u64) -> Result<Progress, AmqpError> {
        self.stage = Stage::AwaitBody { remaining_bytes };
        Ok(if remaining_bytes == 0 { Progress::Complete } else { Progress::Incomplete })
    }
}

fn short_length(name: &str) -> u8 {
    u8::try_from(name.len()).expect("short strings are parsed from a one-byte length")
}

/// Makes room for `incoming` bytes, at most for as much again as has arrived, and never for more than `remaining`: a
/// complete body then fills its buffer exactly.
fn reserve_within(body: &mut Vec<u8>, incoming: usize, remaining: u64) {
    if body.capacity() - body.len() >= incoming {
        return;
    }
    let remaining = usize::try_from(remaining).unwrap_or(usize::MAX);
    body.reserve_exact(incoming.max(body.len()).min(remaining));
}

/// What is wrong with the properties, in the order in which RabbitMQ looks.
#[inline]
fn check_properties(properties: &Properties<'_>) -> Option<AmqpError> {
    if let Some(expiration) = properties.expiration()
        && let Err(reason) = check_expiration(expiration)
    {
        return Some(faults::invalid_expiration(expiration, &reason));
    }
    match properties.delivery_mode() {
        None | Some(1 | 2) => None,
        Some(mode) => Some(faults::unknown_delivery_mode(mode)),
    }
}

/// Reads an expiration as Erlang's `string:to_integer` does; the error is RabbitMQ's term for it.
fn check_expiration(expiration: &str) -> Result<(), String> {
    let unsigned = expiration.strip_prefix(['+', '-']).unwrap_or(expiration);
    let end = unsigned.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, leftover) = unsigned.split_at(end);
    if digits.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !leftover.is_empty() {
        let escaped = leftover.replace('\\', "\\\\").replace('"', "\\\"");
        return Err(format!("{{leftover_string,\"{escaped}\"}}"));
    }
    let value = digits.trim_start_matches('0');
    if value.is_empty() {
        return Ok(());
    }
    if expiration.starts_with('-') {
        return Err(format!("{{value_negative,-{value}}}"));
    }
    match value.parse::<u64>() {
        Ok(ms) if ms <= EXPIRATION_MS_MAX => Ok(()),
        _ => Err(format!("{{value_too_large,{value}}}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::Random;
    use super::*;
    use crate::wire::properties::parse_content_header;

    const NO_PROPERTIES: [u8; 2] = [0, 0];

    fn begin() -> ContentAssembler {
        let publish =
            BasicPublish { exchange: "logs", routing_key: "a.b", mandatory: true, immediate: false };
        ContentAssembler::begin(&publish, Vec::new(), 0)
    }

    fn header(body_bytes: u64, properties: &[u8]) -> Vec<u8> {
        [&[0, 60, 0, 0], &body_bytes.to_be_bytes()[..], properties].concat()
    }

    fn with_header(body_bytes: u64, max: u64) -> Result<(ContentAssembler, Progress), AmqpError> {
        let mut content = begin();
        let payload = header(body_bytes, &NO_PROPERTIES);
        let progress = content.handle_header(&parse_content_header(&payload).unwrap(), max)?;
        Ok((content, progress))
    }

    fn fault(properties: &[u8]) -> Option<String> {
        let mut content = begin();
        let payload = header(0, properties);
        content.handle_header(&parse_content_header(&payload).unwrap(), 0).unwrap();
        content.finish().0.fault.map(|error| error.text.to_string())
    }

    #[test]
    fn bodies_of_any_split_come_back_whole_on_both_sides_of_the_inline_bound() {
        for seed in 1..40 {
            let mut random = Random::new(seed);
            let size = match random.below(3) {
                0 => random.below(100),
                1 => INLINE_BODY_BYTES_MAX - 2 + random.below(5),
                _ => random.below(300_000),
            };
            let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let (mut content, mut progress) = with_header(size as u64, u64::MAX).unwrap();
            let mut rest = &body[..];
            while progress == Progress::Incomplete {
                let (piece, after) = rest.split_at(random.below(5000.min(rest.len()) + 1));
                progress = content.handle_body(piece).unwrap();
                rest = after;
            }
            assert!(rest.is_empty(), "seed {seed}: complete too early");
            let (content, spare) = content.finish();
            assert!(spare.is_empty());
            assert_eq!(content.message.body(), body, "seed {seed}");
            assert_eq!(content.message.exchange(), b"logs");
            assert_eq!(content.message.routing_key(), b"a.b");
            assert_eq!(content.message.properties(), NO_PROPERTIES);
            assert_eq!(content.message.large_body().is_some(), size > INLINE_BODY_BYTES_MAX);
            assert!(content.mandatory);
        }
    }

    #[test]
    fn an_empty_body_is_complete_with_its_header() {
        assert_eq!(with_header(0, 0).unwrap().1, Progress::Complete);
    }

    #[test]
    fn a_body_longer_than_announced_is_a_frame_error() {
        let (mut content, _) = with_header(3, 10).unwrap();
        assert_eq!(content.handle_body(b"abcd").unwrap_err(), faults::body_too_long(1));
    }

    #[test]
    fn a_message_may_be_as_large_as_the_bound_but_not_larger() {
        assert!(with_header(10, 10).is_ok());
        assert_eq!(with_header(11, 10).unwrap_err(), faults::message_too_large(11, 10));
    }

    #[test]
    fn memory_follows_what_has_arrived_not_what_was_announced() {
        let (mut content, _) = with_header(1 << 40, u64::MAX).unwrap();
        for _ in 0..64 {
            content.handle_body(&[0; 1000]).unwrap();
            let arrived = content.large_body.len();
            assert!(content.large_body.capacity() <= 2 * arrived);
        }
    }

    #[test]
    fn a_large_body_fills_its_buffer_exactly() {
        let size = 1_000_000;
        let (mut content, _) = with_header(size as u64, u64::MAX).unwrap();
        for piece in vec![1; size].chunks(131_000) {
            content.handle_body(piece).unwrap();
        }
        assert_eq!(content.large_body.capacity(), size);
    }

    #[test]
    fn expirations_are_judged_as_in_rabbitmq() {
        let table = [
            ("0", None),
            ("60000", None),
            ("+5", None),
            ("-0", None),
            ("007", None),
            ("315360000000", None),
            ("315360000001", Some("invalid expiration '315360000001': {value_too_large,315360000001}")),
            (
                "99999999999999999999",
                Some("invalid expiration '99999999999999999999': {value_too_large,99999999999999999999}"),
            ),
            ("foo", Some("invalid expiration 'foo': no_integer")),
            ("", Some("invalid expiration '': no_integer")),
            (" 5", Some("invalid expiration ' 5': no_integer")),
            ("--1", Some("invalid expiration '--1': no_integer")),
            ("-1", Some("invalid expiration '-1': {value_negative,-1}")),
            ("12x", Some("invalid expiration '12x': {leftover_string,\"x\"}")),
            ("5.5", Some("invalid expiration '5.5': {leftover_string,\".5\"}")),
        ];
        for (expiration, text) in table {
            let length = u8::try_from(expiration.len()).unwrap();
            let properties = [&[1, 0, length], expiration.as_bytes()].concat();
            assert_eq!(fault(&properties).as_deref(), text, "{expiration:?}");
        }
    }

    #[test]
    fn delivery_modes_other_than_one_and_two_are_a_fault() {
        assert_eq!(fault(&[0x10, 0, 1]), None);
        assert_eq!(fault(&[0x10, 0, 2]), None);
        assert_eq!(fault(&[0x10, 0, 3]).unwrap(), "invalid message: {delivery_mode_unknown,3}");
        assert_eq!(fault(&[0x10, 0, 0]).unwrap(), "invalid message: {delivery_mode_unknown,0}");
    }
}
