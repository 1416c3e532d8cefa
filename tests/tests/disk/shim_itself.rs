//! The shim and the model of a disk, without a broker: they have to see everything, and to promise no more than a disk does.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use warren_tests::{Program, built};

use crate::history::{History, NEVER};
use crate::image::{Fate, Image};
use crate::random::{Random, seed};
use crate::record::{Call, Record};
use crate::shim::Shim;

fn run_writer(shim: &Shim, folder: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(built("disk-writer"));
    command.arg(arguments[0]).arg(folder).args(&arguments[1..]);
    shim.apply(&mut command, folder);
    Program::start("disk-writer", &mut command).succeed()
}

#[test]
fn what_was_recorded_of_random_changes_is_what_is_in_the_folder() {
    let seed = seed();
    println!("WARREN_DISK_SEED={seed}");
    for round in 0..10 {
        let place = TempDir::new().unwrap();
        let folder = place.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let recording = place.path().join("recording");
        let number = (seed % 1_000_000 + round).to_string();
        run_writer(&Shim::recording(&recording), &folder, &["random", &number, "400"]);
        let history = History::read(None, &recording);
        let replayed = Image::cut(&history, NEVER, Fate::Happened, &mut Random::new(0));
        let differences = replayed.differences(&Image::of_folder(&folder));
        assert_eq!(differences, Vec::<String>::new(), "recorded / in the folder, with {number}");
        // And an image is written as it is thought of.
        let copy = TempDir::new().unwrap();
        replayed.write(copy.path());
        assert_eq!(replayed.differences(&Image::of_folder(copy.path())), Vec::<String>::new());
    }
}

#[test]
fn each_kind_of_call_fails_when_told_to() {
    let kinds = [
        ("create", "create"),
        ("open", "open"),
        ("write", "write"),
        ("truncate", "truncate"),
        ("allocate", "allocate"),
        ("rename", "rename"),
        ("link", "link"),
        ("unlink", "unlink"),
        ("mkdir", "mkdir"),
        ("rmdir", "rmdir"),
        ("sync", "sync"),
        ("syncfolder", "syncfolder"),
        ("range", "range"),
    ];
    for (kind, line) in kinds {
        for (errno, number) in [("EIO", 5), ("ENOSPC", 28)] {
            let place = TempDir::new().unwrap();
            let folder = place.path().join("folder");
            std::fs::create_dir(&folder).unwrap();
            let struck = place.path().join("struck");
            let path = if kind == "open" { "path=file" } else { "" };
            let rules = format!("calls={kind} {path} at=1 fails={errno}");
            let shim = Shim { rules, struck: Some(struck), ..Shim::default() };
            let lines = run_writer(&shim, &folder, &["each"]);
            let told = lines.iter().find_map(|told| told.strip_prefix(&format!("{line}: "))).unwrap();
            assert!(told.ends_with(&format!("(os error {number})")), "{kind}: {told}");
            let failures: Vec<&String> = lines.iter().filter(|line| line.contains("os error")).collect();
            // Removing a folder that could not be made fails as well, as does what needs the file.
            assert!(
                failures.len() == 1 || matches!(kind, "create" | "mkdir" | "rename"),
                "{kind}: {failures:?}"
            );
            assert_eq!(shim.strikes().len(), 1, "{kind}");
        }
    }
}

#[test]
fn short_writes_write_half() {
    let folder = TempDir::new().unwrap();
    let shim = Shim { rules: "calls=write short".to_owned(), ..Shim::default() };
    let lines = run_writer(&shim, folder.path(), &["each"]);
    assert!(lines.contains(&"written: 500".to_owned()), "{lines:?}");
}

fn history(calls: Vec<Call>) -> History {
    let records = (1_u64..).zip(calls).map(|(number, call)| Record {
        start_ns: number * 10,
        end_ns: number * 10 + 5,
        call,
    });
    History::of(None, records.collect())
}

fn open(file: u32, path: &str, created: bool) -> Call {
    Call::Open { file, path: path.to_owned(), created, truncated: false }
}

fn write(file: u32, byte: u8) -> Call {
    Call::Write { file, offset: 0, data: vec![byte; 10_000] }
}

/// What may be on the disk at a moment: every image that came up in many tries.
fn possible<T: Eq + std::hash::Hash>(
    history: &History,
    cut_ns: u64,
    look: impl Fn(&Image) -> T,
) -> HashSet<T> {
    let mut random = Random::new(1);
    (0..2000)
        .map(|_| {
            let fate = Fate::random(&mut random);
            look(&Image::cut(history, cut_ns, fate, &mut random))
        })
        .collect()
}

#[test]
fn a_write_is_sure_to_be_there_only_after_a_sync_that_began_after_it() {
    let history = history(vec![
        open(1, "", false),
        open(2, "f", true),
        Call::Sync { file: 1 },
        write(2, 7),
        Call::Sync { file: 2 },
    ]);
    let look = |image: &Image| {
        let content = image.file("f").expect("its name was synced");
        match (content.iter().all(|byte| *byte == 7), content.len()) {
            (_, 0) => "lost",
            (true, 10_000) => "there",
            (true, _) => "a prefix",
            (false, _) => "with holes",
        }
    };
    assert_eq!(possible(&history, 40, look), HashSet::from(["lost"]), "before it began");
    let unsure = HashSet::from(["lost", "there", "a prefix", "with holes"]);
    assert_eq!(possible(&history, 49, look), unsure, "written");
    assert_eq!(possible(&history, 54, look), unsure, "a sync that has begun promises nothing");
    assert_eq!(possible(&history, 55, look), HashSet::from(["there"]), "synced");
}

#[test]
fn a_name_is_sure_to_be_there_only_after_its_folder_was_synced() {
    let history = history(vec![
        open(1, "", false),
        open(2, "f", true),
        write(2, 7),
        Call::Sync { file: 2 },
        Call::Rename { from: "f".to_owned(), to: "g".to_owned() },
        Call::Sync { file: 1 },
        Call::Unlink { path: "g".to_owned() },
    ]);
    let look = |image: &Image| match (image.file("f"), image.file("g")) {
        (None, None) => "neither",
        (Some(content), None) if content.len() == 10_000 => "f",
        (None, Some(content)) if content.len() == 10_000 => "g",
        _ => "broken",
    };
    assert_eq!(possible(&history, 46, look), HashSet::from(["neither", "f"]));
    assert_eq!(possible(&history, 58, look), HashSet::from(["neither", "f", "g"]));
    assert_eq!(possible(&history, 66, look), HashSet::from(["g"]));
    assert_eq!(possible(&history, 100, look), HashSet::from(["g", "neither"]));
}
