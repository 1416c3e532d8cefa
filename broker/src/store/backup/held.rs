//! [`Held`]: the state between two commits, and the segments that it speaks of, which stay as long as this does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::error::HoldError;
use crate::store::Epoch;
use crate::store::checkpoint::Snapshot;
use crate::store::core::Core;
use crate::store::flusher::Flusher;
use crate::store::log::segment::SegmentId;
use crate::store::pending::Pending;

/// How long the commit that is being written may take. A disk that takes longer, or that can write nothing, is none to read much from.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody who wants to copy the log.
#[derive(Debug)]
pub(in crate::store) struct Asked {
    /// What must be safe before.
    pub(in crate::store) epoch: Epoch,
    answer: SyncSender<Held>,
}

/// The state between two commits, and the segments with its messages. They stay until this is dropped.
#[derive(Debug)]
pub struct Held {
    core: Arc<Core>,
    pub(super) snapshot: Snapshot,
    /// With how much of them counts, in bytes.
    pub(super) segments: Vec<(SegmentId, u64)>,
    /// Messages that are not settled, each counted for every queue that holds it.
    pub(super) messages: u64,
}

impl Held {
    /// The folder of the segments.
    pub(super) fn log(&self) -> &Path {
        &self.core.log
    }

    /// Lets a segment go that is copied.
    pub(super) fn release(&self, segment: SegmentId) {
        if let Some(held) = &mut *self.core.held.lock() {
            held.remove(&segment);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.core.held.lock() = None;
    }
}

/// Waits for the flusher to hold everything that was noted so far.
pub(in crate::store) fn hold(core: &Arc<Core>) -> Result<Held, HoldError> {
    let epoch = core.note(Pending::hurry);
    let (answer, held) = mpsc::sync_channel(1);
    if !core.ask(Asked { epoch, answer }) {
        return Err(HoldError::Busy);
    }
    held.recv_timeout(COMMIT_TIMEOUT).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            core.forget_asked();
            HoldError::Timeout
        }
        RecvTimeoutError::Disconnected => HoldError::Closing,
    })
}

impl Flusher {
    /// Holds the log where it is for who asked for that.
    pub(in crate::store) fn hold_if_asked(&mut self) {
        let Some(asked) = self.core.take_asked() else { return };
        let position = self.position();
        let index = self.core.index.lock();
        let snapshot = Snapshot::take(position, &index, &self.definitions);
        let mut ids: BTreeSet<SegmentId> = BTreeSet::new();
        let mut messages = 0;
        for (_, queue) in index.queues() {
            for extent in queue.durable.extents() {
                ids.insert(extent.segment);
                messages += extent.live;
            }
        }
        if position.at > 0 {
            ids.insert(position.segment);
        }
        let bytes = |id: SegmentId| {
            if id == position.segment { position.at } else { index.segment_bytes(id) }
        };
        let segments = ids.iter().map(|&id| (id, bytes(id))).collect();
        drop(index);
        *self.core.held.lock() = Some(ids);
        let held = Held { core: self.core.clone(), snapshot, segments, messages };
        // If nobody waits any more it lets go at once.
        drop(asked.answer.try_send(held));
    }
}
