//! Looking into a data folder that no broker uses: whether it is sound, and how much of what there is.
//!
//! Nothing in the folder changes: the copies of the state, which sled writes to when it opens them, are read from copies
//! outside of it, and what is damaged stays where it is. The log is replayed by the same code as at a start, so that what
//! is said of a start is what it would do. Called by `warren data`.

mod copies;
mod live;
mod log_check;
mod log_scan;
mod report;
mod state_check;
mod stats;
mod words;

use std::io;
use std::path::Path;

pub use report::CheckReport;
pub use stats::Stats;

use self::copies::{CopyAt, read_copies};
use self::words::QueueNames;
use super::LOG_FOLDER;
use super::checkpoint::Snapshot;
use super::damage::Damage;
use super::folder::DataFolder;
use super::log::segment::SegmentId;
use super::recovery::{Copy, Purpose, Replayed, list_segments, replay};
use crate::engine::definitions::{self, Loaded};

/// Verifies every checksum, reference and count in the folder.
///
/// # Errors
///
/// If files cannot be read. Damaged ones are no error but what the report is about.
pub fn check(folder: &DataFolder) -> io::Result<CheckReport> {
    report(folder.path(), &Found::read(folder)?)
}

/// The same for the folder of a backup, whose state is `snapshot`.
///
/// # Errors
///
/// If files cannot be read.
pub(super) fn check_backup(folder: &Path, snapshot: Snapshot) -> io::Result<CheckReport> {
    let Some(index) = snapshot.index() else {
        let mut report = CheckReport::default();
        report.harmless("the state has an entry that makes no sense".to_owned());
        return Ok(report);
    };
    let copies = copies::of_backup(&snapshot);
    report(folder, &Found::of(folder, copies, [Some((snapshot, index)), None])?)
}

fn report(folder: &Path, found: &Found) -> io::Result<CheckReport> {
    let mut report = CheckReport::default();
    state_check::check(folder, found, &mut report)?;
    log_check::check(folder, found, &mut report)?;
    Ok(report)
}

/// Counts what is in the folder. Bodies are not read, and nothing is verified that need not be.
///
/// # Errors
///
/// If files cannot be read.
pub fn stats(folder: &DataFolder) -> io::Result<Stats> {
    stats::of(folder.path(), &Found::read(folder)?)
}

/// What a start would find.
struct Found {
    copies: [CopyAt; 2],
    /// With everything that the log ought to hold.
    state: Replayed,
    segments: Vec<(SegmentId, u64)>,
    definitions: Loaded,
    names: QueueNames,
}

impl Found {
    fn read(folder: &DataFolder) -> io::Result<Self> {
        let (copies, whole) = read_copies(folder.path())?;
        Self::of(folder.path(), copies, whole)
    }

    fn of(folder: &Path, copies: [CopyAt; 2], whole: [Copy; 2]) -> io::Result<Self> {
        let log = folder.join(LOG_FOLDER);
        let segments = list_segments(&log).map_err(io::Error::other)?;
        let state = replay(log, whole, &Damage::only_counted(), Purpose::Look).map_err(io::Error::other)?;
        let definitions = definitions::load(&state.definitions);
        let names = QueueNames::of_definitions(&definitions);
        Ok(Self { copies, state, segments, definitions, names })
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
