//! [`Image`]: what a disk may hold after the power failed at some moment.
//!
//! Of what was not durable by then, anything may be there or not: a write applied, lost, or torn (some of its beginning, some
//! of its sectors, or only the length it gave the file), a length set or not, a name changed or not. A rename happens as a
//! whole. Changes of one name, or of the names of one file, keep their order, as they do in every file system; nothing else does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::history::{DataChange, DataKind, History, NameChange, Node, ROOT, Times};
use crate::random::Random;

/// A folder's files and folders by path; folders have no content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    entries: BTreeMap<String, Option<Vec<u8>>>,
}

/// What becomes of changes that are not durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// All are lost.
    Lost,
    /// All happened.
    Happened,
    /// Names as they were at some moment before, as journals keep them; data at random.
    Journal(Chances),
    /// Everything at random.
    Chance(Chances),
}

/// In percent; what is neither is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chances {
    happens: u64,
    torn: u64,
}

impl Fate {
    pub(crate) fn random(random: &mut Random) -> Self {
        let happens = random.below(101);
        let chances = Chances { happens, torn: random.below(101 - happens) };
        match random.below(10) {
            0 => Self::Lost,
            1 => Self::Happened,
            2..5 => Self::Journal(chances),
            _ => Self::Chance(chances),
        }
    }
}

impl Image {
    /// What the disk may hold if the power failed at `cut_ns`.
    pub(crate) fn cut(history: &History, cut_ns: u64, fate: Fate, random: &mut Random) -> Self {
        let names = surviving_names(history, cut_ns, fate, random);
        let mut contents: HashMap<Node, Vec<u8>> = HashMap::new();
        let mut image = Self::default();
        let mut folders = vec![(ROOT, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for ((_, name), node) in
                names.range((folder, String::new())..).take_while(|((of, _), _)| *of == folder)
            {
                let path = format!("{prefix}{name}");
                if history.nodes[*node].is_folder {
                    folders.push((*node, format!("{path}/")));
                    image.entries.insert(path, None);
                } else {
                    let changes = &history.nodes[*node].changes;
                    let content =
                        contents.entry(*node).or_insert_with(|| content(changes, cut_ns, fate, random));
                    image.entries.insert(path, Some(content.clone()));
                }
            }
        }
        image
    }

    /// What is in a folder.
    pub(crate) fn of_folder(path: &Path) -> Self {
        let mut image = Self::default();
        image.add(path, "");
        image
    }

    fn add(&mut self, path: &Path, prefix: &str) {
        for entry in fs::read_dir(path).expect("a folder can be read") {
            let entry = entry.expect("a folder can be read");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{name}/"));
                self.entries.insert(name, None);
            } else if kind.is_file() {
                // A killed broker leaves its socket, which has no content.
                self.entries.insert(name, Some(fs::read(entry.path()).expect("a file can be read")));
            }
        }
    }

    /// Writes it to an empty folder.
    pub(crate) fn write(&self, folder: &Path) {
        // Folders come before what is in them, as their paths are shorter.
        for (path, content) in &self.entries {
            let path = folder.join(path);
            match content {
                None => fs::create_dir(path).expect("a folder can be made"),
                Some(content) => write_sparse(&path, content),
            }
        }
    }

    /// Paths that are in one of two images only, or differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let paths: HashSet<&String> = self.entries.keys().chain(other.entries.keys()).collect();
        let describe = |image: &Self, path: &String| match image.entries.get(path) {
            None => "absent".to_owned(),
            Some(None) => "a folder".to_owned(),
            Some(Some(content)) => format!("{} bytes", content.len()),
        };
        let mut differences: Vec<String> = paths
            .into_iter()
            .filter(|path| self.entries.get(*path) != other.entries.get(*path))
            .map(|path| format!("{path}: {} / {}", describe(self, path), describe(other, path)))
            .collect();
        differences.sort();
        differences
    }

    /// All files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().filter_map(|(path, content)| Some((path.as_str(), content.as_deref()?)))
    }

    /// The same with some bytes of a file changed.
    pub(crate) fn with(&self, path: &str, change: impl FnOnce(&mut [u8])) -> Self {
        let mut entries = self.entries.clone();
        change(entries.get_mut(path).expect("the file is there").as_mut().expect("it is a file"));
        Self { entries }
    }

    /// What a file holds.
    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        self.entries.get(path)?.as_deref()
    }
}

/// Without writing zeros, of which segments made in advance have many.
fn write_sparse(path: &Path, content: &[u8]) {
    let file = File::create(path).expect("a file can be made");
    file.set_len(u64::try_from(content.len()).unwrap()).expect("a length can be set");
    for (number, page) in (0_u64..).zip(content.chunks(1 << 16)) {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, number << 16).expect("a file can be written");
        }
    }
}

fn surviving_names(
    history: &History,
    cut_ns: u64,
    fate: Fate,
    random: &mut Random,
) -> BTreeMap<(Node, String), Node> {
    let began: Vec<&NameChange> =
        history.names.iter().filter(|change| change.times.start_ns < cut_ns).collect();
    // How many survive if the fate is a journal's.
    let unsure = began.iter().filter(|change| change.times.durable_ns > cut_ns).count();
    let mut journal = random.index(unsure + 1);
    let mut lost = Lost::default();
    let mut names = BTreeMap::new();
    for change in began {
        let happens = change.times.durable_ns <= cut_ns
            || match fate {
                Fate::Lost => false,
                Fate::Happened => true,
                Fate::Journal(_) => {
                    let is_in_time = journal > 0;
                    journal = journal.saturating_sub(1);
                    is_in_time
                }
                Fate::Chance(chances) => random.percent(chances.happens) && !lost.concerns(change, &names),
            };
        if happens {
            for entry in &change.entries {
                let place = (entry.folder, entry.name.clone());
                match entry.node {
                    Some(node) => names.insert(place, node),
                    None => names.remove(&place),
                };
            }
        } else {
            lost.note(change, &names);
        }
    }
    names
}

/// Names and nodes of which a change was lost: later ones are, too, unless they are durable.
#[derive(Default)]
struct Lost {
    places: HashSet<(Node, String)>,
    nodes: HashSet<Node>,
}

impl Lost {
    fn concerns(&self, change: &NameChange, names: &BTreeMap<(Node, String), Node>) -> bool {
        Self::touched(change, names).any(|(place, node)| {
            self.places.contains(&place) || node.is_some_and(|node| self.nodes.contains(&node))
        })
    }

    fn note(&mut self, change: &NameChange, names: &BTreeMap<(Node, String), Node>) {
        for (place, node) in Self::touched(change, names) {
            self.places.insert(place);
            self.nodes.extend(node);
        }
    }

    /// The names a change is about, and what they stand for before it or after it.
    fn touched<'a>(
        change: &'a NameChange,
        names: &'a BTreeMap<(Node, String), Node>,
    ) -> impl Iterator<Item = ((Node, String), Option<Node>)> + 'a {
        change.entries.iter().map(|entry| {
            let place = (entry.folder, entry.name.clone());
            let node = entry.node.or_else(|| names.get(&place).copied());
            (place, node)
        })
    }
}

fn content(changes: &[DataChange], cut_ns: u64, fate: Fate, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in changes.iter().filter(|change| change.times.start_ns < cut_ns) {
        match &change.kind {
            DataKind::Length(length) => {
                if happens(change.times, cut_ns, fate, random) {
                    bytes.resize(usize::try_from(*length).unwrap(), 0);
                }
            }
            DataKind::Write { offset, data } => {
                let offset = usize::try_from(*offset).unwrap();
                if happens(change.times, cut_ns, fate, random) {
                    put(&mut bytes, offset, data);
                } else if let Fate::Journal(chances) | Fate::Chance(chances) = fate
                    && random.below(100 - chances.happens + 1) < chances.torn
                {
                    tear(&mut bytes, offset, data, random);
                }
            }
        }
    }
    bytes
}

fn happens(times: Times, cut_ns: u64, fate: Fate, random: &mut Random) -> bool {
    times.durable_ns <= cut_ns
        || match fate {
            Fate::Lost => false,
            Fate::Happened => true,
            Fate::Journal(chances) | Fate::Chance(chances) => random.percent(chances.happens),
        }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// Some of a write.
fn tear(bytes: &mut Vec<u8>, offset: usize, data: &[u8], random: &mut Random) {
    let sector = match random.below(4) {
        0 => return put(bytes, offset, &data[..random.index(data.len() + 1)]),
        1 => data.len() + offset + 1,
        2 => 512,
        _ => 4096,
    };
    // The file's length is written apart from the data, so it may have grown already.
    if random.percent(50) && bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    if sector > data.len() + offset {
        return;
    }
    let chance = random.below(101);
    let mut start = 0;
    while start < data.len() {
        // Sectors are those of the file, not of the write.
        let end = (start + sector - (offset + start) % sector).min(data.len());
        if random.percent(chance) {
            put(bytes, offset + start, &data[start..end]);
        }
        start = end;
    }
}
