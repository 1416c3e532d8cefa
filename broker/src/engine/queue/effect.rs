//! [`Effect`]: what follows from a call to a queue and is the server's to carry out, and what else such calls give.

use super::ready::ReadyMessages;
use super::unacked::UnackedMessages;
use super::{ConsumerId, DeathReason, Seq};
use crate::wire::message::Message;

/// What the server is to do, in this order. A `level` and a `seq` together name a message of the queue.
#[derive(Debug)]
pub enum Effect {
    /// Hand a message to a consumer.
    Deliver {
        /// Whom to.
        consumer: ConsumerId,
        /// How it is settled; [`NO_SLOT`](super::NO_SLOT) if it need not be.
        slot: u32,
        /// Whether it was delivered before.
        redelivered: bool,
        /// How often it came back to the queue, for the header `x-delivery-count`; 0 also if this queue does not tell.
        delivery_count: u16,
        /// The message.
        message: Message,
    },
    /// Tell a consumer that its queue is gone.
    ConsumerCancelled {
        /// Whom.
        consumer: ConsumerId,
    },
    /// A message that the store keeps (a persistent one in a durable queue, or one that was paged) is done.
    Settled {
        /// Its level.
        level: u8,
        /// Which.
        seq: Seq,
    },
    /// A message that the store keeps came back to a durable queue.
    Returned {
        /// Its level.
        level: u8,
        /// Which.
        seq: Seq,
        /// How often so far; stays at the largest number.
        count: u16,
    },
    /// Messages that the store keeps were handed out of a durable queue for the first time, to be acknowledged. At most once
    /// per level and dispatch, behind the deliveries.
    Delivered {
        /// Their level.
        level: u8,
        /// The last of them: it and all before are redelivered if a restart brings them back.
        up_to: Seq,
    },
    /// All messages that the store keeps in these ranges are done.
    Purged {
        /// Their level.
        level: u8,
        /// Ascending and disjoint. Contain no message that the queue still holds.
        ranges: Box<[SeqRange]>,
    },
    /// A message was given up and is to be dead-lettered. The queue counts it no more. If the store keeps it, it is settled
    /// there only when its dead letter is safe.
    Dead {
        /// Its level.
        level: u8,
        /// Which; without meaning for one that was refused.
        seq: Seq,
        /// The store keeps it.
        stored: bool,
        /// Why.
        reason: DeathReason,
        /// The message.
        message: Message,
    },
    /// A delivery has been outstanding for longer than the queue's consumer timeout. Told again while that lasts.
    TimedOut {
        /// Whose.
        consumer: ConsumerId,
    },
}

/// What became of a new message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is the queue's now: if it is persistent and the queue durable, the store is to get it under this number, before it
    /// hears of the call's effects.
    Accepted {
        /// Its level.
        level: u8,
        /// Its number.
        seq: Seq,
    },
    /// The queue is full and refuses it.
    Refused,
}

/// How many messages met which end, since the queue was declared or restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Their time was over.
    pub expired: u64,
    /// Dropped from the head because the queue was too long.
    pub dropped: u64,
    /// Not accepted because the queue was too long.
    pub refused: u64,
    /// Rejected by consumers without requeue.
    pub rejected: u64,
    /// Came back too often.
    pub delivery_limited: u64,
    /// Those of all these that were handed over as [`Effect::Dead`].
    pub dead_lettered: u64,
}

/// Sequence numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// The lowest.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
}

/// A message taken with `basic.get`.
#[derive(Debug)]
pub struct Taken {
    /// The message.
    pub message: Message,
    /// How it is settled; [`NO_SLOT`](super::NO_SLOT) if it need not be.
    pub slot: u32,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// As in [`Effect::Deliver`].
    pub delivery_count: u16,
    /// Its level.
    pub level: u8,
    /// Ready messages left.
    pub remaining: u32,
    /// The message is done with this and the store keeps it: as [`Effect::Settled`].
    pub settled: Option<Seq>,
    /// As [`Effect::Delivered`].
    pub delivered: Option<Seq>,
}

/// Why there was no message to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NothingTaken {
    /// None is ready.
    Empty,
    /// The next one is not in memory: see [`Queue::page_in_wanted`](super::Queue::page_in_wanted).
    PagedOut,
}

/// Messages that a queue holds no more, or not in memory. They may be millions: drop this where nobody waits for a lock.
#[derive(Debug, Default)]
#[must_use = "it is to be dropped without a lock held"]
pub struct Removed {
    /// How many of them were ready.
    pub ready: u32,
    pub(super) _messages: (Vec<ReadyMessages>, UnackedMessages),
}
