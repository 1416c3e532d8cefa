//! Reading and writing files piece by piece, with a checksum, at a bounded speed, until somebody says stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::manifest::FileEntry;
use super::progress::Progress;

/// What is read and written at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// The longest sleep: so soon it is noticed that nobody wants the work any more.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// Messages may hold anything, so nobody else on the machine reads them.
const FILE_MODE: u32 = 0o600;

/// Why a file was not copied or read.
#[derive(Debug)]
pub(super) enum CopyError {
    Cancelled,
    /// The source ends too early: after how many bytes.
    Short(u64),
    Read(io::Error),
    Write(io::Error),
}

/// Copies files one after the other.
#[derive(Debug)]
pub(super) struct Copier<'a> {
    progress: &'a Progress,
    /// Bytes a second at most.
    rate: Option<u64>,
    started: Instant,
    bytes: u64,
    piece: Vec<u8>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(progress: &'a Progress, rate: Option<u64>) -> Self {
        Self { progress, rate, started: Instant::now(), bytes: 0, piece: vec![0; PIECE_BYTES] }
    }

    /// Copies the first `bytes` of a file, and makes the copy last. Its checksum.
    pub(super) fn copy(&mut self, from: &Path, to: &Path, bytes: u64) -> Result<u32, CopyError> {
        let mut target = create(to).map_err(CopyError::Write)?;
        let crc = self.read(from, bytes, |piece| target.write_all(piece))?;
        target.sync_all().map_err(CopyError::Write)?;
        Ok(crc)
    }

    /// Reads the first `bytes` of a file. Their checksum.
    pub(super) fn sum(&mut self, path: &Path, bytes: u64) -> Result<u32, CopyError> {
        self.read(path, bytes, |_| Ok(()))
    }

    fn read(
        &mut self,
        path: &Path,
        bytes: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u32, CopyError> {
        let mut source = File::open(path).map_err(CopyError::Read)?;
        let (mut crc, mut done) = (0, 0);
        while done < bytes {
            self.wait()?;
            let wanted = usize::try_from(bytes - done).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = &mut self.piece[..wanted];
            let count = match source.read(piece) {
                Ok(0) => return Err(CopyError::Short(done)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            crc = crc32c::crc32c_append(crc, &piece[..count]);
            take(&piece[..count]).map_err(CopyError::Write)?;
            done += count as u64;
            self.bytes += count as u64;
            self.progress.add(count as u64);
        }
        Ok(crc)
    }

    /// Waits until as much may be copied as was.
    fn wait(&self) -> Result<(), CopyError> {
        loop {
            if self.progress.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            let due = self.rate.map_or(Duration::ZERO, |rate| time_for(self.bytes, rate));
            let ahead = due.saturating_sub(self.started.elapsed());
            if ahead.is_zero() {
                return Ok(());
            }
            thread::sleep(ahead.min(SLEEP_MAX));
        }
    }
}

/// How long so many bytes take at so many in a second.
fn time_for(bytes: u64, rate: u64) -> Duration {
    let rate = rate.max(1);
    let rest_us = u128::from(bytes % rate) * 1_000_000 / u128::from(rate);
    Duration::from_secs(bytes / rate) + Duration::from_micros(u64::try_from(rest_us).unwrap_or(u64::MAX))
}

/// Writes a file and makes it last.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// The entry of a file that was written as a whole.
pub(super) fn entry(path: &str, bytes: &[u8]) -> FileEntry {
    FileEntry { path: path.to_owned(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
}

/// One of the things in a folder that count; none if it is empty. File systems make `lost+found` in their root.
pub(super) fn something_in(folder: &Path) -> io::Result<Option<String>> {
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        if name != "lost+found" {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// The folder above.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_how_long_bytes_take() {
        assert_eq!(time_for(0, 10), Duration::ZERO);
        assert_eq!(time_for(25, 10), Duration::from_millis(2500));
        assert_eq!(time_for(u64::MAX, u64::MAX), Duration::from_secs(1));
        assert_eq!(time_for(5, 0), Duration::from_secs(5));
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write(&path, b"one").unwrap();
        assert_eq!(write(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let progress = Progress::default();
        let mut copier = Copier::new(&progress, None);
        assert!(matches!(copier.copy(&path, &path, 3), Err(CopyError::Write(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_source_that_is_shorter_than_it_should_be_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write(&path, b"one").unwrap();
        let progress = Progress::default();
        let mut copier = Copier::new(&progress, None);
        assert!(matches!(copier.sum(&path, 4), Err(CopyError::Short(3))));
        assert_eq!(copier.sum(&path, 2).unwrap(), crc32c::crc32c(b"on"));
    }
}
