//! Segments: the files of the log, and writing to the newest one.
//!
//! A segment begins with a head of its own and goes on with frames. Only the newest is written, only at its end, and only by
//! the flusher; a start begins a new one, so that what a crash left behind is never overwritten. Reading is in `scan` and
//! `load`.

use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::frame::EncodedFrame;

/// Bytes in front of a segment's first frame: the head, and at their end, on another block of the disk, the head again.
pub(in crate::store) const SEGMENT_HEAD_BYTES: usize = 8192;

/// Bytes of one copy of the head.
const COPY_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"WarrenLg";

/// The version of segments and frames that this code writes and reads.
const VERSION: u32 = 1;

/// A segment's number: ascending, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(in crate::store) struct SegmentId(pub(in crate::store) u64);

impl SegmentId {
    /// The file of this segment.
    pub(in crate::store) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:016x}.log", self.0))
    }

    /// The segment that a file of this name would be.
    pub(in crate::store) fn of_file(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct SegmentHead {
    /// Which segment it is.
    pub(in crate::store) id: SegmentId,
    /// Goes into the checksums of its frames' heads; no client knows it.
    pub(in crate::store) salt: u32,
}

impl SegmentHead {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = [0; COPY_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        let mut both = bytes.to_vec();
        both.resize(SEGMENT_HEAD_BYTES - COPY_BYTES, 0);
        both.extend_from_slice(&bytes);
        both
    }

    /// The head in the bytes in front of the first frame; none if both copies are damaged or of another version.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<SEGMENT_HEAD_BYTES>()?;
        Self::decode_copy(bytes.first_chunk()?).or_else(|| Self::decode_copy(bytes.last_chunk()?))
    }

    /// Whether both copies of the head are whole.
    pub(in crate::store) fn is_twice_in(bytes: &[u8]) -> bool {
        let copies = bytes.first_chunk::<SEGMENT_HEAD_BYTES>().and_then(|bytes| {
            Self::decode_copy(bytes.first_chunk()?).zip(Self::decode_copy(bytes.last_chunk()?))
        });
        copies.is_some_and(|(first, second)| first == second)
    }

    fn decode_copy(bytes: &[u8; COPY_BYTES]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..8] != MAGIC || number(8) != VERSION || number(24) != crc32c::crc32c(&bytes[..24]) {
            return None;
        }
        let id = SegmentId(u64::from(number(16)) | u64::from(number(20)) << 32);
        Some(Self { id, salt: number(12) })
    }
}

/// The newest segment, open for appending.
#[derive(Debug)]
pub(in crate::store) struct ActiveSegment {
    head: SegmentHead,
    file: File,
    bytes: u64,
}

impl ActiveSegment {
    /// Makes the file of a new segment. It lasts once the folder is synced.
    ///
    /// # Errors
    ///
    /// What the operating system says; no file is left behind.
    pub(in crate::store) fn create(folder: &Path, head: SegmentHead) -> io::Result<Self> {
        let path = head.id.path(folder);
        // One that an earlier attempt could not remove again is written over.
        let mut file = File::create(&path)?;
        if let Err(error) = file.write_all(&head.encode()) {
            // If this fails too, the empty file is passed over at the next start.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { head, file, bytes: SEGMENT_HEAD_BYTES as u64 })
    }

    /// Which it is.
    pub(in crate::store) fn id(&self) -> SegmentId {
        self.head.id
    }

    /// Its salt.
    pub(in crate::store) fn salt(&self) -> u32 {
        self.head.salt
    }

    /// Bytes written so far.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a frame at the end and tells where it begins.
    ///
    /// # Errors
    ///
    /// What the operating system says. The frame counts as not written; the next one goes to the same place.
    pub(in crate::store) fn append(&mut self, frame: &EncodedFrame<'_>) -> io::Result<u64> {
        let at = self.bytes;
        self.file.seek(SeekFrom::Start(at))?;
        write_all_vectored(&mut self.file, &[&frame.first, frame.bodies, &frame.second])?;
        self.bytes = at + frame.head.frame_bytes() as u64;
        Ok(at)
    }

    /// Makes everything written so far last.
    ///
    /// # Errors
    ///
    /// What the operating system says. What was written may be lost then, and a second attempt could claim otherwise.
    pub(in crate::store) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Another handle on the same file, to be synced by somebody else.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(in crate::store) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Makes the names in a folder last: files made, renamed or removed.
///
/// # Errors
///
/// What the operating system says.
pub(in crate::store) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_all_vectored(file: &mut File, parts: &[&[u8]; 3]) -> io::Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_unless_both_copies_are_damaged() {
        let head = SegmentHead { id: SegmentId(0x1234_5678_9abc), salt: 99 };
        let bytes = head.encode();
        assert_eq!(SegmentHead::decode(&bytes), Some(head));
        for at in 0..28 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(SegmentHead::decode(&damaged), Some(head), "byte {at}");
            damaged[SEGMENT_HEAD_BYTES - COPY_BYTES + at] ^= 1;
            assert_eq!(SegmentHead::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn a_file_name_tells_the_segment() {
        let id = SegmentId(0xab);
        let path = id.path(Path::new("log"));
        assert_eq!(path, Path::new("log/00000000000000ab.log"));
        assert_eq!(SegmentId::of_file("00000000000000ab.log"), Some(id));
        assert_eq!(SegmentId::of_file("ab.log"), None);
    }
}
