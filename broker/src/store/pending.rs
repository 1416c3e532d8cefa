//! [`Pending`]: what the next commit will write.
//!
//! Queues note here what happened while their lock is held, so nothing here takes long. A message that is settled before
//! its commit begins is taken out again and never written. Knows no files and no threads; `log_store` puts the lock
//! around it, the flusher swaps it out.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Kept;
use super::log::frame::UNTIL_RESTART;
use super::log::ops::Op;
use crate::engine::QueueId;
use crate::engine::queue::{Seq, SeqRange};
use crate::wire::message::Message;

/// What a message costs here beside its own bytes.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// A message that waits to be written; none when it was settled meanwhile.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number in its queue.
    pub(super) seq: u64,
    /// Itself.
    pub(super) message: Option<Message>,
}

/// What waits for one queue.
#[derive(Debug, Default)]
pub(super) struct PendingQueue {
    /// What survives a restart, ascending.
    pub(super) durable: Vec<Entry>,
    /// What only has to leave memory, ascending.
    pub(super) until_restart: Vec<Entry>,
    settled: Vec<(u64, u64)>,
    delivered: Option<u64>,
    returned: Vec<(u64, u16)>,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By queue.
    pub(super) queues: HashMap<QueueId, PendingQueue, FixedState>,
    removed: Vec<QueueId>,
    definitions: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Somebody waits for this commit, or may: something was appended or defined.
    pub(super) awaited: bool,
    dirty: bool,
    bytes: usize,
}

impl Pending {
    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        !self.dirty
    }

    /// What the messages in it occupy.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes messages that entered a queue, which are drained from `messages`.
    pub(super) fn append(&mut self, queue: QueueId, kept: Kept, messages: &mut Vec<(Seq, Message)>) {
        (self.awaited, self.dirty) = (true, true);
        let waiting = self.queues.entry(queue).or_default();
        let entries = match kept {
            Kept::Durably => &mut waiting.durable,
            Kept::UntilRestart => &mut waiting.until_restart,
        };
        let mut ascending = true;
        for (seq, message) in messages.drain(..) {
            ascending &= entries.last().is_none_or(|last| last.seq < seq.0);
            self.bytes += message.memory_bytes() + ENTRY_BYTES;
            entries.push(Entry { seq: seq.0, message: Some(message) });
        }
        if !ascending {
            // What leaves memory may be handed over in two goes, and the second may begin further in front.
            debug_assert_eq!(kept, Kept::UntilRestart);
            entries.sort_unstable_by_key(|entry| entry.seq);
        }
    }

    /// Notes that a message is done with.
    pub(super) fn settle(&mut self, queue: QueueId, seq: Seq) {
        let waiting = self.queues.entry(queue).or_default();
        for entries in [&mut waiting.durable, &mut waiting.until_restart] {
            if let Some(entry) = find(entries, seq.0)
                && let Some(message) = entry.message.take()
            {
                self.bytes -= message.memory_bytes() + ENTRY_BYTES;
                return;
            }
        }
        self.dirty = true;
        waiting.add_settled(seq.0, seq.0);
    }

    /// The same for a whole range.
    pub(super) fn settle_range(&mut self, queue: QueueId, range: SeqRange) {
        let (first, last) = (range.first.0, range.last.0);
        let waiting = self.queues.entry(queue).or_default();
        for entries in [&mut waiting.durable, &mut waiting.until_restart] {
            let from = entries.partition_point(|entry| entry.seq < first);
            for entry in entries[from..].iter_mut().take_while(|entry| entry.seq <= last) {
                if let Some(message) = entry.message.take() {
                    self.bytes -= message.memory_bytes() + ENTRY_BYTES;
                }
            }
        }
        self.dirty = true;
        waiting.add_settled(first, last);
    }

    /// Notes up to where a queue's messages were delivered.
    pub(super) fn delivered(&mut self, queue: QueueId, up_to: Seq) {
        self.dirty = true;
        let delivered = &mut self.queues.entry(queue).or_default().delivered;
        *delivered = (*delivered).max(Some(up_to.0));
    }

    /// Notes that a message returned to its queue, for the `count`th time.
    pub(super) fn returned(&mut self, queue: QueueId, seq: Seq, count: u16) {
        self.dirty = true;
        self.queues.entry(queue).or_default().returned.push((seq.0, count));
    }

    /// Notes that a queue is gone, with everything that waits for it.
    pub(super) fn remove_queue(&mut self, queue: QueueId) {
        self.dirty = true;
        if let Some(gone) = self.queues.remove(&queue) {
            let messages =
                gone.durable.iter().chain(&gone.until_restart).filter_map(|entry| entry.message.as_ref());
            self.bytes -= messages.map(|message| message.memory_bytes() + ENTRY_BYTES).sum::<usize>();
        }
        self.removed.push(queue);
    }

    /// Makes somebody wait for everything noted so far.
    pub(super) fn hurry(&mut self) {
        (self.awaited, self.dirty) = (true, true);
    }

    /// Notes a definition's new value.
    pub(super) fn define(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        (self.awaited, self.dirty) = (true, true);
        self.definitions.push((key, value));
    }

    /// What the commit says beside its messages, in the order in which it is to be read back.
    pub(super) fn ops(&mut self) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        let mut ids: Vec<QueueId> = self.queues.keys().copied().collect();
        ids.sort_unstable();
        for queue in ids {
            let Some(waiting) = self.queues.get_mut(&queue) else { continue };
            if let Some(up_to) = waiting.delivered {
                ops.push(Op::Delivered { queue, up_to });
            }
            let counts = waiting.take_returned();
            if !counts.is_empty() {
                ops.push(Op::Returned { queue, counts });
            }
            if !waiting.settled.is_empty() {
                ops.push(Op::Settled { queue, ranges: std::mem::take(&mut waiting.settled) });
            }
        }
        let defined = self.definitions.drain(..).map(|(key, value)| Op::Define { key, value });
        ops.extend(defined);
        ops.extend(self.removed.drain(..).map(|queue| Op::QueueRemoved { queue }));
        ops
    }
}

impl PendingQueue {
    /// Those that returned, less what is never written.
    fn take_returned(&mut self) -> Vec<(u64, u16)> {
        let mut returned = std::mem::take(&mut self.returned);
        let is_gone =
            |entries: &mut [Entry], seq| find(entries, seq).is_some_and(|entry| entry.message.is_none());
        returned
            .retain(|&(seq, _)| !is_gone(&mut self.durable, seq) && !is_gone(&mut self.until_restart, seq));
        returned
    }

    fn add_settled(&mut self, first: u64, last: u64) {
        match self.settled.last_mut() {
            Some(range) if range.1 + 1 == first => range.1 = last,
            _ => self.settled.push((first, last)),
        }
    }

    /// The messages to write, with the flags of their runs.
    pub(super) fn messages(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let until_restart = self.until_restart.iter().map(|entry| (UNTIL_RESTART, entry));
        self.durable
            .iter()
            .map(|entry| (0, entry))
            .chain(until_restart)
            .filter(|(_, entry)| entry.message.is_some())
    }
}

/// The entry of this number. Entries mostly are consecutive: looked for where it would be then, before searching.
fn find(entries: &mut [Entry], seq: u64) -> Option<&mut Entry> {
    let first = entries.first()?.seq;
    let guess = usize::try_from(seq.checked_sub(first)?).ok()?;
    let place = match entries.get(guess) {
        Some(entry) if entry.seq == seq => guess,
        _ => entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?,
    };
    entries.get_mut(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId(3);

    fn messages(seqs: impl IntoIterator<Item = u64>) -> Vec<(Seq, Message)> {
        seqs.into_iter().map(|seq| (Seq(seq), Message::new("", "q", &[], true, b"body"))).collect()
    }

    fn waiting(pending: &Pending) -> Vec<u64> {
        pending.queues[&QUEUE].messages().map(|(_, entry)| entry.seq).collect()
    }

    #[test]
    fn what_is_settled_before_its_commit_is_not_written_and_needs_no_word() {
        let mut pending = Pending::default();
        pending.append(QUEUE, Kept::Durably, &mut messages([4, 5, 9]));
        pending.settle(QUEUE, Seq(5));
        pending.settle(QUEUE, Seq(9));
        assert_eq!(waiting(&pending), [4]);
        assert_eq!(pending.ops(), []);
        pending.settle(QUEUE, Seq(4));
        assert_eq!(pending.bytes(), 0);
    }

    #[test]
    fn what_returned_and_is_never_written_leaves_no_word() {
        let mut pending = Pending::default();
        pending.append(QUEUE, Kept::Durably, &mut messages([4, 5]));
        pending.returned(QUEUE, Seq(3), 1);
        pending.returned(QUEUE, Seq(4), 1);
        pending.returned(QUEUE, Seq(5), 1);
        pending.settle(QUEUE, Seq(4));
        assert_eq!(pending.ops(), [Op::Returned { queue: QUEUE, counts: vec![(3, 1), (5, 1)] }]);
    }

    #[test]
    fn what_is_in_the_log_already_is_settled_by_a_word_of_it() {
        let mut pending = Pending::default();
        for seq in [1, 2, 3, 7] {
            pending.settle(QUEUE, Seq(seq));
        }
        assert!(!pending.is_empty() && !pending.awaited);
        assert_eq!(pending.ops(), [Op::Settled { queue: QUEUE, ranges: vec![(1, 3), (7, 7)] }]);
    }

    #[test]
    fn a_removed_queue_leaves_only_the_word_that_it_is_gone() {
        let mut pending = Pending::default();
        pending.append(QUEUE, Kept::Durably, &mut messages([4]));
        pending.settle(QUEUE, Seq(1));
        pending.remove_queue(QUEUE);
        assert_eq!((pending.bytes(), pending.ops()), (0, vec![Op::QueueRemoved { queue: QUEUE }]));
    }

    #[test]
    fn a_purged_range_takes_out_what_waits_and_settles_the_rest() {
        let mut pending = Pending::default();
        pending.append(QUEUE, Kept::Durably, &mut messages([4, 5, 6]));
        pending.append(QUEUE, Kept::UntilRestart, &mut messages([2, 7]));
        pending.settle_range(QUEUE, SeqRange { first: Seq(0), last: Seq(5) });
        assert_eq!(waiting(&pending), [6, 7]);
        assert_eq!(pending.ops(), [Op::Settled { queue: QUEUE, ranges: vec![(0, 5)] }]);
    }
}
