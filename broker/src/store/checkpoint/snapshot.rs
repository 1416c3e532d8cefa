//! [`Snapshot`]: the state at one position of the log, as keys and values.
//!
//! The first byte of a key says what it is: `d` a definition, `q` a queue's marks, `r` how often a message returned, `e` an
//! extent, `s` a settled range. Numbers in keys are big endian, so that keys sort as the numbers do; in values little endian.

use std::collections::BTreeMap;

use crate::engine::QueueId;
use crate::store::index::{Extent, Index, Lane, QueueIndex, RangeSet};
use crate::store::log::segment::SegmentId;

/// A place in the log: everything before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::store) struct Position {
    /// The segment that goes on here.
    pub(in crate::store) segment: SegmentId,
    /// The first byte that does not count.
    pub(in crate::store) at: u64,
    /// The number of the frame that comes next.
    pub(in crate::store) frame: u64,
}

/// The state at a position.
#[derive(Debug, Default)]
pub(in crate::store) struct Snapshot {
    /// Ascending from checkpoint to checkpoint.
    pub(in crate::store) sequence: u64,
    /// What it covers.
    pub(in crate::store) position: Position,
    /// All entries, sorted by key.
    pub(in crate::store) entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Snapshot {
    /// The state of `index` and `definitions`, which are those at `position`.
    pub(in crate::store) fn take(
        position: Position,
        index: &Index,
        definitions: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Self {
        let mut entries: Vec<_> =
            definitions.iter().map(|(key, value)| (with_kind(b'd', key), value.clone())).collect();
        for (id, queue) in index.queues() {
            let marks =
                [queue.delivered, queue.highest].map(|mark| mark.map_or(0, |seq| seq.saturating_add(1)));
            entries.push((key(b'q', id, None), numbers(&marks)));
            let returned = queue.returned.iter();
            entries.extend(
                returned.map(|(&seq, &count)| (key(b'r', id, Some(seq)), numbers(&[u64::from(count)]))),
            );
            for extent in queue.durable.extents() {
                let Extent { first, last, segment, at, end, live, bytes } = *extent;
                entries.push((key(b'e', id, Some(first)), numbers(&[last, segment.0, at, end, live, bytes])));
            }
            let settled = queue.durable.settled().iter();
            entries.extend(settled.map(|(first, last)| (key(b's', id, Some(first)), numbers(&[last]))));
        }
        entries.sort_unstable();
        Self { sequence: 0, position, entries }
    }

    /// The definitions in it.
    pub(in crate::store) fn definitions(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let kept = self.entries.iter().filter(|(key, _)| key.first() == Some(&b'd'));
        kept.map(|(key, value)| (key[1..].to_vec(), value.clone())).collect()
    }

    /// The index in it; none if an entry makes no sense.
    pub(in crate::store) fn index(&self) -> Option<Index> {
        let mut parts: BTreeMap<QueueId, QueueParts> = BTreeMap::new();
        for (key, value) in &self.entries {
            let (&kind, key) = key.split_first()?;
            if kind == b'd' {
                continue;
            }
            let (queue, seq) = split_key(key)?;
            let parts = parts.entry(queue).or_default();
            match (kind, seq) {
                (b'q', None) => {
                    let [delivered, highest] = read_numbers(value)?;
                    (parts.state.delivered, parts.state.highest) =
                        (delivered.checked_sub(1), highest.checked_sub(1));
                }
                (b'r', Some(seq)) => {
                    let [count] = read_numbers(value)?;
                    parts.state.returned.insert(seq, u16::try_from(count).ok()?);
                }
                (b'e', Some(first)) => {
                    let [last, segment, at, end, live, bytes] = read_numbers(value)?;
                    let extent = Extent { first, last, segment: SegmentId(segment), at, end, live, bytes };
                    parts.extents.push(Some(extent).filter(|extent| extent.first <= extent.last)?);
                }
                (b's', Some(first)) => {
                    let [last] = read_numbers(value)?;
                    parts.settled.insert(first, last);
                }
                _ => return None,
            }
        }
        let mut index = Index::default();
        for (id, parts) in parts {
            let durable = Lane::restored(parts.extents, parts.settled);
            index.restore_queue(id, QueueIndex { durable, ..parts.state });
        }
        Some(index)
    }
}

#[derive(Default)]
struct QueueParts {
    state: QueueIndex,
    extents: Vec<Extent>,
    settled: RangeSet,
}

fn with_kind(kind: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(kind);
    bytes.extend_from_slice(key);
    bytes
}

fn key(kind: u8, queue: QueueId, seq: Option<u64>) -> Vec<u8> {
    let mut bytes = with_kind(kind, &queue.0.to_be_bytes());
    bytes.extend(seq.into_iter().flat_map(u64::to_be_bytes));
    bytes
}

fn split_key(key: &[u8]) -> Option<(QueueId, Option<u64>)> {
    let (queue, rest) = key.split_first_chunk()?;
    let seq = if rest.is_empty() { None } else { Some(u64::from_be_bytes(rest.try_into().ok()?)) };
    Some((QueueId(u64::from_be_bytes(*queue)), seq))
}

fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index::{FramePlace, Source};
    use crate::store::log::frame::{FrameBuilder, Head, Meta};
    use crate::store::log::ops::Op;
    use crate::wire::message::Message;

    fn index() -> Index {
        let mut frame = FrameBuilder::default();
        for seq in 10..20 {
            let record = frame.add(&Message::new("", "q", &[0, 0], true, b"body"));
            frame.hold(QueueId(1), seq, record, 0);
        }
        let encoded = frame.finish(0, 0, 0, 0);
        let head: Head = encoded.head;
        let place = FramePlace { segment: SegmentId(1), at: 32, end: 32 + head.frame_bytes() as u64 };
        let meta = Meta { ops: Vec::new(), runs: frame.runs().to_vec(), records: frame.records().to_vec() };
        let mut index = Index::default();
        index.add_messages(place, &head, &meta, Source::Written);
        let queue = QueueId(1);
        index.apply(&Op::Settled { queue, ranges: vec![(12, 13), (15, 15)] });
        index.apply(&Op::Delivered { queue, up_to: 15 });
        index.apply(&Op::Returned { queue, counts: vec![(11, 2)] });
        index
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let definitions = BTreeMap::from([(b"queue a".to_vec(), b"{}".to_vec())]);
        let before = index();
        let snapshot = Snapshot::take(Position::default(), &before, &definitions);
        let after = snapshot.index().expect("it makes sense");
        let (one, other) = (before.queue(QueueId(1)), after.queue(QueueId(1)));
        let (Some(one), Some(other)) = (one, other) else { panic!("the queue is gone") };
        assert_eq!(one.durable.extents().collect::<Vec<_>>(), other.durable.extents().collect::<Vec<_>>());
        assert_eq!(one.durable.settled(), other.durable.settled());
        assert_eq!((one.delivered, one.highest), (other.delivered, other.highest));
        assert_eq!(one.returned, other.returned);
        assert_eq!(other.live_in(0, 100), 7);
        let live: Vec<_> = after.segments().map(|(id, held)| (id, held.live)).collect();
        assert_eq!(live, [(SegmentId(1), 7)]);
        assert_eq!(snapshot.definitions(), definitions);
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        for (key, value) in [
            (vec![b'x'; 9], vec![]),
            (vec![b'e'; 5], vec![]),
            (key(b'e', QueueId(1), Some(1)), vec![0; 8]),
            (key(b'q', QueueId(1), None), vec![0; 15]),
            (key(b'r', QueueId(1), Some(1)), vec![0xff; 8]),
        ] {
            let snapshot = Snapshot { entries: vec![(key, value)], ..Snapshot::default() };
            assert!(snapshot.index().is_none(), "{:?}", snapshot.entries);
        }
    }
}
