//! Operations: what a frame says beside its messages.
//!
//! They hold before the frame's own messages arrive. Each is a tag and its numbers; all integers little endian.

use crate::engine::QueueId;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Op {
    /// Messages of a queue are done with: ranges of sequence numbers, both ends included.
    Settled {
        /// Whose.
        queue: QueueId,
        /// Which.
        ranges: Vec<(u64, u64)>,
    },
    /// A queue and all it held is gone.
    QueueRemoved {
        /// Which.
        queue: QueueId,
    },
    /// All messages of a queue up to here were delivered at least once.
    Delivered {
        /// Whose.
        queue: QueueId,
        /// Up to which.
        up_to: u64,
    },
    /// Messages returned to their queue, so many times by now.
    Returned {
        /// Whose.
        queue: QueueId,
        /// Which, and how often.
        counts: Vec<(u64, u16)>,
    },
    /// A definition has this value now; none if it is gone.
    Define {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Option<Vec<u8>>,
    },
}

const SETTLED: u8 = 1;
const QUEUE_REMOVED: u8 = 2;
const DELIVERED: u8 = 3;
const RETURNED: u8 = 4;
const DEFINED: u8 = 5;
const UNDEFINED: u8 = 6;

impl Op {
    /// Appends it to `bytes`.
    pub(in crate::store) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Settled { queue, ranges } => {
                bytes.push(SETTLED);
                bytes.extend_from_slice(&queue.0.to_le_bytes());
                put_len(bytes, ranges.len());
                for (first, last) in ranges {
                    bytes.extend_from_slice(&first.to_le_bytes());
                    bytes.extend_from_slice(&last.to_le_bytes());
                }
            }
            Self::QueueRemoved { queue } => {
                bytes.push(QUEUE_REMOVED);
                bytes.extend_from_slice(&queue.0.to_le_bytes());
            }
            Self::Delivered { queue, up_to } => {
                bytes.push(DELIVERED);
                bytes.extend_from_slice(&queue.0.to_le_bytes());
                bytes.extend_from_slice(&up_to.to_le_bytes());
            }
            Self::Returned { queue, counts } => {
                bytes.push(RETURNED);
                bytes.extend_from_slice(&queue.0.to_le_bytes());
                put_len(bytes, counts.len());
                for (seq, count) in counts {
                    bytes.extend_from_slice(&seq.to_le_bytes());
                    bytes.extend_from_slice(&count.to_le_bytes());
                }
            }
            Self::Define { key, value } => {
                bytes.push(if value.is_some() { DEFINED } else { UNDEFINED });
                put_bytes(bytes, key);
                if let Some(value) = value {
                    put_bytes(bytes, value);
                }
            }
        }
    }
}

/// All operations in `bytes`, which passed their checksum; none if they are not operations this version knows.
pub(in crate::store) fn decode_all(bytes: &[u8]) -> Option<Vec<Op>> {
    let mut input = Input(bytes);
    let mut ops = Vec::new();
    while !input.0.is_empty() {
        ops.push(decode(&mut input)?);
    }
    Some(ops)
}

fn decode(input: &mut Input<'_>) -> Option<Op> {
    let [tag] = input.array()?;
    Some(match tag {
        SETTLED => {
            let queue = QueueId(input.u64()?);
            let ranges =
                (0..input.u32()?).map(|_| Some((input.u64()?, input.u64()?))).collect::<Option<_>>()?;
            Op::Settled { queue, ranges }
        }
        QUEUE_REMOVED => Op::QueueRemoved { queue: QueueId(input.u64()?) },
        DELIVERED => Op::Delivered { queue: QueueId(input.u64()?), up_to: input.u64()? },
        RETURNED => {
            let queue = QueueId(input.u64()?);
            let length = input.u32()?;
            let pair = |_| Some((input.u64()?, u16::from_le_bytes(input.array()?)));
            Op::Returned { queue, counts: (0..length).map(pair).collect::<Option<_>>()? }
        }
        DEFINED => Op::Define { key: input.bytes()?, value: Some(input.bytes()?) },
        UNDEFINED => Op::Define { key: input.bytes()?, value: None },
        _ => return None,
    })
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a commit names fewer than 2^32 things");
    bytes.extend_from_slice(&len.to_le_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_len(bytes, value.len());
    bytes.extend_from_slice(value);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_in_order_and_cut_off_ones_are_refused() {
        let ops = vec![
            Op::Define { key: b"queue a".to_vec(), value: Some(b"{}".to_vec()) },
            Op::Settled { queue: QueueId(4), ranges: vec![(1, 9), (12, 12)] },
            Op::Delivered { queue: QueueId(4), up_to: 17 },
            Op::Returned { queue: QueueId(4), counts: vec![(10, 1), (11, u16::MAX)] },
            Op::QueueRemoved { queue: QueueId(5) },
            Op::Define { key: b"queue b".to_vec(), value: None },
        ];
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for op in &ops {
            op.encode(&mut bytes);
            ends.push(bytes.len());
        }
        assert_eq!(decode_all(&bytes).as_ref(), Some(&ops));
        for end in 0..bytes.len() {
            let whole = ends.iter().position(|&at| at == end);
            assert_eq!(decode_all(&bytes[..end]).map(|ops| ops.len()), whole, "{end} bytes");
        }
    }
}
