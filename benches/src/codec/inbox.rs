//! From bytes to frames: one large buffer, frames handed out as slices of it.
//!
//! It allocates nothing per frame, and refuses to look into method arguments. A frame is only handed out when it
//! is there to its last octet, so no caller sees a split one. Called by `connection`.

use thiserror::Error;

use super::method::MethodId;
use super::{FRAME_END, FRAME_OVERHEAD, TYPE_BODY, TYPE_HEADER, TYPE_HEARTBEAT, TYPE_METHOD, length};

/// Bytes read from the broker and not looked at yet.
pub(crate) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    frame_max: usize,
}

/// One whole frame, borrowed from the inbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Method { id: MethodId, arguments: &'a [u8] },
    Header { body_size: u64 },
    Body(&'a [u8]),
    Heartbeat,
}

/// What the broker sent was not AMQP 0-9-1.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("a frame of {size} bytes is over the negotiated frame_max of {frame_max}")]
    TooLarge { size: usize, frame_max: usize },
    #[error("a frame ends with octet {0:#04x} instead of 0xce")]
    BadEnd(u8),
    #[error("a frame has the unknown type {0}")]
    UnknownType(u8),
    #[error("a {0} frame is too short for its fields")]
    Truncated(&'static str),
    #[error("the peer does not speak AMQP 0-9-1: it answered with a protocol header")]
    ProtocolHeader,
}

impl Inbox {
    /// `capacity` is raised to two frames, so that a frame always fits beside the rest of the one before it.
    pub(crate) fn new(frame_max: u32, capacity: usize) -> Self {
        let frame_max = length(frame_max);
        let capacity = capacity.max(frame_max * 2);
        Self { buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0, frame_max }
    }

    /// Room to read into; never empty once `next_frame` has returned `None`.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// Says how much of `spare` now holds bytes from the broker.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The next whole frame, or `None` when more bytes are needed.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let pending = &self.buffer[self.start..self.end];
        let Some(&[kind, _, _, a, b, c, d]) = pending.first_chunk::<7>() else {
            return Ok(None);
        };
        if kind == b'A' && pending.starts_with(b"AMQP") {
            return Err(FrameError::ProtocolHeader);
        }
        let size = length(u32::from_be_bytes([a, b, c, d]));
        let whole = size.saturating_add(FRAME_OVERHEAD);
        if whole > self.frame_max {
            return Err(FrameError::TooLarge { size: whole, frame_max: self.frame_max });
        }
        if pending.len() < whole {
            return Ok(None);
        }
        let end = pending[whole - 1];
        if end != FRAME_END {
            return Err(FrameError::BadEnd(end));
        }
        self.start += whole;
        Frame::parse(kind, &pending[7..whole - 1]).map(Some)
    }
}

impl<'a> Frame<'a> {
    #[inline]
    fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, FrameError> {
        match kind {
            TYPE_METHOD => {
                let Some((&[a, b, c, d], arguments)) = payload.split_first_chunk::<4>() else {
                    return Err(FrameError::Truncated("method"));
                };
                let id = MethodId { class: u16::from_be_bytes([a, b]), method: u16::from_be_bytes([c, d]) };
                Ok(Self::Method { id, arguments })
            }
            TYPE_HEADER => {
                let size = payload.get(4..).and_then(|rest| rest.first_chunk::<8>());
                let size = size.ok_or(FrameError::Truncated("header"))?;
                Ok(Self::Header { body_size: u64::from_be_bytes(*size) })
            }
            TYPE_BODY => Ok(Self::Body(payload)),
            TYPE_HEARTBEAT => Ok(Self::Heartbeat),
            other => Err(FrameError::UnknownType(other)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{HEARTBEAT, encode, method};
    use super::*;

    /// A deliver, its header and its body, with a heartbeat between messages.
    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        for tag in 1..=3_u8 {
            encode::method(&mut bytes, 1, method::DELIVER, |arguments| {
                arguments.short("7");
                arguments.u64(u64::from(tag));
                arguments.u8(0);
                arguments.short("");
                arguments.short("queue");
            });
            encode::content_header(&mut bytes, 1, 16, encode::DeliveryMode::Transient);
            encode::body(&mut bytes, 1, &[tag; 16]);
            bytes.extend_from_slice(HEARTBEAT);
        }
        bytes
    }

    fn describe(frame: &Frame<'_>) -> String {
        match frame {
            Frame::Method { id, arguments } => format!("{id} {}", arguments.len()),
            other => format!("{other:?}"),
        }
    }

    /// Feeds the bytes in pieces of the given size and lists the frames that come out.
    fn frames_in_pieces(bytes: &[u8], piece: usize) -> Vec<String> {
        let mut inbox = Inbox::new(4096, 0);
        let mut seen = Vec::new();
        for part in bytes.chunks(piece) {
            inbox.spare()[..part.len()].copy_from_slice(part);
            inbox.filled(part.len());
            while let Some(frame) = inbox.next_frame().unwrap() {
                seen.push(describe(&frame));
            }
        }
        seen
    }

    #[test]
    fn frames_come_out_the_same_however_the_bytes_are_split() {
        let bytes = stream();
        let whole = frames_in_pieces(&bytes, bytes.len());
        assert_eq!(whole.len(), 12);
        for piece in 1..bytes.len() {
            assert_eq!(frames_in_pieces(&bytes, piece), whole, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn a_frame_of_exactly_frame_max_is_taken_and_one_byte_more_is_refused() {
        for (body, accepted) in [(4096 - FRAME_OVERHEAD, true), (4097 - FRAME_OVERHEAD, false)] {
            let mut bytes = Vec::new();
            encode::body(&mut bytes, 1, &vec![9; body]);
            let mut inbox = Inbox::new(4096, 0);
            inbox.spare()[..bytes.len()].copy_from_slice(&bytes);
            inbox.filled(bytes.len());
            assert_eq!(inbox.next_frame().is_ok(), accepted, "body of {body} bytes");
        }
    }

    #[test]
    fn broken_frames_are_named() {
        let cases: [(&[u8], FrameError); 5] = [
            (&[8, 0, 0, 0, 0, 0, 0, 1], FrameError::BadEnd(1)),
            (&[5, 0, 0, 0, 0, 0, 0, 0xCE], FrameError::UnknownType(5)),
            (&[1, 0, 1, 0, 0, 0, 2, 0, 10, 0xCE], FrameError::Truncated("method")),
            (&[2, 0, 1, 0, 0, 0, 2, 0, 60, 0xCE], FrameError::Truncated("header")),
            (b"AMQP\x00\x00\x09\x01", FrameError::ProtocolHeader),
        ];
        for (bytes, expected) in cases {
            let mut inbox = Inbox::new(4096, 0);
            inbox.spare()[..bytes.len()].copy_from_slice(bytes);
            inbox.filled(bytes.len());
            assert_eq!(inbox.next_frame().unwrap_err(), expected);
        }
    }

    #[test]
    fn there_is_always_room_to_read_while_a_frame_is_incomplete() {
        let mut bytes = Vec::new();
        encode::body(&mut bytes, 1, &vec![1; 4096 - FRAME_OVERHEAD]);
        let stream = bytes.repeat(5);
        let mut inbox = Inbox::new(4096, 0);
        let mut rest = stream.as_slice();
        let mut frames = 0;
        while !rest.is_empty() {
            let spare = inbox.spare();
            assert!(!spare.is_empty());
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            inbox.filled(count);
            rest = &rest[count..];
            while inbox.next_frame().unwrap().is_some() {
                frames += 1;
            }
        }
        assert_eq!(frames, 5);
    }
}
