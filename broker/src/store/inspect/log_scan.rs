//! Reading one segment from its first byte to its last: what is damaged in it, and what of the index it does not hold.
//!
//! Facts only; what they mean depends on the other segments and is for `log_check` to say.

use std::fs;
use std::io;
use std::path::Path;

use super::live::{Awaited, Numbers, Stretch};
use crate::engine::QueueId;
use crate::store::index::Index;
use crate::store::log::frame::MOVED;
use crate::store::log::scan::{Found, Scanned, SegmentReader};
use crate::store::log::segment::{SEGMENT_HEAD_BYTES, SegmentId};
use crate::store::log::{ops, record};

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentStart {
    Whole,
    /// Too short for a head, or nothing but zeros: as a crash leaves a file that was just made.
    Empty,
    Damaged,
}

/// What was found in a segment.
#[derive(Debug)]
pub(super) struct SegmentFacts {
    pub(super) id: SegmentId,
    pub(super) bytes: u64,
    pub(super) start: SegmentStart,
    pub(super) first_number: Option<u64>,
    pub(super) last: Option<LastFrame>,
    /// One of the two copies of its head is damaged.
    pub(super) is_head_damaged: bool,
    pub(super) troubles: Vec<Trouble>,
    pub(super) gaps: Vec<Gap>,
    /// Frames that are not there although those before and behind them follow each other.
    pub(super) breaks: Vec<Break>,
    /// Behind the last frame or gap.
    pub(super) end: u64,
    /// What the index says and the frames do not.
    pub(super) unseen: Vec<Stretch>,
    /// Stretches of which the index counts other than it lists: queue, first and last number, counted, listed.
    pub(super) miscounted: Vec<(QueueId, (u64, u64), u64, u64)>,
    /// Messages that the index names and that are whole.
    pub(super) whole: u64,
}

/// The last frame of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastFrame {
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) epoch: u64,
    /// It moved messages and is not whole: a start passes over it, so that its number is used again.
    pub(super) is_passed_over: bool,
}

/// What is damaged in a frame that can be read for the rest.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) epoch: u64,
    /// Parts that are there twice.
    pub(super) copies: Vec<&'static str>,
    /// Where records begin that fail their checksums.
    pub(super) records: Vec<u64>,
    /// Where records begin that pass them and are no messages.
    pub(super) senseless: Vec<u64>,
    pub(super) has_unknown_ops: bool,
    /// Part of it looks as if it had never been written.
    pub(super) has_empty_block: bool,
    /// Messages of the index whose records are not whole.
    pub(super) lost: Numbers,
}

/// Bytes that are no frame.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    /// The numbers of the frames that must have been there.
    pub(super) numbers: Option<(u64, u64)>,
}

/// A frame whose number does not follow the one before, with nothing unreadable between them.
#[derive(Debug)]
pub(super) struct Break {
    pub(super) at: u64,
    pub(super) expected: u64,
    pub(super) number: u64,
}

impl SegmentFacts {
    /// Reads all of a segment.
    pub(super) fn read(log: &Path, id: SegmentId, bytes: u64, index: &Index) -> io::Result<Self> {
        let mut awaited = Awaited::new(index, id);
        let reader = SegmentReader::open(log, id)?;
        let start = match &reader {
            Some(_) => SegmentStart::Whole,
            None => start_of(&id.path(log), bytes)?,
        };
        let mut facts = Self {
            id,
            bytes,
            start,
            first_number: None,
            last: None,
            is_head_damaged: reader.as_ref().map_or(Ok(false), SegmentReader::is_head_damaged)?,
            troubles: Vec::new(),
            gaps: Vec::new(),
            breaks: Vec::new(),
            end: SEGMENT_HEAD_BYTES as u64,
            unseen: Vec::new(),
            miscounted: awaited.miscounted(),
            whole: 0,
        };
        for scanned in reader.iter().flat_map(|reader| reader.scan(0, u64::MAX)) {
            match scanned? {
                Scanned::Frame(found) => {
                    facts.end = found.at + found.head.frame_bytes() as u64;
                    facts.number(&found);
                    let trouble = reader.as_ref().map(|reader| facts.frame(reader, &found, &mut awaited));
                    facts.take(&found, trouble.transpose()?);
                }
                Scanned::Gap { from, to } => {
                    facts.gaps.push(Gap { from, to, numbers: None });
                    facts.end = to;
                }
            }
        }
        facts.unseen = awaited.unseen();
        Ok(facts)
    }

    /// Whether this frame belongs to the last commit in this segment.
    pub(super) fn is_in_last_commit(&self, trouble: &Trouble) -> bool {
        self.last.is_some_and(|last| last.epoch == trouble.epoch || last.number == trouble.number)
    }

    /// Whether there are unreadable bytes in front of the first frame.
    pub(super) fn begins_with_gap(&self) -> bool {
        self.gaps.first().is_some_and(|gap| gap.from == SEGMENT_HEAD_BYTES as u64)
    }

    /// The gap behind the last frame.
    pub(super) fn end_gap(&self) -> Option<&Gap> {
        let last_at = self.last.map_or(0, |last| last.at);
        self.gaps.last().filter(|gap| gap.from > last_at)
    }

    /// Compares the frame's number with the one before.
    fn number(&mut self, found: &Found) {
        let (at, number) = (found.at, found.head.number);
        self.first_number.get_or_insert(number);
        let Some(expected) = self.last.map(|last| last.number.saturating_add(1)) else { return };
        match self.gaps.last_mut().filter(|gap| gap.to == at) {
            Some(gap) if number > expected => gap.numbers = Some((expected, number - 1)),
            _ if number != expected => self.breaks.push(Break { at, expected, number }),
            _ => {}
        }
    }

    fn take(&mut self, found: &Found, trouble: Option<Trouble>) {
        let is_damaged = trouble.as_ref().is_some_and(|trouble| !trouble.records.is_empty());
        let is_move = found.meta.runs.iter().any(|run| run.flags & MOVED != 0);
        let (at, number, epoch) = (found.at, found.head.number, found.head.epoch);
        self.last = Some(LastFrame { at, number, epoch, is_passed_over: is_damaged && is_move });
        self.troubles.extend(trouble.filter(Trouble::is_any));
    }

    fn frame(&mut self, reader: &SegmentReader, found: &Found, awaited: &mut Awaited) -> io::Result<Trouble> {
        let mut trouble = Trouble {
            at: found.at,
            number: found.head.number,
            epoch: found.head.epoch,
            copies: Vec::new(),
            records: Vec::new(),
            senseless: Vec::new(),
            has_unknown_ops: ops::decode_all(&found.meta.ops).is_none(),
            has_empty_block: false,
            lost: Numbers::new(),
        };
        for (part, from, to) in reader.damaged_copies(found)? {
            trouble.copies.push(part);
            trouble.has_empty_block |= reader.has_empty_block(from, to)?;
        }
        let is_whole = trouble.read_records(reader, found)?;
        for run in &found.meta.runs {
            for (first, last) in awaited.see(found, run) {
                for seq in first..=last {
                    let place = usize::try_from(seq - run.first).unwrap_or(usize::MAX);
                    if is_whole[run.record as usize + place] {
                        self.whole += 1;
                    } else {
                        trouble.lost.entry(run.queue).or_default().insert(seq, seq);
                    }
                }
            }
        }
        Ok(trouble)
    }
}

impl Trouble {
    fn is_any(&self) -> bool {
        self.has_unknown_ops
            || [self.copies.len(), self.records.len(), self.senseless.len()].iter().any(|&count| count > 0)
    }

    /// Which records of the frame are whole.
    fn read_records(&mut self, reader: &SegmentReader, found: &Found) -> io::Result<Vec<bool>> {
        let bodies_at = found.at + found.head.bodies_at() as u64;
        let len = found.head.second_meta_at() - found.head.bodies_at();
        let bodies = reader.read(bodies_at, len)?;
        let mut rest = bodies.as_slice();
        let mut at = bodies_at;
        let mut is_whole = Vec::with_capacity(found.meta.records.len());
        for entry in &found.meta.records {
            let (bytes, behind) = rest.split_at(entry.len as usize);
            let end = at + u64::from(entry.len);
            let is_sound = crc32c::crc32c(bytes) == entry.crc;
            if !is_sound {
                self.records.push(at);
                self.has_empty_block |= reader.has_empty_block(at, end)?;
            } else if record::decode(bytes).is_none() {
                self.senseless.push(at);
            }
            is_whole.push(is_sound && self.senseless.last() != Some(&at));
            (rest, at) = (behind, end);
        }
        Ok(is_whole)
    }
}

fn start_of(path: &Path, bytes: u64) -> io::Result<SegmentStart> {
    let is_empty = bytes < SEGMENT_HEAD_BYTES as u64 || fs::read(path)?.iter().all(|&byte| byte == 0);
    Ok(if is_empty { SegmentStart::Empty } else { SegmentStart::Damaged })
}
