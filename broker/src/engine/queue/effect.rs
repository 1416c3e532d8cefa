//! [`Effect`]: what follows from a call to a queue and is the server's to carry out, and what else such calls give.

use super::ready::ReadyMessages;
use super::unacked::UnackedMessages;
use super::{ConsumerId, Seq};
use crate::wire::message::Message;

/// What the server is to do, in this order.
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
        /// Which.
        seq: Seq,
    },
    /// A message that the store keeps came back to a durable queue.
    Returned {
        /// Which.
        seq: Seq,
        /// How often so far; stays at the largest number.
        count: u16,
    },
    /// Messages that the store keeps were handed out of a durable queue for the first time, to be acknowledged. At most once
    /// per call, at its end.
    Delivered {
        /// The last of them: it and all before are redelivered if a restart brings them back.
        up_to: Seq,
    },
    /// All messages that the store keeps in these ranges are done.
    Purged {
        /// Ascending and disjoint. Contain no message that the queue still holds.
        ranges: Box<[SeqRange]>,
    },
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
    pub(super) _messages: (ReadyMessages, UnackedMessages),
}
