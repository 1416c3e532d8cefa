//! [`OutBuffer`]: frames on their way to a socket.
//!
//! Everything is encoded one after the other into one buffer, so that a batch of small frames leaves in one write; bodies
//! too large to copy are threaded between its bytes as shared [`Bytes`]. It knows no socket (the server writes the slices
//! and reports with [`OutBuffer::advance`]) and no bound: the server stops filling it at the limits of
//! [`crate::limits`]. Filled by the session.

use std::collections::VecDeque;
use std::io::IoSlice;

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, gen_class};
use bytes::{Buf, Bytes};

use super::frame::{
    FRAME_END, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, TYPE_BODY, TYPE_HEADER, TYPE_HEARTBEAT, TYPE_METHOD,
};
use super::message::Message;
use crate::error::ReplyCode;
use crate::limits::OUT_BUFFER_KEEP_BYTES;

const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];
const BASIC_GET_OK: [u8; 4] = [0, 60, 0, 71];
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];

/// Class 60 and weight 0, in front of the body size in a content header.
const CONTENT_HEADER_OPENING: [u8; 4] = [0, 60, 0, 0];
/// That, the body size, and what is around every payload.
const HEADER_FRAME_BYTES: usize = 12 + FRAME_HEAD_BYTES + 1;

/// The sizes that a growing buffer goes through before it doubles: an idle connection's handshake fits the first, a
/// request and its answer the second, a batch the third.
const CAPACITY_STEPS: [usize; 3] = [512, OUT_BUFFER_KEEP_BYTES, 64 * 1024];

/// Encoded bytes not written yet.
///
/// Memory: when everything is written, a buffer of up to [`OUT_BUFFER_KEEP_BYTES`] is kept for the next frame and a
/// larger one freed; [`OutBuffer::release`] frees the small one, too.
#[derive(Debug, Default)]
pub struct OutBuffer {
    /// Owned bytes: from `written` on still to be written.
    owned: Vec<u8>,
    written: usize,
    /// Shared bodies, each with the owned bytes that go before it.
    shared: VecDeque<SharedRun>,
    /// How far into `owned` the bytes are those before a shared body. Means nothing while there is no shared body.
    assigned: usize,
    shared_bytes: usize,
}

#[derive(Debug)]
struct SharedRun {
    owned_before: usize,
    bytes: Bytes,
}

/// What is in front of a message's exchange and routing key in one of the three methods that carry a content.
struct ContentMethod<'a> {
    id: [u8; 4],
    before: &'a [&'a [u8]],
    after: &'a [u8],
}

impl OutBuffer {
    /// Bytes still to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owned.len() - self.written + self.shared_bytes
    }

    /// Whether everything is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Points `slices` at the next bytes to write, in order, and tells how many of them are in use.
    #[must_use]
    pub fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut push = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(used) else { return false };
            *slot = IoSlice::new(bytes);
            used += 1;
            true
        };
        let mut at = self.written;
        for run in &self.shared {
            let end = at + run.owned_before;
            if !push(&self.owned[at..end]) || !push(&run.bytes) {
                return used;
            }
            at = end;
        }
        push(&self.owned[at..]);
        used
    }

    /// Takes note that the first `bytes` bytes have been written.
    ///
    /// # Panics
    ///
    /// If there were not that many.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "more bytes written than there were");
        let mut rest = bytes;
        while let Some(run) = self.shared.front_mut() {
            let owned = rest.min(run.owned_before);
            run.owned_before -= owned;
            self.written += owned;
            rest -= owned;
            let shared = rest.min(run.bytes.len());
            run.bytes.advance(shared);
            self.shared_bytes -= shared;
            rest -= shared;
            if run.owned_before > 0 || !run.bytes.is_empty() {
                return;
            }
            self.shared.pop_front();
        }
        self.written += rest;
        if self.written == self.owned.len() {
            self.drained();
        }
    }

    /// Frees what an empty buffer still holds. For connections that have been quiet for a while.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// `AMQP` and a version: the answer to a greeting that asked for another one.
    pub fn protocol_header(&mut self, header: &[u8; 8]) {
        self.push(header);
    }

    /// A heartbeat frame.
    pub fn heartbeat(&mut self) {
        self.push(&[TYPE_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END]);
    }

    /// Any method without a content.
    ///
    /// # Panics
    ///
    /// Never: a Vec takes every write, and amq-protocol's strings are checked when they are made.
    pub fn method(&mut self, channel: u16, method: &AMQPClass) {
        let context = gen_class(method)(WriteContext::from(Vec::new())).expect("a Vec takes every write");
        let payload = context.into_inner().0;
        self.reserve(payload.len() + FRAME_HEAD_BYTES + 1);
        self.push_frame_head(TYPE_METHOD, channel, payload.len());
        self.owned.extend_from_slice(&payload);
        self.owned.push(FRAME_END);
    }

    /// `basic.ack`: a publish is confirmed.
    pub fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.settlement(channel, BASIC_ACK, delivery_tag, u8::from(multiple));
    }

    /// `basic.nack`: a publish is refused.
    pub fn nack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        // The requeue bit means nothing towards a client, but it is set by default, and RabbitMQ sends it.
        self.settlement(channel, BASIC_NACK, delivery_tag, u8::from(multiple) | 2);
    }

    /// `basic.deliver` with its content, the body in frames of at most `frame_max` bytes; 0 is unlimited.
    pub fn deliver(
        &mut self,
        channel: u16,
        consumer_tag: &str,
        delivery_tag: u64,
        redelivered: bool,
        message: &Message,
        frame_max: u32,
    ) {
        let mut fixed = [0; 9];
        fixed[..8].copy_from_slice(&delivery_tag.to_be_bytes());
        fixed[8] = u8::from(redelivered);
        let tag_length = [short_length(consumer_tag.as_bytes())];
        let method = ContentMethod {
            id: BASIC_DELIVER,
            before: &[&tag_length, consumer_tag.as_bytes(), &fixed],
            after: &[],
        };
        self.content(channel, &method, message, frame_max);
    }

    /// `basic.get-ok` with its content.
    pub fn get_ok(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        redelivered: bool,
        message_count: u32,
        message: &Message,
        frame_max: u32,
    ) {
        let method = ContentMethod {
            id: BASIC_GET_OK,
            before: &[&delivery_tag.to_be_bytes(), &[u8::from(redelivered)]],
            after: &message_count.to_be_bytes(),
        };
        self.content(channel, &method, message, frame_max);
    }

    /// `basic.return` with its content; the reply text is the bare name of the code, as in RabbitMQ.
    pub fn returned(&mut self, channel: u16, code: ReplyCode, message: &Message, frame_max: u32) {
        let text = code.name().as_bytes();
        let method = ContentMethod {
            id: BASIC_RETURN,
            before: &[&code.code().to_be_bytes(), &[short_length(text)], text],
            after: &[],
        };
        self.content(channel, &method, message, frame_max);
    }

    #[inline]
    fn settlement(&mut self, channel: u16, id: [u8; 4], delivery_tag: u64, bits: u8) {
        let mut frame = [0; 21];
        frame[0] = TYPE_METHOD;
        frame[1..3].copy_from_slice(&channel.to_be_bytes());
        frame[6] = 13;
        frame[7..11].copy_from_slice(&id);
        frame[11..19].copy_from_slice(&delivery_tag.to_be_bytes());
        frame[19] = bits;
        frame[20] = FRAME_END;
        self.push(&frame);
    }

    /// Method, content header and body. The header frame goes out whole even if it exceeds `frame_max`: the protocol has
    /// no way to split it, and RabbitMQ does the same.
    #[inline]
    fn content(&mut self, channel: u16, method: &ContentMethod<'_>, message: &Message, frame_max: u32) {
        let (exchange, routing_key) = (message.exchange(), message.routing_key());
        let before_bytes: usize = method.before.iter().map(|part| part.len()).sum();
        let method_bytes = 4 + before_bytes + 2 + exchange.len() + routing_key.len() + method.after.len();
        let properties = message.properties();
        let body = message.body();
        let copied_body = if message.large_body().is_some() { 0 } else { body.len() };
        // One overhead too many or too few for the body's frames is no harm, only a guess that grows once.
        self.reserve(
            method_bytes + HEADER_FRAME_BYTES + properties.len() + copied_body + 4 * FRAME_HEAD_BYTES,
        );

        self.push_frame_head(TYPE_METHOD, channel, method_bytes);
        let out = &mut self.owned;
        out.extend_from_slice(&method.id);
        for part in method.before {
            out.extend_from_slice(part);
        }
        out.push(short_length(exchange));
        out.extend_from_slice(exchange);
        out.push(short_length(routing_key));
        out.extend_from_slice(routing_key);
        out.extend_from_slice(method.after);
        out.push(FRAME_END);

        self.push_frame_head(TYPE_HEADER, channel, CONTENT_HEADER_OPENING.len() + 8 + properties.len());
        let out = &mut self.owned;
        out.extend_from_slice(&CONTENT_HEADER_OPENING);
        out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        out.extend_from_slice(properties);
        out.push(FRAME_END);

        self.body(channel, message, frame_max);
    }

    /// The body in as many frames as it needs, none if it is empty.
    #[inline]
    fn body(&mut self, channel: u16, message: &Message, frame_max: u32) {
        let limit = if frame_max == 0 { u32::MAX } else { frame_max };
        let piece_bytes = limit.saturating_sub(FRAME_OVERHEAD_BYTES).max(1) as usize;
        if let Some(large) = message.large_body() {
            for start in (0..large.len()).step_by(piece_bytes) {
                let piece = large.slice(start..large.len().min(start + piece_bytes));
                self.reserve(FRAME_HEAD_BYTES + 1);
                self.push_frame_head(TYPE_BODY, channel, piece.len());
                self.push_shared(piece);
                self.owned.push(FRAME_END);
            }
            return;
        }
        for piece in message.body().chunks(piece_bytes) {
            self.reserve(piece.len() + FRAME_HEAD_BYTES + 1);
            self.push_frame_head(TYPE_BODY, channel, piece.len());
            self.owned.extend_from_slice(piece);
            self.owned.push(FRAME_END);
        }
    }

    #[inline]
    fn push_frame_head(&mut self, kind: u8, channel: u16, payload_bytes: usize) {
        let size = u32::try_from(payload_bytes).expect("payloads are made of parts that fit frames");
        let [c1, c0] = channel.to_be_bytes();
        let [s3, s2, s1, s0] = size.to_be_bytes();
        self.owned.extend_from_slice(&[kind, c1, c0, s3, s2, s1, s0]);
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.owned.extend_from_slice(bytes);
    }

    fn push_shared(&mut self, bytes: Bytes) {
        if self.shared.is_empty() {
            self.assigned = self.written;
        }
        let owned_before = self.owned.len() - self.assigned;
        self.assigned = self.owned.len();
        self.shared_bytes += bytes.len();
        self.shared.push_back(SharedRun { owned_before, bytes });
    }

    /// Makes room for `bytes` more owned bytes.
    #[inline]
    fn reserve(&mut self, bytes: usize) {
        if self.owned.capacity() - self.owned.len() < bytes {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        // Moving what is left to the front costs at most as many bytes as have been written since it was last done.
        if self.written >= self.owned.len() / 2 {
            self.owned.copy_within(self.written.., 0);
            self.owned.truncate(self.owned.len() - self.written);
            self.assigned = self.assigned.saturating_sub(self.written);
            self.written = 0;
        }
        let needed = self.owned.len() + bytes;
        match CAPACITY_STEPS.into_iter().find(|&step| step >= needed) {
            Some(step) => self.owned.reserve_exact(step - self.owned.len()),
            None => self.owned.reserve(bytes),
        }
    }

    #[inline]
    fn drained(&mut self) {
        self.written = 0;
        self.owned.clear();
        if self.owned.capacity() > OUT_BUFFER_KEEP_BYTES {
            self.owned = Vec::new();
        }
        if self.shared.capacity() > 0 {
            self.shared = VecDeque::new();
        }
    }
}

/// The length octet of a short string.
#[inline]
fn short_length(text: &[u8]) -> u8 {
    u8::try_from(text.len()).expect("names and tags arrived as short strings")
}

#[cfg(test)]
mod tests;
