//! The file `state` of a backup: a [`Snapshot`] as plain bytes, so that backups do not depend on a version of sled.
//!
//! A head of six little-endian numbers (magic, version, and the position's segment, place and frame, and how many entries there
//! are), then for each entry the lengths of key and value, four bytes each, and both. The manifest has the file's checksum.

use crate::store::checkpoint::{Position, Snapshot};
use crate::store::log::segment::SegmentId;

const MAGIC: u64 = u64::from_le_bytes(*b"WarrenSt");

/// The version of this file.
const VERSION: u64 = 1;

const HEAD_NUMBERS: usize = 6;

/// The state as bytes.
pub(super) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let Position { segment, at, frame } = snapshot.position;
    let count = snapshot.entries.len() as u64;
    let numbers: [u64; HEAD_NUMBERS] = [MAGIC, VERSION, segment.0, at, frame, count];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    for part in snapshot.entries.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The state in these bytes; none if they make no sense.
pub(super) fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let (head, mut rest) = bytes.split_at_checked(8 * HEAD_NUMBERS)?;
    let numbers: Vec<u64> = head.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let &[MAGIC, VERSION, segment, at, frame, count] = numbers.as_slice() else { return None };
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push((part(&mut rest)?, part(&mut rest)?));
    }
    let position = Position { segment: SegmentId(segment), at, frame };
    rest.is_empty().then_some(Snapshot { sequence: 1, position, entries })
}

fn part(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *bytes = rest;
    Some(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_one_that_is_cut_or_longer_does_not() {
        let entries = vec![(b"da".to_vec(), b"1".to_vec()), (b"q".to_vec(), Vec::new())];
        let position = Position { segment: SegmentId(7), at: 99, frame: 12 };
        let bytes = encode(&Snapshot { sequence: 4, position, entries: entries.clone() });
        let found = decode(&bytes).expect("it is whole");
        assert_eq!((found.position, found.entries), (position, entries));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_none(), "{len} bytes");
        }
        assert!(decode(&[&bytes[..], b"x"].concat()).is_none());
        for at in 0..16 {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(decode(&other).is_none(), "byte {at}");
        }
    }
}
