//! [`History`]: what happened to a folder, from a recording, and from which moment on each change is sure to be on the disk.
//!
//! What makes a change durable is only what POSIX promises: data and length of a file, a sync of that file that began after
//! the change had ended; names in a folder, a sync of that folder likewise. Syncing a new file does not save its name.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::random::Random;
use crate::record::{Call, Record};

/// Never, as a time.
pub(crate) const NEVER: u64 = u64::MAX;

/// A file or folder, whatever it is called.
pub(crate) type Node = usize;

/// The folder that is recorded.
pub(crate) const ROOT: Node = 0;

/// Everything that happened, in order.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) names: Vec<NameChange>,
    /// By node.
    pub(crate) nodes: Vec<NodeHistory>,
    pub(crate) end_ns: u64,
}

/// What happened to one file, or that it is a folder.
#[derive(Debug, Default)]
pub(crate) struct NodeHistory {
    pub(crate) is_folder: bool,
    pub(crate) changes: Vec<DataChange>,
    /// Up to which change of data, or of names for a folder, a sync has been noted already.
    synced: usize,
}

/// When a change was made, and since when it is on the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) durable_ns: u64,
}

/// A change to what is in a file.
#[derive(Debug)]
pub(crate) struct DataChange {
    pub(crate) times: Times,
    pub(crate) kind: DataKind,
}

#[derive(Debug)]
pub(crate) enum DataKind {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

/// A change to which names there are; all of it happens or nothing.
#[derive(Debug)]
pub(crate) struct NameChange {
    pub(crate) times: Times,
    pub(crate) entries: Vec<Entry>,
}

/// A name in a folder from now on stands for this node, or none.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) folder: Node,
    pub(crate) name: String,
    pub(crate) node: Option<Node>,
}

impl NameChange {
    /// The folder that has to be synced to make it durable: for a rename the one it leads to.
    fn folder(&self) -> Node {
        self.entries.last().expect("a change changes something").folder
    }
}

impl History {
    /// What happened to a folder that was as `base`, or empty, when the recording began.
    pub(crate) fn read(base: Option<&Path>, recording: &Path) -> Self {
        let bytes = fs::read(recording).expect("a recording can be read");
        let mut rest = bytes.as_slice();
        let mut records = Vec::new();
        while let Some((record, after)) = Record::decode(rest) {
            records.push(record);
            rest = after;
        }
        assert!(!records.is_empty(), "nothing was recorded: the shim was not loaded");
        Self::of(base, records)
    }

    pub(crate) fn of(base: Option<&Path>, records: Vec<Record>) -> Self {
        let mut replay = Replay::default();
        replay.history.nodes.push(NodeHistory { is_folder: true, ..NodeHistory::default() });
        if let Some(base) = base {
            replay.adopt(ROOT, base);
        }
        for record in records {
            replay.replay(record);
        }
        replay.history
    }

    /// Around the beginning or end of some change, or when it became durable: just before or just after.
    pub(crate) fn moment(&self, random: &mut Random) -> u64 {
        let changes = self.names.iter().map(|change| change.times);
        let data = self.nodes.iter().flat_map(|node| node.changes.iter().map(|change| change.times));
        let all: Vec<Times> = changes.chain(data).filter(|times| times.start_ns > 0).collect();
        let times = all[random.index(all.len())];
        let moments = [times.start_ns, times.end_ns, times.durable_ns];
        let moment = moments[random.index(moments.len())].min(self.end_ns);
        moment - 1 + random.below(3)
    }

    fn new_node(&mut self, is_folder: bool) -> Node {
        self.nodes.push(NodeHistory { is_folder, ..NodeHistory::default() });
        self.nodes.len() - 1
    }
}

/// A recording being read.
#[derive(Default)]
struct Replay {
    history: History,
    names: HashMap<(Node, String), Node>,
    /// By the numbers of the process that records now.
    open: HashMap<u32, Node>,
    /// Changes of names not yet synced, by folder.
    unsynced: HashMap<Node, Vec<usize>>,
}

const ALWAYS: Times = Times { start_ns: 0, end_ns: 0, durable_ns: 0 };

impl Replay {
    /// Takes over what was there before the recording, which is on the disk.
    fn adopt(&mut self, folder: Node, path: &Path) {
        for entry in fs::read_dir(path).expect("a folder can be read") {
            let entry = entry.expect("a folder can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().expect("a file has a type").is_dir();
            let node = self.history.new_node(is_folder);
            self.names.insert((folder, name.clone()), node);
            let entries = vec![Entry { folder, name, node: Some(node) }];
            self.history.names.push(NameChange { times: ALWAYS, entries });
            if is_folder {
                self.adopt(node, &entry.path());
            } else {
                let data = fs::read(entry.path()).expect("a file can be read");
                let kind = DataKind::Write { offset: 0, data };
                self.history.nodes[node].changes.push(DataChange { times: ALWAYS, kind });
            }
        }
    }

    fn replay(&mut self, record: Record) {
        let times = Times { start_ns: record.start_ns, end_ns: record.end_ns, durable_ns: NEVER };
        self.history.end_ns = self.history.end_ns.max(record.end_ns);
        match record.call {
            Call::Process { .. } => self.open.clear(),
            Call::Open { file, path, created, truncated } => {
                let node = if created { self.create(times, &path, false) } else { self.node(&path) };
                self.open.insert(file, node);
                if truncated {
                    self.change(file, times, DataKind::Length(0));
                }
            }
            Call::Write { file, offset, data } => self.change(file, times, DataKind::Write { offset, data }),
            Call::Truncate { file, length } => self.change(file, times, DataKind::Length(length)),
            Call::Sync { file } => self.sync(self.open[&file], times),
            Call::Rename { from, to } => self.rename(times, &from, &to),
            Call::Link { from, to } => {
                let node = self.node(&from);
                self.names_changed(times, &[(to.as_str(), Some(node))]);
            }
            Call::Unlink { path } | Call::Rmdir { path } => {
                self.names_changed(times, &[(path.as_str(), None)]);
            }
            Call::Mkdir { path } => {
                if !path.is_empty() {
                    self.create(times, &path, true);
                }
            }
        }
    }

    fn create(&mut self, times: Times, path: &str, is_folder: bool) -> Node {
        let node = self.history.new_node(is_folder);
        self.names_changed(times, &[(path, Some(node))]);
        node
    }

    fn rename(&mut self, times: Times, from: &str, to: &str) {
        let node = self.node(from);
        let (old, new) = (self.place(from), self.place(to));
        // Two names of one file: renaming does nothing then, says POSIX.
        if self.names.get(&new) != Some(&node) || old == new {
            self.names_changed(times, &[(from, None), (to, Some(node))]);
        }
    }

    fn change(&mut self, file: u32, times: Times, kind: DataKind) {
        let node = self.open[&file];
        self.history.nodes[node].changes.push(DataChange { times, kind });
    }

    fn names_changed(&mut self, times: Times, changes: &[(&str, Option<Node>)]) {
        let mut entries = Vec::new();
        for (path, node) in changes {
            let (folder, name) = self.place(path);
            match node {
                Some(node) => self.names.insert((folder, name.clone()), *node),
                None => self.names.remove(&(folder, name.clone())),
            };
            entries.push(Entry { folder, name, node: *node });
        }
        let change = NameChange { times, entries };
        self.unsynced.entry(change.folder()).or_default().push(self.history.names.len());
        self.history.names.push(change);
    }

    /// Everything that had ended when the sync began is durable when it ends.
    fn sync(&mut self, node: Node, sync: Times) {
        let settle = |times: &mut Times| {
            if times.durable_ns == NEVER && times.end_ns <= sync.start_ns {
                times.durable_ns = sync.end_ns;
            }
            times.durable_ns != NEVER
        };
        let file = &mut self.history.nodes[node];
        let from = file.synced;
        let mut all_before = true;
        for (index, change) in file.changes.iter_mut().enumerate().skip(from) {
            all_before &= settle(&mut change.times);
            if all_before {
                file.synced = index + 1;
            }
        }
        if let Some(unsynced) = self.unsynced.get_mut(&node) {
            unsynced.retain(|index| !settle(&mut self.history.names[*index].times));
        }
    }

    fn node(&self, path: &str) -> Node {
        if path.is_empty() {
            return ROOT;
        }
        let place = self.place(path);
        *self.names.get(&place).unwrap_or_else(|| panic!("{path} came from nowhere: the recording has a gap"))
    }

    fn place(&self, path: &str) -> (Node, String) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.node(folder), name.to_owned())
    }
}
