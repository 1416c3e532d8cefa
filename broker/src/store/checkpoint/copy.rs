//! One copy of the state: a sled database that is opened, brought up to date, synced and closed again.
//!
//! sled 0.34 does not fsync when it flushes, and it drops what it cannot read. So every copy ends with an entry that counts and
//! sums up all others, and all its files are synced here before it is relied on; one that does not add up is not used.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::snapshot::{Position, Snapshot};
use crate::store::log::segment::{SegmentId, sync_folder};

/// The key of the entry that sums up the others. Sorts behind them.
const SUMMARY: &[u8] = b"z";

/// The version of keys and values.
const VERSION: u64 = 1;

/// sled keeps large values in files of their own that it never syncs; at this size it does so far beyond any value here.
const SLED_SEGMENT_BYTES: usize = 1024 * 1024;

const SLED_CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// A database that has grown to this many times of what is in it is written anew.
const GROWTH_MAX: u64 = 8;

/// And never before it has this size.
const GROWN_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// How often and at what interval a locked database is tried again.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum CopyError {
    /// The operating system refuses something.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// sled cannot read it, and the operating system is not to blame.
    #[error("sled cannot read it: {0}")]
    Unreadable(String),
    /// Writing it was not completed.
    #[error("it was not completed")]
    Incomplete,
    /// It does not add up.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A newer version wrote it.
    #[error("it has version {0}, and this Warren reads version {VERSION}")]
    Version(u64),
}

/// Brings the copy in `folder` to the state of `snapshot`, and makes it last.
///
/// # Errors
///
/// What sled or the operating system says. The copy is not to be relied on then.
pub(in crate::store) fn write(folder: &Path, snapshot: &Snapshot) -> io::Result<()> {
    begin(folder)?;
    let wanted: u64 = snapshot.entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    if folder_bytes(folder)? > (GROWTH_MAX * wanted).max(GROWN_BYTES_MIN) {
        remove(folder)?;
    }
    let mut written = guarded(|| update(folder, snapshot));
    if written.is_err() && folder.exists() {
        // Damaged perhaps: begin with an empty one. The other copy is whole.
        remove(folder)?;
        written = guarded(|| update(folder, snapshot));
    }
    written.map_err(io::Error::other)?;
    sync_all(folder)?;
    fs::remove_file(marker(folder))?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// A file that is there while a copy is written: it tells a copy that a crash left incomplete from a damaged one.
pub(in crate::store) fn marker(folder: &Path) -> PathBuf {
    folder.with_extension("writing")
}

fn begin(folder: &Path) -> io::Result<()> {
    File::create(marker(folder))?.sync_all()?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn update(folder: &Path, snapshot: &Snapshot) -> sled::Result<()> {
    let database = open(folder)?;
    // While its entries change nobody may take them for whole.
    database.remove(SUMMARY)?;
    let mut wanted = snapshot.entries.iter().peekable();
    for present in database.iter() {
        let (key, value) = present?;
        while let Some((missing, value)) = wanted.next_if(|(wanted, _)| wanted.as_slice() < key.as_ref()) {
            database.insert(missing, value.as_slice())?;
        }
        match wanted.next_if(|(wanted, _)| wanted.as_slice() == key.as_ref()) {
            Some((_, wanted)) if wanted.as_slice() == value.as_ref() => {}
            Some((_, wanted)) => drop(database.insert(key, wanted.as_slice())?),
            None => drop(database.remove(key)?),
        }
    }
    for (key, value) in wanted {
        database.insert(key, value.as_slice())?;
    }
    database.flush()?;
    database.insert(SUMMARY, summary(snapshot))?;
    database.flush()?;
    Ok(())
}

/// Reads the copy in `folder`; none if there is none.
///
/// # Errors
///
/// [`CopyError`] if it cannot be relied on.
pub(in crate::store) fn read(folder: &Path) -> Result<Option<Snapshot>, CopyError> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut entries = match guarded(|| entries_of(folder)) {
        Ok(entries) => entries,
        // sled writes when it opens, and panics on some errors of the operating system. Only what fails again while all its
        // files can be read and others written is damaged.
        Err(_) => {
            probe(folder).map_err(CopyError::Io)?;
            guarded(|| entries_of(folder)).map_err(|error| {
                if marker(folder).exists() { CopyError::Incomplete } else { CopyError::Unreadable(error) }
            })?
        }
    };
    let Some((_, summary)) = entries.pop_if(|(key, _)| key == SUMMARY) else {
        let is_incomplete = marker(folder).exists();
        return Err(if is_incomplete {
            CopyError::Incomplete
        } else {
            CopyError::Damaged("entries are missing")
        });
    };
    let numbers: Vec<u64> =
        summary.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let &[version, sequence, segment, at, frame, count, sum] = numbers.as_slice() else {
        return Err(CopyError::Damaged("its summary has the wrong length"));
    };
    if version != VERSION {
        return Err(CopyError::Version(version));
    }
    if count != entries.len() as u64 || sum != sum_of(&entries) {
        return Err(CopyError::Damaged("entries are missing or changed"));
    }
    let position = Position { segment: SegmentId(segment), at, frame };
    Ok(Some(Snapshot { sequence, position, entries }))
}

fn entries_of(folder: &Path) -> sled::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let database = open(folder)?;
    database.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// Whether the operating system lets all files in the folder be read, and as much be written there as sled may write.
fn probe(folder: &Path) -> io::Result<()> {
    for entry in files(folder)?.into_iter().filter(|entry| entry.path().is_file()) {
        fs::read(entry.path())?;
    }
    let path = folder.with_extension("probe");
    let written = File::create(&path)
        .and_then(|mut file| file.write_all(&vec![1; 2 * SLED_SEGMENT_BYTES]).and_then(|()| file.sync_all()));
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Removes what sled had begun to write when it was killed. It writes a snapshot of its own whenever it opens, under a name
/// that it takes for a complete one the next time; without it sled reads the one before, and its log from there.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in files(folder)? {
        if entry.path().extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens the database. One that was just closed may be locked for a moment: sled's threads let go of it later.
fn open(folder: &Path) -> sled::Result<sled::Db> {
    remove_unfinished(folder)?;
    let is_locked =
        |error: &sled::Error| matches!(error, sled::Error::Io(error) if error.to_string().contains("lock"));
    let mut attempts = 0;
    loop {
        match open_once(folder) {
            Err(error) if is_locked(&error) && attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn open_once(folder: &Path) -> sled::Result<sled::Db> {
    sled::Config::default()
        .path(folder)
        .segment_size(SLED_SEGMENT_BYTES)
        .cache_capacity(SLED_CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

fn summary(snapshot: &Snapshot) -> Vec<u8> {
    let Position { segment, at, frame } = snapshot.position;
    let count = snapshot.entries.len() as u64;
    [VERSION, snapshot.sequence, segment.0, at, frame, count, sum_of(&snapshot.entries)]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// A sum over all entries that changes with any of them.
fn sum_of(entries: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    let mut sum = 0_u64;
    for (key, value) in entries {
        let one = crc32c::crc32c_append(crc32c::crc32c(key), value);
        let other = crc32c::crc32c_append(crc32c::crc32c(value), key);
        sum = sum.rotate_left(7).wrapping_add(u64::from(one) << 32 | u64::from(other));
    }
    sum
}

/// sled panics on some damage where it should return an error.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in files(folder)? {
        bytes += entry.metadata()?.len();
    }
    Ok(bytes)
}

/// Makes a copy last as it was read: a killed process may not have come to that, and opening it writes, too. Until then the
/// other copy must stay.
///
/// # Errors
///
/// What the operating system says.
pub(in crate::store) fn make_last(folder: &Path) -> io::Result<()> {
    sync_all(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in files(folder)? {
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

fn files(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(entries: &[(&str, &str)]) -> Snapshot {
        let entries =
            entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        Snapshot { sequence: 3, position: Position { segment: SegmentId(2), at: 99, frame: 7 }, entries }
    }

    #[test]
    fn a_copy_follows_the_state_from_checkpoint_to_checkpoint() {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("state-a");
        assert!(read(&copy).expect("nothing is wrong with none").is_none());
        for entries in [
            &[("a", "1"), ("c", "3")][..],
            &[("a", "1"), ("b", "2"), ("c", "4")],
            &[("0", "0"), ("b", "2")],
            &[],
            &[("d", "5")],
        ] {
            let wanted = snapshot(entries);
            write(&copy, &wanted).expect("writes");
            let found = read(&copy).expect("is whole").expect("is there");
            assert_eq!(
                (found.sequence, found.position, &found.entries),
                (3, wanted.position, &wanted.entries)
            );
        }
    }

    #[test]
    fn what_sled_had_begun_to_write_when_it_was_killed_is_not_taken_for_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("state-a");
        for entries in [&[("a", "1")][..], &[("a", "2"), ("c", "3")]] {
            write(&copy, &snapshot(entries)).expect("writes");
        }
        fs::write(copy.join("snap.7FFFFFFFFFFFFFFF.generating"), "").expect("writes");
        let found = read(&copy).expect("is whole").expect("is there");
        assert_eq!(found.entries, snapshot(&[("a", "2"), ("c", "3")]).entries);
    }

    #[test]
    fn a_copy_that_cannot_be_read_was_not_completed_if_its_marker_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("state-a");
        write(&copy, &snapshot(&[("a", "1")])).expect("writes");
        fs::write(copy.join("snap.7FFFFFFFFFFFFFFF"), "").expect("writes");
        assert!(matches!(read(&copy), Err(CopyError::Unreadable(_))));
        begin(&copy).expect("makes the marker");
        assert!(matches!(read(&copy), Err(CopyError::Incomplete)));
        write(&copy, &snapshot(&[("a", "1")])).expect("begins with an empty one");
        assert!(read(&copy).is_ok());
    }

    #[test]
    fn a_copy_that_lost_or_changed_an_entry_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("state-a");
        let changes: [fn(&sled::Db); 4] = [
            |db| drop(db.remove("a").expect("removes")),
            |db| drop(db.insert("a", "2").expect("changes")),
            |db| drop(db.insert("b", "1").expect("adds")),
            |db| drop(db.remove(SUMMARY).expect("removes")),
        ];
        for change in changes {
            write(&copy, &snapshot(&[("a", "1"), ("c", "3")])).expect("writes");
            let database = open(&copy).expect("opens");
            change(&database);
            drop(database);
            assert!(matches!(read(&copy), Err(CopyError::Damaged(_))));
        }
        begin(&copy).expect("makes the marker");
        assert!(matches!(read(&copy), Err(CopyError::Incomplete)));
        write(&copy, &snapshot(&[("a", "1")])).expect("writes over what is damaged");
        assert!(!marker(&copy).exists());
        assert!(read(&copy).is_ok());
    }
}
