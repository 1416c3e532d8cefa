//! [`Flusher`]: the one thread that writes the log.
//!
//! It takes everything that waits, writes it, syncs once, and tells those who wait. While it does that the next batch
//! gathers: group commit without a timer. Housekeeping (checkpoints, removing and rewriting segments) happens between
//! commits, in `housekeeping`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::checkpoint::Checkpoints;
use super::core::{Core, Taken};
use super::events::StoreEvent;
use super::housekeeping::House;
use super::index::{FramePlace, Source};
use super::log::commit::Frames;
use super::log::frame::{FrameBuilder, Meta};
use super::log::ops::{self, Op};
use super::log::segment::{ActiveSegment, SegmentHead, SegmentId, sync_folder};
use super::pending::Pending;

/// A segment that has reached this size is followed by a new one. A message that is never settled keeps this much from
/// being removed, until its segment is rewritten.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// How soon what nobody waits for is synced.
const UNAWAITED_SYNC: Duration = Duration::from_millis(50);

/// How soon what the operating system was left to write is synced: it does about the same itself.
const UNASKED_SYNC: Duration = Duration::from_secs(30);

/// How long to wait before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often a write is tried while the store is being closed.
const ATTEMPTS_AT_CLOSE: u32 = 3;

/// What is done where nothing else is to do.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What a commit waits for before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Until it is synced.
    Always,
    /// Until the operating system has it; syncs come at this interval.
    Interval(Duration),
    /// Until the operating system has it, which is left to write it.
    Never,
}

/// Why the flusher ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// Something could not be written until the store had to be closed.
    #[error("cannot write to the log")]
    Write(#[source] io::Error),
    /// A sync failed.
    #[error("cannot sync the log")]
    Sync(#[source] io::Error),
}

/// Where the log goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogEnd {
    /// The next segment's number.
    pub(super) segment: SegmentId,
    /// The next frame's number.
    pub(super) frame: u64,
}

/// Writes the log.
#[derive(Debug)]
pub(super) struct Flusher {
    pub(super) core: Arc<Core>,
    sync: SyncMode,
    pub(super) active: Option<ActiveSegment>,
    pub(super) end: LogEnd,
    frames: Frames,
    pub(super) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) checkpoints: Checkpoints,
    pub(super) house: House,
    last_commit: Instant,
    /// Since the start.
    pub(super) written_bytes: u64,
    /// Since when something is written and not synced.
    unsynced: Option<Instant>,
    folder_changed: bool,
    /// Full segments that the operating system was left to write, until a checkpoint must rely on them.
    pub(super) unsynced_segments: Vec<File>,
}

impl Flusher {
    pub(super) fn new(
        core: Arc<Core>,
        sync: SyncMode,
        end: LogEnd,
        definitions: BTreeMap<Vec<u8>, Vec<u8>>,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            core,
            sync,
            active: None,
            end,
            frames: Frames::default(),
            definitions,
            checkpoints,
            house: House::default(),
            last_commit: Instant::now(),
            written_bytes: 0,
            unsynced: None,
            folder_changed: false,
            unsynced_segments: Vec::new(),
        }
    }

    /// Runs until the store is closed.
    ///
    /// # Errors
    ///
    /// [`FlushError`] if what was noted cannot be made to last.
    pub(super) fn run(mut self) -> Result<(), FlushError> {
        let result = self.commit_all();
        if let Err(error) = &result {
            tracing::error!(%error, "the store has stopped");
        }
        result
    }

    fn commit_all(&mut self) -> Result<(), FlushError> {
        loop {
            match self.core.take(self.patience()) {
                Taken::Batch(mut pending, epoch) => {
                    self.commit(&mut pending, epoch)?;
                    self.last_commit = Instant::now();
                }
                Taken::Nothing => {}
                Taken::Closing => {
                    self.core.forget_asked();
                    self.sync_now()?;
                    self.checkpoint_at_close();
                    return Ok(());
                }
            }
            self.sync_if_due()?;
            self.hold_if_asked();
            if self.last_commit.elapsed() >= HOUSEKEEPING {
                self.frames.shrink();
            }
            self.keep_house()?;
        }
    }

    /// How long there is nothing to do unless something comes.
    fn patience(&self) -> Option<Duration> {
        let sync_in = self.unsynced.map(|since| match self.sync {
            SyncMode::Always => UNAWAITED_SYNC.saturating_sub(since.elapsed()),
            SyncMode::Interval(interval) => interval.saturating_sub(since.elapsed()),
            SyncMode::Never => UNASKED_SYNC.saturating_sub(since.elapsed()),
        });
        let house_in = self.house.open.then_some(HOUSEKEEPING);
        match (sync_in, house_in) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn commit(&mut self, pending: &mut Pending, epoch: u64) -> Result<(), FlushError> {
        let (awaited, bytes) = (pending.awaited, pending.bytes());
        let mut frames = std::mem::take(&mut self.frames);
        frames.fill(pending);
        for frame in frames.iter() {
            self.write(frame, epoch)?;
        }
        frames.clear();
        self.frames = frames;
        self.core.written(bytes);
        if awaited && self.sync == SyncMode::Always {
            self.sync_now()?;
        }
        self.core.advance(epoch);
        Ok(())
    }

    /// Writes a frame, however long that takes, and takes it into the index.
    pub(super) fn write(&mut self, frame: &FrameBuilder, epoch: u64) -> Result<(), FlushError> {
        let mut attempts = 0;
        while let Err(error) = self.try_write(frame, epoch) {
            let FlushError::Write(cause) = &error else { return Err(error) };
            if attempts == 0 {
                self.core.tell(StoreEvent::WritesFail { error: cause });
            }
            attempts += 1;
            if self.core.is_closing() && attempts >= ATTEMPTS_AT_CLOSE {
                return Err(error);
            }
            self.core.pause(RETRY);
        }
        if attempts > 0 {
            self.core.tell(StoreEvent::WritesWork);
        }
        Ok(())
    }

    fn try_write(&mut self, frame: &FrameBuilder, epoch: u64) -> Result<(), FlushError> {
        if self.active.as_ref().is_none_or(|active| active.bytes() >= SEGMENT_BYTES) {
            self.begin_segment()?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let encoded = frame.finish(self.end.frame, epoch, now_ms(), active.salt());
        let at = active.append(&encoded).map_err(FlushError::Write)?;
        let place = FramePlace { segment: active.id(), at, end: active.bytes() };
        self.end.frame += 1;
        self.written_bytes += encoded.head.frame_bytes() as u64;
        self.unsynced.get_or_insert_with(Instant::now);
        let ops = ops::decode_all(&frame.ops).unwrap_or_default();
        let meta = Meta { ops: Vec::new(), runs: frame.runs().to_vec(), records: frame.records().to_vec() };
        let mut index = self.core.index.lock();
        for op in &ops {
            index.apply(op);
        }
        index.add_messages(place, &encoded.head, &meta, Source::Written);
        drop(index);
        self.define(ops);
        Ok(())
    }

    fn define(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Define { key, value: Some(value) } => drop(self.definitions.insert(key, value)),
                Op::Define { key, value: None } => drop(self.definitions.remove(&key)),
                _ => {}
            }
        }
    }

    /// Closes the segment that is full, and opens the next one.
    fn begin_segment(&mut self) -> Result<(), FlushError> {
        let mut left_to_system = None;
        if let Some(full) = &self.active
            && self.unsynced.is_some()
        {
            if self.sync == SyncMode::Never {
                left_to_system = Some(full.handle().map_err(FlushError::Write)?);
            } else {
                self.sync_now()?;
            }
        }
        let head = SegmentHead { id: self.end.segment, salt: salt().map_err(FlushError::Write)? };
        let segment = ActiveSegment::create(&self.core.log, head).map_err(FlushError::Write)?;
        self.end.segment = SegmentId(self.end.segment.0 + 1);
        self.folder_changed = true;
        self.core.index.lock().set_segment_bytes(segment.id(), segment.bytes());
        self.active = Some(segment);
        self.unsynced_segments.extend(left_to_system);
        Ok(())
    }

    fn sync_if_due(&mut self) -> Result<(), FlushError> {
        let Some(since) = self.unsynced else { return Ok(()) };
        let due = match self.sync {
            SyncMode::Always => since.elapsed() >= UNAWAITED_SYNC,
            SyncMode::Interval(interval) => since.elapsed() >= interval,
            SyncMode::Never => since.elapsed() >= UNASKED_SYNC,
        };
        if due { self.sync_now() } else { Ok(()) }
    }

    /// Whether syncing is left to the operating system, but for checkpoints.
    pub(super) fn leaves_syncs(&self) -> bool {
        self.sync == SyncMode::Never
    }

    /// Whether everything written lasts.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_none()
    }

    /// Makes everything written last, also what the operating system was left to write.
    pub(super) fn sync_full_segments_and_now(&mut self) -> Result<(), FlushError> {
        for full in self.unsynced_segments.drain(..) {
            if let Err(error) = full.sync_data() {
                self.core.tell(StoreEvent::SyncFailed { error: &error });
                return Err(FlushError::Sync(error));
            }
        }
        self.sync_now()
    }

    /// Makes everything written last.
    pub(super) fn sync_now(&mut self) -> Result<(), FlushError> {
        if self.unsynced.is_none() {
            return Ok(());
        }
        let synced = self
            .active
            .as_ref()
            .map_or(Ok(()), ActiveSegment::sync)
            .and_then(|()| if self.folder_changed { sync_folder(&self.core.log) } else { Ok(()) });
        if let Err(error) = synced {
            self.core.tell(StoreEvent::SyncFailed { error: &error });
            return Err(FlushError::Sync(error));
        }
        self.folder_changed = false;
        self.unsynced = None;
        Ok(())
    }
}

fn salt() -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u32::from_le_bytes(bytes))
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
