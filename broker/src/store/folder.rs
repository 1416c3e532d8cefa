//! [`DataFolder`]: the folder that holds everything a broker keeps, locked and of a known format.
//!
//! It makes the folder, keeps a second broker out of it, refuses what another version or another program wrote, and says
//! how much room its disk has. What the store's own files contain is not its business. The server opens it before
//! anything else touches the folder; `warren data` opens that of a broker which is not running.
//!
//! The file `lock` is locked (flock) while the folder is in use and contains the process id of who uses it. The file
//! `format` says what wrote the folder: the line `warren data folder`, then `format` and a number.

mod error;
mod format;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;

pub use error::FolderError;
pub use format::FORMAT;

const LOCK_FILE: &str = "lock";

/// Messages may hold anything, so nobody else on the machine reads them.
const FOLDER_MODE: u32 = 0o700;

/// A data folder that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
}

impl DataFolder {
    /// Opens the folder for a broker, and makes it if it is not there. What it made is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When the folder is in use, belongs to another program or version, or the system refuses something.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        create_synced(path)?;
        // Before the lock, so that nothing is left behind in a folder of somebody else's.
        format::check(path)?;
        let folder = Self::lock(path)?;
        // Again: another broker may just have made it one, or have left it half made.
        if format::check(path)? == format::Found::None {
            format::write(path)?;
        }
        Ok(folder)
    }

    /// Opens the folder of a broker that is not running, to look at it. Makes nothing but the lock.
    ///
    /// # Errors
    ///
    /// As [`DataFolder::open`], and when there is no such folder or nothing was ever kept in it.
    pub fn open_stopped(path: &Path) -> Result<Self, FolderError> {
        if format::check(path)? == format::Found::None {
            return Err(FolderError::Nothing { folder: path.to_owned() });
        }
        Self::lock(path)
    }

    /// Opens a folder in which nothing is, or what an earlier restore left there when it was cut off, to restore a backup into it. Until
    /// [`DataFolder::complete_restore`] no broker starts on it.
    ///
    /// # Errors
    ///
    /// As [`DataFolder::open`], and when there is something in it.
    pub fn begin_restore(path: &Path) -> Result<Self, FolderError> {
        let look = || match format::check(path) {
            Ok(format::Found::None) | Err(FolderError::Restoring { .. }) => Ok(format::Found::None),
            other => other,
        };
        create_synced(path)?;
        let before = look()?;
        // A broker that uses it is named first.
        let folder = Self::lock(path)?;
        if before == format::Found::Readable || look()? == format::Found::Readable {
            return Err(FolderError::NotEmpty { folder: path.to_owned() });
        }
        format::write_restoring(path)?;
        Ok(folder)
    }

    /// Makes it a data folder like any other, once everything in it is on the disk.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn complete_restore(&self) -> Result<(), FolderError> {
        sync_folder(&self.path)?;
        format::write(&self.path)?;
        format::remove_restoring(&self.path)
    }

    /// Where it is, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder `name` inside, made if it is not there, and then on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        create_synced(&path)?;
        Ok(path)
    }

    /// What its disk has room for now.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn space(&self) -> io::Result<DiskSpace> {
        DiskSpace::of(&self.path)
    }

    fn lock(path: &Path) -> Result<Self, FolderError> {
        let file = path.join(LOCK_FILE);
        let failed = |action: &'static str| {
            let path = file.clone();
            move |source: io::Error| FolderError::from_io(action, path, source)
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(failed("open"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_pid(&mut lock);
                return Err(FolderError::InUse { folder: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        write_pid(&mut lock).map_err(failed("write"))?;
        Ok(Self { path: path.to_owned(), lock })
    }
}

/// What is free and what there is on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still use; without what the system reserves for its administrator.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

impl DiskSpace {
    /// Of the disk that `path` is on.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

/// Brings names that were made, renamed or removed in `folder` to the disk; syncing a file does not do that.
///
/// # Errors
///
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> Result<(), FolderError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|source| FolderError::from_io("sync", folder.to_owned(), source))
}

/// Makes the folder and those above it that are missing, each on the disk before the next.
fn create_synced(folder: &Path) -> Result<(), FolderError> {
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(FolderError::NotAFolder { path: folder.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(FolderError::from_io("open", folder.to_owned(), source)),
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_synced(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => sync_folder(parent),
        // Somebody else was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(source) => Err(FolderError::from_io("create", folder.to_owned(), source)),
    }
}

impl Drop for DataFolder {
    /// Gives the lock back. Closing the file would do, but a process that is just being started by another thread has it open,
    /// too, for a moment.
    fn drop(&mut self) {
        // If it fails the lock ends with the process.
        let _ = self.lock.unlock();
    }
}

/// The process that holds the lock, if it has written its id already.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", process::id())
}

#[cfg(test)]
mod tests;
