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

pub use report::CheckReport;
pub use stats::Stats;

use self::copies::{CopyAt, read_copies};
use self::words::QueueNames;
use super::LOG_FOLDER;
use super::damage::Damage;
use super::folder::DataFolder;
use super::log::segment::SegmentId;
use super::recovery::{Purpose, Replayed, list_segments, replay};
use crate::engine::definitions::{self, Loaded};

/// Verifies every checksum, reference and count in the folder.
///
/// # Errors
///
/// If files cannot be read. Damaged ones are no error but what the report is about.
pub fn check(folder: &DataFolder) -> io::Result<CheckReport> {
    let found = Found::read(folder)?;
    let mut report = CheckReport::default();
    state_check::check(folder.path(), &found, &mut report)?;
    log_check::check(folder.path(), &found, &mut report)?;
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
        let log = folder.path().join(LOG_FOLDER);
        let segments = list_segments(&log).map_err(io::Error::other)?;
        let (copies, whole) = read_copies(folder.path())?;
        let state = replay(log, whole, &Damage::only_counted(), Purpose::Look).map_err(io::Error::other)?;
        let definitions = definitions::load(&state.definitions);
        let names = QueueNames::of_definitions(&definitions);
        Ok(Self { copies, state, segments, definitions, names })
    }
}

#[cfg(test)]
mod tests;
