//! Publishes encoded once and sent many times: only the number and the timestamp in each body change.
//!
//! Sending a message costs two stores into a buffer that is otherwise ready to go out. It refuses to know sockets and
//! limits. Called by `producer`; `stamp` is read back by `consumer`.

use std::ops::Range;

use crate::codec::encode::{self, DeliveryMode};
use crate::codec::{CHANNEL, length, method};

/// The part of a body that is not filler: who sent it, its number, and when.
pub(crate) const STAMP_BYTES: usize = 16;
/// A sequence number has 48 bits, the producer's number the 16 above.
const SEQUENCE_BITS: u32 = 48;
/// One write of this size keeps the system calls per message few and the buffer in the cache.
const BATCH_BYTES: usize = 64 * 1024;

/// What a body says about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: u16,
    /// Counts from 0 for each producer and routing key.
    pub(crate) sequence: u64,
    pub(crate) sent_ns: u64,
}

impl Stamp {
    #[inline]
    fn encode(self) -> [u8; STAMP_BYTES] {
        let id = u64::from(self.producer) << SEQUENCE_BITS | self.sequence;
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&id.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes
    }

    /// Reads the beginning of a body; `None` when it is too short to be ours.
    #[inline]
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let (id, rest) = body.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(*id);
        Some(Self {
            producer: u16::try_from(id >> SEQUENCE_BITS).ok()?,
            sequence: id & ((1 << SEQUENCE_BITS) - 1),
            sent_ns: u64::from_be_bytes(*rest.first_chunk::<8>()?),
        })
    }
}

/// What all messages of a producer have in common.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) producer: u16,
    pub(crate) exchange: String,
    /// Used in turn.
    pub(crate) routing_keys: Vec<String>,
    pub(crate) body_bytes: usize,
    pub(crate) mode: DeliveryMode,
    pub(crate) frame_max: u32,
}

/// A buffer of whole publishes.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// The slot the next message takes. It moves on only with several routing keys, which take turns.
    cursor: usize,
    producer: u16,
    sequences: Vec<u64>,
}

struct Slot {
    start: usize,
    stamp_at: usize,
    end: usize,
    target: usize,
}

impl Batch {
    pub(crate) fn new(template: &Template) -> Self {
        let targets = template.routing_keys.len();
        let body = filler(template.body_bytes.max(STAMP_BYTES));
        let mut batch = Self {
            bytes: Vec::new(),
            slots: Vec::new(),
            cursor: 0,
            producer: template.producer,
            sequences: vec![0; targets],
        };
        while batch.bytes.len() < BATCH_BYTES || !batch.slots.len().is_multiple_of(targets) {
            batch.append(template, batch.slots.len() % targets, &body);
        }
        batch
    }

    fn append(&mut self, template: &Template, target: usize, body: &[u8]) {
        let start = self.bytes.len();
        encode::method(&mut self.bytes, CHANNEL, method::PUBLISH, |arguments| {
            arguments.u16(0);
            arguments.short(&template.exchange);
            arguments.short(&template.routing_keys[target]);
            arguments.u8(0);
        });
        let frame_max = length(template.frame_max);
        let stamp_at = encode::content(&mut self.bytes, CHANNEL, body, template.mode, frame_max);
        self.slots.push(Slot { start, stamp_at, end: self.bytes.len(), target });
    }

    /// Numbers and stamps up to `wanted` messages; says how many, and which bytes to send.
    ///
    /// `sent_at` gives the time to write into the n-th of them.
    pub(crate) fn prepare(&mut self, wanted: u64, sent_at: impl Fn(u64) -> u64) -> (u64, Range<usize>) {
        let first = self.cursor;
        let room = self.slots.len() - first;
        let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(room);
        let (mut start, mut end) = (0, 0);
        let mut prepared = 0;
        for slot in &self.slots[first..first + count] {
            let sequence = &mut self.sequences[slot.target];
            let stamp = Stamp { producer: self.producer, sequence: *sequence, sent_ns: sent_at(prepared) };
            self.bytes[slot.stamp_at..slot.stamp_at + STAMP_BYTES].copy_from_slice(&stamp.encode());
            *sequence += 1;
            if prepared == 0 {
                start = slot.start;
            }
            end = slot.end;
            prepared += 1;
        }
        if self.sequences.len() > 1 {
            self.cursor = (first + count) % self.slots.len();
        }
        (prepared, start..end)
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// How many messages went to each routing key.
    pub(crate) fn sent(&self) -> &[u64] {
        &self.sequences
    }
}

/// Text that is easy to recognise in a dump.
fn filler(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::codec::inbox::{Frame, Inbox};

    fn template(keys: usize, body_bytes: usize) -> Template {
        Template {
            producer: 3,
            exchange: String::new(),
            routing_keys: (0..keys).map(|key| format!("q{key}")).collect(),
            body_bytes,
            mode: DeliveryMode::Transient,
            frame_max: 4096,
        }
    }

    /// Reads a range as a broker would: routing key and stamp of each message.
    fn messages(batch: &Batch, range: Range<usize>) -> Vec<(String, Stamp)> {
        let bytes = batch.bytes(range);
        let mut inbox = Inbox::new(4096, bytes.len());
        inbox.spare()[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
        let mut seen = Vec::new();
        let mut left = 0;
        while let Some(frame) = inbox.next_frame().unwrap() {
            match frame {
                Frame::Method { arguments, .. } => {
                    let mut reader = method::Reader(&arguments[2..]);
                    reader.short().unwrap();
                    seen.push((reader.text().unwrap(), None));
                }
                Frame::Header { body_size } => left = body_size,
                Frame::Body(part) => {
                    let stamp = &mut seen.last_mut().unwrap().1;
                    *stamp = stamp.or_else(|| Stamp::decode(part));
                    left -= u64::try_from(part.len()).unwrap();
                }
                Frame::Heartbeat => {}
            }
        }
        assert_eq!(left, 0);
        seen.into_iter().map(|(key, stamp)| (key, stamp.unwrap())).collect()
    }

    #[test]
    fn numbers_and_times_continue_from_batch_to_batch() {
        let mut batch = Batch::new(&template(1, 16));
        let (count, range) = batch.prepare(2, |index| 100 + index);
        assert_eq!(count, 2);
        let expect = |sequence, sent_ns| ("q0".to_owned(), Stamp { producer: 3, sequence, sent_ns });
        assert_eq!(messages(&batch, range), [expect(0, 100), expect(1, 101)]);
        let (_, range) = batch.prepare(1, |_| 7);
        assert_eq!(messages(&batch, range), [expect(2, 7)]);
        assert_eq!(batch.sent(), [3]);
    }

    #[test]
    fn routing_keys_take_turns_across_batches() {
        let mut batch = Batch::new(&template(3, 5000));
        let mut keys = Vec::new();
        for _ in 0..20 {
            let (_, range) = batch.prepare(2, |_| 0);
            keys.extend(messages(&batch, range).into_iter().map(|(key, stamp)| (key, stamp.sequence)));
        }
        for (index, (key, sequence)) in keys.iter().enumerate() {
            assert_eq!(*key, format!("q{}", index % 3));
            assert_eq!(*sequence, u64::try_from(index / 3).unwrap());
        }
    }

    #[test]
    fn a_stamp_keeps_the_largest_producer_and_sequence() {
        let stamp = Stamp { producer: u16::MAX, sequence: (1 << SEQUENCE_BITS) - 1, sent_ns: u64::MAX };
        assert_eq!(Stamp::decode(&stamp.encode()), Some(stamp));
        assert_eq!(Stamp::decode(&[0; STAMP_BYTES - 1]), None);
    }
}
