//! Checkpoints: what the log has come to at some position, so that a start reads only what follows.
//!
//! Two sled databases are written in turn. While one is written the other is complete, synced and left alone, so that no
//! crash in the middle, and no damage to one of them, leaves the broker without a state to start from: it takes the newer one
//! that is whole, and replays the log from there. Segments stay until both are past them.

mod copy;
mod snapshot;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::core::Core;
use super::events::StoreEvent;

pub(super) use copy::{CopyError, make_last, marker, read, write as write_copy};
pub(super) use snapshot::{Position, Snapshot};

/// How long to wait after a checkpoint that failed: the disk may be full for a while.
const RETRY: Duration = Duration::from_secs(10);

/// The folders of the two copies, below the data folder.
pub(super) const COPIES: [&str; 2] = ["state-a", "state-b"];

/// Writes checkpoints, one at a time, on a thread of their own.
#[derive(Debug)]
pub(super) struct Checkpoints {
    folders: [PathBuf; 2],
    /// What each copy covers.
    positions: [Position; 2],
    sequence: u64,
    /// The copy that is written next: the older one.
    next: usize,
    running: Option<(Position, JoinHandle<io::Result<()>>)>,
    failed: Option<Instant>,
}

impl Checkpoints {
    /// Goes on after the copies that were found: for each the sequence number and position if it is whole.
    pub(super) fn new(data: &Path, found: [Option<(u64, Position)>; 2]) -> Self {
        let sequence = |copy: usize| found[copy].map_or(0, |(sequence, _)| sequence);
        Self {
            folders: COPIES.map(|name| data.join(name)),
            positions: found.map(|copy| copy.map_or(Position::default(), |(_, position)| position)),
            sequence: sequence(0).max(sequence(1)),
            next: usize::from(sequence(1) < sequence(0)),
            running: None,
            failed: None,
        }
    }

    /// Up to where both copies cover the log.
    pub(super) fn covered(&self) -> Position {
        self.positions[0].min(self.positions[1])
    }

    /// The position of the newer copy.
    pub(super) fn newest(&self) -> Position {
        self.positions[0].max(self.positions[1])
    }

    /// Whether one is being written.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a new one may be started.
    pub(super) fn is_ready(&self) -> bool {
        self.running.is_none() && self.failed.is_none_or(|at| at.elapsed() >= RETRY)
    }

    /// Writes a checkpoint in the background; the flusher is nudged when it is done. `files` are synced before.
    pub(super) fn start(&mut self, mut snapshot: Snapshot, files: Vec<File>, core: &Arc<Core>) {
        self.sequence += 1;
        snapshot.sequence = self.sequence;
        let position = snapshot.position;
        let folder = self.folders[self.next].clone();
        let nudged = core.clone();
        let work = move || {
            let written = write(&folder, &snapshot, &files, &nudged);
            nudged.nudge();
            written
        };
        match thread::Builder::new().name("checkpoint".to_owned()).spawn(work) {
            Ok(thread) => self.running = Some((position, thread)),
            Err(error) => self.fail(&error),
        }
    }

    /// Writes a checkpoint and waits for it.
    pub(super) fn write_now(&mut self, mut snapshot: Snapshot, files: &[File], core: &Core) {
        self.sequence += 1;
        snapshot.sequence = self.sequence;
        let written = write(&self.folders[self.next], &snapshot, files, core);
        self.done(snapshot.position, written);
    }

    /// Takes note of a checkpoint that is done by now.
    pub(super) fn poll(&mut self) {
        if self.running.as_ref().is_some_and(|(_, thread)| thread.is_finished()) {
            self.wait();
        }
    }

    /// Waits for the running one.
    pub(super) fn wait(&mut self) {
        if let Some((position, thread)) = self.running.take() {
            let written =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the checkpoint's thread panicked")));
            self.done(position, written);
        }
    }

    fn done(&mut self, position: Position, written: io::Result<()>) {
        match written {
            Ok(()) => {
                self.positions[self.next] = position;
                self.next = 1 - self.next;
                self.failed = None;
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Takes note of a checkpoint that could not be written.
    pub(super) fn fail(&mut self, error: &io::Error) {
        let folder = self.folders[self.next].display();
        tracing::error!(%folder, %error, "cannot write a checkpoint; nothing is lost, but the log grows until it works");
        self.failed = Some(Instant::now());
    }
}

fn write(folder: &Path, snapshot: &Snapshot, files: &[File], core: &Core) -> io::Result<()> {
    // A checkpoint must not outlive what it speaks of. The system reports a failed sync once: nobody may try again.
    if let Err(error) = files.iter().try_for_each(File::sync_data) {
        core.tell(StoreEvent::SyncFailed { error: &error });
        return Err(error);
    }
    copy::write(folder, snapshot)
}
