//! What an operator does with a shared queue: looking at its ready messages, taking chosen ones out, and pausing it.
//!
//! The lock is held for a few hundred references at a time, never while the disk is read or anything is done with messages. What is
//! paged is read from the store and stays paged.

use std::collections::VecDeque;
use std::io;

use super::SharedQueue;
use crate::engine::definitions::QueueNotes;
use crate::engine::queue::{Browsed, Claimed, Found, MessageId, Seq, SeqRange, Stretch};
use crate::store::LoadedMessage;
use crate::wire::message::Message;

/// Messages that are looked at under one lock.
const SLICE: usize = 256;

/// Messages that are read from the store at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Goes over the ready messages of a queue in the order of delivery. Consumers may take what lies ahead meanwhile.
#[derive(Debug)]
pub(in crate::server) struct Browser<'a> {
    queue: &'a SharedQueue,
    after: Option<MessageId>,
    skip: u64,
    pending: VecDeque<Browsed>,
    ended: bool,
}

impl Browser<'_> {
    /// The next message; none at the end.
    ///
    /// # Errors
    ///
    /// If paged messages cannot be read.
    pub(in crate::server) fn next(&mut self) -> io::Result<Option<Browsed>> {
        while self.pending.is_empty() && !self.ended {
            let view = self.queue.state.lock().queue.browse(self.after, self.skip, SLICE);
            self.skip -= view.skipped;
            match view.stretch {
                Stretch::Memory { messages, up_to } => {
                    self.after = Some(up_to);
                    self.pending.extend(messages);
                }
                Stretch::Paged { level, ranges, delivered_end } => {
                    self.read(level, &ranges, delivered_end)?;
                }
                Stretch::End => self.ended = true,
            }
        }
        Ok(self.pending.pop_front())
    }

    /// Reads the first of these messages that there are.
    fn read(&mut self, level: u8, ranges: &[SeqRange], delivered_end: Seq) -> io::Result<()> {
        let (store, id) = (&self.queue.backing.store, self.queue.store_id(level));
        for &SeqRange { first, last } in ranges {
            let mut next = first;
            if self.skip > 0 {
                let (passed, behind) = store.skip(id, first, last, self.skip);
                self.skip -= passed;
                next = behind;
            }
            if next <= last {
                let up_to = self.queue.read_paged(level, next, last, delivered_end, &mut self.pending)?;
                self.after = Some(MessageId { level, seq: up_to });
                return Ok(());
            }
            self.after = Some(MessageId { level, seq: last });
        }
        Ok(())
    }
}

/// Messages that were taken out of their queue. What is not settled goes back to its place when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Claims<'a> {
    queue: &'a SharedQueue,
    claimed: Vec<Claimed>,
}

impl Claims<'_> {
    /// The messages.
    pub(in crate::server) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.claimed.iter().map(Claimed::message)
    }

    /// How many they are.
    pub(in crate::server) fn len(&self) -> usize {
        self.claimed.len()
    }

    /// Those whose place among them `is_done` knows are done with; the others go back.
    pub(in crate::server) fn settle(mut self, is_done: impl Fn(usize) -> bool) {
        let (done, back): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.claimed).into_iter().enumerate().partition(|(at, _)| is_done(*at));
        self.claimed = back.into_iter().map(|(_, claimed)| claimed).collect();
        self.queue.with_state(|state| {
            state.queue.settle_claimed(done.into_iter().map(|(_, claimed)| claimed), &mut state.effects);
        });
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        let claimed = std::mem::take(&mut self.claimed);
        let now_ms = self.queue.now_ms();
        self.queue.with_state(|state| {
            state.queue.put_back(claimed);
            state.queue.dispatch(now_ms, &mut state.targets, &mut state.effects);
        });
    }
}

impl SharedQueue {
    /// Goes over the ready messages: those behind `after`, or else from the head, but for the first `skip` of them.
    pub(in crate::server) fn browse(&self, after: Option<MessageId>, skip: u64) -> Browser<'_> {
        Browser { queue: self, after, skip, pending: VecDeque::new(), ended: false }
    }

    /// Looks for messages by their ids; those that are not ready are left out. In the order of their ids.
    ///
    /// # Errors
    ///
    /// If paged messages cannot be read.
    pub(in crate::server) fn find(&self, ids: &[MessageId]) -> io::Result<Vec<Browsed>> {
        let (mut found, mut paged) = (Vec::new(), Vec::new());
        for some in ids.chunks(SLICE) {
            let state = self.state.lock();
            for &id in some {
                match state.queue.find(id) {
                    Found::Memory(browsed) => found.push(browsed),
                    Found::Paged { delivered_end } => paged.push((id.level, id.seq, delivered_end)),
                    Found::NotThere => {}
                }
            }
        }
        paged.sort_unstable();
        let mut rest = paged.as_slice();
        while let Some(&(level, first, delivered_end)) = rest.first() {
            let last = rest.iter().take_while(|paged| paged.0 == level).last().map_or(first, |paged| paged.1);
            let mut read = VecDeque::new();
            let up_to = self.read_paged(level, first, last, delivered_end, &mut read)?;
            let wanted = |browsed: &Browsed| {
                rest.binary_search_by_key(&(level, browsed.id.seq), |paged| (paged.0, paged.1)).is_ok()
            };
            found.extend(read.into_iter().filter(wanted));
            rest = &rest[rest.partition_point(|paged| (paged.0, paged.1) <= (level, up_to))..];
        }
        found.sort_by_key(|browsed| (browsed.id.level, browsed.id.seq));
        found.dedup_by_key(|browsed| browsed.id);
        Ok(found)
    }

    /// Takes messages out that were looked at, those that still wait. At most a few hundred.
    pub(in crate::server) fn claim(&self, chosen: &[Browsed]) -> Claims<'_> {
        let claim = |chosen: &[Browsed]| {
            self.with_state(|state| chosen.iter().filter_map(|chosen| state.queue.claim(chosen)).collect())
        };
        Claims { queue: self, claimed: claim(chosen) }
    }

    /// Lets nobody have messages from now on, or lets them again. A durable queue stays paused over restarts. To be called while
    /// the queue cannot be deleted: a definition of one that is gone would come back.
    pub(in crate::server) fn set_paused(&self, paused: bool) {
        let now_ms = self.now_ms();
        self.with_state(|state| {
            if state.queue.is_deleted() || state.queue.is_paused() == paused {
                return;
            }
            state.queue.set_paused(paused);
            if self.options.durable {
                self.note(QueueNotes { has_expirations: state.has_expirations, paused });
            }
            state.queue.dispatch(now_ms, &mut state.targets, &mut state.effects);
        });
    }

    /// Reads what is there of some numbers, at least one of them, and says how far it came.
    fn read_paged(
        &self,
        level: u8,
        first: Seq,
        last: Seq,
        delivered_end: Seq,
        into: &mut VecDeque<Browsed>,
    ) -> io::Result<Seq> {
        let loaded = self.backing.store.load(self.store_id(level), first, last, PIECE_BYTES)?;
        self.log_damaged(&loaded.damaged);
        into.extend(loaded.messages.into_iter().map(|LoadedMessage { seq, message, returned }| Browsed {
            id: MessageId { level, seq },
            message,
            returned,
            redelivered: returned > 0 || seq < delivered_end,
        }));
        Ok(loaded.up_to.unwrap_or(last).clamp(first, last))
    }
}
