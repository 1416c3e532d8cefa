//! [`Damage`]: what was found damaged in the data folder: named in the log, counted, and set aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// What is kept of one damaged stretch, in bytes: enough to look at, not enough to fill a disk.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where damaged bytes go.
#[derive(Debug)]
pub(super) struct Damage {
    /// None: it is only counted.
    folder: Option<PathBuf>,
    found: AtomicU64,
}

impl Damage {
    /// Sets aside into this folder, which is made when needed.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder: Some(folder), found: AtomicU64::new(0) }
    }

    /// Counts, and leaves everything as it is: for a look at a folder that must not change.
    pub(super) fn only_counted() -> Self {
        Self { folder: None, found: AtomicU64::new(0) }
    }

    /// How often something damaged was found since the start.
    pub(super) fn count(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Keeps a copy of damaged bytes in a file of this name, and says so. What it cost is the caller's to log.
    pub(super) fn keep(&self, name: &str, bytes: &[u8]) {
        self.found.fetch_add(1, Ordering::Relaxed);
        let Some(folder) = &self.folder else { return };
        let path = folder.join(name);
        let kept = &bytes[..bytes.len().min(KEPT_BYTES_MAX)];
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, kept));
        report(&path, written);
    }

    /// Moves a damaged file or folder here.
    pub(super) fn take_away(&self, from: &Path) -> io::Result<()> {
        self.found.fetch_add(1, Ordering::Relaxed);
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{name}-{}", since.as_millis()));
        let moved = fs::rename(from, &path);
        match &moved {
            Ok(()) => {
                tracing::warn!(from = %from.display(), to = %path.display(), "moved what is damaged aside");
            }
            Err(error) => {
                tracing::error!(from = %from.display(), %error, "cannot move what is damaged aside");
            }
        }
        moved
    }
}

fn report(path: &Path, written: io::Result<()>) {
    match written {
        Ok(()) => tracing::warn!(path = %path.display(), "kept a copy of the damaged bytes"),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot keep a copy of the damaged bytes");
        }
    }
}
