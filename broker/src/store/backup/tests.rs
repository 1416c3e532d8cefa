//! Backups of a real store, made while it works, and what becomes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::store::folder::{DataFolder, FolderError};
use crate::store::inspect::tests::folder::define;
use crate::store::log_store::tests::{append, contents, open, wait_durable};
use crate::store::{LogStore, MemoryStore, Restored, Store as _};

const QUEUE: QueueId = QueueId(7);
const OTHER: QueueId = QueueId(8);

const MIB: usize = 1024 * 1024;

/// A data folder with a store at work, and where backups and what is made of them go.
struct Place {
    root: tempfile::TempDir,
    store: LogStore,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        drop(DataFolder::open(&root.path().join("data")).unwrap());
        let (store, _) = open(&root.path().join("data"));
        define(&store, QUEUE, "orders");
        define(&store, OTHER, "mail");
        Self { root, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn fill(&self, queue: QueueId, messages: impl IntoIterator<Item = (u64, Vec<u8>)>) {
        wait_durable(&self.store, append(&self.store, queue, messages));
    }

    fn claim(&self, name: &str) -> Result<Target, BackupError> {
        Target::claim(&self.path(name), &self.path("data"))
    }

    fn make(&self, held: &Held) -> Result<Manifest, BackupError> {
        make(held, &self.claim("backup")?, order(), &Progress::default())
    }

    fn backup(&self) -> Backup {
        self.make(&self.store.hold().unwrap()).unwrap();
        Backup::open(&self.path("backup")).unwrap()
    }

    /// A store on what was made of the backup, which must be sound.
    fn restored(&self) -> (LogStore, Restored) {
        let backup = Backup::open(&self.path("backup")).unwrap();
        backup.verify(&Progress::default()).unwrap();
        let report = backup.check().unwrap();
        assert!(report.is_sound(), "{report}");
        let report = backup.restore(&self.path("restored"), &Progress::default()).unwrap();
        assert!(report.is_sound(), "{report}");
        drop(DataFolder::open(&self.path("restored")).unwrap());
        let (store, restored) = open(&self.path("restored"));
        assert_eq!(restored.findings, Vec::<String>::new());
        (store, restored)
    }
}

fn order() -> Order {
    Order {
        definitions: b"{}\n".to_vec(),
        version: "0".to_owned(),
        begun_ms: 1,
        rate: None,
        keep_free_bytes: 0,
    }
}

fn numbered(seqs: std::ops::Range<u64>, bytes: usize) -> BTreeMap<u64, Vec<u8>> {
    seqs.map(|seq| (seq, seq.to_string().into_bytes().repeat(bytes))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn what_was_confirmed_before_is_there_and_what_came_later_is_not() {
    let place = Place::new();
    let before = numbered(0..200, 50);
    place.fill(QUEUE, before.clone());
    place.fill(OTHER, numbered(0..5, 400_000));
    place.store.settle(QUEUE, &[Seq(3), Seq(50)]);
    place.store.delivered(QUEUE, Seq(60));
    place.store.returned(QUEUE, &[(Seq(4), 2)]);
    let held = place.store.hold().unwrap();
    place.store.settle(QUEUE, &[Seq(4)]);
    place.store.define(b"late".to_vec(), Some(b"x".to_vec()));
    place.fill(QUEUE, numbered(200..300, 50));
    let manifest = place.make(&held).unwrap();
    assert_eq!(manifest.messages, 203);
    let (store, restored) = place.restored();
    let expected: BTreeMap<_, _> = before.into_iter().filter(|(seq, _)| ![3, 50].contains(seq)).collect();
    assert_eq!(contents(&store, &restored, QUEUE), expected);
    assert_eq!(contents(&store, &restored, OTHER), numbered(0..5, 400_000));
    assert_eq!(restored.queues[&QUEUE].delivered, Some(Seq(60)));
    assert_eq!(store.load(QUEUE, Seq(4), Seq(4), 1).unwrap().messages[0].returned, 2);
    assert!(!restored.definitions.contains_key(b"late".as_slice()));
    // The copy goes its own way.
    wait_durable(&store, append(&store, QUEUE, numbered(200..201, 1)));
    store.close().unwrap();
    let (store, restored) = open(&place.path("restored"));
    assert_eq!(contents(&store, &restored, QUEUE).len(), 199);
}

#[test]
fn segments_stay_until_they_are_copied_and_no_longer() {
    let place = Place::new();
    let body = |seq: u64| (seq, vec![u8::try_from(seq % 251).unwrap(); MIB]);
    place.fill(QUEUE, (0..40).map(body));
    let held = place.store.hold().unwrap();
    let copied: Vec<PathBuf> = held.segments.iter().map(|(id, _)| id.path(held.log())).collect();
    assert!(copied.len() >= 2, "{copied:?}");
    let all = |queue| place.store.settle_ranges(queue, &[SeqRange { first: Seq(0), last: Seq(100) }]);
    all(QUEUE);
    place.fill(OTHER, (0..40).map(body));
    let later = files(&place.path("data/log")).into_iter().rfind(|path| !copied.contains(path)).unwrap();
    all(OTHER);
    // Something has to be written for housekeeping to look around.
    let gone = |path: &Path| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while path.exists() {
            assert!(Instant::now() < deadline, "{} is not removed", path.display());
            place.store.barrier();
            thread::sleep(Duration::from_millis(20));
        }
    };
    gone(&later);
    assert!(copied.iter().all(|path| path.exists()), "what is being copied was removed");
    place.make(&held).unwrap();
    drop(held);
    gone(&copied[0]);
    let (store, restored) = place.restored();
    assert_eq!(contents(&store, &restored, QUEUE), (0..40).map(body).collect());
    assert_eq!(contents(&store, &restored, OTHER), BTreeMap::new());
}

#[test]
fn an_empty_broker_has_a_backup_too() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(&root.path().join("data"));
    let place = Place { root, store };
    assert_eq!(place.backup().manifest().messages, 0);
    assert_eq!(place.restored().1.queues, BTreeMap::new());
}

#[test]
fn one_backup_is_made_at_a_time_and_none_of_what_is_only_in_memory() {
    let place = Place::new();
    let held = place.store.hold().unwrap();
    assert_eq!(place.store.hold().unwrap_err(), HoldError::Busy);
    drop(held);
    drop(place.store.hold().unwrap());
    assert_eq!(MemoryStore.hold().unwrap_err(), HoldError::Nothing);
    place.store.close().unwrap();
    assert_eq!(place.store.hold().unwrap_err(), HoldError::Busy);
}

#[test]
fn a_place_that_is_no_good_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.path("full/sub")).unwrap();
    fs::write(place.path("file"), "x").unwrap();
    std::os::unix::fs::symlink(place.path("data"), place.path("link")).unwrap();
    let refusal = |name: &str| {
        let text = place.claim(name).unwrap_err().to_string();
        text.replace(&place.root.path().display().to_string(), "T")
    };
    assert!(refusal("full").starts_with("T/full is not empty: it contains 'sub'; "));
    let no_folder = "is not a folder, or the folder above it does not exist; make that first";
    assert_eq!(refusal("file"), format!("T/file {no_folder}"));
    assert_eq!(refusal("file/x"), format!("T/file/x {no_folder}"));
    assert_eq!(refusal("a/b"), format!("T/a/b {no_folder}"));
    for inside in ["data", "data/b", "link/b", "full/../data/b"] {
        assert!(refusal(inside).contains(" is inside the data folder; "), "{inside}");
    }
    let relative = Target::claim(Path::new("x/y"), &place.path("data")).unwrap_err().to_string();
    assert!(relative.starts_with("x/y is not an absolute path; "), "{relative}");
    fs::create_dir(place.path("empty")).unwrap();
    fs::create_dir(place.path("empty/lost+found")).unwrap();
    assert!(place.claim("empty").is_ok());
}

#[test]
fn what_is_not_completed_is_removed() {
    let place = Place::new();
    place.fill(QUEUE, numbered(0..10, 1000));
    let held = place.store.hold().unwrap();
    let cancelled = Progress::default();
    cancelled.cancel();
    let made = make(&held, &place.claim("new").unwrap(), order(), &cancelled);
    assert!(matches!(made, Err(BackupError::Cancelled)), "{made:?}");
    assert!(!place.path("new").exists());

    fs::create_dir(place.path("there")).unwrap();
    let full = Order { keep_free_bytes: u64::MAX, ..order() };
    let made = make(&held, &place.claim("there").unwrap(), full, &Progress::default());
    let text = made.unwrap_err().to_string();
    assert!(text.contains(" besides what limits.disk_free keeps free there; make room, "), "{text}");
    assert_eq!(files(&place.path("there")), Vec::<PathBuf>::new());

    let forgotten = Progress::watched(Some(Duration::ZERO));
    while !forgotten.is_cancelled() {
        thread::yield_now();
    }
    let made = make(&held, &place.claim("there").unwrap(), order(), &forgotten);
    assert!(matches!(made, Err(BackupError::Cancelled)), "{made:?}");
    // And then it works.
    place.make(&held).unwrap();
}

#[test]
fn a_source_that_is_too_short_is_named_and_no_backup_is_left() {
    let place = Place::new();
    place.fill(QUEUE, numbered(0..10, 1000));
    let held = place.store.hold().unwrap();
    let (id, bytes) = held.segments[0];
    let path = id.path(held.log());
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes - 1).unwrap();
    let text = place.make(&held).unwrap_err().to_string();
    assert!(text.contains(&format!("ends after {} bytes and should go on to {bytes}", bytes - 1)), "{text}");
    assert!(!place.path("backup").exists());
}

#[test]
fn every_damaged_file_of_a_backup_is_named() {
    let place = Place::new();
    place.fill(QUEUE, numbered(0..30, 1000));
    let backup = place.backup();
    let damage = || backup.verify(&Progress::default()).unwrap_err().to_string();
    for entry in &backup.manifest().files {
        let path = place.path("backup").join(&entry.path);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(damage().contains(&format!("is damaged: {} fails its checksum; ", entry.path)));
        fs::write(&path, &whole[1..]).unwrap();
        let (bytes, all) = (whole.len() - 1, whole.len());
        assert!(damage().contains(&format!("{} has {bytes} bytes and should have {all}; ", entry.path)));
        fs::remove_file(&path).unwrap();
        assert!(damage().contains(&format!("{} is missing; ", entry.path)));
        fs::write(&path, whole).unwrap();
    }
    backup.verify(&Progress::default()).unwrap();
    let path = place.path("backup/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"messages\": 30", "\"messages\": 31", 1)).unwrap();
    let error = Backup::open(&place.path("backup")).unwrap_err().to_string();
    assert!(error.contains("manifest.json: it does not have the checksum that it names"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = Backup::open(&place.path("backup")).unwrap_err().to_string();
    assert!(error.contains("it is no backup, or one that was not completed"), "{error}");
}

#[test]
fn damage_that_came_between_checking_and_copying_stops_the_restore() {
    let place = Place::new();
    place.fill(QUEUE, numbered(0..30, 1000));
    let backup = place.backup();
    let path = place.path("backup").join(&backup.manifest().segments().next().unwrap().path);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = backup.restore(&place.path("restored"), &Progress::default()).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    assert!(matches!(DataFolder::open(&place.path("restored")), Err(FolderError::Restoring { .. })));
}

#[test]
fn a_restore_that_was_cut_off_is_no_data_folder_and_can_be_begun_again() {
    let place = Place::new();
    place.fill(QUEUE, numbered(0..30, 1000));
    let backup = place.backup();
    let data = place.path("restored");
    // As a killed process leaves it: after the mark, and with a part of the files.
    drop(DataFolder::begin_restore(&data).unwrap());
    fs::create_dir(data.join("log")).unwrap();
    fs::write(data.join("log/0000000000000000.log"), "half").unwrap();
    fs::create_dir(data.join("state-a")).unwrap();
    fs::write(data.join("state-a.writing"), "").unwrap();
    let text = DataFolder::open(&data).unwrap_err().to_string();
    assert!(
        text.contains("is not complete: restoring a backup into it was cut off; run 'warren restore' again")
    );
    assert!(matches!(DataFolder::open_stopped(&data), Err(FolderError::Restoring { .. })));

    let cancelled = Progress::default();
    cancelled.cancel();
    assert!(matches!(backup.restore(&data, &cancelled), Err(RestoreError::Cancelled)));
    assert!(matches!(DataFolder::open(&data), Err(FolderError::Restoring { .. })));
    let (store, restored) = place.restored();
    assert_eq!(contents(&store, &restored, QUEUE), numbered(0..30, 1000));
    assert!(!data.join("restoring").exists());
}

#[test]
fn a_folder_with_data_or_with_a_broker_is_not_restored_into() {
    let place = Place::new();
    let backup = place.backup();
    let refusal = |data: &Path| backup.restore(data, &Progress::default()).unwrap_err().to_string();
    let text = refusal(&place.path("data"));
    assert!(text.contains("holds a broker's data already; name a new folder"), "{text}");
    let folder = DataFolder::open(&place.path("used")).unwrap();
    assert!(refusal(&place.path("used")).contains("is in use by process"));
    drop(folder);
    let text = refusal(&place.path("backup"));
    assert!(text.contains("is not a data folder of Warren"), "{text}");
    assert_eq!(files(&place.path("backup")).len(), 1 + backup.manifest().files.len());
}
