//! Reading the copies of the state without touching them: from copies in the folder for temporary files.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;

use crate::store::checkpoint::{COPIES, Position, Snapshot, marker};
use crate::store::recovery::{Copy, FoundCopy, read_copy};

/// Where sled puts values that are too large for it.
const BLOBS_FOLDER: &str = "blobs";

/// What one of the two folders turned out to be.
#[derive(Debug)]
pub(super) struct CopyAt {
    /// Its name in the data folder.
    pub(super) name: &'static str,
    pub(super) found: CopyState,
    /// Values that sled keeps in files of their own.
    pub(super) blobs: usize,
}

/// How a copy is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CopyState {
    Missing,
    Whole {
        sequence: u64,
        position: Position,
    },
    Incomplete,
    Damaged(String),
    /// Of a newer version: which.
    Newer(String),
}

impl CopyAt {
    /// What it covers of the log, if it is whole.
    pub(super) fn position(&self) -> Option<Position> {
        match self.found {
            CopyState::Whole { position, .. } => Some(position),
            _ => None,
        }
    }
}

/// What stands for the copies of the state in a backup.
pub(super) fn of_backup(snapshot: &Snapshot) -> [CopyAt; 2] {
    let Snapshot { sequence, position, .. } = *snapshot;
    let found = [CopyState::Whole { sequence, position }, CopyState::Missing];
    let mut copies = COPIES.map(|name| CopyAt { name, found: CopyState::Missing, blobs: 0 });
    copies.iter_mut().zip(found).for_each(|(copy, found)| copy.found = found);
    copies
}

/// Both copies in the data folder, and what is in those that are whole.
pub(super) fn read_copies(data: &Path) -> io::Result<([CopyAt; 2], [Copy; 2])> {
    let mut whole: [Copy; 2] = [None, None];
    let mut copies = COPIES.map(|name| CopyAt { name, found: CopyState::Missing, blobs: 0 });
    let folder = TemporaryFolder::create()?;
    for (copy, whole) in copies.iter_mut().zip(&mut whole) {
        let original = data.join(copy.name);
        if !original.exists() {
            continue;
        }
        let path = folder.0.join(copy.name);
        copy_folder(&original, &path)?;
        if marker(&original).exists() {
            fs::write(marker(&path), []).map_err(|error| at("make", &path, &error))?;
        }
        copy.blobs = fs::read_dir(path.join(BLOBS_FOLDER)).map_or(0, Iterator::count);
        copy.found = match read_copy(&path) {
            FoundCopy::Whole(None) => CopyState::Missing,
            FoundCopy::Whole(Some((snapshot, index))) => {
                let (sequence, position) = (snapshot.sequence, snapshot.position);
                *whole = Some((snapshot, index));
                CopyState::Whole { sequence, position }
            }
            FoundCopy::Incomplete => CopyState::Incomplete,
            FoundCopy::Unreadable(error) => return Err(at("read", &path, &error)),
            FoundCopy::Damaged(reason) => CopyState::Damaged(reason),
            FoundCopy::Newer(reason) => CopyState::Newer(reason),
        };
    }
    Ok((copies, whole))
}

/// A new folder that only this user reads, removed when this is dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> io::Result<Self> {
        let mut number = 0;
        loop {
            let path = env::temp_dir().join(format!("warren-data-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(at("make", &path, &error)),
            }
        }
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What is left is a few MiB in a folder that the system empties.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to).map_err(|error| at("make", to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| at("read", from, &error))? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            fs::copy(&path, &copy).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot copy {} to {}: {error}", path.display(), copy.display()),
                )
            })?;
        }
    }
    Ok(())
}

fn at(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display()))
}
