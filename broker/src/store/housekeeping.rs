//! What the flusher does between commits: checkpoints, removing segments that hold nothing any more, and rewriting those that
//! hold little.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::checkpoint::{Position, Snapshot};
use super::flusher::{FlushError, Flusher};
use super::index::{Extent, RangeSet, SegmentUse};
use super::load::{RecordPlace, WantedExtent, find_records};
use super::log::commit::FRAME_BYTES;
use super::log::frame::{FrameBuilder, MOVED, UNTIL_RESTART};
use super::log::scan::SegmentReader;
use super::log::segment::{ActiveSegment, SegmentId};
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};

/// While the broker is busy a checkpoint is due after this much log: a start after a crash reads no more.
const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;

/// While the broker is busy, segments are rewritten only when the log is larger than twice what is live in it, and this.
const SLACK_BYTES: u64 = 128 * 1024 * 1024;

/// The same while it is idle.
const IDLE_SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// Segments of which at most this share is live are worth rewriting, in percent.
const WORTH_PERCENT: u64 = 50;

/// A segment counts as this large at least: so that many small ones, from many starts, become few.
const SMALL_BYTES: u64 = 1024 * 1024;

/// How much log is written between two looks while the broker is busy.
const LOOK_BYTES: u64 = 16 * 1024 * 1024;

/// The broker is idle while it writes less than this between two looks.
const IDLE_BYTES: u64 = 1024 * 1024;

/// The same in time: acknowledgements make room and write little.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// When the flusher looked last, and whether there is more to do.
#[derive(Debug)]
pub(super) struct House {
    /// What had been written by then.
    written_bytes: u64,
    looked: Instant,
    /// Something was written, or is to be done once the broker is idle.
    pub(super) open: bool,
}

impl Default for House {
    fn default() -> Self {
        Self { written_bytes: 0, looked: Instant::now(), open: true }
    }
}

/// Why what is live in a segment was not moved.
#[derive(Debug)]
enum MoveError {
    Read(io::Error),
    Flush(FlushError),
}

impl Flusher {
    /// Where the log ends.
    pub(super) fn position(&self) -> Position {
        match &self.active {
            Some(active) => Position { segment: active.id(), at: active.bytes(), frame: self.end.frame },
            None => Position { segment: self.end.segment, at: 0, frame: self.end.frame },
        }
    }

    /// Looks after the log, now and then. The broker counts as idle while little is written.
    ///
    /// # Errors
    ///
    /// [`FlushError`] if rewriting a segment fails as any commit may.
    pub(super) fn keep_house(&mut self) -> Result<(), FlushError> {
        self.checkpoints.poll();
        let new_bytes = self.written_bytes - self.house.written_bytes;
        if new_bytes < LOOK_BYTES && self.house.looked.elapsed() < LOOK_INTERVAL {
            self.house.open |= new_bytes > 0;
            return Ok(());
        }
        let idle = new_bytes < IDLE_BYTES;
        (self.house.written_bytes, self.house.looked) = (self.written_bytes, Instant::now());
        let segments: Vec<(SegmentId, SegmentUse)> = self.core.index.lock().segments().collect();
        if idle {
            self.leave_dead_segment(&segments);
        }
        self.remove_dead(&segments)?;
        let rewritten = self.rewrite_one(&segments, idle)?;
        let checkpointed = self.checkpoint_if_due(idle)?;
        self.house.open = rewritten || checkpointed || self.checkpoints.is_running() || new_bytes > 0;
        Ok(())
    }

    /// The newest segment is not written any more if nothing in it is live, so that it can be removed.
    fn leave_dead_segment(&mut self, segments: &[(SegmentId, SegmentUse)]) {
        let dead = |active: SegmentId| {
            segments.iter().any(|(id, held)| *id == active && held.live == 0 && held.bytes > SMALL_BYTES)
        };
        if self.is_synced() && self.active.as_ref().is_some_and(|active| dead(active.id())) {
            self.active = None;
        }
    }

    fn is_sealed(&self, id: SegmentId) -> bool {
        self.active.as_ref().is_none_or(|active| active.id() != id)
    }

    /// Removes the segments of which nothing is live and that no checkpoint needs.
    ///
    /// What says that nothing of them is live must last longer than they do.
    fn remove_dead(&mut self, segments: &[(SegmentId, SegmentUse)]) -> Result<(), FlushError> {
        let covered = self.checkpoints.covered();
        for (id, held) in segments {
            let is_needed = held.live > 0 || *id >= covered.segment;
            if is_needed || !self.is_sealed(*id) || self.core.is_held(*id) {
                continue;
            }
            if !self.leaves_syncs() {
                self.sync_now()?;
            }
            let path = id.path(&self.core.log);
            match fs::remove_file(&path) {
                Ok(()) => self.core.index.lock().remove_segment(*id),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.core.index.lock().remove_segment(*id);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a file of the log that is not needed");
                }
            }
        }
        Ok(())
    }

    fn checkpoint_if_due(&mut self, idle: bool) -> Result<bool, FlushError> {
        if !self.checkpoints.is_ready() {
            return Ok(false);
        }
        let position = self.position();
        let covered = self.checkpoints.covered();
        let newest = self.checkpoints.newest();
        let (mut ahead, mut dead) = (0, 0);
        for (id, held) in self.core.index.lock().segments() {
            if id >= newest.segment {
                ahead += held.bytes;
            }
            if held.live == 0 && id >= covered.segment && self.is_sealed(id) {
                dead += held.bytes;
            }
        }
        let due = if idle { dead > 0 } else { ahead.max(dead) >= CHECKPOINT_BYTES };
        if !due || position <= covered {
            return Ok(false);
        }
        if !self.leaves_syncs() {
            self.sync_now()?;
        }
        match self.snapshot() {
            Ok((snapshot, files)) => self.checkpoints.start(snapshot, files, &self.core),
            Err(error) => self.checkpoints.fail(&error),
        }
        Ok(true)
    }

    /// The state now, and the files that must be synced before it is written down.
    fn snapshot(&mut self) -> io::Result<(Snapshot, Vec<File>)> {
        let mut files = Vec::new();
        if !self.is_synced() {
            files.extend(self.active.as_ref().map(ActiveSegment::handle).transpose()?);
            files.push(File::open(&self.core.log)?);
        }
        files.append(&mut self.unsynced_segments);
        let position = self.position();
        let snapshot = Snapshot::take(position, &self.core.index.lock(), &self.definitions);
        Ok((snapshot, files))
    }

    /// Writes what a later start wants to find, so that it has nothing to replay.
    pub(super) fn checkpoint_at_close(&mut self) {
        self.checkpoints.wait();
        let position = self.position();
        if position > self.checkpoints.newest() {
            match self.snapshot() {
                Ok((snapshot, files)) => self.checkpoints.write_now(snapshot, &files, &self.core),
                Err(error) => self.checkpoints.fail(&error),
            }
        }
    }

    /// Moves what is live in the emptiest segment to the end of the log, if that is worth it.
    fn rewrite_one(&mut self, segments: &[(SegmentId, SegmentUse)], idle: bool) -> Result<bool, FlushError> {
        if self.core.held.lock().is_some() {
            // What is rewritten could not be removed, and more and more would be.
            return Ok(false);
        }
        let total: u64 = segments.iter().map(|(_, held)| held.bytes).sum();
        let slack = if idle { IDLE_SLACK_BYTES } else { SLACK_BYTES };
        if total <= slack {
            return Ok(false);
        }
        let live = self.live_bytes(segments);
        let live_of = |id: &SegmentId| live.get(id).copied().unwrap_or(0);
        if total <= 2 * live.values().sum::<u64>() + slack {
            return Ok(false);
        }
        let emptiest = segments
            .iter()
            .filter(|(id, held)| held.live > 0 && self.is_sealed(*id))
            .map(|(id, held)| (live_of(id) * 100 / held.bytes.max(SMALL_BYTES), *id))
            .min();
        match emptiest {
            Some((percent, id)) if percent <= WORTH_PERCENT => self.rewrite(id).map(|()| true),
            _ => Ok(false),
        }
    }

    /// About how many bytes are live, by segment.
    fn live_bytes(&self, segments: &[(SegmentId, SegmentUse)]) -> HashMap<SegmentId, u64> {
        // What extents list, and what of it is live: each message once for each queue that holds it.
        let mut listed: HashMap<SegmentId, (u64, u64)> = HashMap::new();
        let index = self.core.index.lock();
        for (_, queue) in index.queues() {
            for extent in queue.durable.extents().chain(queue.until_restart.extents()) {
                let (all, live) = listed.entry(extent.segment).or_default();
                *all += extent.bytes;
                *live += extent.bytes / (extent.last - extent.first + 1) * extent.live;
            }
        }
        let share = |(id, held): &(SegmentId, SegmentUse)| {
            let (all, live) = *listed.get(id)?;
            Some((*id, live / (all / held.bytes.max(1)).max(1)))
        };
        segments.iter().filter_map(share).collect()
    }

    fn rewrite(&mut self, segment: SegmentId) -> Result<(), FlushError> {
        let mut wanted = self.live_extents(segment);
        tracing::debug!(segment = segment.0, extents = wanted.len(), "rewriting what is live in a segment");
        match self.move_all(segment, &mut wanted) {
            // The place they come from may be removed at once.
            Ok(()) => self.sync_full_segments_and_now(),
            Err(MoveError::Flush(error)) => Err(error),
            Err(MoveError::Read(error)) => {
                tracing::error!(segment = segment.0, %error, "cannot read what is live in a segment");
                Ok(())
            }
        }
    }

    fn move_all(&mut self, segment: SegmentId, wanted: &mut [WantedExtent]) -> Result<(), MoveError> {
        let reader = SegmentReader::open(&self.core.log, segment).map_err(MoveError::Read)?;
        let mut places = match &reader {
            Some(reader) => find_records(reader, wanted).map_err(MoveError::Read)?,
            None => Vec::new(),
        };
        places.resize(wanted.len(), Vec::new());
        let mut frame = FrameBuilder::default();
        // A message that several queues hold is copied once.
        let mut copied: HashMap<u64, u32> = HashMap::new();
        for (wanted, places) in wanted.iter().zip(places) {
            let flags = MOVED | if wanted.until_restart { UNTIL_RESTART } else { 0 };
            for RecordPlace { seq, at, entry } in places {
                if !copied.contains_key(&at)
                    && let Some(reader) = &reader
                {
                    let bytes = reader.read(at, entry.len as usize).map_err(MoveError::Read)?;
                    if crc32c::crc32c(&bytes) != entry.crc {
                        self.core.damage.keep(&format!("{:016x}-{at}.record", segment.0), &bytes);
                        self.lose(segment, wanted.queue, (seq, seq));
                        continue;
                    }
                    copied.insert(at, frame.add_copy(entry, &bytes));
                }
                if let Some(&record) = copied.get(&at) {
                    frame.hold(wanted.queue, seq, record, flags);
                }
            }
            for lost in wanted.live.iter() {
                self.lose(segment, wanted.queue, lost);
            }
            // Between extents only: a move that a crash cut off must not have taken half of one away.
            if frame.bodies_bytes() >= FRAME_BYTES {
                self.write(&frame, 0).map_err(MoveError::Flush)?;
                frame.clear();
                copied.clear();
            }
        }
        if frame.is_empty() { Ok(()) } else { self.write(&frame, 0).map_err(MoveError::Flush) }
    }

    /// The extents in a segment, in the order in which they lie there.
    fn live_extents(&self, segment: SegmentId) -> Vec<WantedExtent> {
        let index = self.core.index.lock();
        let wanted = |(queue, until_restart, extent): (QueueId, bool, Extent)| {
            let mut live = RangeSet::default();
            live.insert(extent.first, extent.last);
            if let Some(held) = index.queue(queue) {
                let lane = if until_restart { &held.until_restart } else { &held.durable };
                let settled = lane.settled().overlapping(extent.first, extent.last);
                settled.for_each(|(from, to)| live.remove(from, to));
            }
            WantedExtent { queue, until_restart, extent, live }
        };
        let mut extents: Vec<WantedExtent> = index.extents_in(segment).into_iter().map(wanted).collect();
        extents.sort_by_key(|wanted| (wanted.extent.at, wanted.queue, wanted.extent.first));
        extents
    }

    /// Notes that messages are damaged.
    fn lose(&self, segment: SegmentId, queue: QueueId, (first, last): (u64, u64)) {
        tracing::error!(
            segment = segment.0,
            queue = queue.0,
            first,
            last,
            "messages are damaged and lost; the others of the queue go on"
        );
        let range = SeqRange { first: Seq(first), last: Seq(last) };
        self.core.note(|pending| pending.settle_range(queue, range));
    }
}
