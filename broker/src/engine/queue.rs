//! [`Queue`]: the messages of one queue, ready and unacked, and its consumers.
//!
//! A plain data structure. It decides who gets which message and when; the server carries the [`Effect`]s out, holds
//! the lock, and keeps what must survive. It knows no channels (they appear as a [`ChannelGate`]), no clock and no
//! store, but which of its messages a store keeps. Called by the server's queue handle only.

use std::sync::Arc;

use crate::wire::message::Message;

use consumers::Consumers;
use extras::Extras;
use levels::Levels;
use ready::{ReadyMessage, held_bytes};
use unacked::{UnackedMessage, UnackedMessages};

mod browse;
mod consumers;
mod deadlines;
mod death;
mod deliver;
mod effect;
mod expiry;
mod extras;
mod held;
mod levels;
mod options;
mod overflow;
mod paging;
mod ready;
mod settings;
mod survey;
mod timeouts;
mod unacked;

pub use browse::{Browsed, Claimed, Found, MessageId, NoMessageId, Stretch, View};
pub use effect::{Effect, Enqueued, NothingTaken, QueueCounters, Removed, SeqRange, Taken};
pub use held::{Held, HeldSince, Holder};
pub use options::{QueueDeclare, QueueKind, QueueOptions, type_name};
pub use paging::{PagedIn, PagedRange, Restored, WantedRange};
pub use settings::{DeadLetterStrategy, DeadLettering, DeathReason, Overflow, QueueSettings};
pub use survey::{SurveyWanted, Surveyed};

/// The slot of a delivery that needs no acknowledgement.
pub const NO_SLOT: u32 = u32::MAX;

/// A consumer of one queue. A later consumer of the same queue has another id as long as fewer than 4096 consumers came
/// and went in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId(pub u32);

impl ConsumerId {
    /// The consumer's place in a table of the queue's consumers: dense, and reused by a later one.
    #[must_use]
    pub fn index(self) -> usize {
        consumers::index_of(self)
    }
}

/// A message's number in its level of its queue: ascending in the order of arrival, kept when it returns to the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// Whether deliveries await an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// They count as acknowledged once delivered.
    Automatic,
    /// They stay outstanding until they are settled.
    Manual,
}

/// What becomes of outstanding deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Done: forget them.
    Ack,
    /// Back to their place in the queue.
    Requeue,
    /// Rejected without requeue: forget them.
    Discard,
}

/// What a new consumer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// Whether it acknowledges.
    pub ack_mode: AckMode,
    /// How many unacknowledged messages it may hold, 0 for any number. Without meaning for [`AckMode::Automatic`].
    pub prefetch: u16,
    /// Whether it wants to be the only consumer.
    pub exclusive: bool,
    /// Consumers with the highest priority are served first.
    pub priority: i32,
}

/// Why a consumer was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeRefused {
    /// An exclusive consumer is present, or one was asked for while others exist or one is to be active at a time.
    ExclusiveInUse,
    /// The queue has [`CONSUMERS_PER_QUEUE_MAX`](crate::limits::CONSUMERS_PER_QUEUE_MAX) consumers.
    TooMany,
}

/// What the removal of a consumer means for its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedConsumer {
    /// It was the last one: an auto-delete queue is to be deleted.
    pub last: bool,
}

/// The channel-wide prefetch limit, which spans queues and so is not this module's to keep.
pub trait ChannelGate {
    /// Takes one message's worth of credit for this consumer's channel. Asked last, when a message is there and the
    /// consumer itself could take it; so each success is one delivery. After a refusal the consumer is left out until
    /// [`Queue::gate_opened`].
    fn try_acquire(&mut self, consumer: ConsumerId) -> bool;
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    options: Arc<QueueOptions>,
    levels: Levels,
    unacked: UnackedMessages,
    consumers: Consumers,
    memory_bytes: usize,
    /// Messages that were taken out and are neither settled nor back.
    claimed: u32,
    /// Nobody gets messages.
    paused: bool,
    /// The last dispatch left messages for which there was no consumer that could take one.
    waits: bool,
    deleted: bool,
    /// What a queue without limits and deadlines has no use for.
    extras: Option<Box<Extras>>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(options: Arc<QueueOptions>) -> Self {
        Self {
            levels: Levels::new(options.highest_level()),
            unacked: UnackedMessages::default(),
            consumers: Consumers::new(options.single_active_consumer),
            memory_bytes: 0,
            claimed: 0,
            paused: false,
            waits: false,
            deleted: false,
            extras: Extras::with(options.settings.clone()),
            options,
        }
    }

    /// Adds a message at the tail of its level and tells its number, unless the queue is full. Delivers only what has to be
    /// delivered first to know that; the rest is [`Queue::dispatch`]. A deleted queue drops it.
    pub fn enqueue(
        &mut self,
        message: Message,
        now_ms: u64,
        gate: &mut (impl ChannelGate + ?Sized),
        effects: &mut Vec<Effect>,
    ) -> Enqueued {
        let expires_ms = message.expires_ms();
        if (self.extras.is_some() || expires_ms.is_some()) && !self.deleted {
            return self.enqueue_checked(message, expires_ms, now_ms, gate, effects);
        }
        let stored = self.options.durable && message.is_persistent();
        let level = self.levels.level_of(message.priority());
        let place = self.levels.put(level);
        let seq = place.take_number();
        if !self.deleted {
            self.memory_bytes += held_bytes(&message);
            place.ready.push(ReadyMessage { seq, message, returned: 0, stored });
        }
        Enqueued::Accepted { level, seq }
    }

    /// Settles outstanding deliveries. Requeued messages return to their places and count as redelivered. Credit goes
    /// back to their consumers; nothing is delivered yet. A deleted queue has none and ignores all.
    pub fn settle(&mut self, settlement: Settlement, slots: &[u32], effects: &mut Vec<Effect>) {
        if self.deleted {
            return;
        }
        let mut returned = Vec::new();
        for &slot in slots {
            let Some(unacked) = self.unacked.remove(slot) else {
                debug_assert!(false, "slot {slot} holds no message");
                continue;
            };
            let UnackedMessage { level, seq, message, holder, returned: count, stored } = unacked;
            if let Some(holder) = holder {
                self.consumers.settled(holder);
            }
            match settlement {
                Settlement::Ack => {
                    self.memory_bytes -= held_bytes(&message);
                    if stored {
                        effects.push(Effect::Settled { level, seq });
                    }
                }
                Settlement::Discard => {
                    let entry = ReadyMessage { seq, message, returned: count, stored };
                    self.give_up(level, entry, DeathReason::Rejected, effects);
                }
                Settlement::Requeue if self.returns_too_often(count) => {
                    let entry = ReadyMessage { seq, message, returned: count, stored };
                    self.give_up(level, entry, DeathReason::DeliveryLimit, effects);
                }
                Settlement::Requeue => {
                    let count = count.saturating_add(1);
                    self.note_deadline(level, seq, &message);
                    if stored && self.options.durable {
                        effects.push(Effect::Returned { level, seq, count });
                    }
                    let entry = ReadyMessage { seq, message, returned: count, stored };
                    if slots.len() == 1 {
                        self.levels.put(level).ready.put_back(entry);
                    } else {
                        returned.push((level, entry));
                    }
                }
            }
        }
        self.levels.put_back_all(returned);
    }

    /// Registers a consumer; it gets messages with the next [`Queue::dispatch`].
    ///
    /// # Errors
    ///
    /// If an exclusive consumer stands in the way, or there are too many.
    pub fn add_consumer(&mut self, spec: ConsumerSpec) -> Result<ConsumerId, ConsumeRefused> {
        self.consumers.add(spec)
    }

    /// Ends a consumer. Its outstanding deliveries stay so. One that is not there any more is ignored: its queue may
    /// have been deleted meanwhile.
    pub fn remove_consumer(&mut self, consumer: ConsumerId) -> RemovedConsumer {
        RemovedConsumer { last: self.consumers.remove(consumer) && self.consumers.count() == 0 }
    }

    /// Deliveries have left the outbox for the socket: their consumer gets that much of its window back.
    pub fn written(&mut self, consumer: ConsumerId, messages: u32, body_bytes: usize) {
        self.consumers.written(consumer, messages, body_bytes);
    }

    /// The channel of a consumer that its [`ChannelGate`] refused has credit again.
    pub fn gate_opened(&mut self, consumer: ConsumerId) {
        self.consumers.gate_opened(consumer);
    }

    /// Removes all ready messages. Outstanding ones stay.
    pub fn purge(&mut self, effects: &mut Vec<Effect>) -> Removed {
        let count = self.ready_count();
        let mut all = Vec::new();
        for (level, messages) in self.levels.iter_mut() {
            let removed = std::mem::take(&mut messages.ready);
            self.memory_bytes -= removed.held_bytes();
            if removed.any_stored() {
                effects.push(Effect::Purged { level, ranges: removed.ranges().into() });
            }
            all.push(removed);
        }
        self.forget_deadlines();
        Removed { ready: count, _messages: (all, UnackedMessages::default()) }
    }

    /// Ends the queue: removes all messages and cancels all consumers. Says nothing about single messages; the store forgets
    /// the queue as a whole.
    pub fn delete(&mut self, effects: &mut Vec<Effect>) -> Removed {
        let count = self.ready_count();
        effects.extend(self.consumers.ids().map(|consumer| Effect::ConsumerCancelled { consumer }));
        self.consumers.clear();
        self.memory_bytes = 0;
        self.deleted = true;
        self.extras = None;
        let ready = self.levels.iter_mut().map(|(_, level)| std::mem::take(&mut level.ready)).collect();
        Removed { ready: count, _messages: (ready, std::mem::take(&mut self.unacked)) }
    }

    /// Whether the queue was deleted. Whoever still holds it is to treat it as absent.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether nobody gets messages.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the last [`Queue::dispatch`] ended because no consumer could take the next message.
    #[must_use]
    pub fn waits_for_consumers(&self) -> bool {
        self.waits
    }

    /// Lets nobody have messages from now on, or lets them again: dispatch afterwards. Messages come in, expire and are settled all
    /// the same.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// What it was declared with.
    #[must_use]
    pub fn options(&self) -> &Arc<QueueOptions> {
        &self.options
    }

    /// Messages that wait for delivery, in memory or not.
    #[must_use]
    pub fn ready_count(&self) -> u32 {
        // The wire has 32 bits for it too.
        u32::try_from(self.levels.len()).unwrap_or(u32::MAX)
    }

    /// The bytes of the bodies of messages that wait for delivery, in memory or not. An estimate while a survey is wanted.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.levels.body_bytes()
    }

    /// Messages that are delivered and not settled.
    #[must_use]
    pub fn unacked_count(&self) -> u32 {
        u32::try_from(self.unacked.len()).unwrap_or(u32::MAX)
    }

    /// The bytes of the bodies of messages that are delivered and not settled.
    #[must_use]
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked.body_bytes()
    }

    /// Whether a consumer is the one that receives messages, where only one does; all others receive some.
    #[must_use]
    pub fn is_active(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_active(consumer)
    }

    /// Consumers, active or not.
    #[must_use]
    pub fn consumer_count(&self) -> u32 {
        self.consumers.count()
    }

    /// How many deliveries a consumer has outstanding; none if it need not acknowledge, or is not there.
    #[must_use]
    pub fn unacked_of(&self, consumer: ConsumerId) -> Option<u32> {
        self.consumers.unacked_of(consumer)
    }

    /// What its messages, ready and unacked, occupy in memory; of paged ones at most a note of when they expire. A message in several queues counts in each.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Gives a new message its level and number.
    fn number(&mut self, message: Message) -> (u8, ReadyMessage) {
        let number = self.levels.level_of(message.priority());
        let seq = self.levels.at_mut(number).take_number();
        let stored = self.options.durable && message.is_persistent();
        (number, ReadyMessage { seq, message, returned: 0, stored })
    }
}

#[cfg(test)]
mod tests;
