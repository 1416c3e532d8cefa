//! Why there is no backup, or nothing can be made of one, in sentences that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::folder::FolderError;

/// Why the log cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The store keeps nothing.
    #[error(
        "this broker keeps everything in memory, so there is nothing to copy; 'warren ctl export_definitions' saves what is \
         defined"
    )]
    Nothing,
    /// Somebody else copies it, or the broker stops.
    #[error("another backup is being made, or the broker stops; try again when it is done")]
    Busy,
    /// The broker stops.
    #[error("the broker stops")]
    Closing,
    /// The commit that is being written takes too long.
    #[error(
        "the data folder could not be written to for 30 s, see the broker's log; try again when that works"
    )]
    Timeout,
}

/// Why a backup was not made. Nothing of it is left, except where the text says so.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be held.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// A relative path, which the broker would take from where it was started.
    #[error("{} is not an absolute path; name the folder for the backup from the root on", folder.display())]
    Relative {
        /// The path.
        folder: PathBuf,
    },
    /// There is something in the folder.
    #[error(
        "{} is not empty: it contains '{found}'; name a new or an empty folder, or remove what is there",
        folder.display()
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// There is something else of this name, or nothing above it.
    #[error("{} is not a folder, or the folder above it does not exist; make that first", folder.display())]
    NoFolder {
        /// The path.
        folder: PathBuf,
    },
    /// The folder is a part of what is to be copied.
    #[error(
        "{} is inside the data folder; name a folder outside of it, best on another disk", folder.display()
    )]
    InDataFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The process may not write there.
    #[error(
        "the broker may not {action} {}; name a folder that the broker's user may write to", path.display()
    )]
    NotAllowed {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
    },
    /// There is not enough room.
    #[error(
        "the disk of {} has {free_bytes} bytes free, and the backup needs {needed_bytes}{}; make room, or name a folder on \
         another disk",
        folder.display(),
        if *keeps_free { " besides what limits.disk_free keeps free there" } else { "" }
    )]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// What it needs.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
        /// The data folder is on the same disk, and publishers would be held back.
        keeps_free: bool,
    },
    /// The data folder is damaged.
    #[error(
        "{} ends after {bytes} bytes and should go on to {expected}: the data folder is damaged. Stop the broker and run 'warren \
         data check'",
        path.display()
    )]
    Short {
        /// The segment.
        path: PathBuf,
        /// What there is of it.
        bytes: u64,
        /// What there should be.
        expected: u64,
    },
    /// The system refused something else.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was not wanted any more.
    #[error("the backup was cancelled")]
    Cancelled,
}

impl BackupError {
    /// Describes what the system said when `action` was tried with `path`.
    pub(super) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotAllowed { action, path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// Why nothing can be made of a backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no manifest.
    #[error(
        "{} has no file manifest.json: it is no backup, or one that was not completed; name one that was", folder.display()
    )]
    NoBackup {
        /// The folder.
        folder: PathBuf,
    },
    /// A later version made it.
    #[error("the backup {} has format {format}, and this Warren reads format {}; use the version that made it", folder.display(), super::manifest::FORMAT)]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        format: u64,
    },
    /// Files are missing or changed: one line for each.
    #[error("the backup {} is damaged: {}; take another one, or copy it again from where it came from", folder.display(), damage.join("; "))]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with which file.
        damage: Vec<String>,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is not enough room.
    #[error(
        "the disk of {} has {free_bytes} bytes free, and {needed_bytes} are needed; make room, or restore to another disk",
        folder.display()
    )]
    NoRoom {
        /// The data folder.
        folder: PathBuf,
        /// What it needs.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// The system refused something else.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was not wanted any more.
    #[error("cancelled")]
    Cancelled,
}

impl RestoreError {
    /// Describes what the system said when `action` was tried with `path`.
    pub(super) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
