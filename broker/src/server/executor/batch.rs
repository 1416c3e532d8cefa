//! [`Batch`]: what a connection has gathered for the queues during one round of input.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::FixedState;

use crate::engine::QueueId;
use crate::server::queue_handle::{QueueBatch, QueueHandle};
use crate::session::action::ChannelId;
use crate::store::Epoch;
use crate::wire::message::Message;

/// Queue batches that are kept for reuse; a fanout to more queues gives the rest back.
const POOLED_MAX: usize = 16;

/// Notes of publishes that may be refused for which room is kept.
const GUARDED_KEPT_MAX: usize = 1024;

/// A publish whose confirm depends on this round.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingConfirm {
    pub(super) channel: ChannelId,
    pub(super) number: u64,
    /// Whether any queue stores the message.
    pub(super) stored: bool,
    /// Whether any queue refused it.
    pub(super) refused: bool,
}

/// A publish that a queue may refuse. Noted for such queues only.
#[derive(Debug, Clone, Copy)]
struct Guarded {
    /// The place of the queue's batch, and of the message in it.
    entry: usize,
    publish: usize,
    /// The place of its confirm, if it awaits one.
    confirm: Option<usize>,
}

/// Work for queues, gathered so that each queue's lock is taken once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The first `used` have a handle; the others wait for reuse.
    entries: Vec<(Option<QueueHandle>, QueueBatch)>,
    used: usize,
    index: HashMap<QueueId, usize, FixedState>,
    /// The entry asked for last: rounds often touch one queue a thousand times.
    last: Option<(QueueId, usize)>,
    pub(super) confirms: Vec<PendingConfirm>,
    /// Collects the queues of the message that is being routed, if somebody wants to know.
    pub(super) routed: Option<Vec<QueueHandle>>,
    /// In the order of their publishes.
    guarded: Vec<Guarded>,
    /// A message was refused since [`Batch::take_refused`].
    refused: bool,
}

impl Batch {
    /// The batch for this queue.
    pub(super) fn queue(&mut self, handle: &QueueHandle) -> &mut QueueBatch {
        let id = handle.id();
        let at = match self.last {
            Some((last, at)) if last == id => at,
            _ => self.find_or_add(handle),
        };
        self.last = Some((id, at));
        &mut self.entries[at].1
    }

    /// Adds a message for this queue.
    #[inline]
    pub(super) fn publish(&mut self, handle: &QueueHandle, message: Message, may_reject: bool) {
        let publishes = &mut self.queue(handle).publishes;
        publishes.push(message);
        if may_reject && let Some((_, entry)) = self.last {
            let publish = self.entries[entry].1.publishes.len() - 1;
            self.guarded.push(Guarded { entry, publish, confirm: None });
        }
    }

    /// How many publishes were noted that a queue may refuse.
    pub(super) fn guarded_count(&self) -> usize {
        self.guarded.len()
    }

    /// Adds the confirm of a publish. `guarded` are the places of what was noted for it.
    pub(super) fn await_confirm(&mut self, confirm: PendingConfirm, guarded: Range<usize>) {
        for guarded in &mut self.guarded[guarded] {
            guarded.confirm = Some(self.confirms.len());
        }
        self.confirms.push(confirm);
    }

    /// Whether a queue refused a message since this was asked last.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    fn find_or_add(&mut self, handle: &QueueHandle) -> usize {
        if let Some(&at) = self.index.get(&handle.id()) {
            return at;
        }
        let at = self.used;
        self.used += 1;
        self.index.insert(handle.id(), at);
        match self.entries.get_mut(at) {
            Some((slot, _)) => *slot = Some(handle.clone()),
            None => self.entries.push((Some(handle.clone()), QueueBatch::default())),
        }
        at
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0 && self.confirms.is_empty()
    }

    /// Applies everything, each queue under one lock, and returns the epoch at which what was stored is durable.
    ///
    /// Queues that receive messages come first: a client that publishes and then acknowledges what it had consumed must
    /// not have the acknowledgement committed before the publish.
    pub(super) fn apply(&mut self) -> Epoch {
        let mut epoch = Epoch::default();
        let entries = &mut self.entries[..self.used];
        for receives in [true, false] {
            for (handle, batch) in
                entries.iter_mut().filter(|(_, batch)| batch.publishes.is_empty() != receives)
            {
                if let Some(handle) = handle.take() {
                    epoch = epoch.max(handle.apply(batch));
                }
            }
        }
        self.book_refusals();
        for (_, batch) in &mut self.entries[..self.used] {
            batch.clear();
        }
        self.entries.truncate(POOLED_MAX);
        self.used = 0;
        self.last = None;
        self.index.clear();
        epoch
    }

    /// Marks the confirms of what was refused.
    fn book_refusals(&mut self) {
        let entries = &self.entries[..self.used];
        let refused: usize = entries.iter().map(|(_, batch)| batch.refused.len()).sum();
        if refused > 0 {
            self.refused = true;
            let mut known = 0;
            for guarded in &self.guarded {
                if entries[guarded.entry].1.refused.binary_search(&guarded.publish).is_ok() {
                    known += 1;
                    if let Some(confirm) = guarded.confirm.and_then(|at| self.confirms.get_mut(at)) {
                        confirm.refused = true;
                    }
                }
            }
            if known < refused {
                // A queue has begun to refuse while this round was gathered. To say so of too many is safe: they are published
                // again.
                self.confirms.iter_mut().for_each(|confirm| confirm.refused = true);
            }
        }
        self.guarded.clear();
        self.guarded.shrink_to(GUARDED_KEPT_MAX);
    }

    /// Gives back all memory if there is nothing to do.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
