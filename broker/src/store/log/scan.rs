//! Reading a segment frame by frame, past whatever is damaged.
//!
//! Bodies are not read: a start needs to know where messages are, not what is in them. Called by recovery, by loading, and by
//! the check of a stopped data folder.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::frame::{HEAD_BYTES, HEAD_MAGIC, Head, Meta};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, SegmentId};

/// Bytes looked at together when the next frame is searched behind a damaged one.
const SEARCH_BYTES: usize = 1024 * 1024;

/// What a disk writes whole or not at all, at least.
const BLOCK_BYTES: usize = 512;

/// A segment open for reading.
#[derive(Debug)]
pub(in crate::store) struct SegmentReader {
    file: File,
    bytes: u64,
    salt: u32,
}

/// A frame found in a segment.
#[derive(Debug)]
pub(in crate::store) struct Found {
    /// Where it begins.
    pub(in crate::store) at: u64,
    /// Its head.
    pub(in crate::store) head: Head,
    /// What it says.
    pub(in crate::store) meta: Meta,
    /// One copy of its head or meta is damaged.
    pub(in crate::store) repaired: bool,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(in crate::store) enum Scanned {
    /// A frame.
    Frame(Found),
    /// Bytes that are no frame: the end of a segment that a crash cut off, or damage.
    Gap {
        /// Where they begin.
        from: u64,
        /// Where the next frame, or the file's end, is.
        to: u64,
    },
}

impl SegmentReader {
    /// Opens a segment. If its head is damaged, so are the checksums of its frames: none inside.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn open(folder: &Path, id: SegmentId) -> io::Result<Option<Self>> {
        let file = File::open(id.path(folder))?;
        let bytes = file.metadata()?.len();
        let mut heads = vec![0; SEGMENT_HEAD_BYTES];
        if bytes < SEGMENT_HEAD_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut heads, 0)?;
        let head = SegmentHead::decode(&heads).filter(|head| head.id == id);
        Ok(head.map(|head| Self { file, bytes, salt: head.salt }))
    }

    /// Whether one of the two copies of the segment's head is damaged.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn is_head_damaged(&self) -> io::Result<bool> {
        Ok(!SegmentHead::is_twice_in(&self.read(0, SEGMENT_HEAD_BYTES)?))
    }

    /// Reads bytes at a place.
    ///
    /// # Errors
    ///
    /// What the operating system says, or that the file ends before.
    pub(in crate::store) fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        if at.saturating_add(len as u64) > self.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// All frames and gaps from `at` on, which is a frame's beginning.
    pub(in crate::store) fn scan(&self, at: u64, end: u64) -> Scan<'_> {
        Scan {
            reader: self,
            at: at.max(SEGMENT_HEAD_BYTES as u64),
            end: end.min(self.bytes),
            by_second: VecDeque::new(),
        }
    }

    /// The records of a frame that fail their checksums.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn damaged_records(&self, found: &Found) -> io::Result<Vec<usize>> {
        let bodies_at = found.at + found.head.bodies_at() as u64;
        let mut damaged = Vec::new();
        for (place, (entry, offset)) in found.meta.records.iter().zip(found.meta.record_offsets()).enumerate()
        {
            if crc32c::crc32c(&self.read(bodies_at + offset, entry.len as usize)?) != entry.crc {
                damaged.push(place);
            }
        }
        Ok(damaged)
    }

    /// The parts of a frame that are there twice and damaged in one place: what, from where, to where.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn damaged_copies(
        &self,
        found: &Found,
    ) -> io::Result<Vec<(&'static str, u64, u64)>> {
        let (at, head) = (found.at, &found.head);
        let (meta_at, second_meta_at) = (at + HEAD_BYTES as u64, at + head.second_meta_at() as u64);
        let second_head_at = second_meta_at + head.meta_bytes() as u64;
        let head_is = |at, decode: fn(&[u8], u32) -> Option<Head>| -> io::Result<bool> {
            Ok(decode(&self.read(at, HEAD_BYTES)?, self.salt) == Some(*head))
        };
        let meta_is =
            |at| -> io::Result<bool> { Ok(Meta::decode(head, &self.read(at, head.meta_bytes())?).is_some()) };
        let parts = [
            ("first head", at, meta_at, head_is(at, Head::decode_first)?),
            ("first list", meta_at, at + head.bodies_at() as u64, meta_is(meta_at)?),
            ("second list", second_meta_at, second_head_at, meta_is(second_meta_at)?),
            (
                "second head",
                second_head_at,
                second_head_at + HEAD_BYTES as u64,
                head_is(second_head_at, Head::decode_second)?,
            ),
        ];
        let damaged = parts.into_iter().filter(|(.., whole)| !whole);
        Ok(damaged.map(|(part, from, to, _)| (part, from, to)).collect())
    }

    /// Whether a block of the disk that these bytes reach into has nothing but zeros: it was never written, or lost.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn has_empty_block(&self, from: u64, to: u64) -> io::Result<bool> {
        let block = BLOCK_BYTES as u64;
        let to = to.next_multiple_of(block).min(self.bytes);
        for at in (from - from % block..to).step_by(BLOCK_BYTES) {
            if self.is_zero(at, to.min(at + block))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn head_at(&self, at: u64) -> io::Result<Option<Head>> {
        if at + HEAD_BYTES as u64 > self.bytes {
            return Ok(None);
        }
        let head = Head::decode_first(&self.read(at, HEAD_BYTES)?, self.salt);
        Ok(head.filter(|head| at + head.frame_bytes() as u64 <= self.bytes))
    }

    /// The frame that ends at `end` by the copy of its head there; none if it would begin before `at`.
    fn head_before(&self, at: u64, end: u64) -> io::Result<Option<Head>> {
        if at + 2 * HEAD_BYTES as u64 > end {
            return Ok(None);
        }
        let head = Head::decode_second(&self.read(end - HEAD_BYTES as u64, HEAD_BYTES)?, self.salt);
        Ok(head.filter(|head| head.frame_bytes() as u64 <= end - at))
    }

    fn meta(&self, at: u64, head: &Head) -> io::Result<Option<(Meta, bool)>> {
        let first = self.read(at + HEAD_BYTES as u64, head.meta_bytes())?;
        if let Some(meta) = Meta::decode(head, &first) {
            return Ok(Some((meta, false)));
        }
        let second = self.read(at + head.second_meta_at() as u64, head.meta_bytes())?;
        Ok(Meta::decode(head, &second).map(|meta| (meta, true)))
    }

    /// The next place behind `at` where a frame begins.
    fn next_head(&self, at: u64) -> io::Result<Option<u64>> {
        let mut from = at + 1;
        while from + HEAD_BYTES as u64 <= self.bytes {
            let len = SEARCH_BYTES.min(usize::try_from(self.bytes - from).unwrap_or(SEARCH_BYTES));
            let bytes = self.read(from, len)?;
            for place in
                bytes.windows(HEAD_MAGIC.len()).enumerate().filter(|(_, bytes)| **bytes == HEAD_MAGIC)
            {
                let found = from + place.0 as u64;
                if self.head_at(found)?.is_some() {
                    return Ok(Some(found));
                }
            }
            // A magic may lie across the border.
            from += (len - HEAD_MAGIC.len() + 1) as u64;
        }
        Ok(None)
    }

    fn is_zero(&self, from: u64, to: u64) -> io::Result<bool> {
        let mut at = from;
        while at < to {
            let len = SEARCH_BYTES.min(usize::try_from(to - at).unwrap_or(SEARCH_BYTES));
            if self.read(at, len)?.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }
}

/// Frames and gaps, one after the other.
#[derive(Debug)]
pub(in crate::store) struct Scan<'a> {
    reader: &'a SegmentReader,
    at: u64,
    end: u64,
    /// Frames that were found by their second heads.
    by_second: VecDeque<(u64, Head)>,
}

impl Scan<'_> {
    fn step(&mut self) -> io::Result<Option<Scanned>> {
        if let Some((at, head)) = self.by_second.pop_front() {
            return self.frame(at, &head, true).map(Some);
        }
        let at = self.at;
        if at >= self.end {
            return Ok(None);
        }
        if let Some(head) = self.reader.head_at(at)? {
            return self.frame(at, &head, false).map(Some);
        }
        let next = self.reader.next_head(at)?;
        let mut to = next.unwrap_or(self.reader.bytes);
        // Backwards, as far as second heads lead.
        while let Some(head) = self.reader.head_before(at, to)? {
            to -= head.frame_bytes() as u64;
            self.by_second.push_front((to, head));
        }
        if to == at {
            return self.step();
        }
        self.at = to;
        // What the file system filled in for writes that never came.
        if next.is_none() && self.by_second.is_empty() && self.reader.is_zero(at, to)? {
            return Ok(None);
        }
        Ok(Some(Scanned::Gap { from: at, to }))
    }

    fn frame(&mut self, at: u64, head: &Head, by_second: bool) -> io::Result<Scanned> {
        self.at = at + head.frame_bytes() as u64;
        Ok(match self.reader.meta(at, head)? {
            Some((meta, repaired)) => {
                Scanned::Frame(Found { at, head: *head, meta, repaired: repaired || by_second })
            }
            None => Scanned::Gap { from: at, to: self.at },
        })
    }
}

impl Iterator for Scan<'_> {
    type Item = io::Result<Scanned>;

    fn next(&mut self) -> Option<Self::Item> {
        let stepped = self.step().transpose();
        if matches!(stepped, Some(Err(_))) {
            self.at = self.end;
        }
        stepped
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::QueueId;
    use crate::store::log::frame::FrameBuilder;
    use crate::store::log::segment::ActiveSegment;
    use crate::wire::message::Message;

    const FRAMES: u64 = 5;

    /// A segment of some frames; where each begins, and its bytes.
    fn segment(folder: &Path) -> (Vec<u64>, Vec<u8>) {
        let mut segment =
            ActiveSegment::create(folder, SegmentHead { id: SegmentId(1), salt: 7 }).expect("creates");
        let mut places = Vec::new();
        for number in 0..FRAMES {
            let mut frame = FrameBuilder::default();
            let record = frame.add(&Message::new("", "q", &[0, 0], true, &[b'x'; 300]));
            frame.hold(QueueId(1), number, record, 0);
            places.push(segment.append(&frame.finish(number, number, 0, 7)).expect("writes"));
        }
        (places, fs::read(SegmentId(1).path(folder)).expect("reads"))
    }

    fn scan(folder: &Path, bytes: &[u8]) -> (Vec<u64>, Vec<(u64, u64)>, usize) {
        fs::write(SegmentId(1).path(folder), bytes).expect("writes");
        let reader = SegmentReader::open(folder, SegmentId(1)).expect("opens").expect("has a head");
        let (mut frames, mut gaps, mut repaired) = (Vec::new(), Vec::new(), 0);
        for scanned in reader.scan(0, u64::MAX) {
            match scanned.expect("reads") {
                Scanned::Frame(found) => {
                    repaired += usize::from(found.repaired);
                    frames.push(found.head.number);
                }
                Scanned::Gap { from, to } => gaps.push((from, to)),
            }
        }
        (frames, gaps, repaired)
    }

    #[test]
    fn one_flipped_bit_anywhere_loses_no_frame() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, bytes) = segment(folder.path());
        for at in SEGMENT_HEAD_BYTES..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let (frames, gaps, _) = scan(folder.path(), &damaged);
            assert_eq!(frames, (0..FRAMES).collect::<Vec<_>>(), "byte {at}");
            assert_eq!(gaps, [], "byte {at}");
        }
    }

    #[test]
    fn a_frame_behind_lost_ones_is_found_by_its_second_head() {
        let folder = tempfile::tempdir().expect("a folder");
        let (places, mut damaged) = segment(folder.path());
        // All of frame 1 and the first head of frame 2.
        let (from, to) = (places[1], places[2] + HEAD_BYTES as u64);
        damaged[usize::try_from(from).expect("fits")..usize::try_from(to).expect("fits")].fill(0);
        let (frames, gaps, repaired) = scan(folder.path(), &damaged);
        assert_eq!((frames, gaps, repaired), (vec![0, 2, 3, 4], vec![(from, places[2])], 1));
    }

    #[test]
    fn a_damaged_segment_head_is_read_from_its_other_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, bytes) = segment(folder.path());
        for block in [0, SEGMENT_HEAD_BYTES - 4096] {
            let mut damaged = bytes.clone();
            damaged[block..block + 4096].fill(0);
            assert_eq!(scan(folder.path(), &damaged).0.len() as u64, FRAMES);
        }
    }

    #[test]
    fn zeroed_bytes_lose_the_frames_they_lie_in_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let (places, mut damaged) = segment(folder.path());
        let (from, to) = (places[1], places[3]);
        damaged[usize::try_from(from).expect("fits")..usize::try_from(to).expect("fits")].fill(0);
        let (frames, gaps, _) = scan(folder.path(), &damaged);
        assert_eq!((frames, gaps), (vec![0, 3, 4], vec![(from, to)]));
    }

    #[test]
    fn a_segment_cut_off_anywhere_keeps_the_frames_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let (places, bytes) = segment(folder.path());
        for end in SEGMENT_HEAD_BYTES..bytes.len() {
            let whole = places.iter().filter(|&&at| at <= end as u64).count().saturating_sub(1);
            let (frames, gaps, _) = scan(folder.path(), &bytes[..end]);
            assert_eq!(frames.len(), whole, "cut at {end}");
            assert_eq!(gaps.is_empty(), places.contains(&(end as u64)), "cut at {end}");
            let mut padded = bytes[..end].to_vec();
            padded.resize(bytes.len() + 5000, 0);
            // A frame whose bodies were not written is still a frame: its records' checksums tell.
            let found = scan(folder.path(), &padded).0.len();
            assert!(
                found == whole || found == whole + 1,
                "{found} frames, cut at {end} and filled up with zeros"
            );
        }
    }
}
