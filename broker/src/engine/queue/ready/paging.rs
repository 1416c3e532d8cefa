//! [`Paging`]: the part of a long backlog that is not in memory, and what lies behind it.
//!
//! Messages leave memory in runs that the store has written, and only ones that were never delivered; they come back in the
//! order they have. Does no IO: it tells the queue what may go and takes in what was loaded. Called by `ReadyMessages` and
//! the queue only.

use super::numbers::Numbers;
use super::{Departed, Entry, MessageList, ReadyMessage, ReadyMessages, held_bytes};
use crate::engine::queue::{PagedIn, PagedRange, Seq, SeqRange, Surveyed, WantedRange};
use crate::wire::message::Message;

/// Ranges of numbers that one look gives.
const RANGES_LOOKED_AT: usize = 64;

/// What follows the front while part of it is not in memory.
#[derive(Debug)]
pub(super) struct Paging {
    /// Never without messages.
    pub(super) range: PagedRange,
    /// Those in the range that are not in the queue, although the store may still have them.
    gone: Numbers,
    /// The bytes of their bodies, as far as they are known.
    body_bytes: u64,
    /// Of these numbers in the range only the count is known.
    pub(super) unknown: Option<SeqRange>,
    /// The newest messages.
    pub(super) tail: MessageList,
    /// What the front occupies. Known only here, so that a queue that pages nothing need not count.
    pub(super) front_bytes: usize,
}

/// Messages that were dropped from memory, and what they occupied.
#[derive(Debug, Default)]
pub(in crate::engine::queue) struct PagedOut {
    pub(in crate::engine::queue) messages: ReadyMessages,
    pub(in crate::engine::queue) bytes: usize,
}

impl Paging {
    pub(super) fn len(&self) -> u64 {
        self.range.count + self.tail.len() as u64
    }

    pub(super) fn push(&mut self, entry: ReadyMessage) {
        debug_assert!(self.range.last < entry.seq);
        self.tail.push(entry);
    }

    /// Counts a message that is put back to the front.
    pub(super) fn count_returned(&mut self, entry: &ReadyMessage) {
        debug_assert!(entry.seq < self.range.first, "what was delivered lies before what is paged");
        self.front_bytes += held_bytes(&entry.message);
    }

    pub(super) fn add_ranges(&self, ranges: &mut Vec<SeqRange>) {
        let paged = SeqRange { first: self.range.first, last: self.range.last };
        self.gone.gaps(paged, usize::MAX).into_iter().for_each(|part| super::add_range(ranges, part));
        self.tail.add_ranges(ranges);
    }

    /// The numbers behind `after` that may be messages, the first few ranges of them.
    pub(super) fn ranges_behind(&self, after: Option<Seq>) -> Vec<SeqRange> {
        let behind = after.map_or(Seq(0), |after| Seq(after.0.saturating_add(1)));
        let first = self.range.first.max(behind);
        if first > self.range.last {
            return Vec::new();
        }
        self.gone.gaps(SeqRange { first, last: self.range.last }, RANGES_LOOKED_AT)
    }

    /// A message of the range that had gone is there again; whether the length of its body counts.
    pub(super) fn take_back(&mut self, seq: Seq, body_bytes: u64) -> bool {
        let was_gone = self.gone.remove(seq);
        debug_assert!(was_gone, "{seq:?} had not gone");
        self.range.count += u64::from(was_gone);
        let counts = was_gone && !self.is_unknown(seq);
        self.body_bytes += if counts { body_bytes } else { 0 };
        counts
    }

    /// Adds messages that follow. What is missing between them was never handed out and is done all the same.
    fn extend(&mut self, run: &MessageList) {
        for entry in run.iter() {
            let next = Seq(self.range.last.0 + 1);
            if self.range.count > 0 && next < entry.seq {
                self.gone.add(SeqRange { first: next, last: Seq(entry.seq.0 - 1) });
            }
            self.range.last = entry.seq;
            self.range.count += 1;
            self.body_bytes += entry.body_bytes();
        }
    }

    /// Nothing up to here is unknown any more.
    fn surveyed_up_to(&mut self, seq: Seq) {
        if let Some(unknown) = &mut self.unknown {
            unknown.first = unknown.first.max(Seq(seq.0 + 1));
        }
        self.unknown = self.unknown.filter(|unknown| unknown.first <= unknown.last);
    }

    fn is_unknown(&self, seq: Seq) -> bool {
        self.unknown.is_some_and(|unknown| unknown.first <= seq && seq <= unknown.last)
    }
}

impl ReadyMessages {
    /// Messages of which none is in memory.
    pub(in crate::engine::queue) fn all_paged(range: PagedRange) -> Self {
        let paging = Paging {
            range,
            gone: Numbers::default(),
            body_bytes: 0,
            unknown: Some(SeqRange { first: range.first, last: range.last }),
            tail: MessageList::default(),
            front_bytes: 0,
        };
        let paging = (range.count > 0).then(|| Box::new(paging));
        Self { paging, ..Self::default() }
    }

    /// Names messages from `never_delivered` on that stand in the way of paging because the store does not keep them, and
    /// notes that it does: so many that they exceed `bytes_max`, or all. Goes over each message once, not once per call.
    pub(in crate::engine::queue) fn paging_candidates(
        &mut self,
        never_delivered: Seq,
        keep_front_bytes: usize,
        bytes_max: usize,
    ) -> Vec<(Seq, Message)> {
        self.close_up();
        let start = match self.paging {
            None => start_of_run(&self.front, never_delivered, keep_front_bytes).place,
            Some(_) => 0,
        };
        let list = self.paging.as_mut().map_or(&mut self.front, |paging| &mut paging.tail);
        let Some(first) = list.seq_at(start) else { return Vec::new() };
        let known = self.all_stored.filter(|known| known.first <= first && first <= known.last);
        let unknown = known.map_or(start, |known| list.place_of(Seq(known.last.0 + 1)));
        let mut all_stored = known.unwrap_or(SeqRange { first, last: first });
        let (mut candidates, mut bytes) = (Vec::new(), 0);
        for entry in list.iter_mut_from(unknown) {
            if !entry.stored {
                if bytes >= bytes_max && !candidates.is_empty() {
                    break;
                }
                entry.stored = true;
                bytes += entry.held_bytes();
                candidates.extend(entry.message.clone().map(|message| (entry.seq, message)));
            }
            all_stored.last = entry.seq;
        }
        self.all_stored = Some(all_stored);
        candidates
    }

    /// Takes a run of messages from `never_delivered` up to `written` out of memory: what follows the paged range, or else
    /// what follows the first `keep_front_bytes`. It ends before the first message that the store does not keep.
    pub(in crate::engine::queue) fn page_out(
        &mut self,
        never_delivered: Seq,
        written: Seq,
        keep_front_bytes: usize,
    ) -> PagedOut {
        self.close_up();
        let may_go = |entry: &&Entry| entry.stored && entry.seq <= written;
        let run = match &mut self.paging {
            Some(paging) => {
                let count = paging.tail.iter().take_while(may_go).count();
                paging.tail.split_front(count)
            }
            None => {
                let start = start_of_run(&self.front, never_delivered, keep_front_bytes);
                let count = self.front.iter_from(start.place).take_while(may_go).count();
                if count == 0 {
                    return PagedOut::default();
                }
                let mut tail = self.front.split_back(start.place);
                let run = tail.split_front(count);
                self.paging = run.first().map(|first| {
                    Box::new(Paging {
                        range: PagedRange { first, last: first, count: 0 },
                        gone: Numbers::default(),
                        body_bytes: 0,
                        unknown: None,
                        tail,
                        front_bytes: start.bytes_before,
                    })
                });
                run
            }
        };
        let Some(paging) = &mut self.paging else { return PagedOut::default() };
        paging.extend(&run);
        let bytes = run.iter().map(Entry::held_bytes).sum();
        PagedOut { messages: Self { front: run, ..Self::default() }, bytes }
    }

    fn close_up(&mut self) {
        self.front.close_up();
        if let Some(paging) = &mut self.paging {
            paging.tail.close_up();
        }
    }

    /// The numbers of paged messages of which only the count is known.
    pub(in crate::engine::queue) fn survey_wanted(&self) -> Option<SeqRange> {
        self.paging.as_ref()?.unknown
    }

    /// Takes in the lengths of bodies up to a number, and gives those messages that are still there.
    pub(in crate::engine::queue) fn survey<'a>(
        &mut self,
        up_to: Seq,
        surveyed: &'a [Surveyed],
    ) -> Vec<&'a Surveyed> {
        let Some(paging) = &mut self.paging else { return Vec::new() };
        let there = |found: &&Surveyed| {
            found.seq <= up_to && paging.is_unknown(found.seq) && !paging.gone.contains(found.seq)
        };
        let there: Vec<_> = surveyed.iter().filter(there).collect();
        let body_bytes: u64 = there.iter().map(|found| found.body_bytes).sum();
        paging.body_bytes += body_bytes;
        self.body_bytes += body_bytes;
        paging.surveyed_up_to(up_to);
        there
    }

    /// Takes a message out of the paged range.
    pub(super) fn remove_paged(&mut self, seq: Seq, body_bytes: u64) -> Departed {
        let Some(paging) = &mut self.paging else { return Departed::NotThere };
        if !paging.gone.add(SeqRange { first: seq, last: seq }) {
            return Departed::NotThere;
        }
        paging.range.count = paging.range.count.saturating_sub(1);
        let body_bytes = if paging.is_unknown(seq) { 0 } else { body_bytes };
        paging.body_bytes = paging.body_bytes.saturating_sub(body_bytes);
        self.body_bytes = self.body_bytes.saturating_sub(body_bytes);
        self.end_paging();
        Departed::Paged
    }

    /// Ends the paged range if nothing is left of it.
    fn end_paging(&mut self) {
        let over = |range: &PagedRange| range.first > range.last || range.count == 0;
        if let Some(paging) = self.paging.take_if(|paging| over(&paging.range)) {
            // What is left of the count are messages that turned out to be damaged.
            self.body_bytes = self.body_bytes.saturating_sub(paging.body_bytes);
            self.front.append(paging.tail);
        }
    }

    /// The paged range, if there is one and the front occupies less than `low_bytes`.
    pub(in crate::engine::queue) fn page_in_wanted(&self, low_bytes: usize) -> Option<WantedRange> {
        let paging = self.paging.as_ref()?;
        let wanted = WantedRange { level: 0, range: paging.range, page_ins: self.page_ins };
        (paging.front_bytes < low_bytes).then_some(wanted)
    }

    /// Takes in the beginning of the paged range and tells what that occupies. Ignores what was loaded for an earlier
    /// beginning. `met` is shown what was not known before.
    pub(in crate::engine::queue) fn page_in(
        &mut self,
        loaded: PagedIn,
        mut met: impl FnMut(Seq, &Message),
    ) -> usize {
        let PagedIn { wanted, messages, up_to, damaged } = loaded;
        let Some(paging) = &mut self.paging else { return 0 };
        let WantedRange { range: wanted, page_ins, .. } = wanted;
        let in_time = page_ins == self.page_ins && wanted.first == paging.range.first;
        if !in_time || up_to < wanted.first {
            return 0;
        }
        self.page_ins = page_ins.wrapping_add(1);
        // The range may have grown since, by messages which the store did not have yet when it read on behind the end.
        let up_to = up_to.min(wanted.last);
        let here = |seq: Seq, gone: &Numbers| seq <= up_to && !gone.contains(seq);
        let mut count = damaged.into_iter().filter(|seq| here(*seq, &paging.gone)).count() as u64;
        let before = paging.front_bytes;
        for (seq, message, returned) in messages {
            if !here(seq, &paging.gone) {
                continue;
            }
            count += 1;
            let body_bytes = message.body().len() as u64;
            if paging.is_unknown(seq) {
                self.body_bytes += body_bytes;
                met(seq, &message);
            } else {
                paging.body_bytes = paging.body_bytes.saturating_sub(body_bytes);
            }
            paging.front_bytes += held_bytes(&message);
            self.front.push(ReadyMessage { seq, message, returned, stored: true });
        }
        let bytes = paging.front_bytes - before;
        paging.gone.remove_up_to(up_to);
        paging.range.count = paging.range.count.saturating_sub(count);
        paging.range.first = Seq(up_to.0 + 1);
        paging.surveyed_up_to(up_to);
        self.end_paging();
        bytes
    }
}

/// Where the messages begin that may leave a list which has all messages in memory.
struct StartOfRun {
    place: usize,
    bytes_before: usize,
}

fn start_of_run(front: &MessageList, never_delivered: Seq, keep_bytes: usize) -> StartOfRun {
    let delivered_end = front.place_of(never_delivered);
    let mut start = StartOfRun { place: 0, bytes_before: 0 };
    for entry in front.iter() {
        if start.place >= delivered_end && start.bytes_before >= keep_bytes {
            break;
        }
        start.place += 1;
        start.bytes_before += entry.held_bytes();
    }
    start
}
