//! Deleting and moving messages of a queue that an operator chose.

use super::browse::{ScanBudget, unreadable};
use super::filter::Matcher;
use super::{Actor, MessageFilter};
use crate::access::required::Operation;
use crate::engine::queue::{Browsed, MessageId};
use crate::error::AmqpError;
use crate::server::executor::Moved;
use crate::server::queue_handle::QueueHandle;
use crate::wire::message::Message;

/// The most ids that one request may name.
pub const CHOSEN_IDS_MAX: usize = 1_000;

/// The most messages that one request deletes or moves.
pub const CHOSEN_COUNT_MAX: u64 = 10_000;

/// Messages that are taken out of their queue at a time.
const ROUND_MESSAGES: usize = 256;

/// The same in bytes: no more once there are as many.
const ROUND_BYTES: usize = 4 * 1024 * 1024;

/// Which messages are meant.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Those with these ids, at most [`CHOSEN_IDS_MAX`].
    Ids(Vec<MessageId>),
    /// Those that a filter is about.
    Matching {
        /// The filter.
        filter: MessageFilter,
        /// Only those behind this one, whether it is still there or not.
        after: Option<MessageId>,
        /// At most so many, and no more than [`CHOSEN_COUNT_MAX`].
        count: u64,
    },
}

/// Where messages are moved to.
#[derive(Debug, Clone, Default)]
pub struct MoveTarget {
    /// The exchange, at most 255 bytes; empty for the default one, which takes the name of a queue as key.
    pub exchange: String,
    /// The routing key, at most 255 bytes; that of each message if there is none.
    pub routing_key: Option<String>,
}

/// What became of messages that were chosen.
#[derive(Debug, Clone, Default)]
pub struct ChosenDone {
    /// How many were deleted or moved.
    pub done: u64,
    /// Not moved, because no other queue would have got them.
    pub unroutable: u64,
    /// Not moved, because a queue refused them.
    pub refused: u64,
    /// Found, but taken by consumers before they could be deleted or moved.
    pub gone: u64,
    /// The ids of those that were not ready any more.
    pub not_found: Vec<MessageId>,
    /// How many messages were looked at.
    pub scanned: u64,
    /// The last of them, behind which to go on; none if there were no more, or if they were chosen by ids.
    pub next: Option<MessageId>,
}

impl Actor {
    /// Deletes chosen messages, which are not dead-lettered. Needs what `queue.purge` needs. They stay deleted over a crash once
    /// this returns.
    ///
    /// # Errors
    ///
    /// What a client would be told, or that paged messages cannot be read: then some may be deleted already.
    pub fn delete_messages(&mut self, queue: &str, choice: &Choice) -> Result<ChosenDone, AmqpError> {
        let queue = self.executor.queue_for(Operation::PurgeQueue(queue), queue)?;
        let done = self.for_chosen(&queue, choice, |_, chosen| {
            let claims = queue.claim(chosen);
            let moved = Moved { moved: claims.len() as u64, ..Moved::default() };
            claims.settle(|_| true);
            moved
        })?;
        self.executor.wait_for_all();
        let name = &queue.options().name;
        tracing::info!(queue = %name, count = done.done, "an operator deleted messages");
        Ok(done)
    }

    /// Moves chosen messages to an exchange, with their properties. A copy is where it belongs before the original is gone, and as
    /// safe as the store makes it once this returns; what a queue refuses, or none gets, stays. Needs what `basic.get` and
    /// `basic.publish` need.
    ///
    /// # Errors
    ///
    /// What a client would be told, or that paged messages cannot be read: then some may be moved already.
    pub fn move_messages(
        &mut self,
        queue: &str,
        choice: &Choice,
        target: &MoveTarget,
    ) -> Result<ChosenDone, AmqpError> {
        let queue = self.executor.queue_for(Operation::Get(queue), queue)?;
        self.executor.check_target(&target.exchange, target.routing_key.as_deref())?;
        let done = self.for_chosen(&queue, choice, |actor, chosen| {
            actor.executor.wait_for_room();
            let now_ms = actor.executor.now_ms();
            let copy = |message: &Message| {
                let own = std::str::from_utf8(message.routing_key()).unwrap_or_default();
                let key = target.routing_key.as_deref().unwrap_or(own);
                message.republished(&target.exchange, key, message.properties(), now_ms)
            };
            actor.executor.move_claimed(&queue, queue.claim(chosen), copy)
        })?;
        self.executor.wait_for_all();
        let (name, exchange) = (&queue.options().name, &target.exchange);
        tracing::info!(queue = %name, %exchange, count = done.done, "an operator moved messages");
        Ok(done)
    }

    /// Finds what was chosen and has `round` done with some of it at a time.
    fn for_chosen(
        &mut self,
        queue: &QueueHandle,
        choice: &Choice,
        mut round: impl FnMut(&mut Self, &[Browsed]) -> Moved,
    ) -> Result<ChosenDone, AmqpError> {
        let mut done = ChosenDone::default();
        match choice {
            Choice::Ids(ids) => {
                let ids = &ids[..ids.len().min(CHOSEN_IDS_MAX)];
                let found = queue.find(ids).map_err(unreadable)?;
                done.scanned = found.len() as u64;
                let key = |id: &MessageId| (id.level, id.seq);
                let is_missing =
                    |id: &&MessageId| found.binary_search_by_key(&key(id), |found| key(&found.id)).is_err();
                done.not_found = ids.iter().filter(is_missing).copied().collect();
                for some in found.chunks(ROUND_MESSAGES) {
                    done.add(some.len(), round(self, some));
                }
            }
            Choice::Matching { filter, after, count } => {
                self.for_matching(queue, (filter, *after, *count), &mut done, round)?;
            }
        }
        Ok(done)
    }

    fn for_matching(
        &mut self,
        queue: &QueueHandle,
        (filter, after, count): (&MessageFilter, Option<MessageId>, u64),
        done: &mut ChosenDone,
        mut round: impl FnMut(&mut Self, &[Browsed]) -> Moved,
    ) -> Result<(), AmqpError> {
        let matcher = Matcher::new(filter);
        let mut budget = ScanBudget::default();
        let mut browser = queue.browse(after, 0);
        let (mut chosen, mut bytes, mut left) = (Vec::new(), 0, count.min(CHOSEN_COUNT_MAX));
        let mut at_end = false;
        while !at_end && left > 0 && budget.has_room() {
            match browser.next().map_err(unreadable)? {
                None => at_end = true,
                Some(browsed) => {
                    budget.take(&browsed);
                    if matcher.matches(&browsed.message) {
                        left -= 1;
                        bytes += browsed.message.body().len();
                        chosen.push(browsed);
                    }
                }
            }
            let is_last = at_end || left == 0 || !budget.has_room();
            if is_last || chosen.len() >= ROUND_MESSAGES || bytes >= ROUND_BYTES {
                done.add(chosen.len(), round(self, &chosen));
                chosen.clear();
                bytes = 0;
            }
        }
        done.scanned = budget.scanned;
        done.next = budget.last.or(after).filter(|_| !at_end);
        Ok(())
    }
}

impl ChosenDone {
    fn add(&mut self, chosen: usize, Moved { moved, unroutable, refused }: Moved) {
        self.done += moved;
        self.unroutable += unroutable;
        self.refused += refused;
        self.gone += (chosen as u64).saturating_sub(moved + unroutable + refused);
    }
}
