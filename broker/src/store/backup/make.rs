//! Making a backup: the files, then their manifest. What was begun and not completed is removed again.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::copy::{self, Copier, CopyError};
use super::error::BackupError;
use super::held::Held;
use super::manifest::{FORMAT, FileEntry, Manifest, segment_path};
use super::progress::Progress;
use super::{DEFINITIONS_FILE, MANIFEST_FILE, STATE_FILE, state};
use crate::store::LOG_FOLDER;
use crate::store::folder::DiskSpace;
use crate::store::log::segment::sync_folder;

/// What the manifest is called until all of it is on the disk.
const UNFINISHED_FILE: &str = "manifest.json.new";

const FOLDER_MODE: u32 = 0o700;

/// How a backup is to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// The definitions for people, as JSON.
    pub definitions: Vec<u8>,
    /// The version of Warren.
    pub version: String,
    /// When it was asked for, in milliseconds since 1970.
    pub begun_ms: u64,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// What must stay free on the data folder's disk, if the backup goes there, in bytes.
    pub keep_free_bytes: u64,
}

/// The folder for a backup: there was nothing in it when it was claimed.
#[derive(Debug)]
pub struct Target {
    folder: PathBuf,
    /// It was not there before.
    made: bool,
}

impl Target {
    /// Claims a folder for a backup of the data folder `data`, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// [`BackupError`] if it is not a good place for one.
    pub fn claim(folder: &Path, data: &Path) -> Result<Self, BackupError> {
        let folder = folder.to_owned();
        if !folder.is_absolute() {
            return Err(BackupError::Relative { folder });
        }
        // With what is named by links or dots resolved; the folder itself may not be there yet.
        let real = |path: &Path| fs::canonicalize(path);
        let place = real(&folder).or_else(|_| real(&copy::parent(&folder)));
        if let (Ok(place), Ok(data)) = (place, real(data))
            && place.starts_with(data)
        {
            return Err(BackupError::InDataFolder { folder });
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(&folder) {
            Ok(()) => return Ok(Self { folder, made: true }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(BackupError::NoFolder { folder });
            }
            Err(error) => return Err(BackupError::from_io("make", &folder, error)),
        }
        match copy::something_in(&folder) {
            Ok(None) => Ok(Self { folder, made: false }),
            Ok(Some(found)) => Err(BackupError::NotEmpty { folder, found }),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(BackupError::NoFolder { folder }),
            Err(error) => Err(BackupError::from_io("read", &folder, error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what a backup has left in it, as far as the system lets us. Without a manifest it is none.
    fn clear(&self) {
        for name in [MANIFEST_FILE, UNFINISHED_FILE, STATE_FILE, DEFINITIONS_FILE] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        let _ = fs::remove_dir_all(self.folder.join(LOG_FOLDER));
        if self.made {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Copies what is held to a folder. Takes long: for a thread of its own.
///
/// # Errors
///
/// [`BackupError`] if that does not work, or `progress` was cancelled. What was written is removed again.
pub fn make(
    held: &Held,
    target: &Target,
    order: Order,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let made = Work { held, folder: &target.folder, progress }.run(order);
    if made.is_err() {
        target.clear();
    }
    made
}

struct Work<'a> {
    held: &'a Held,
    folder: &'a Path,
    progress: &'a Progress,
}

impl Work<'_> {
    fn run(&self, order: Order) -> Result<Manifest, BackupError> {
        let state = state::encode(&self.held.snapshot);
        let log_bytes: u64 = self.held.segments.iter().map(|(_, bytes)| bytes).sum();
        let small = [(STATE_FILE, &state), (DEFINITIONS_FILE, &order.definitions)];
        let total = log_bytes + small.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        self.check_room(total, order.keep_free_bytes)?;
        self.progress.set_total(total);
        let mut files = Vec::new();
        for (name, bytes) in small {
            let path = self.folder.join(name);
            copy::write(&path, bytes).map_err(|error| self.failed("write", &path, error))?;
            self.progress.add(bytes.len() as u64);
            files.push(copy::entry(name, bytes));
        }
        files.extend(self.copy_log(order.rate)?);
        let manifest = Manifest {
            format: FORMAT,
            warren: order.version,
            begun_ms: order.begun_ms,
            messages: self.held.messages,
            files,
        };
        self.complete(&manifest)?;
        Ok(manifest)
    }

    fn copy_log(&self, rate: Option<u64>) -> Result<Vec<FileEntry>, BackupError> {
        let log = self.folder.join(LOG_FOLDER);
        DirBuilder::new().mode(FOLDER_MODE).create(&log).map_err(|error| self.failed("make", &log, error))?;
        let mut copier = Copier::new(self.progress, rate);
        let mut files = Vec::new();
        for &(id, bytes) in &self.held.segments {
            let (from, path) = (id.path(self.held.log()), segment_path(id));
            let to = self.folder.join(&path);
            let crc32c = copier.copy(&from, &to, bytes).map_err(|error| match error {
                CopyError::Cancelled => BackupError::Cancelled,
                CopyError::Short(found) => BackupError::Short { path: from, bytes: found, expected: bytes },
                CopyError::Read(error) => BackupError::from_io("read", &from, error),
                CopyError::Write(error) => self.failed("write", &to, error),
            })?;
            self.held.release(id);
            files.push(FileEntry { path, bytes, crc32c });
        }
        sync_folder(&log).map_err(|error| self.failed("sync", &log, error))?;
        Ok(files)
    }

    /// From here on it is a backup.
    fn complete(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let (unfinished, path) = (self.folder.join(UNFINISHED_FILE), self.folder.join(MANIFEST_FILE));
        let text = manifest.encode().map_err(io::Error::other);
        // All other names are on the disk before this one is.
        text.and_then(|text| copy::write(&unfinished, &text))
            .and_then(|()| sync_folder(self.folder))
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| sync_folder(self.folder))
            .and_then(|()| sync_folder(&copy::parent(self.folder)))
            .map_err(|error| self.failed("write", &path, error))
    }

    /// A backup on the data folder's own disk must not be what holds publishers back.
    fn check_room(&self, needed_bytes: u64, keep_free_bytes: u64) -> Result<(), BackupError> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let keeps_free = device(self.folder) == device(self.held.log());
        let Ok(DiskSpace { free_bytes, .. }) = DiskSpace::of(self.folder) else { return Ok(()) };
        let kept = if keeps_free { keep_free_bytes } else { 0 };
        if free_bytes.saturating_sub(kept) >= needed_bytes {
            return Ok(());
        }
        Err(BackupError::NoRoom { folder: self.folder.to_owned(), needed_bytes, free_bytes, keeps_free })
    }

    fn failed(&self, action: &'static str, path: &Path, error: io::Error) -> BackupError {
        BackupError::from_io(action, path, error)
    }
}
