//! How a queue keeps a long backlog in the store only, and how it begins with one after a restart.
//!
//! [`Queue::page_out`] drops messages that the store has written, [`Queue::page_in`] takes them in again when the server has
//! loaded them. The ready messages stay one sequence: those in memory at its head, a paged range, and the newest ones in
//! memory again. Only messages that were never delivered are paged. No IO happens here.

use std::sync::Arc;

use super::levels::Level;
use super::ready::ReadyMessages;
use super::{Queue, QueueOptions, Removed, Seq, UnackedMessages};
use crate::wire::message::Message;

/// Ready messages that are not in memory: all that the store keeps of the queue from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagedRange {
    /// No message is before it.
    pub first: Seq,
    /// No message is behind it.
    pub last: Seq,
    /// How many there are.
    pub count: u64,
}

/// What is known of a queue after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The number of the next message; larger than any the queue ever had.
    pub next_seq: Seq,
    /// The last [`Effect::Delivered`](super::Effect::Delivered): messages up to it count as redelivered.
    pub delivered: Option<Seq>,
    /// The messages, all of them ready.
    pub paged: Option<PagedRange>,
}

/// A paged range of which the beginning is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedRange {
    /// Of which level.
    pub level: u8,
    /// What to load.
    pub range: PagedRange,
    /// How many loads were taken in until now: messages may leave memory a second time as a range that begins with the same
    /// one.
    pub(super) page_ins: u32,
}

/// The beginning of a paged range as it was loaded from the store.
#[derive(Debug)]
pub struct PagedIn {
    /// What [`Queue::page_in_wanted`] gave before loading began.
    pub wanted: WantedRange,
    /// The messages in order from the beginning of the range, each with how often it was returned. What lies behind the
    /// range does not count.
    pub messages: Vec<(Seq, Message, u16)>,
    /// The last number that was looked for. May be behind the range.
    pub up_to: Seq,
    /// Messages that were found up to there as well, but are damaged and lost.
    pub damaged: Vec<Seq>,
}

impl Queue {
    /// A queue as it was before a restart, by level. None of its messages is in memory.
    #[must_use]
    pub fn restore(options: Arc<QueueOptions>, restored: &[Restored]) -> Self {
        let mut queue = Self::new(options);
        for ((_, level), restored) in queue.levels.iter_mut().zip(restored) {
            let delivered_end = restored.delivered.map_or(Seq(0), |seq| Seq(seq.0 + 1));
            let paged_end = restored.paged.map_or(Seq(0), |paged| Seq(paged.last.0 + 1));
            // Damage may have cost the newest messages; their numbers are not used again.
            level.next_seq = restored.next_seq.max(delivered_end).max(paged_end);
            level.never_delivered = delivered_end;
            level.restored_delivered = delivered_end;
            level.ready = restored.paged.map(ReadyMessages::all_paged).unwrap_or_default();
        }
        queue.levels.find_top();
        queue
    }

    /// Names messages of a level that [`Queue::page_out`] would drop if the store kept them, in order, and counts them as kept
    /// from now on: the caller appends them to the store before it lets go of the lock. As many as exceed `bytes_max`, or all.
    pub fn paging_candidates(
        &mut self,
        level: u8,
        keep_front_bytes: usize,
        bytes_max: usize,
    ) -> Vec<(Seq, Message)> {
        let level = self.levels.at_mut(level);
        level.ready.paging_candidates(level.never_delivered, keep_front_bytes, bytes_max)
    }

    /// Drops messages of a level from memory, which stay ready. Everything that the store keeps of this level up to `written`
    /// can be loaded. The first `keep_front_bytes` stay, and all before what is paged already.
    /// None while messages are claimed: those could not be put back.
    pub fn page_out(&mut self, level: u8, written: Seq, keep_front_bytes: usize) -> Removed {
        if self.claimed > 0 {
            return Removed::default();
        }
        let level = self.levels.at_mut(level);
        let out = level.ready.page_out(level.never_delivered, written, keep_front_bytes);
        self.memory_bytes -= out.bytes;
        let ready = u32::try_from(out.messages.len()).unwrap_or(u32::MAX);
        Removed { ready, _messages: (vec![out.messages], UnackedMessages::default()) }
    }

    /// The number of the newest message there ever was in a level; none before the first.
    #[must_use]
    pub fn newest(&self, level: u8) -> Option<Seq> {
        self.levels.at(level).next_seq.0.checked_sub(1).map(Seq)
    }

    /// What to load the beginning of: the paged range of the highest level that has one, if the messages that are delivered
    /// before it have less than `low_bytes`; else one of a level that lacks its first message and must have it.
    #[must_use]
    pub fn page_in_wanted(&self, low_bytes: usize) -> Option<WantedRange> {
        let mut ahead: u64 = 0;
        let near = |(number, level): (u8, &Level)| {
            let ahead_bytes = usize::try_from(ahead).unwrap_or(usize::MAX);
            let wanted = level.ready.page_in_wanted(low_bytes.saturating_sub(ahead_bytes));
            ahead += level.ready.body_bytes();
            wanted.map(|wanted| WantedRange { level: number, ..wanted })
        };
        self.levels.iter().rev().find_map(near).or_else(|| {
            let level = self.level_to_load()?;
            let wanted = self.levels.at(level).ready.page_in_wanted(1)?;
            Some(WantedRange { level, ..wanted })
        })
    }

    /// Whether what [`Queue::page_in_wanted`] names is to be loaded although nobody consumes: it has to be expired or dropped.
    #[must_use]
    pub fn must_load(&self) -> bool {
        self.level_to_load().is_some()
    }

    /// Takes loaded messages in; they are delivered with the next [`Queue::dispatch`]. Ignores them if they come
    /// too late: others were faster, or the queue was purged or deleted.
    pub fn page_in(&mut self, loaded: PagedIn) {
        let level = loaded.wanted.level;
        let mut expiring = Vec::new();
        let met = |seq, message: &Message| {
            if message.expires_ms().is_some() {
                expiring.push((seq, message.clone()));
            }
        };
        self.memory_bytes += self.levels.at_mut(level).ready.page_in(loaded, met);
        for (seq, message) in expiring {
            self.note_deadline(level, seq, &message);
        }
        if self.extras.is_some() {
            self.refresh_due();
        }
    }

    /// A level whose first message is not in memory although it must be: to learn when it expires, or to be dropped.
    fn level_to_load(&self) -> Option<u8> {
        self.extras.as_ref()?;
        if self.has_excess() {
            return Some(self.levels.bottom()).filter(|level| self.levels.at(*level).ready.lacks_head());
        }
        self.set(|settings| settings.message_ttl_ms)?;
        let lacking = |(level, messages): (u8, &Level)| messages.ready.lacks_head().then_some(level);
        self.levels.iter().find_map(lacking)
    }
}
