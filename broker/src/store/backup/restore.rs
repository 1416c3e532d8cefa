//! [`Backup`]: a backup that is there: checking it, and making a data folder of it.
//!
//! A data folder gets its file `format` last, and has a file `restoring` until then: no broker starts on one that is not
//! complete, and the next restore begins it anew.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::copy::{Copier, CopyError};
use super::error::RestoreError;
use super::manifest::{self, FileEntry, Manifest, Read};
use super::progress::Progress;
use super::{MANIFEST_FILE, STATE_FILE, copy, state};
use crate::store::LOG_FOLDER;
use crate::store::checkpoint::{self, COPIES, Snapshot, marker};
use crate::store::folder::{DataFolder, DiskSpace};
use crate::store::inspect::{self, CheckReport};
use crate::store::log::segment::sync_folder;

/// A backup whose manifest is whole.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    manifest: Manifest,
}

impl Backup {
    /// Reads the manifest of the backup in a folder.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if there is none, or it is damaged or of a later format.
    pub fn open(folder: &Path) -> Result<Self, RestoreError> {
        let path = folder.join(MANIFEST_FILE);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(manifest::BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(RestoreError::NoBackup { folder: folder.to_owned() });
            }
            Err(error) => return Err(RestoreError::from_io("read", &path, error)),
        }
        match Manifest::decode(&text) {
            Read::Whole(manifest) => Ok(Self { folder: folder.to_owned(), manifest }),
            Read::Newer(format) => Err(RestoreError::Newer { folder: folder.to_owned(), format }),
            Read::Damaged(problem) => Err(RestoreError::Damaged {
                folder: folder.to_owned(),
                damage: vec![format!("{MANIFEST_FILE}: {problem}")],
            }),
        }
    }

    /// What is in it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads all files and compares them with the manifest.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Damaged`] with every file that is missing or changed, or if something cannot be read.
    pub fn verify(&self, progress: &Progress) -> Result<(), RestoreError> {
        progress.set_total(self.manifest.bytes());
        let mut copier = Copier::new(progress, None);
        let mut damage = Vec::new();
        for file in &self.manifest.files {
            let path = self.folder.join(&file.path);
            let found = fs::metadata(&path).map(|found| found.len());
            let problem = match found {
                Err(error) if error.kind() == ErrorKind::NotFound => Some("is missing".to_owned()),
                Err(error) => return Err(RestoreError::from_io("read", &path, error)),
                Ok(bytes) if bytes != file.bytes => {
                    Some(format!("has {bytes} bytes and should have {}", file.bytes))
                }
                Ok(_) => match copier.sum(&path, file.bytes) {
                    Ok(crc) => (crc != file.crc32c).then(|| "fails its checksum".to_owned()),
                    Err(error) => return Err(self.failed(error, file, &path)),
                },
            };
            damage.extend(problem.map(|problem| format!("{} {problem}", file.path)));
        }
        self.judge(damage)
    }

    /// Checks what is in it as `warren data check` does with a data folder: every message, and what the state says of them.
    /// Supposes that [`Backup::verify`] found nothing.
    ///
    /// # Errors
    ///
    /// If something cannot be read.
    pub fn check(&self) -> Result<CheckReport, RestoreError> {
        let failed = |error| RestoreError::from_io("check", &self.folder, error);
        inspect::check_backup(&self.folder, self.snapshot()?).map_err(failed)
    }

    /// Makes a data folder of it: a new one, or one in which nothing is. Supposes that [`Backup::verify`] found nothing; what is
    /// copied is compared once more. Tells what `warren data check` says of the result.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if that does not work. No broker starts on what was begun then.
    pub fn restore(&self, data: &Path, progress: &Progress) -> Result<CheckReport, RestoreError> {
        let snapshot = self.snapshot()?;
        let folder = DataFolder::begin_restore(data)?;
        let restored = self.fill(&folder, &snapshot, progress);
        if restored.is_err() {
            // What stays is the mark that it is not complete.
            let _ = clear(data);
        }
        restored
    }

    fn fill(
        &self,
        folder: &DataFolder,
        snapshot: &Snapshot,
        progress: &Progress,
    ) -> Result<CheckReport, RestoreError> {
        let data = folder.path();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| RestoreError::from_io("write", &path, error)
        };
        clear(data).map_err(failed(data))?;
        let log = folder.subfolder(LOG_FOLDER)?;
        self.check_room(data)?;
        self.copy_log(data, progress)?;
        sync_folder(&log).map_err(failed(&log))?;
        let state = data.join(COPIES[0]);
        checkpoint::write_copy(&state, snapshot).map_err(failed(&state))?;
        let report = inspect::check(folder).map_err(|error| RestoreError::from_io("check", data, error))?;
        if progress.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        folder.complete_restore()?;
        Ok(report)
    }

    fn copy_log(&self, data: &Path, progress: &Progress) -> Result<(), RestoreError> {
        progress.set_total(self.manifest.segments().map(|file| file.bytes).sum());
        let mut copier = Copier::new(progress, None);
        for file in self.manifest.segments() {
            let (from, to) = (self.folder.join(&file.path), data.join(&file.path));
            let crc = copier.copy(&from, &to, file.bytes).map_err(|error| match error {
                CopyError::Write(error) => RestoreError::from_io("write", &to, error),
                error => self.failed(error, file, &from),
            })?;
            if crc != file.crc32c {
                self.judge(vec![format!("{} fails its checksum", file.path)])?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, RestoreError> {
        let path = self.folder.join(STATE_FILE);
        let bytes = fs::read(&path).map_err(|error| RestoreError::from_io("read", &path, error))?;
        let named = self.manifest.files.iter().find(|file| file.path == STATE_FILE);
        let is_same = named.is_some_and(|file| *file == copy::entry(STATE_FILE, &bytes));
        let damaged = |problem: &str| RestoreError::Damaged {
            folder: self.folder.clone(),
            damage: vec![format!("{STATE_FILE} {problem}")],
        };
        if !is_same {
            return Err(damaged("fails its checksum"));
        }
        state::decode(&bytes).ok_or_else(|| damaged("makes no sense to this version of Warren"))
    }

    fn check_room(&self, data: &Path) -> Result<(), RestoreError> {
        let needed_bytes = self.manifest.bytes();
        match DiskSpace::of(data) {
            Ok(DiskSpace { free_bytes, .. }) if free_bytes < needed_bytes => {
                Err(RestoreError::NoRoom { folder: data.to_owned(), needed_bytes, free_bytes })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, error: CopyError, file: &FileEntry, path: &Path) -> RestoreError {
        match error {
            CopyError::Cancelled => RestoreError::Cancelled,
            CopyError::Read(error) | CopyError::Write(error) => RestoreError::from_io("read", path, error),
            CopyError::Short(bytes) => RestoreError::Damaged {
                folder: self.folder.clone(),
                damage: vec![format!("{} has {bytes} bytes and should have {}", file.path, file.bytes)],
            },
        }
    }

    fn judge(&self, damage: Vec<String>) -> Result<(), RestoreError> {
        if damage.is_empty() {
            return Ok(());
        }
        Err(RestoreError::Damaged { folder: self.folder.clone(), damage })
    }
}

/// Removes what a restore that was cut off has left.
fn clear(data: &Path) -> io::Result<()> {
    let absent = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let state = data.join(COPIES[0]);
    for folder in [data.join(LOG_FOLDER), state.clone()] {
        fs::remove_dir_all(folder).or_else(|error| if absent(&error) { Ok(()) } else { Err(error) })?;
    }
    fs::remove_file(marker(&state)).or_else(|error| if absent(&error) { Ok(()) } else { Err(error) })
}
