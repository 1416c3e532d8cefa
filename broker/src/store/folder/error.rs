//! [`FolderError`]: why a data folder cannot be used, in sentences that say what to do.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::FORMAT;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error(
        "the data folder {} is in use by {}; stop {}, or choose another folder with --data",
        folder.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
        holder.map_or_else(|| "it".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, if it could be told.
        holder: Option<u32>,
    },
    /// It is not empty, and no broker's.
    #[error(
        "{} is not a data folder of Warren: it has no file 'format' but contains '{found}'; choose an empty or a new \
         folder with --data",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// A restore was cut off.
    #[error(
        "the data folder {} is not complete: restoring a backup into it was cut off; run 'warren restore' again, or remove the \
         folder",
        folder.display()
    )]
    Restoring {
        /// The folder.
        folder: PathBuf,
    },
    /// There is a broker's data in it.
    #[error(
        "the data folder {} holds a broker's data already; name a new folder with --data, or move this one away first",
        folder.display()
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A later version of Warren wrote it.
    #[error(
        "the data folder {} has format {format}; this version of Warren reads format {FORMAT}: start the version that wrote \
         it, or choose another folder with --data",
        folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        format: u64,
    },
    /// The file that says what wrote the folder says something else.
    #[error(
        "the file {} is damaged: {problem}; it should consist of the lines 'warren data folder' and 'format {FORMAT}'. \
         Restore it if the folder is Warren's, or choose another folder with --data",
        path.display()
    )]
    BadFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is something else of this name.
    #[error("{} is not a folder; choose another with --data", path.display())]
    NotAFolder {
        /// What is none.
        path: PathBuf,
    },
    /// There is nothing to look at.
    #[error("there is no data in {}: no broker has kept anything there; name its data folder with --data", folder.display())]
    Nothing {
        /// The folder.
        folder: PathBuf,
    },
    /// The user that this process runs as lacks the right.
    #[error(
        "not allowed to {action} {}; run warren as the user who owns the data folder, or choose another folder with --data",
        path.display()
    )]
    NotAllowed {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
    },
    /// The system refused something else; what it said is the source.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FolderError {
    /// Describes what the system said when `action` was tried with `path`.
    pub(super) fn from_io(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::PermissionDenied => Self::NotAllowed { action, path },
            ErrorKind::NotADirectory => Self::NotAFolder { path },
            _ => Self::Io { action, path, source },
        }
    }
}
