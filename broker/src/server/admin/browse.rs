//! Looking at the ready messages of a queue without touching them: nothing is delivered, marked or moved, and what is not in memory
//! stays so.

use std::io;

use super::filter::Matcher;
use super::{Actor, MessageFilter};
use crate::access::required::Operation;
use crate::engine::queue::{Browsed, MessageId};
use crate::error::AmqpError;
use crate::wire::message::Message;

/// The most messages that one look gives.
pub const BROWSE_COUNT_MAX: usize = 1_000;

/// Messages that one look goes over at most while it searches.
pub(super) const SCAN_MESSAGES_MAX: u64 = 10_000;

/// Bodies that one look goes over at most, in bytes: it stops behind the one that goes beyond.
pub(super) const SCAN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bodies and properties that one look gives at most, in bytes: it stops behind the message that goes beyond.
pub(super) const SHOWN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a look begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowseFrom {
    /// Behind so many messages, in the order of delivery.
    Position(u64),
    /// Behind this message, whether it is still there or not.
    Behind(MessageId),
}

/// What a look is to give.
#[derive(Debug, Clone)]
pub struct Browse {
    /// Where it begins.
    pub from: BrowseFrom,
    /// At most so many messages, and no more than [`BROWSE_COUNT_MAX`].
    pub count: usize,
    /// Only these.
    pub filter: MessageFilter,
    /// How much of a body is going to be shown, in bytes: the less, the more messages there may be.
    pub body_bytes_max: usize,
}

/// A message that was looked at.
#[derive(Debug, Clone)]
pub struct BrowsedMessage {
    /// What to call it in further requests.
    pub id: MessageId,
    /// How many were before it, if the look began at a position.
    pub position: Option<u64>,
    /// The message.
    pub message: Message,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it came back to the queue.
    pub delivery_count: u16,
}

/// What a look gave.
#[derive(Debug, Clone)]
pub struct BrowsedMessages {
    /// In the order of delivery.
    pub messages: Vec<BrowsedMessage>,
    /// How many messages were looked at.
    pub scanned: u64,
    /// The last of them, behind which to go on; none if there were no more.
    pub next: Option<MessageId>,
    /// The same as a position, if the look began at one.
    pub next_position: Option<u64>,
}

/// What one request may still look at.
#[derive(Debug)]
pub(super) struct ScanBudget {
    messages: u64,
    bytes: u64,
    /// Looked at until now.
    pub(super) scanned: u64,
    /// The last one.
    pub(super) last: Option<MessageId>,
}

impl Default for ScanBudget {
    fn default() -> Self {
        Self { messages: SCAN_MESSAGES_MAX, bytes: SCAN_BYTES_MAX, scanned: 0, last: None }
    }
}

impl ScanBudget {
    /// Whether another one may be looked at.
    pub(super) fn has_room(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// Counts one.
    pub(super) fn take(&mut self, browsed: &Browsed) {
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(browsed.message.body().len() as u64);
        self.scanned += 1;
        self.last = Some(browsed.id);
    }
}

impl Actor {
    /// Looks at ready messages of a queue. Needs what `basic.get` needs.
    ///
    /// # Errors
    ///
    /// What a client would be told, or that paged messages cannot be read.
    pub fn browse(&mut self, queue: &str, browse: &Browse) -> Result<BrowsedMessages, AmqpError> {
        let queue = self.executor.queue_for(Operation::Get(queue), queue)?;
        let (after, skip) = match browse.from {
            BrowseFrom::Position(position) => (None, position),
            BrowseFrom::Behind(id) => (Some(id), 0),
        };
        let matcher = Matcher::new(&browse.filter);
        let count = browse.count.min(BROWSE_COUNT_MAX);
        let mut browser = queue.browse(after, skip);
        let (mut budget, mut messages, mut shown, mut at_end) = (ScanBudget::default(), Vec::new(), 0, false);
        while messages.len() < count && shown < SHOWN_BYTES_MAX && budget.has_room() {
            let Some(browsed) = browser.next().map_err(unreadable)? else {
                at_end = true;
                break;
            };
            let position = (after.is_none()).then_some(skip + budget.scanned);
            budget.take(&browsed);
            if matcher.matches(&browsed.message) {
                let Browsed { id, message, returned, redelivered } = browsed;
                shown += message.body().len().min(browse.body_bytes_max) + message.properties().len();
                messages.push(BrowsedMessage {
                    id,
                    position,
                    message,
                    redelivered,
                    delivery_count: returned,
                });
            }
        }
        let next = budget.last.or(after).filter(|_| !at_end);
        let next_position = (after.is_none() && !at_end).then_some(skip + budget.scanned);
        Ok(BrowsedMessages { messages, scanned: budget.scanned, next, next_position })
    }
}

/// What a client is told when the store cannot be read.
pub(super) fn unreadable(error: io::Error) -> AmqpError {
    tracing::error!(%error, "paged messages cannot be read for an operator");
    AmqpError::internal_error("paged messages cannot be read; see the broker's log")
}
