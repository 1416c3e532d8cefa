//! What the facts about the segments mean: damage and what it costs, or where a crash cut the log off.
//!
//! A crash leaves the last commit of the log unconfirmed and perhaps in pieces; the next start goes on in a new segment.
//! So a piece missing at the end of a segment that no checkpoint covers is no damage, unless later frames show that it was
//! complete once. A record that was never written has whole blocks of zeros; one that was damaged has not.

use std::io;
use std::path::Path;

use super::Found;
use super::live::{Numbers, Stretch, count};
use super::log_scan::{Gap, LastFrame, SegmentFacts, SegmentStart, Trouble};
use super::report::CheckReport;
use super::words::{self, counted, thousands};
use crate::store::LOG_FOLDER;
use crate::store::flusher::SEGMENT_BYTES;
use crate::store::index::RangeSet;
use crate::store::log::segment::{SEGMENT_HEAD_BYTES, SegmentId};

/// Reads the whole log and enters what is wrong with it, and with what the index says of it.
pub(super) fn check(data: &Path, found: &Found, report: &mut CheckReport) -> io::Result<()> {
    let log = data.join(LOG_FOLDER);
    let mut segments = Vec::with_capacity(found.segments.len());
    for &(id, bytes) in &found.segments {
        segments.push(SegmentFacts::read(&log, id, bytes, &found.state.index)?);
    }
    report.totals.queues = found.names.len() as u64;
    report.totals.segments = segments.len() as u64;
    let mut before = None;
    for (place, facts) in segments.iter().enumerate() {
        report.totals.messages += facts.whole;
        report.totals.log_bytes += facts.bytes;
        let behind = &segments[place + 1..];
        let mut judge = Judge { facts, before, behind, found, report };
        judge.segment();
        let is_followed = behind.first().is_some_and(|next| next.id.0 == facts.id.0 + 1);
        before = Before::behind(facts, before).filter(|_| is_followed);
    }
    missing_segments(found, report);
    Ok(())
}

/// Segments that the state needs and that are not there.
fn missing_segments(found: &Found, report: &mut CheckReport) {
    let is_there = |id: SegmentId| found.segments.iter().any(|(present, _)| *present == id);
    let start = found.state.start;
    for (id, held) in found.state.index.segments().filter(|(id, held)| held.live > 0 && !is_there(*id)) {
        let mut lost = Numbers::new();
        for (queue, _, extent) in found.state.index.extents_in(id) {
            let Some(queue_index) = found.state.index.queue(queue) else { continue };
            let numbers = lost.entry(queue).or_default();
            numbers.insert(extent.first, extent.last);
            for (first, last) in queue_index.durable.settled_in(extent.first, extent.last).iter() {
                numbers.remove(first, last);
            }
        }
        let what =
            format!("{} is missing, and with it {}", words::segment(id), counted(held.live, "message"));
        report.damaged(&what, "goes on without it and ", &lost, &found.names);
    }
    let is_named = found.state.index.segments().any(|(id, held)| id == start.segment && held.live > 0);
    if start.at > 0 && !is_there(start.segment) && !is_named {
        report.damaged(
            &format!(
                "{} is missing, and with it whatever was written to it after the newest checkpoint",
                words::segment(start.segment)
            ),
            "goes on without it and ",
            &Numbers::new(),
            &found.names,
        );
    }
}

/// The last frame in front of a segment, if no segment was removed in between.
#[derive(Debug, Clone, Copy)]
struct Before {
    last: LastFrame,
    /// There are unreadable bytes behind it.
    is_unsure: bool,
}

impl Before {
    /// What lies in front of the segment that follows this one.
    fn behind(facts: &SegmentFacts, before: Option<Self>) -> Option<Self> {
        match facts.last {
            Some(last) => Some(Self { last, is_unsure: facts.end_gap().is_some() }),
            None => before.map(|before| Self {
                is_unsure: before.is_unsure || !facts.gaps.is_empty() || facts.start != SegmentStart::Whole,
                ..before
            }),
        }
    }
}

/// Judges one segment.
struct Judge<'a> {
    facts: &'a SegmentFacts,
    before: Option<Before>,
    behind: &'a [SegmentFacts],
    found: &'a Found,
    report: &'a mut CheckReport,
}

impl Judge<'_> {
    fn segment(&mut self) {
        let mut unseen: Vec<_> = self.facts.unseen.iter().map(Some).collect();
        self.head(&mut unseen);
        self.numbers();
        if self.facts.is_head_damaged {
            let file = self.file();
            self.report.harmless(format!(
                "{file}: one of the two copies of its head is damaged; a start uses the other"
            ));
        }
        for trouble in &self.facts.troubles {
            self.trouble(trouble);
        }
        for gap in &self.facts.gaps {
            let lost = take_unseen(&mut unseen, gap.from, gap.to);
            self.gap(gap, &lost);
        }
        self.end(&mut unseen);
        for stretch in unseen.into_iter().flatten() {
            let (first, last) = (stretch.extent.at, stretch.extent.end);
            let lost = Numbers::from([(stretch.queue, stretch.unseen.clone())]);
            let what = format!(
                "{}: the state names {} between bytes {first} and {last} that are not there",
                self.file(),
                counted(count(&stretch.unseen), "message")
            );
            self.damaged(&what, "", &lost);
        }
        for &(queue, (first, last), counted_live, listed) in &self.facts.miscounted {
            let queue = self.found.names.of(queue);
            self.report.harmless(format!(
                "{}: of the numbers {first} to {last} of {queue} the state counts {} as unsettled and lists {}; a start reports a \
                 wrong length of the queue and loses no message by it",
                self.file(),
                thousands(counted_live),
                thousands(listed)
            ));
        }
    }

    fn file(&self) -> String {
        words::segment(self.facts.id)
    }

    fn damaged(&mut self, what: &str, action: &str, lost: &Numbers) {
        self.report.damaged(what, action, lost, &self.found.names);
    }

    /// Whether the newest checkpoint was written when the log had gone on past this place.
    fn is_covered(&self, at: u64) -> bool {
        self.facts.id < self.found.state.start.segment || self.is_covered_inside(at)
    }

    /// The same, by a checkpoint that ends in this segment: there were frames here, and they were synced.
    fn is_covered_inside(&self, at: u64) -> bool {
        self.facts.id == self.found.state.start.segment && at < self.found.state.start.at
    }

    /// Whether the log was to go on in a later segment, at the newest checkpoint or by now.
    fn is_behind(&self) -> bool {
        !self.behind.is_empty() || self.facts.id < self.found.state.start.segment
    }

    /// The number of the first frame behind this segment, if no segment was removed in between.
    fn next_number(&self) -> Option<u64> {
        let mut id = self.facts.id.0;
        for facts in self.behind {
            id += 1;
            if facts.id.0 != id {
                return None;
            }
            if facts.first_number.is_some() {
                return facts.first_number;
            }
        }
        let start = self.found.state.start;
        (start.segment.0 == id + 1).then_some(start.frame)
    }

    /// A segment that a crash may have cut off; a full one was synced before the next one was begun.
    fn may_be_cut_off(&self) -> bool {
        !self.is_behind() || self.facts.bytes < SEGMENT_BYTES
    }

    fn head(&mut self, unseen: &mut [Option<&Stretch>]) {
        if self.facts.start == SegmentStart::Whole {
            return;
        }
        let file = self.file();
        let lost = take_unseen(unseen, 0, u64::MAX);
        let last = self.before.map(|before| before.last);
        let is_hole = last.zip(self.next_number()).is_some_and(|(last, next)| next > last.number + 1);
        let had_content = self.is_covered_inside(0) || is_hole || !lost.is_empty();
        if self.facts.start == SegmentStart::Empty && !had_content {
            self.report.note(format!("{file} has no content: the broker was ended when it had just made it"));
            return;
        }
        let what = format!("{file}: its head is damaged or of another version, so nothing in it can be read");
        self.damaged(&what, "sets a copy of it aside and ", &lost);
    }

    /// Holes in the numbers of frames that no gap explains.
    fn numbers(&mut self) {
        let file = self.file();
        for found in &self.facts.breaks {
            let what = format!("{file}: at byte {} {}", found.at, hole(found.expected, found.number));
            self.damaged(&what, "goes on without them and ", &Numbers::new());
        }
        let Some((before, number)) = self.before.zip(self.facts.first_number) else { return };
        let (last, expected) = (before.last, before.last.number + 1);
        let is_used_again = last.is_passed_over && number == last.number;
        // Where unreadable bytes lie between, they are what is missing.
        let is_explained = number > expected && (before.is_unsure || self.facts.begins_with_gap());
        if number != expected && !is_used_again && !is_explained {
            let what = format!("in front of {file} {}", hole(expected, number));
            self.damaged(&what, "goes on without them and ", &Numbers::new());
        }
    }

    /// The numbers of the frames that were in a gap, if there were any.
    fn numbers_in(&self, gap: &Gap, is_end: bool) -> Option<(u64, u64)> {
        let before = self.before.map(|before| before.last);
        let (last, next) = match (is_end, gap.from == SEGMENT_HEAD_BYTES as u64) {
            (true, _) => (self.facts.last.or(before), self.next_number()),
            (false, true) => (before, self.facts.first_number),
            (false, false) => return gap.numbers,
        };
        let (last, next) = last.zip(next)?;
        (next > last.number + 1).then(|| (last.number + 1, next - 1))
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let frame = format!("{}: frame {} at byte {}", self.file(), trouble.number, trouble.at);
        let nothing = Numbers::new();
        if trouble.has_unknown_ops {
            let what = format!("{frame}: it says something that this version does not know");
            self.damaged(&what, "passes over the frame and ", &nothing);
        }
        let is_unharmed = trouble.lost.is_empty() && self.is_behind() && !self.is_covered_inside(trouble.at);
        let is_cut_off = trouble.has_empty_block
            && self.may_be_cut_off()
            && self.facts.is_in_last_commit(trouble)
            && (is_unharmed || !self.is_covered(trouble.at));
        if is_cut_off {
            let messages = self.found.names.messages(&trouble.lost);
            let messages = messages.map_or(String::new(), |all| format!("; a start leaves out {all}"));
            self.report.note(format!("{frame}: the log {CUT_OFF}{messages}"));
            return;
        }
        if !trouble.copies.is_empty() {
            let fails = if trouble.copies.len() == 1 { "fails its checksum" } else { "fail their checksums" };
            let what = format!("{frame}: its {} {fails}", trouble.copies.join(" and its "));
            self.damaged(&what, "reads the other copy and ", &nothing);
        }
        let mut lost = trouble.lost.clone();
        for (places, problem) in
            [(&trouble.records, "its checksum"), (&trouble.senseless, "to make sense as a message")]
        {
            let Some(first) = places.first() else { continue };
            let count = counted(places.len() as u64, "record");
            let verb = if places.len() == 1 { "fails" } else { "fail" };
            let what = format!("{frame}: {count} {verb} {problem}, the first at byte {first}");
            self.damaged(&what, "sets this aside and ", &std::mem::take(&mut lost));
        }
    }

    fn gap(&mut self, gap: &Gap, lost: &Numbers) {
        let bytes = format!("bytes {} to {}", gap.from, gap.to);
        let is_end = self.facts.end_gap().is_some_and(|end| end.from == gap.from);
        let numbers = self.numbers_in(gap, is_end);
        let is_unconfirmed = !self.is_covered_inside(gap.from)
            && (!self.is_behind() || (self.may_be_cut_off() && numbers.is_none() && lost.is_empty()));
        if is_end && is_unconfirmed {
            let when = if self.is_behind() { ", at an earlier start" } else { "" };
            self.report.note(format!("{}: the log {CUT_OFF}{when} ({bytes})", self.file()));
            return;
        }
        let frames = numbers.map_or(String::new(), |(first, last)| {
            format!(", where {} lay", counted(last - first + 1, "frame"))
        });
        let more = if self.is_covered(gap.from) {
            ""
        } else {
            ", with whatever else was said there after the newest checkpoint"
        };
        let what = format!("{}: {bytes} cannot be read{frames}{more}", self.file());
        self.damaged(&what, "sets them aside and ", lost);
    }

    /// The newest checkpoint says how far this segment went at least.
    fn end(&mut self, unseen: &mut [Option<&Stretch>]) {
        let (start, end) = (self.found.state.start, self.facts.end);
        let is_known = self.facts.start == SegmentStart::Whole && self.facts.id == start.segment;
        if is_known && start.at > end.max(SEGMENT_HEAD_BYTES as u64) {
            let lost = take_unseen(unseen, end, u64::MAX);
            let what = format!(
                "{}: what can be read ends at byte {end}, and went on to {} at the newest checkpoint",
                self.file(),
                start.at
            );
            self.damaged(&what, "goes on without the rest and ", &lost);
        }
    }
}

const CUT_OFF: &str = "ends in the middle of a write that was not confirmed";

fn hole(expected: u64, number: u64) -> String {
    if number > expected {
        format!(
            "{} missing",
            if number - expected == 1 {
                format!("frame {expected} is")
            } else {
                format!("frames {expected} to {} are", number - 1)
            }
        )
    } else {
        format!("frame {number} follows where {expected} should")
    }
}

/// Takes out what lies in stretches that reach into these bytes.
fn take_unseen(unseen: &mut [Option<&Stretch>], from: u64, to: u64) -> Numbers {
    let mut taken = Numbers::new();
    for slot in unseen {
        if let Some(stretch) = slot.take_if(|stretch| stretch.extent.at < to && from < stretch.extent.end) {
            let numbers: &mut RangeSet = taken.entry(stretch.queue).or_default();
            for (first, last) in stretch.unseen.iter() {
                numbers.insert(first, last);
            }
        }
    }
    taken
}
