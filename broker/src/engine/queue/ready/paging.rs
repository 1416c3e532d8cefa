//! [`Paging`]: the part of a long backlog that is not in memory, and what lies behind it.
//!
//! Messages leave memory in runs that the store has written, and only ones that were never delivered; they come back in the
//! order they have. Does no IO: it tells the queue what may go and takes in what was loaded. Called by `ReadyMessages` and
//! the queue only.

use super::{MessageList, ReadyMessage, ReadyMessages, held_bytes};
use crate::engine::queue::{PagedIn, PagedRange, Seq, SeqRange, WantedRange};
use crate::wire::message::Message;

/// What follows the front while part of it is not in memory.
#[derive(Debug)]
pub(super) struct Paging {
    /// Never without messages.
    range: PagedRange,
    /// The newest messages.
    tail: MessageList,
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

    pub(super) fn tail(&self) -> impl Iterator<Item = &ReadyMessage> {
        self.tail.iter()
    }

    pub(super) fn add_ranges(&self, ranges: &mut Vec<SeqRange>) {
        super::add_range(ranges, SeqRange { first: self.range.first, last: self.range.last });
        self.tail.add_ranges(ranges);
    }
}

impl ReadyMessages {
    /// Messages of which none is in memory.
    pub(in crate::engine::queue) fn all_paged(range: PagedRange) -> Self {
        let paging = Paging { range, tail: MessageList::default(), front_bytes: 0 };
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
                bytes += held_bytes(&entry.message);
                candidates.push((entry.seq, entry.message.clone()));
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
        let may_go = |entry: &&ReadyMessage| entry.stored && entry.seq <= written;
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
                    let range = PagedRange { first, last: first, count: 0 };
                    Box::new(Paging { range, tail, front_bytes: start.bytes_before })
                });
                run
            }
        };
        let (Some(paging), Some(last)) = (&mut self.paging, run.last()) else {
            return PagedOut::default();
        };
        paging.range.last = last;
        paging.range.count += run.len() as u64;
        let bytes = run.iter().map(|entry| held_bytes(&entry.message)).sum();
        PagedOut { messages: Self { front: run, ..Self::default() }, bytes }
    }

    /// The paged range, if there is one and the front occupies less than `low_bytes`.
    pub(in crate::engine::queue) fn page_in_wanted(&self, low_bytes: usize) -> Option<WantedRange> {
        let paging = self.paging.as_ref()?;
        let wanted = WantedRange { level: 0, range: paging.range, page_ins: self.page_ins, departed: 0 };
        (paging.front_bytes < low_bytes).then_some(wanted)
    }

    /// Takes in the beginning of the paged range and tells what that occupies. Ignores what was loaded for an earlier
    /// beginning.
    pub(in crate::engine::queue) fn page_in(&mut self, loaded: PagedIn) -> usize {
        let PagedIn { wanted, messages, up_to, damaged } = loaded;
        let Some(paging) = &mut self.paging else { return 0 };
        let WantedRange { range: wanted, page_ins, .. } = wanted;
        let count = (messages.len() + damaged.len()) as u64;
        let in_time = page_ins == self.page_ins && wanted.first == paging.range.first;
        if !in_time || up_to < wanted.first {
            return 0;
        }
        self.page_ins = page_ins.wrapping_add(1);
        // The range may have grown since, by messages which the store did not have yet when it read on behind the end.
        let (up_to, count) = if up_to < wanted.last { (up_to, count) } else { (wanted.last, wanted.count) };
        let before = paging.front_bytes;
        for (seq, message, returned) in messages.into_iter().take_while(|(seq, ..)| *seq <= up_to) {
            paging.front_bytes += held_bytes(&message);
            self.body_bytes += message.body().len() as u64;
            self.front.push(ReadyMessage { seq, message, returned, stored: true });
        }
        let bytes = paging.front_bytes - before;
        paging.range.count = paging.range.count.saturating_sub(count);
        paging.range.first = Seq(up_to.0 + 1);
        if paging.range.first > paging.range.last || paging.range.count == 0 {
            let tail = std::mem::take(&mut paging.tail);
            self.paging = None;
            self.front.append(tail);
        }
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
        start.bytes_before += held_bytes(&entry.message);
    }
    start
}
