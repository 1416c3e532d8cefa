//! Damaged files: flipped bits and zeroed pages in each file of a data folder. Only what was hit is lost, the log names it,
//! and what was damaged is set aside.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::history::NEVER;
use crate::image::Image;
use crate::load::{self, Publishing};
use crate::message::{Id, Size, body};
use crate::notes::Notes;
use crate::random::{Random, seed};
use crate::warren::{Ended, Warren};

const PAGE: usize = 4096;

/// Trials run at the same time.
const THREADS: usize = 3;

/// In front of a body in the log stand its message's properties and where it was published to.
const BEFORE_BODY: usize = 256;

/// A data folder and what must be in it.
struct Folder {
    name: &'static str,
    image: Image,
    notes: Notes,
}

const SIZE: Size = Size::Mixed;
const WINDOW: usize = 8;

/// How the last broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
}

/// Two lives of a broker.
async fn folder(name: &'static str, end: End) -> Folder {
    let data = TempDir::new().unwrap();
    let notes = Notes::default();
    for publisher in [1, 2] {
        let warren = Warren::run(data.path(), None, &[]);
        let connection = warren.connect().await;
        load::declare(&connection).await;
        let plan = Publishing { publisher, count: 300, window: WINDOW, size: SIZE };
        load::publish(&connection, &notes, plan).await.unwrap();
        if end == End::Stopped {
            load::take(&connection, &notes, 0, 20).await;
            assert!(warren.stop().status.success());
        } else {
            warren.kill();
        }
    }
    Folder { name, image: Image::of_folder(data.path()), notes }
}

/// One kind of damage at one place.
#[derive(Clone, Copy)]
struct Damage<'a> {
    folder: &'a Folder,
    path: &'a str,
    hit: Hit,
}

#[derive(Clone, Copy, Debug)]
enum Hit {
    Bit { at: usize, bit: u8 },
    Page { at: usize },
}

impl Hit {
    fn range(self, length: usize) -> Range<usize> {
        match self {
            Self::Bit { at, .. } => at..at + 1,
            Self::Page { at } => at..(at + PAGE).min(length),
        }
    }

    fn apply(self, bytes: &mut [u8]) {
        let range = self.range(bytes.len());
        match self {
            Self::Bit { at, bit } => bytes[at] ^= 1 << bit,
            Self::Page { .. } => bytes[range].fill(0),
        }
    }
}

impl fmt::Display for Damage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} of {}", self.folder.name, self.hit, self.path)
    }
}

impl Damage<'_> {
    fn bytes(&self) -> &[u8] {
        self.folder.image.file(self.path).expect("the file is there")
    }

    /// Starts a broker on the damaged folder, and says what is not as it should be.
    fn try_out(&self) -> Result<(), String> {
        let data = TempDir::new().unwrap();
        let image = self.folder.image.with(self.path, |bytes| self.hit.apply(bytes));
        image.write(data.path());
        let warren = match Warren::start(data.path(), None, &[]) {
            Ok(warren) => warren,
            Err(ended) => return self.check_refusal(&ended),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let queues = runtime.block_on(async { load::drain(&warren.connect().await).await });
        let review = self.folder.notes.review(NEVER, &queues);
        let log = warren.log();
        if !review.wrong.is_empty() {
            return Err(format!("{:#?}\n{log}", review.wrong));
        }
        let may_be_lost = self.bodies_hit(&review.lost.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        let lost: Vec<_> = review.lost.iter().filter(|(_, id)| !may_be_lost.contains(id)).collect();
        if !lost.is_empty() {
            return Err(format!(
                "{} messages are lost that were not hit, as {:?}\n{log}",
                lost.len(),
                lost[0]
            ));
        }
        if !review.lost.is_empty() {
            // What is set aside is called as the file with the place in it.
            let name = Path::new(self.path).file_stem().unwrap().to_string_lossy();
            if !log.contains(&*name) || !log.contains("damaged") {
                return Err(format!("{:?} are lost, and the log does not say so:\n{log}", review.lost));
            }
            if std::fs::read_dir(data.path().join("damaged"))
                .map_or(true, |mut entries| entries.next().is_none())
            {
                return Err(format!("{:?} are lost and not set aside\n{log}", review.lost));
            }
        }
        Ok(())
    }

    /// A broker may refuse a format that it cannot read, if it says which file that is; nothing else.
    fn check_refusal(&self, ended: &Ended) -> Result<(), String> {
        let is_said = ended.log.contains("format") && ended.status.code().is_some_and(|code| code != 0);
        if self.path == "format" && is_said {
            return Ok(());
        }
        Err(format!("it does not start: {}\n{}", ended.status, ended.log))
    }

    /// Which of these messages lie where the damage is.
    fn bodies_hit(&self, ids: &[Id]) -> Vec<Id> {
        let (bytes, hit) = (self.bytes(), self.hit.range(self.bytes().len()));
        let is_hit = |id: &Id| {
            let body = body(*id, SIZE);
            let near =
                hit.start.saturating_sub(body.len())..(hit.end + BEFORE_BODY + body.len()).min(bytes.len());
            let found = bytes[near.clone()].windows(body.len()).position(|window| window == body);
            found.is_some_and(|at| {
                let body = near.start + at..near.start + at + body.len();
                body.start.saturating_sub(BEFORE_BODY) < hit.end && hit.start < body.end
            })
        };
        ids.iter().copied().filter(is_hit).collect()
    }
}

/// Damage to all files of a folder.
fn damages<'a>(folder: &'a Folder, random: &mut Random) -> Vec<Damage<'a>> {
    let mut damages = Vec::new();
    for (path, bytes) in folder.image.files().filter(|(_, bytes)| !bytes.is_empty()) {
        let is_log = path.starts_with("log/");
        let mut add = |hit| damages.push(Damage { folder, path, hit });
        let bits = if is_log { 25 } else { 5 };
        // The beginning of a file, where most formats have what everything else depends on, and anywhere.
        for at in (0..3).map(|_| random.index(bytes.len().min(32))).collect::<Vec<_>>() {
            add(Hit::Bit { at, bit: 3 });
        }
        for _ in 0..bits {
            let bit = u8::try_from(random.below(8)).unwrap();
            add(Hit::Bit { at: random.index(bytes.len()), bit });
        }
        // What follows from a lost page of a log that no state was written for yet is more than messages.
        if !is_log || folder.image.files().any(|(path, _)| path.starts_with("state-a/")) {
            add(Hit::Page { at: 0 });
            for _ in 0..5 {
                add(Hit::Page { at: random.index(bytes.len()) / PAGE * PAGE });
            }
        }
    }
    damages
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_costs_only_what_it_hits() {
    let seed = seed();
    println!("WARREN_DISK_SEED={seed}");
    let mut random = Random::new(seed);
    let folders = [folder("stopped", End::Stopped).await, folder("killed", End::Killed).await];
    let damages: Vec<Damage<'_>> = folders.iter().flat_map(|folder| damages(folder, &mut random)).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = damage.try_out() {
                        println!("{damage}: {failure}");
                        failures.lock().unwrap().push(damage.to_string());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}: {failures:#?}", failures.len(), damages.len());
}
