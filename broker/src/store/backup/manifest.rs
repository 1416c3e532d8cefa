//! [`Manifest`]: what is in a backup, file by file. JSON, so that people can read it, with a checksum of its own.

use serde::{Deserialize, Serialize};

use super::{DEFINITIONS_FILE, STATE_FILE};
use crate::store::LOG_FOLDER;
use crate::store::log::segment::SegmentId;

/// The format that this version writes and reads. Changes when an older Warren could not read what a newer one wrote.
pub(super) const FORMAT: u64 = 1;

/// The largest manifest that is read, in bytes: of some hundred terabytes of log.
pub(super) const BYTES_MAX: u64 = 1 << 30;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of the format.
    pub format: u64,
    /// The version of Warren that made it.
    pub warren: String,
    /// When it was begun, in milliseconds since 1970: what was confirmed before is in it.
    pub begun_ms: u64,
    /// Messages, each counted for every queue that holds it.
    pub messages: u64,
    /// All files but this one.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the folder of the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum (CRC-32C): against damage, not against somebody who changes things.
    pub crc32c: u32,
}

/// The file as it is written: a checksum over the compact form of what it says.
#[derive(Debug, Serialize, Deserialize)]
struct Signed {
    crc32c: u32,
    manifest: Manifest,
}

/// Only to tell a later format from damage.
#[derive(Debug, Deserialize)]
struct Outline {
    manifest: OutlineFormat,
}

#[derive(Debug, Deserialize)]
struct OutlineFormat {
    format: u64,
}

/// What the bytes of a manifest turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Whole(Manifest),
    Damaged(&'static str),
    /// Of a later format: which.
    Newer(u64),
}

impl Manifest {
    /// What all files have together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The segments of the log, by their paths.
    pub(super) fn segments(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|file| is_segment(&file.path))
    }

    /// As text.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let signed = Signed { crc32c: crc32c::crc32c(&serde_json::to_vec(self)?), manifest: self.clone() };
        let mut text = serde_json::to_vec_pretty(&signed)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads what [`Manifest::encode`] wrote.
    pub(super) fn decode(text: &[u8]) -> Read {
        if let Ok(Outline { manifest: OutlineFormat { format } }) = serde_json::from_slice(text)
            && format > FORMAT
        {
            return Read::Newer(format);
        }
        let Ok(Signed { crc32c, manifest }) = serde_json::from_slice::<Signed>(text) else {
            return Read::Damaged("it is not what a backup writes");
        };
        if serde_json::to_vec(&manifest).map(|bytes| crc32c::crc32c(&bytes)).ok() != Some(crc32c) {
            return Read::Damaged("it does not have the checksum that it names");
        }
        let known = |path: &str| path == STATE_FILE || path == DEFINITIONS_FILE || is_segment(path);
        // Nothing else is ever opened: whoever made it, a backup names no file outside of its folder.
        if manifest.files.iter().any(|file| !known(&file.path)) {
            return Read::Damaged("it names a file that no backup has");
        }
        Read::Whole(manifest)
    }
}

/// The path of a segment in the folder of a backup, and in a data folder.
pub(super) fn segment_path(id: SegmentId) -> String {
    id.path(LOG_FOLDER.as_ref()).to_string_lossy().into_owned()
}

fn is_segment(path: &str) -> bool {
    let name = path.strip_prefix(LOG_FOLDER).and_then(|rest| rest.strip_prefix('/'));
    name.and_then(SegmentId::of_file).is_some_and(|id| segment_path(id) == path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let file = |path: &&str| FileEntry { path: (*path).to_owned(), bytes: 3, crc32c: 99 };
        let files = paths.iter().map(file).collect();
        Manifest { format: FORMAT, warren: "0.1".to_owned(), begun_ms: 5, messages: 2, files }
    }

    #[test]
    fn a_manifest_comes_back_and_one_with_a_changed_digit_does_not() {
        let whole = manifest(&["state", "definitions.json", "log/00000000000000ab.log"]);
        let text = whole.encode().unwrap();
        assert_eq!(Manifest::decode(&text), Read::Whole(whole));
        let changed = String::from_utf8(text.clone()).unwrap().replace("\"bytes\": 3", "\"bytes\": 4");
        assert!(matches!(Manifest::decode(changed.as_bytes()), Read::Damaged(_)));
        assert!(matches!(Manifest::decode(&text[..text.len() / 2]), Read::Damaged(_)));
        assert!(matches!(Manifest::decode(b""), Read::Damaged(_)));
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let text = br#"{"crc32c": 1, "manifest": {"format": 2, "chapters": []}}"#;
        assert_eq!(Manifest::decode(text), Read::Newer(2));
    }

    #[test]
    fn a_path_out_of_the_folder_is_refused() {
        for path in
            ["../state", "/etc/passwd", "log/../../x", "log/ab.log", "log/00000000000000AB.log", "state/"]
        {
            let text = manifest(&[path]).encode().unwrap();
            assert!(matches!(Manifest::decode(&text), Read::Damaged(_)), "{path}");
        }
    }
}
