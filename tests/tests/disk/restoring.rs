//! A backup that is restored while the power fails, or while the disk refuses something: what is there afterwards is either everything,
//! or no broker starts on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;
use warren_tests::warren;

use crate::history::{History, NEVER};
use crate::image::{Fate, Image};
use crate::load::{self, Publishing};
use crate::message::Size;
use crate::notes::Notes;
use crate::random::{Random, seed};
use crate::shim::Shim;
use crate::warren::Warren;

const CUTS: usize = 40;

/// Which calls fail, by kind and number.
const CALLS: [&str; 7] = ["create", "mkdir", "write", "sync", "syncfolder", "rename", "unlink"];
const AT: [u32; 3] = [1, 2, 5];

/// A backup, and what is known to be in it.
struct Source {
    place: TempDir,
    notes: Notes,
}

impl Source {
    async fn new() -> Self {
        let source = Self { place: TempDir::new().unwrap(), notes: Notes::default() };
        let data = source.path("source");
        fs::create_dir(&data).unwrap();
        let broker = Warren::run(&data, None, &[]);
        let connection = broker.connect().await;
        load::declare(&connection).await;
        let plan = Publishing { publisher: 1, count: 300, window: 50, size: Size::Mixed };
        load::publish(&connection, &source.notes, plan).await.unwrap();
        let mut backup = warren(&["ctl", "backup", "--data"]);
        let done = backup.arg(&data).arg(source.path("backup")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        broker.kill();
        source
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn restore(&self, data: &Path, shim: &Shim) -> Output {
        fs::create_dir(data).unwrap();
        let mut command = warren(&["restore", "--data"]);
        shim.apply(&mut command, data);
        command.arg(data).arg(self.path("backup")).output().unwrap()
    }

    /// What is wrong with what is left of a restore.
    async fn problems(&self, image: &Image) -> Vec<String> {
        let folder = TempDir::new().unwrap();
        image.write(folder.path());
        let is_complete = image.file("format").is_some();
        let is_untouched = image.files().all(|(name, _)| name == "lock");
        match Warren::start(folder.path(), None, &[]) {
            Ok(broker) if is_complete => {
                self.notes.problems(NEVER, &load::drain(&broker.connect().await).await)
            }
            Ok(_) if is_untouched => Vec::new(),
            Ok(_) => vec!["a broker starts on a part".to_owned()],
            Err(ended) if !is_complete && ended.log.contains("restoring a backup into it was cut off") => {
                Vec::new()
            }
            Err(ended) => vec![format!("warren did not start: {}", ended.log)],
        }
    }
}

#[tokio::test]
async fn a_power_cut_leaves_everything_or_nothing_of_a_restore() {
    let seed = seed();
    println!("WARREN_DISK_SEED={seed}");
    let mut random = Random::new(seed);
    let source = Source::new().await;
    let shim = Shim::recording(&source.path("recording"));
    let done = source.restore(&source.path("new"), &shim);
    assert!(done.status.success(), "{done:?}");
    let history = History::read(None, shim.recording.as_deref().unwrap());
    let replayed = Image::cut(&history, NEVER, Fate::Happened, &mut random);
    assert_eq!(replayed.differences(&Image::of_folder(&source.path("new"))), Vec::<String>::new());
    assert_eq!(source.problems(&replayed).await, Vec::<String>::new());
    let mut begun = 0;
    for number in 0..CUTS {
        let (cut_ns, fate) = (history.moment(&mut random), Fate::random(&mut random));
        let image = Image::cut(&history, cut_ns, fate, &mut random);
        let problems = source.problems(&image).await;
        assert!(problems.is_empty(), "WARREN_DISK_SEED={seed}, image {number}, {fate:?}: {problems:#?}");
        begun += usize::from(image.file("restoring").is_some() && image.files().count() > 2);
    }
    assert!(begun > CUTS / 4, "only {begun} images were of a restore that had begun");
}

#[tokio::test]
async fn a_disk_that_refuses_something_leaves_everything_or_nothing_of_a_restore() {
    let source = Source::new().await;
    let mut failed = 0;
    for calls in CALLS {
        for at in AT {
            let error = if at == 2 { "ENOSPC" } else { "EIO" };
            let rules = format!("calls={calls} at={at} fails={error}");
            let data = source.path(&format!("{calls}-{at}"));
            let shim = Shim { rules: rules.clone(), ..Shim::default() };
            let done = source.restore(&data, &shim);
            let told = String::from_utf8_lossy(&done.stderr);
            if !done.status.success() {
                failed += 1;
                assert!(matches!(done.status.code(), Some(73 | 74)), "{rules}: {} {told}", done.status);
                assert!(told.contains("warren restore: "), "{rules}: {told}");
            }
            let problems = source.problems(&Image::of_folder(&data)).await;
            assert!(problems.is_empty(), "{rules}: {told}: {problems:#?}");
            assert!(!done.status.success() || data.join("format").exists(), "{rules}: {told}");
        }
    }
    assert!(failed >= 8, "only {failed} of these made it fail");
}
