//! Finding out at a start what a data folder holds.
//!
//! The newest checkpoint that is whole, and then the log from its position on: heads and runs only, no bodies. What is damaged
//! costs itself, is named in the log, and kept aside. Nothing found is changed here, except that damaged copies of the
//! state are moved away.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, COPIES, Checkpoints, CopyError, Position, Snapshot};
use super::damage::Damage;
use super::flusher::{LogEnd, SEGMENT_BYTES};
use super::index::{FramePlace, Index, Source};
use super::log::frame::MOVED;
use super::log::ops::{self, Op};
use super::log::scan::{Found, Scanned, SegmentReader};
use super::log::segment::{SegmentId, sync_folder};

/// Why a data folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The operating system refuses something.
    #[error("cannot read {path}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What was found cannot be made to last.
    #[error("cannot sync {path}")]
    Sync {
        /// What was to be synced.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A newer version wrote a part of it.
    #[error("cannot read {path}: {reason}; start the version of Warren that wrote it")]
    Version {
        /// Which part.
        path: PathBuf,
        /// Which version.
        reason: String,
    },
}

/// What a data folder holds.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) end: LogEnd,
    pub(super) checkpoints: Checkpoints,
    /// What went wrong, in words.
    pub(super) findings: Vec<String>,
    /// See [`Replayed::forgot`].
    pub(super) forgot: bool,
}

/// Reads the data folder at `data`.
///
/// # Errors
///
/// [`RecoveryError`] if files cannot be read, not if they are damaged.
pub(super) fn recover(data: &Path, damage: &Damage) -> Result<Recovered, RecoveryError> {
    let log = data.join(super::LOG_FOLDER);
    fs::create_dir_all(&log)
        .and_then(|()| sync_folder(data))
        .map_err(|source| RecoveryError::Read { path: log.clone(), source })?;
    let mut findings = Vec::new();
    let copies = read_copies(data, damage, &mut findings)?;
    let found = [0, 1]
        .map(|copy: usize| copies[copy].as_ref().map(|(snapshot, _)| (snapshot.sequence, snapshot.position)));
    let replayed = replay(log, copies, damage, Purpose::Start)?;
    findings.extend(replayed.findings);
    Ok(Recovered {
        index: replayed.index,
        definitions: replayed.definitions,
        end: replayed.end,
        checkpoints: Checkpoints::new(data, found),
        findings,
        forgot: replayed.forgot,
    })
}

/// What the log is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To go on from there: what cannot be read is forgotten.
    Start,
    /// To look at it: the index goes on naming what cannot be read.
    Look,
}

/// The state at the end of the log.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) index: Index,
    pub(super) definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) end: LogEnd,
    /// The position from which the log was read.
    pub(super) start: Position,
    /// What went wrong, in words.
    pub(super) findings: Vec<String>,
    /// Something at the end of the log was passed over. The next start might judge otherwise: its log goes on behind that.
    pub(super) forgot: bool,
}

/// Brings the newer copy of the state to the end of the log in the folder `log`.
///
/// # Errors
///
/// [`RecoveryError`] if files cannot be read, not if they are damaged.
pub(super) fn replay(
    log: PathBuf,
    copies: [Copy; 2],
    damage: &Damage,
    purpose: Purpose,
) -> Result<Replayed, RecoveryError> {
    let newest = copies.into_iter().flatten().max_by_key(|(snapshot, _)| snapshot.sequence);
    let (start, definitions, index) = match newest {
        Some((snapshot, index)) => (snapshot.position, snapshot.definitions(), index),
        None => (Position::default(), BTreeMap::new(), Index::default()),
    };
    let (next_frame, findings) = (start.frame, Vec::new());
    let forgot = false;
    let mut replay = Replay { log, index, definitions, next_frame, findings, forgot, damage, purpose };
    let segment = replay.run(start)?;
    let Replay { index, definitions, next_frame: frame, findings, forgot, .. } = replay;
    Ok(Replayed { index, definitions, end: LogEnd { segment, frame }, start, findings, forgot })
}

/// A copy of the state that is whole, and the index in it.
pub(super) type Copy = Option<(Snapshot, Index)>;

/// What a folder that should be a copy of the state turned out to be.
#[derive(Debug)]
pub(super) enum FoundCopy {
    /// There is none, or a whole one.
    Whole(Copy),
    /// Writing it was not completed.
    Incomplete,
    /// The operating system refuses something. That says nothing about what is in it.
    Unreadable(io::Error),
    /// Damaged: how.
    Damaged(String),
    /// A newer version wrote it: which.
    Newer(String),
}

/// Reads a copy of the state. The database in `folder` may be changed by being opened.
pub(super) fn read_copy(folder: &Path) -> FoundCopy {
    match checkpoint::read(folder) {
        Ok(None) => FoundCopy::Whole(None),
        Ok(Some(snapshot)) => match snapshot.index() {
            Some(index) => FoundCopy::Whole(Some((snapshot, index))),
            None => FoundCopy::Damaged("an entry makes no sense".to_owned()),
        },
        Err(error @ CopyError::Version(_)) => FoundCopy::Newer(error.to_string()),
        Err(CopyError::Incomplete) => FoundCopy::Incomplete,
        Err(CopyError::Io(error)) => FoundCopy::Unreadable(error),
        Err(error) => FoundCopy::Damaged(error.to_string()),
    }
}

/// Both copies of the state, as far as they are whole. Damaged ones are moved away.
fn read_copies(data: &Path, damage: &Damage, findings: &mut Vec<String>) -> Result<[Copy; 2], RecoveryError> {
    let mut copies: [Copy; 2] = [None, None];
    let mut damaged = 0;
    for (copy, name) in copies.iter_mut().zip(COPIES) {
        let path = data.join(name);
        let reason = match read_copy(&path) {
            FoundCopy::Whole(whole) => {
                if whole.is_some() {
                    checkpoint::make_last(&path)
                        .map_err(|source| RecoveryError::Sync { path: path.clone(), source })?;
                }
                *copy = whole;
                continue;
            }
            FoundCopy::Newer(reason) => return Err(RecoveryError::Version { path, reason }),
            FoundCopy::Unreadable(source) => return Err(RecoveryError::Read { path, source }),
            FoundCopy::Incomplete => {
                // A crash while it was written: what the other copy is for.
                let _ = fs::remove_dir_all(&path);
                continue;
            }
            FoundCopy::Damaged(reason) => reason,
        };
        findings.push(format!("{}: {reason}; the other copy and the log take its place", path.display()));
        damaged += 1;
        damage.take_away(&path).map_err(|source| RecoveryError::Read { path, source })?;
    }
    if damaged > 0 && copies.iter().all(Option::is_none) {
        findings.push(
            "both copies of the state are damaged: it is rebuilt from the log alone, so definitions older than the log's first \
             file are gone, and messages may return that were acknowledged"
                .to_owned(),
        );
    }
    Ok(copies)
}

/// The segments in the folder `log` with their sizes, oldest first; none if there is no such folder.
///
/// # Errors
///
/// [`RecoveryError`] if it cannot be listed.
pub(super) fn list_segments(log: &Path) -> Result<Vec<(SegmentId, u64)>, RecoveryError> {
    let list = || -> io::Result<Vec<(SegmentId, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(log)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(SegmentId::of_file) {
                found.push((id, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !log.exists() => Ok(Vec::new()),
        listed => listed.map_err(|source| RecoveryError::Read { path: log.to_owned(), source }),
    }
}

/// Reading the log from a position on.
struct Replay<'a> {
    log: PathBuf,
    index: Index,
    definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    next_frame: u64,
    findings: Vec<String>,
    forgot: bool,
    damage: &'a Damage,
    purpose: Purpose,
}

impl Replay<'_> {
    /// Replays everything from `start` on and tells the number of the segment that is to come next.
    fn run(&mut self, start: Position) -> Result<SegmentId, RecoveryError> {
        // A power cut may have lost the file that a checkpoint speaks of; its number is not used again.
        let mut next = SegmentId(start.segment.0 + u64::from(start.at > 0));
        let segments = list_segments(&self.log)?;
        for (place, &(id, bytes)) in segments.iter().enumerate() {
            next = next.max(SegmentId(id.0 + 1));
            self.index.set_segment_bytes(id, bytes);
            if id >= start.segment {
                let from = if id == start.segment { start.at } else { 0 };
                // Full segments were synced before the next one was begun; any other may be where a crash cut the log off.
                let may_be_cut = place + 1 == segments.len() || bytes < SEGMENT_BYTES;
                self.segment(id, from, may_be_cut)
                    .map_err(|source| RecoveryError::Read { path: id.path(&self.log), source })?;
            }
        }
        if self.purpose == Purpose::Start {
            self.sync_replayed(&segments, start)?;
            self.forget_missing(&segments);
        }
        Ok(next)
    }

    /// Makes last what a killed process had written and not synced: what is confirmed from now on builds on it.
    fn sync_replayed(&self, segments: &[(SegmentId, u64)], start: Position) -> Result<(), RecoveryError> {
        for (id, _) in segments.iter().filter(|(id, _)| *id >= start.segment) {
            let path = id.path(&self.log);
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|source| RecoveryError::Sync { path, source })?;
        }
        sync_folder(&self.log).map_err(|source| RecoveryError::Sync { path: self.log.clone(), source })
    }

    fn segment(&mut self, id: SegmentId, from: u64, may_be_cut: bool) -> io::Result<()> {
        let Some(reader) = SegmentReader::open(&self.log, id)? else { return self.without_head(id) };
        let mut gaps = Vec::new();
        let mut last_frame_at = 0;
        let (mut behind_gap, mut cut_epoch) = (false, None);
        for scanned in reader.scan(from, u64::MAX) {
            match scanned? {
                Scanned::Frame(found) => {
                    last_frame_at = found.at;
                    if found.repaired {
                        self.findings.push(format!(
                            "{}: the frame at {} was damaged and is repaired",
                            id.path(&self.log).display(),
                            found.at
                        ));
                    }
                    // A move must be whole wherever it lies: this may be the end that an earlier start found cut off.
                    let is_move = self.is_move(&found);
                    let damaged =
                        if may_be_cut || is_move { reader.damaged_records(&found)? } else { Vec::new() };
                    if may_be_cut && (behind_gap || !damaged.is_empty()) {
                        cut_epoch = Some(found.head.epoch);
                    }
                    behind_gap = false;
                    let is_cut = cut_epoch == Some(found.head.epoch);
                    self.forgot |= is_cut || !damaged.is_empty();
                    if damaged.is_empty() || !is_move {
                        self.frame(id, &found, is_cut);
                        if self.purpose == Purpose::Start {
                            self.forget_records(id, &reader, &found, &damaged)?;
                        }
                    }
                }
                Scanned::Gap { from, to } => {
                    gaps.push((from, to));
                    behind_gap = true;
                    self.forgot = true;
                }
            }
        }
        for (from, to) in gaps {
            if from > last_frame_at && may_be_cut {
                // Where a crash cut the log off; nothing of it was confirmed.
                tracing::info!(segment = id.0, from, to, "the log ends in a write that was not confirmed");
                continue;
            }
            self.findings.push(format!("{}: bytes {from} to {to} are damaged", id.path(&self.log).display()));
            let len = usize::try_from(to - from).unwrap_or(usize::MAX);
            self.damage.keep(&format!("{:016x}-{from}.frames", id.0), &reader.read(from, len)?);
        }
        Ok(())
    }

    /// A segment without a head: empty or zero if a crash came before that was on the disk, and so before anything in it was
    /// confirmed; else damaged.
    fn without_head(&mut self, id: SegmentId) -> io::Result<()> {
        let path = id.path(&self.log);
        let bytes = fs::read(&path)?;
        if bytes.iter().any(|&byte| byte != 0) {
            self.findings.push(format!("{}: its head is damaged; nothing in it can be read", path.display()));
            self.damage.keep(&format!("{:016x}.log", id.0), &bytes);
        }
        Ok(())
    }

    /// Whether the frame only moved messages whose earlier place is still there.
    fn is_move(&self, found: &Found) -> bool {
        found.meta.runs.iter().any(|run| {
            run.flags & MOVED != 0
                && self.index.queue(run.queue).is_some_and(|queue| queue.live_in(run.first, run.last()) > 0)
        })
    }

    /// A segment that a crash cut off in the middle of a write may miss any part of that. What is missing was not confirmed
    /// then; or it is damaged. Told apart by nothing, so it is kept and named.
    fn forget_records(
        &mut self,
        segment: SegmentId,
        reader: &SegmentReader,
        found: &Found,
        damaged: &[usize],
    ) -> io::Result<()> {
        let offsets = found.meta.record_offsets();
        for &record in damaged {
            let at = found.at + found.head.bodies_at() as u64 + offsets[record];
            let bytes = reader.read(at, found.meta.records[record].len as usize)?;
            self.damage.keep(&format!("{:016x}-{at}.record", segment.0), &bytes);
            for run in &found.meta.runs {
                let Some(place) = record.checked_sub(run.record as usize) else { continue };
                if place < run.count as usize {
                    let seq = run.first + place as u64;
                    tracing::warn!(
                        segment = segment.0,
                        queue = run.queue.0,
                        seq,
                        "a message at the end of the log is incomplete: cut off before it was confirmed, or damaged"
                    );
                    self.index.apply(&Op::Settled { queue: run.queue, ranges: vec![(seq, seq)] });
                }
            }
        }
        Ok(())
    }

    /// `is_cut` says that other parts of the commit that the frame belongs to are missing. Then what the commit settles is
    /// not: it may be settled because of what is missing, as when a client acknowledged what it had passed on.
    fn frame(&mut self, segment: SegmentId, found: &Found, is_cut: bool) {
        let place = FramePlace { segment, at: found.at, end: found.at + found.head.frame_bytes() as u64 };
        let Some(ops) = ops::decode_all(&found.meta.ops) else {
            self.findings.push(format!(
                "{}: the frame at {} says something this version does not know",
                segment.path(&self.log).display(),
                found.at
            ));
            return;
        };
        for op in ops {
            if is_cut && matches!(op, Op::Settled { .. }) {
                continue;
            }
            self.index.apply(&op);
            match op {
                Op::Define { key, value: Some(value) } => drop(self.definitions.insert(key, value)),
                Op::Define { key, value: None } => drop(self.definitions.remove(&key)),
                _ => {}
            }
        }
        let bytes = self.index.segment_bytes(segment);
        self.index.add_messages(place, &found.head, &found.meta, Source::Replayed);
        self.index.set_segment_bytes(segment, bytes);
        self.next_frame = self.next_frame.max(found.head.number + 1);
    }

    /// Forgets what lies in segments that are gone: somebody removed a file.
    fn forget_missing(&mut self, segments: &[(SegmentId, u64)]) {
        let present = |id: SegmentId| segments.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        let missing: Vec<(SegmentId, u64)> =
            self.index.segments().filter(|(id, _)| !present(*id)).map(|(id, held)| (id, held.live)).collect();
        for (id, live) in missing {
            if live > 0 {
                let path = id.path(&self.log);
                self.findings.push(format!("{} is missing, and with it {live} messages", path.display()));
                for (queue, _, extent) in self.index.extents_in(id) {
                    self.index.apply(&Op::Settled { queue, ranges: vec![(extent.first, extent.last)] });
                }
            }
            self.index.remove_segment(id);
        }
    }
}
