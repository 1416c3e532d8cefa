//! Checking what is not the log: the copies of the state, definitions, and which queues the index names.

use std::fs;
use std::io;
use std::path::Path;

use super::Found;
use super::copies::CopyState;
use super::report::CheckReport;
use super::words::{counted, size};
use crate::store::DAMAGED_FOLDER;

/// Enters what is wrong with the state.
pub(super) fn check(data: &Path, found: &Found, report: &mut CheckReport) -> io::Result<()> {
    copies(found, report);
    definitions(found, report);
    queues(found, report);
    let (files, bytes) = contents(&data.join(DAMAGED_FOLDER))?;
    if files > 0 {
        let held = counted(files, "file");
        report.note(format!("{DAMAGED_FOLDER}/ holds {held}, {}, set aside at earlier starts", size(bytes)));
    }
    Ok(())
}

fn copies(found: &Found, report: &mut CheckReport) {
    let newest = found.copies.iter().filter_map(super::copies::CopyAt::position).max();
    let instead = match newest {
        Some(_) => "takes the other copy and the log instead and loses no message by it",
        None => "rebuilds the state from what there is of the log",
    };
    let first_segment = found.segments.first().map_or(0, |(id, _)| id.0);
    for copy in &found.copies {
        let name = copy.name;
        match &copy.found {
            CopyState::Missing | CopyState::Whole { .. } => {}
            CopyState::Newer(reason) => report.harmless(format!(
                "{name}: {reason}; start the version of Warren that wrote it, for this one refuses to start"
            )),
            CopyState::Damaged(reason) => {
                report.harmless(format!("{name}: {reason}; a start sets it aside, {instead}"));
            }
            CopyState::Incomplete => {
                report.note(format!("{name}: the broker was ended while it wrote this; a start {instead}"));
            }
        }
        if copy.blobs > 0 {
            let blobs = counted(copy.blobs as u64, "value");
            report.note(format!(
                "{name} keeps {blobs} in files of their own, which the summary of {name} covers"
            ));
        }
    }
    if newest.is_none() && first_segment > 0 {
        report.harmless(
            "there is no whole copy of the state, and the log's first files were removed when there was one; a start knows only \
             what the rest of the log says: definitions and messages from before are lost, and messages may return that were \
             acknowledged"
                .to_owned(),
        );
    }
}

fn definitions(found: &Found, report: &mut CheckReport) {
    for unreadable in &found.definitions.unreadable {
        report.harmless(format!("{}; a start leaves it out", unreadable.error));
    }
}

fn queues(found: &Found, report: &mut CheckReport) {
    let mut queues: Vec<_> = found.state.index.queues().collect();
    queues.sort_unstable_by_key(|(id, _)| *id);
    for (id, queue) in queues {
        let live = queue.live_in(0, u64::MAX);
        let name = found.names.of(id);
        if live > 0 && !found.names.is_defined(id) {
            let messages = counted(live, "message");
            report.forgotten(
                format!(
                    "there are {messages} of queue {}, which nothing defines; a start forgets them",
                    id.0
                ),
                live,
            );
        }
        let last = queue.durable.extents().next_back().map(|extent| extent.last);
        if last > queue.highest {
            report.harmless(format!(
                "the state holds message {} of {name} and says that numbers go on after {}; a start would use numbers twice",
                last.unwrap_or_default(),
                queue.highest.map_or("none".to_owned(), |seq| seq.to_string())
            ));
        }
    }
}

/// How many files are in a folder and those below it, and how large they are; none if there is no such folder.
pub(super) fn contents(folder: &Path) -> io::Result<(u64, u64)> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more_files, more_bytes) = contents(&entry.path())?;
            (files, bytes) = (files + more_files, bytes + more_bytes);
        } else {
            (files, bytes) = (files + 1, bytes + entry.metadata()?.len());
        }
    }
    Ok((files, bytes))
}
