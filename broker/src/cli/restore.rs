//! `warren restore`: checks a backup, and makes a data folder of it.
//!
//! It shows how that gets on and maps what goes wrong to exit codes; the rest is the store's part. `cli.rs` calls it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use warren::config::Data;
use warren::store::backup::{Backup, Progress, RestoreError};
use warren::store::inspect::CheckReport;

use crate::progress_bar;

/// The backup is none, damaged, or of a later version; as in `sysexits.h`.
const EXIT_DATA: u8 = 65;

/// The data folder cannot be used.
const EXIT_FOLDER: u8 = 73;

/// A file cannot be read or written.
const EXIT_IO: u8 = 74;

/// How often the bar moves.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The folder that 'warren ctl backup' made
    backup: PathBuf,
    /// Only check the backup: exit code 0 when it is sound, else 65
    #[arg(long)]
    check: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Restores to the data folder of the configuration.
pub(super) fn run(args: &RestoreArgs, data: &Data) -> ExitCode {
    let folder = match (&data.folder, args.check) {
        (_, true) => None,
        (Some(folder), false) => Some(folder),
        (None, false) => {
            eprintln!("warren restore: no data folder is configured; name one with --data");
            return ExitCode::from(EXIT_FOLDER);
        }
    };
    match restore(args, folder) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_DATA),
        Err(error) => {
            eprintln!("warren restore: {error}");
            ExitCode::from(match error {
                RestoreError::NoBackup { .. } | RestoreError::Newer { .. } | RestoreError::Damaged { .. } => {
                    EXIT_DATA
                }
                RestoreError::Folder(_) => EXIT_FOLDER,
                _ => EXIT_IO,
            })
        }
    }
}

/// Whether what is there now is sound.
fn restore(args: &RestoreArgs, data: Option<&PathBuf>) -> Result<bool, RestoreError> {
    let backup = Backup::open(&args.backup)?;
    let progress = Progress::default();
    shown("checking", &progress, || backup.verify(&progress))?;
    let report = match data {
        None => backup.check()?,
        Some(data) => shown("restoring", &progress, || backup.restore(data, &progress))?,
    };
    super::print(&if args.json { in_json(&backup, data, &report) } else { in_words(&backup, data, &report) });
    if !report.is_sound() {
        // The backup is what it was when it was made.
        eprintln!("warren restore: the data folder was damaged already when the backup was made of it");
    }
    Ok(report.is_sound())
}

fn in_words(backup: &Backup, data: Option<&PathBuf>, report: &CheckReport) -> String {
    let manifest = backup.manifest();
    let (version, messages, size) = (&manifest.warren, manifest.messages, HumanBytes(manifest.bytes()));
    let made = format!("backup of Warren {version} with {messages} messages, {size}: complete and unchanged");
    let restored = data.map_or_else(String::new, |data| format!("restored to {}\n", data.display()));
    format!("{made}\n{restored}{report}")
}

fn in_json(backup: &Backup, data: Option<&PathBuf>, report: &CheckReport) -> String {
    let manifest = backup.manifest();
    let found = json!({
        "warren": manifest.warren,
        "begun_ms": manifest.begun_ms,
        "messages": manifest.messages,
        "bytes": manifest.bytes(),
        "restored_to": data.map(|data| data.to_string_lossy()),
        "sound": report.is_sound(),
        "damage": report.damage(),
    });
    format!("{found}\n")
}

/// Does long work and shows how it gets on.
fn shown<T: Send>(what: &'static str, progress: &Progress, work: impl FnOnce() -> T + Send) -> T {
    let bar = progress_bar::of_bytes(what);
    let done = thread::scope(|scope| {
        let work = scope.spawn(work);
        while !work.is_finished() {
            let (done_bytes, total_bytes) = progress.bytes();
            bar.set_length(total_bytes);
            bar.set_position(done_bytes);
            thread::sleep(LOOK_INTERVAL);
        }
        work.join()
    });
    bar.finish_and_clear();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
