//! Folders to look into, made by a store and damaged afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::QueueId;
use crate::engine::definitions::{Definition, QueueNotes};
use crate::engine::queue::{QueueDeclare, QueueOptions, Seq};
use crate::store::checkpoint::{self, COPIES, Checkpoints, Snapshot};
use crate::store::core::Core;
use crate::store::damage::Damage;
use crate::store::folder::DataFolder;
use crate::store::index::Index;
use crate::store::inspect::{CheckReport, check, stats};
use crate::store::{Kept, LOG_FOLDER, LogStore, Store as _, SyncMode};
use crate::wire::message::Message;

pub(super) const ORDERS: QueueId = QueueId(7);

/// A data folder, and where.
pub(super) struct Folder {
    pub(super) root: tempfile::TempDir,
    pub(super) data: PathBuf,
}

impl Folder {
    /// A folder in which queue `orders` holds messages 0 to 9 of 1000 bytes each, one to a frame, and 3 is settled.
    pub(super) fn with_orders() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Self { data: root.path().join("data"), root };
        folder.change(|store| {
            define(store, ORDERS, "orders");
            // In a commit of its own.
            let defined = store.current();
            while store.durable() < defined {
                thread::yield_now();
            }
            (0..10).for_each(|seq| append(store, ORDERS, seq));
            store.settle(ORDERS, &[Seq(3)]);
        });
        folder
    }

    /// Runs a store in it and closes it.
    pub(super) fn change(&self, work: impl FnOnce(&LogStore)) {
        let folder = DataFolder::open(&self.data).unwrap();
        let (store, _) = LogStore::open(folder.path(), SyncMode::Always).unwrap();
        store.on_durable(Box::new(|_| {}));
        work(&store);
        store.close().unwrap();
    }

    /// Runs a store in it and goes on with what a killed one would leave.
    pub(super) fn change_and_crash(&mut self, work: impl FnOnce(&LogStore)) {
        let crashed = tempfile::tempdir_in(self.root.path()).unwrap().keep().join("data");
        let data = self.data.clone();
        self.change(|store| {
            work(store);
            copy(&data, &crashed);
        });
        self.data = crashed;
    }

    pub(super) fn files(&self, name: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.data.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The path of a segment, and its bytes.
    pub(super) fn segment(&self, place: usize) -> (PathBuf, Vec<u8>) {
        let path = self.files(LOG_FOLDER)[place].clone();
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    /// Changes the bytes of a segment.
    pub(super) fn damage(&self, place: usize, damage: impl FnOnce(&mut Vec<u8>)) {
        let (path, mut bytes) = self.segment(place);
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// Checks the folder, which must not change by it.
    pub(super) fn check(&self) -> CheckReport {
        let folder = DataFolder::open_stopped(&self.data).unwrap();
        let before = tree(&self.data);
        let report = check(&folder).unwrap();
        assert!(tree(&self.data) == before, "the check changed the folder");
        report
    }

    /// The one line of damage, which must not take anything else with it.
    pub(super) fn one_finding(&self) -> String {
        let report = self.check();
        assert_eq!(report.damage().len(), 1, "{report}");
        report.damage()[0].clone()
    }

    pub(super) fn stats(&self) -> String {
        let folder = DataFolder::open_stopped(&self.data).unwrap();
        let before = tree(&self.data);
        let stats = stats(&folder).unwrap().to_string();
        assert!(tree(&self.data) == before, "the look at it changed the folder");
        stats
    }

    /// Writes a changed state into both copies.
    pub(super) fn change_state(&self, change: impl Fn(&mut Vec<(Vec<u8>, Vec<u8>)>)) {
        let mut found = [0, 1].map(|copy: usize| checkpoint::read(&self.data.join(COPIES[copy])).unwrap());
        let positions = found.each_ref().map(|copy| copy.as_ref().map(|copy| (copy.sequence, copy.position)));
        found.sort_by_key(|copy| copy.as_ref().map(|copy| copy.sequence));
        let mut newest = found[1].take().unwrap();
        change(&mut newest.entries);
        newest.entries.sort();
        let mut checkpoints = Checkpoints::new(&self.data, positions);
        let core = Core::new(self.data.join(LOG_FOLDER), Index::default(), Damage::only_counted());
        for _ in 0..2 {
            let entries = newest.entries.clone();
            checkpoints.write_now(Snapshot { sequence: 0, position: newest.position, entries }, &[], &core);
        }
    }
}

pub(in crate::store) fn define(store: &LogStore, id: QueueId, name: &str) {
    let declare = QueueDeclare { name: name.into(), durable: true, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    let definition = Definition::Queue { id, options, notes: QueueNotes::default() };
    store.define(definition.key(), Some(definition.value()));
}

pub(super) fn body(seq: u64) -> Vec<u8> {
    vec![b'A' + u8::try_from(seq % 100).unwrap(); 1000]
}

/// Appends one message in a commit of its own.
pub(super) fn append(store: &LogStore, queue: QueueId, seq: u64) {
    let message = Message::new("exchange", "key", &[0, 0], true, &body(seq));
    let epoch = store.append(queue, Kept::Durably, &mut vec![(Seq(seq), message)]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.durable() < epoch {
        assert!(Instant::now() < deadline, "message {seq} never became durable");
        thread::yield_now();
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // A checkpoint may just be replacing its files.
            drop(fs::copy(entry.path(), target));
        }
    }
}

/// All names in a folder, and the bytes of its files.
pub(super) fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// Where a message's body begins in a segment.
pub(super) fn body_at(bytes: &[u8], seq: u64) -> usize {
    bytes.windows(1000).position(|window| window == body(seq)).unwrap()
}

/// Where the frames of a segment begin: behind the first, which the definition is in.
pub(super) fn frames(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, window)| *window == b"WfrH").map(|(at, _)| at).collect()
}
