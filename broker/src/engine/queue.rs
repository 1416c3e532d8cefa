//! [`Queue`]: the messages of one queue, ready and unacked, and its consumers.
//!
//! A plain data structure. It decides who gets which message and when; the server carries the [`Effect`]s out, holds
//! the lock, and keeps what must survive. It knows no channels (they appear as a [`ChannelGate`]), no clock and no
//! store, but which of its messages a store keeps. Called by the server's queue handle only.

use std::sync::Arc;

use crate::wire::message::Message;

use consumers::{ConsumerKey, Consumers};
use ready::{ReadyMessage, ReadyMessages, held_bytes};
use unacked::{UnackedMessage, UnackedMessages};

mod consumers;
mod effect;
mod options;
mod paging;
mod ready;
mod settings;
mod unacked;

pub use effect::{Effect, NothingTaken, Removed, SeqRange, Taken};
pub use options::{QueueDeclare, QueueKind, QueueOptions, type_name};
pub use paging::{PagedIn, PagedRange, Restored, WantedRange};
pub use settings::{DeadLetterStrategy, DeadLettering, DeathReason, Overflow, QueueSettings};

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

/// A message's number in its queue: ascending in the order of arrival, kept when it returns to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    next_seq: Seq,
    /// No message with this number or a larger one was ever handed out.
    never_delivered: Seq,
    /// Messages with a lower number may have been handed out before a restart.
    restored_delivered: Seq,
    ready: ReadyMessages,
    unacked: UnackedMessages,
    consumers: Consumers,
    memory_bytes: usize,
    deleted: bool,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(options: Arc<QueueOptions>) -> Self {
        Self {
            consumers: Consumers::new(options.single_active_consumer),
            options,
            next_seq: Seq(0),
            never_delivered: Seq(0),
            restored_delivered: Seq(0),
            ready: ReadyMessages::default(),
            unacked: UnackedMessages::default(),
            memory_bytes: 0,
            deleted: false,
        }
    }

    /// Adds a message at the tail and tells its number. Delivers nothing: that is [`Queue::dispatch`]. A deleted queue
    /// drops it.
    pub fn enqueue(&mut self, message: Message) -> Seq {
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        if !self.deleted {
            self.memory_bytes += held_bytes(&message);
            let stored = self.options.durable && message.is_persistent();
            self.ready.push(ReadyMessage { seq, message, returned: 0, stored });
        }
        seq
    }

    /// Delivers until no message is ready in memory or no consumer can take one: message by message to the consumers of
    /// the highest priority that has an eligible one, in turn.
    pub fn dispatch(&mut self, gate: &mut (impl ChannelGate + ?Sized), effects: &mut Vec<Effect>) {
        let mut delivered = None;
        while self.ready.has_next() {
            let Some(turn) = self.consumers.next(gate) else { break };
            let Some(entry) = self.ready.pop() else { break };
            self.consumers.delivered(&turn, entry.message.body().len());
            let out = self.hand_out(entry, turn.ack_mode, Some(turn.key));
            let (consumer, slot) = (turn.consumer(), out.slot);
            effects.push(Effect::Deliver {
                consumer,
                slot,
                redelivered: out.redelivered,
                message: out.message,
            });
            effects.extend(out.settled.map(|seq| Effect::Settled { seq }));
            delivered = out.delivered.or(delivered);
        }
        effects.extend(delivered.map(|up_to| Effect::Delivered { up_to }));
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
            let UnackedMessage { seq, message, holder, returned: count, stored } = unacked;
            if let Some(holder) = holder {
                self.consumers.settled(holder);
            }
            match settlement {
                Settlement::Ack | Settlement::Discard => {
                    self.memory_bytes -= held_bytes(&message);
                    if stored {
                        effects.push(Effect::Settled { seq });
                    }
                }
                Settlement::Requeue => {
                    let count = count.saturating_add(1);
                    if stored && self.options.durable {
                        effects.push(Effect::Returned { seq, count });
                    }
                    let entry = ReadyMessage { seq, message, returned: count, stored };
                    if slots.len() == 1 { self.ready.put_back(entry) } else { returned.push(entry) }
                }
            }
        }
        self.ready.put_back_all(returned);
    }

    /// Takes one message for `basic.get`, whatever prefetch limits there are.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not in memory.
    pub fn take(&mut self, ack_mode: AckMode) -> Result<Taken, NothingTaken> {
        let Some(entry) = self.ready.pop() else {
            let empty = self.ready.len() == 0;
            return Err(if empty { NothingTaken::Empty } else { NothingTaken::PagedOut });
        };
        let HandedOut { message, slot, redelivered, settled, delivered } =
            self.hand_out(entry, ack_mode, None);
        Ok(Taken { message, slot, redelivered, remaining: self.ready_count(), settled, delivered })
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
        let removed = std::mem::take(&mut self.ready);
        self.memory_bytes -= removed.iter().map(|entry| held_bytes(&entry.message)).sum::<usize>();
        if removed.any_stored() {
            effects.push(Effect::Purged { ranges: removed.ranges().into() });
        }
        Removed { ready: count, _messages: (removed, UnackedMessages::default()) }
    }

    /// Ends the queue: removes all messages and cancels all consumers. Says nothing about single messages; the store forgets
    /// the queue as a whole.
    pub fn delete(&mut self, effects: &mut Vec<Effect>) -> Removed {
        let count = self.ready_count();
        effects.extend(self.consumers.ids().map(|consumer| Effect::ConsumerCancelled { consumer }));
        self.consumers.clear();
        self.memory_bytes = 0;
        self.deleted = true;
        let messages = (std::mem::take(&mut self.ready), std::mem::take(&mut self.unacked));
        Removed { ready: count, _messages: messages }
    }

    /// Whether the queue was deleted. Whoever still holds it is to treat it as absent.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
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
        u32::try_from(self.ready.len()).unwrap_or(u32::MAX)
    }

    /// Messages that are delivered and not settled.
    #[must_use]
    pub fn unacked_count(&self) -> u32 {
        u32::try_from(self.unacked.len()).unwrap_or(u32::MAX)
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

    /// What its messages, ready and unacked, occupy in memory; paged ones do not. A message in several queues counts in each.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Books a message that leaves for the outside: it stays outstanding in a slot, or is gone.
    fn hand_out(&mut self, entry: ReadyMessage, ack_mode: AckMode, holder: Option<ConsumerKey>) -> HandedOut {
        let ReadyMessage { seq, message, returned, stored } = entry;
        let redelivered = returned > 0 || seq < self.restored_delivered;
        let first_time = seq >= self.never_delivered;
        if first_time {
            self.never_delivered = Seq(seq.0 + 1);
        }
        match ack_mode {
            AckMode::Manual => {
                let unacked = UnackedMessage { seq, message: message.clone(), holder, returned, stored };
                let slot = self.unacked.insert(unacked);
                let delivered = (first_time && stored && self.options.durable).then_some(seq);
                HandedOut { message, slot, redelivered, settled: None, delivered }
            }
            AckMode::Automatic => {
                self.memory_bytes -= held_bytes(&message);
                let settled = stored.then_some(seq);
                HandedOut { message, slot: NO_SLOT, redelivered, settled, delivered: None }
            }
        }
    }
}

/// A message on its way to the outside, and what that means for the store.
struct HandedOut {
    message: Message,
    slot: u32,
    redelivered: bool,
    settled: Option<Seq>,
    delivered: Option<Seq>,
}

#[cfg(test)]
mod tests;
