//! The recording's format: what a call to the disk was and when, as bytes. It reads and writes no files; the shim encodes
//! with it, and the tests decode.
//!
//! A recording is a sequence of records, each a length (u32) and as many bytes: the kind (u8), the times at which the call
//! began and ended (u64 each, nanoseconds of `CLOCK_MONOTONIC`), and what the kind needs. Numbers are little endian, texts
//! and data have their length (u32) before them. Only calls that succeeded are recorded, in the order in which they ended.

/// A call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the call began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// When the call returned.
    pub end_ns: u64,
    /// What it did.
    pub call: Call,
}

/// What a call did. Paths are relative to the folder, which itself is the empty path; files are numbered by the process that
/// opened them, each file with one number however often it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A process began to record: numbers of files start anew.
    Process { id: u32 },
    /// A file or folder was opened.
    Open { file: u32, path: String, created: bool, truncated: bool },
    /// Bytes were written; where to is known for appended ones, too.
    Write { file: u32, offset: u64, data: Vec<u8> },
    /// The length was set.
    Truncate { file: u32, length: u64 },
    /// Everything written to the file before, or every entry of the folder, was asked onto the disk.
    Sync { file: u32 },
    /// An entry of a folder got another path.
    Rename { from: String, to: String },
    /// A file got a second path.
    Link { from: String, to: String },
    /// A file lost this path.
    Unlink { path: String },
    /// A folder was made.
    Mkdir { path: String },
    /// An empty folder was removed.
    Rmdir { path: String },
}

impl Record {
    /// The record with its length before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.push(self.call.kind());
        out.extend(self.start_ns.to_le_bytes());
        out.extend(self.end_ns.to_le_bytes());
        match &self.call {
            Call::Process { id: number } | Call::Sync { file: number } => out.extend(number.to_le_bytes()),
            Call::Open { file, path, created, truncated } => {
                out.extend(file.to_le_bytes());
                put(&mut out, path.as_bytes());
                out.extend([u8::from(*created), u8::from(*truncated)]);
            }
            Call::Write { file, offset, data } => {
                out.extend(file.to_le_bytes());
                out.extend(offset.to_le_bytes());
                put(&mut out, data);
            }
            Call::Truncate { file, length } => {
                out.extend(file.to_le_bytes());
                out.extend(length.to_le_bytes());
            }
            Call::Rename { from, to } | Call::Link { from, to } => {
                put(&mut out, from.as_bytes());
                put(&mut out, to.as_bytes());
            }
            Call::Unlink { path } | Call::Mkdir { path } | Call::Rmdir { path } => {
                put(&mut out, path.as_bytes());
            }
        }
        let length = length_of(&out[4..]);
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// The first record in `bytes` and what follows it; none at the end, or if the last one was cut off.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = bytes;
        let mut body = take_bytes(&mut rest)?;
        let [kind] = take(&mut body)?;
        let start_ns = u64::from_le_bytes(take(&mut body)?);
        let end_ns = u64::from_le_bytes(take(&mut body)?);
        let call = Call::decode(kind, &mut body)?;
        Some((Self { start_ns, end_ns, call }, rest))
    }
}

impl Call {
    fn kind(&self) -> u8 {
        match self {
            Self::Process { .. } => 0,
            Self::Open { .. } => 1,
            Self::Write { .. } => 2,
            Self::Truncate { .. } => 3,
            Self::Sync { .. } => 4,
            Self::Rename { .. } => 5,
            Self::Link { .. } => 6,
            Self::Unlink { .. } => 7,
            Self::Mkdir { .. } => 8,
            Self::Rmdir { .. } => 9,
        }
    }

    fn decode(kind: u8, body: &mut &[u8]) -> Option<Self> {
        Some(match kind {
            0 => Self::Process { id: take_u32(body)? },
            1 => Self::Open {
                file: take_u32(body)?,
                path: take_text(body)?,
                created: take(body)? == [1],
                truncated: take(body)? == [1],
            },
            2 => Self::Write {
                file: take_u32(body)?,
                offset: take_u64(body)?,
                data: take_bytes(body)?.to_vec(),
            },
            3 => Self::Truncate { file: take_u32(body)?, length: take_u64(body)? },
            4 => Self::Sync { file: take_u32(body)? },
            5 => Self::Rename { from: take_text(body)?, to: take_text(body)? },
            6 => Self::Link { from: take_text(body)?, to: take_text(body)? },
            7 => Self::Unlink { path: take_text(body)? },
            8 => Self::Mkdir { path: take_text(body)? },
            9 => Self::Rmdir { path: take_text(body)? },
            _ => return None,
        })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length_of(bytes).to_le_bytes());
    out.extend(bytes);
}

/// One call writes less than 2 GiB: the kernel sees to that.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u32(bytes)?).ok()?;
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    take_bytes(bytes).map(|text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read_as_it_was_written_and_a_cut_off_one_is_not() {
        let path = || "log/1".to_owned();
        let calls = [
            Call::Process { id: 7 },
            Call::Open { file: 1, path: path(), created: true, truncated: false },
            Call::Write { file: 1, offset: u64::MAX, data: vec![1, 2, 3] },
            Call::Truncate { file: 1, length: 9 },
            Call::Sync { file: 1 },
            Call::Rename { from: path(), to: String::new() },
            Call::Link { from: path(), to: path() },
            Call::Unlink { path: path() },
            Call::Mkdir { path: path() },
            Call::Rmdir { path: path() },
        ];
        for call in calls {
            let record = Record { start_ns: 1, end_ns: 2, call };
            let mut bytes = record.encode();
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
            bytes.push(0xff);
            assert_eq!(Record::decode(&bytes), Some((record, &[0xff][..])));
        }
    }
}
