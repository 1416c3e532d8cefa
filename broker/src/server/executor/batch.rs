//! [`Batch`]: what a connection has gathered for the queues during one round of input.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::engine::QueueId;
use crate::server::queue_handle::{QueueBatch, QueueHandle};
use crate::session::action::ChannelId;
use crate::store::Epoch;

/// Queue batches that are kept for reuse; a fanout to more queues gives the rest back.
const POOLED_MAX: usize = 16;

/// A publish whose confirm depends on this round.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingConfirm {
    pub(super) channel: ChannelId,
    pub(super) number: u64,
    /// Whether any queue stores the message.
    pub(super) stored: bool,
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
        for (_, batch) in entries {
            batch.clear();
        }
        self.entries.truncate(POOLED_MAX);
        self.used = 0;
        self.last = None;
        self.index.clear();
        epoch
    }

    /// Gives back all memory if there is nothing to do.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
