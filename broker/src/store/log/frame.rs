//! Frames: what one group commit appends to the log, as bytes.
//!
//! ```text
//! head | meta | bodies | meta again | head again
//! meta = operations, runs, records
//! ```
//!
//! A record is one message, stored once; a run says that a queue holds consecutive records under consecutive sequence
//! numbers. Head and meta are checked by one checksum each, every record by its own, so that damage costs no more than the
//! record it hits: head and meta are there twice. All integers are little endian. Reads and writes no files.

use super::record;
use crate::engine::QueueId;
use crate::wire::message::Message;

/// Bytes of a head.
pub(in crate::store) const HEAD_BYTES: usize = 56;
/// Bytes of a run.
const RUN_BYTES: usize = 32;
/// Bytes of a record's entry.
const RECORD_BYTES: usize = 8;

/// What a frame begins with.
pub(in crate::store) const HEAD_MAGIC: [u8; 4] = *b"WfrH";
/// What the second head begins with.
const TAIL_MAGIC: [u8; 4] = *b"WfrT";

/// The messages of a run are forgotten at a restart: transient ones that only had to leave memory.
pub(in crate::store) const UNTIL_RESTART: u32 = 1;
/// The messages of a run were in the log before and have moved here.
pub(in crate::store) const MOVED: u32 = 2;

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Head {
    /// Ascending by one through the whole log.
    pub(in crate::store) number: u64,
    /// The commit that wrote it.
    pub(in crate::store) epoch: u64,
    /// When, in milliseconds since 1970.
    pub(in crate::store) time_ms: u64,
    ops_bytes: u32,
    runs: u32,
    records: u32,
    bodies_bytes: u32,
    meta_crc: u32,
}

/// Consecutive messages of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Run {
    /// Whose.
    pub(in crate::store) queue: QueueId,
    /// The first one's sequence number.
    pub(in crate::store) first: u64,
    /// How many.
    pub(in crate::store) count: u32,
    /// The record of the first one; the others' follow.
    pub(in crate::store) record: u32,
    /// [`UNTIL_RESTART`] and [`MOVED`].
    pub(in crate::store) flags: u32,
}

impl Run {
    /// The last one's sequence number.
    pub(in crate::store) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

/// Where a record lies in its frame's bodies, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct RecordEntry {
    /// In bytes.
    pub(in crate::store) len: u32,
    /// CRC-32C of its bytes.
    pub(in crate::store) crc: u32,
}

impl Head {
    /// Bytes of the operations, runs and records.
    pub(in crate::store) fn meta_bytes(&self) -> usize {
        self.ops_bytes as usize + self.runs as usize * RUN_BYTES + self.records as usize * RECORD_BYTES
    }

    /// Where the bodies begin, counted from the frame's first byte.
    pub(in crate::store) fn bodies_at(&self) -> usize {
        HEAD_BYTES + self.meta_bytes()
    }

    /// Where the second copy of the meta begins.
    pub(in crate::store) fn second_meta_at(&self) -> usize {
        self.bodies_at() + self.bodies_bytes as usize
    }

    /// Bytes of the whole frame.
    pub(in crate::store) fn frame_bytes(&self) -> usize {
        2 * (HEAD_BYTES + self.meta_bytes()) + self.bodies_bytes as usize
    }

    fn encode(&self, magic: [u8; 4], salt: u32) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&magic);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ms.to_le_bytes());
        for (place, value) in [self.ops_bytes, self.runs, self.records, self.bodies_bytes, self.meta_crc]
            .into_iter()
            .enumerate()
        {
            bytes[32 + 4 * place..36 + 4 * place].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(salt, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], magic: [u8; 4], salt: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        if bytes[..4] != magic || crc32c::crc32c_append(salt, &bytes[8..]).to_le_bytes() != bytes[4..8] {
            return None;
        }
        let mut numbers = Numbers(&bytes[8..]);
        Some(Self {
            number: numbers.u64()?,
            epoch: numbers.u64()?,
            time_ms: numbers.u64()?,
            ops_bytes: numbers.u32()?,
            runs: numbers.u32()?,
            records: numbers.u32()?,
            bodies_bytes: numbers.u32()?,
            meta_crc: numbers.u32()?,
        })
    }

    /// The head at the start of a frame, in a segment with this salt.
    pub(in crate::store) fn decode_first(bytes: &[u8], salt: u32) -> Option<Self> {
        Self::decode(bytes, HEAD_MAGIC, salt)
    }

    /// The copy at the end of a frame.
    pub(in crate::store) fn decode_second(bytes: &[u8], salt: u32) -> Option<Self> {
        Self::decode(bytes, TAIL_MAGIC, salt)
    }
}

/// A frame's operations, runs and records, checked.
#[derive(Debug)]
pub(in crate::store) struct Meta {
    /// Encoded operations, see [`super::ops`].
    pub(in crate::store) ops: Vec<u8>,
    /// By queue, each queue's ascending.
    pub(in crate::store) runs: Vec<Run>,
    /// In the order of the bodies.
    pub(in crate::store) records: Vec<RecordEntry>,
}

impl Meta {
    /// The meta of a frame with this head; none if it is damaged.
    pub(in crate::store) fn decode(head: &Head, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..head.meta_bytes())?;
        if crc32c::crc32c(bytes) != head.meta_crc {
            return None;
        }
        let (ops, rest) = bytes.split_at(head.ops_bytes as usize);
        let (runs, records) = rest.split_at(head.runs as usize * RUN_BYTES);
        let runs = runs.chunks_exact(RUN_BYTES).map(|bytes| {
            let mut numbers = Numbers(bytes);
            Some(Run {
                queue: QueueId(numbers.u64()?),
                first: numbers.u64()?,
                count: numbers.u32()?,
                record: numbers.u32()?,
                flags: numbers.u32()?,
            })
        });
        let records = records.chunks_exact(RECORD_BYTES).map(|bytes| {
            let mut numbers = Numbers(bytes);
            Some(RecordEntry { len: numbers.u32()?, crc: numbers.u32()? })
        });
        let meta = Self {
            ops: ops.to_vec(),
            runs: runs.collect::<Option<_>>()?,
            records: records.collect::<Option<_>>()?,
        };
        meta.is_consistent(head).then_some(meta)
    }

    /// The checksum says that these are the bytes that were written; this, that they make sense.
    fn is_consistent(&self, head: &Head) -> bool {
        let records = self.records.len() as u64;
        let bodies: u64 = self.records.iter().map(|record| u64::from(record.len)).sum();
        bodies == u64::from(head.bodies_bytes)
            && self.runs.iter().all(|run| {
                run.count > 0
                    && run.first.checked_add(u64::from(run.count)).is_some()
                    && u64::from(run.record) + u64::from(run.count) <= records
            })
    }

    /// Where each record begins, counted from the start of the bodies.
    pub(in crate::store) fn record_offsets(&self) -> Vec<u64> {
        let mut at = 0;
        let begin = |record: &RecordEntry| {
            let begins = at;
            at += u64::from(record.len);
            begins
        };
        self.records.iter().map(begin).collect()
    }
}

/// A frame being put together.
#[derive(Debug, Default)]
pub(in crate::store) struct FrameBuilder {
    /// Encoded operations.
    pub(in crate::store) ops: Vec<u8>,
    runs: Vec<Run>,
    records: Vec<RecordEntry>,
    bodies: Vec<u8>,
}

impl FrameBuilder {
    /// Adds a message's bytes and names its record.
    pub(in crate::store) fn add(&mut self, message: &Message) -> u32 {
        let at = self.bodies.len();
        record::encode(message, &mut self.bodies);
        let bytes = &self.bodies[at..];
        let entry = RecordEntry { len: to_u32(bytes.len()), crc: crc32c::crc32c(bytes) };
        self.records.push(entry);
        to_u32(self.records.len() - 1)
    }

    /// Adds a record as it lies in another frame.
    pub(in crate::store) fn add_copy(&mut self, entry: RecordEntry, bytes: &[u8]) -> u32 {
        self.bodies.extend_from_slice(bytes);
        self.records.push(entry);
        to_u32(self.records.len() - 1)
    }

    /// Notes that `queue` holds `record` under `seq`. Each queue's come together, ascending.
    pub(in crate::store) fn hold(&mut self, queue: QueueId, seq: u64, record: u32, flags: u32) {
        if let Some(run) = self.runs.last_mut()
            && run.queue == queue
            && run.flags == flags
            && run.first + u64::from(run.count) == seq
            && run.record + run.count == record
        {
            run.count += 1;
            return;
        }
        self.runs.push(Run { queue, first: seq, count: 1, record, flags });
    }

    /// Forgets everything, and keeps the memory for the next frame.
    pub(in crate::store) fn clear(&mut self) {
        self.ops.clear();
        self.runs.clear();
        self.records.clear();
        self.bodies.clear();
    }

    /// Bytes of the bodies so far.
    pub(in crate::store) fn bodies_bytes(&self) -> usize {
        self.bodies.len()
    }

    /// Whether it says anything.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.runs.is_empty()
    }

    /// The runs so far.
    pub(in crate::store) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The records so far.
    pub(in crate::store) fn records(&self) -> &[RecordEntry] {
        &self.records
    }

    /// The bytes to write: what stands before the bodies, the bodies, and what stands behind them.
    ///
    /// The salt is the segment's: without it a client could publish bytes that look like a frame to whoever searches a
    /// damaged segment for the next one.
    pub(in crate::store) fn finish(
        &self,
        number: u64,
        epoch: u64,
        time_ms: u64,
        salt: u32,
    ) -> EncodedFrame<'_> {
        let mut first = vec![0; HEAD_BYTES];
        first.extend_from_slice(&self.ops);
        for run in &self.runs {
            first.extend_from_slice(&run.queue.0.to_le_bytes());
            first.extend_from_slice(&run.first.to_le_bytes());
            for number in [run.count, run.record, run.flags, 0] {
                first.extend_from_slice(&number.to_le_bytes());
            }
        }
        for record in &self.records {
            first.extend_from_slice(&record.len.to_le_bytes());
            first.extend_from_slice(&record.crc.to_le_bytes());
        }
        let head = Head {
            number,
            epoch,
            time_ms,
            ops_bytes: to_u32(self.ops.len()),
            runs: to_u32(self.runs.len()),
            records: to_u32(self.records.len()),
            bodies_bytes: to_u32(self.bodies.len()),
            meta_crc: crc32c::crc32c(&first[HEAD_BYTES..]),
        };
        first[..HEAD_BYTES].copy_from_slice(&head.encode(HEAD_MAGIC, salt));
        let mut second = first[HEAD_BYTES..].to_vec();
        second.extend_from_slice(&head.encode(TAIL_MAGIC, salt));
        EncodedFrame { head, first, bodies: &self.bodies, second }
    }
}

/// A frame ready to be written.
#[derive(Debug)]
pub(in crate::store) struct EncodedFrame<'a> {
    /// Its head.
    pub(in crate::store) head: Head,
    /// Head and meta.
    pub(in crate::store) first: Vec<u8>,
    /// The records.
    pub(in crate::store) bodies: &'a [u8],
    /// Meta and head again.
    pub(in crate::store) second: Vec<u8>,
}

/// Frames are cut at a size far below 4 GiB, and the largest message is bounded by the configuration.
fn to_u32(value: usize) -> u32 {
    u32::try_from(value).expect("a frame is smaller than 4 GiB")
}

/// Reads little endian integers one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 77;

    fn example() -> FrameBuilder {
        let mut frame = FrameBuilder::default();
        frame.ops.extend_from_slice(b"operations");
        let one = frame.add(&Message::new("", "a", &[0, 0], true, b"one"));
        let two = frame.add(&Message::new("", "a", &[0, 0], true, b"two"));
        frame.hold(QueueId(1), 10, one, 0);
        frame.hold(QueueId(1), 11, two, 0);
        frame.hold(QueueId(2), 7, two, 0);
        frame
    }

    fn bytes_of(frame: &EncodedFrame<'_>) -> Vec<u8> {
        [&frame.first, frame.bodies, &frame.second].concat()
    }

    #[test]
    fn both_copies_of_head_and_meta_come_back() {
        let builder = example();
        let frame = builder.finish(5, 3, 1_000, SALT);
        let bytes = bytes_of(&frame);
        let head = Head::decode_first(&bytes, SALT).expect("the head is whole");
        assert_eq!((head.number, head.epoch, head.time_ms), (5, 3, 1_000));
        assert_eq!(head.frame_bytes(), bytes.len());
        assert_eq!(Head::decode_second(&bytes[bytes.len() - HEAD_BYTES..], SALT), Some(head));
        for at in [HEAD_BYTES, head.second_meta_at()] {
            let meta = Meta::decode(&head, &bytes[at..]).expect("the meta is whole");
            assert_eq!(meta.ops, b"operations");
            let runs: Vec<_> =
                meta.runs.iter().map(|run| (run.queue.0, run.first, run.last(), run.record)).collect();
            assert_eq!(runs, [(1, 10, 11, 0), (2, 7, 7, 1)]);
            assert_eq!(meta.record_offsets().len(), 2);
        }
    }

    #[test]
    fn any_flipped_bit_is_found_in_the_part_it_lies_in() {
        let builder = example();
        let bytes = bytes_of(&builder.finish(5, 3, 1_000, SALT));
        let head = Head::decode_first(&bytes, SALT).expect("the head is whole");
        for at in 0..head.bodies_at() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let found = match Head::decode_first(&damaged, SALT) {
                    None => at < HEAD_BYTES,
                    Some(head) => at >= HEAD_BYTES && Meta::decode(&head, &damaged[HEAD_BYTES..]).is_none(),
                };
                assert!(found, "bit {bit} of byte {at} was flipped unseen");
                assert!(Meta::decode(&head, &damaged[head.second_meta_at()..]).is_some());
            }
        }
    }
}
