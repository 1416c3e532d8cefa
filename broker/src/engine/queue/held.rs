//! Looking at messages that were delivered and await settlement, to tell who holds them and for how long.
//!
//! A look goes over the slots in pieces, so that nobody waits long for the queue: first over the times alone, then at the
//! messages that were chosen by them. Called by the server's queue handle.

use super::unacked::Tick;
use super::{ConsumerId, MessageId, Queue};
use crate::wire::message::Message;

/// Since when what is in a slot is outstanding. Ordered by that: the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldSince {
    /// When it was delivered, to 128 ms, in milliseconds since 1970.
    pub delivered_ms: u64,
    /// Its slot.
    pub slot: u32,
}

/// Who has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A consumer.
    Consumer(ConsumerId),
    /// The channel of a consumer that was cancelled meanwhile.
    GoneConsumer,
    /// Whoever took it with `basic.get`.
    Get,
}

/// A message that was delivered and awaits settlement.
#[derive(Debug, Clone)]
pub struct Held {
    /// Which.
    pub id: MessageId,
    /// Since when.
    pub since: HeldSince,
    /// Who has it.
    pub holder: Holder,
    /// The message.
    pub message: Message,
    /// How often it came back to the queue before this delivery.
    pub returned: u16,
    /// Whether it was delivered before this delivery.
    pub redelivered: bool,
}

impl Queue {
    /// Since when the messages in up to `count` slots from `first` on are outstanding. Free slots count.
    pub fn held_since(&self, first: u32, count: usize, now_ms: u64) -> impl Iterator<Item = HeldSince> {
        let times = self.unacked.times(first, count);
        times.map(move |(slot, time)| HeldSince { delivered_ms: time.near(now_ms), slot })
    }

    /// How many slots there are to look at.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.unacked.slot_count()
    }

    /// Looks at an outstanding message; none if it was settled meanwhile.
    #[must_use]
    pub fn held(&self, since: HeldSince) -> Option<Held> {
        let (what, message) = self.unacked.message_since(since.slot, Tick::at(since.delivered_ms))?;
        let holder = match what.holder {
            None => Holder::Get,
            Some(key) => self.consumers.id(key).map_or(Holder::GoneConsumer, Holder::Consumer),
        };
        let (level, seq) = (what.place.level(), what.place.seq());
        Some(Held {
            id: MessageId { level, seq },
            since,
            holder,
            message: message.clone(),
            returned: what.returned,
            redelivered: what.returned > 0 || seq < self.levels.at(level).restored_delivered,
        })
    }
}
