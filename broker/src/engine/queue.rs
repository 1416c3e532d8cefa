//! [`Queue`]: the messages of one queue, ready and unacked, and its consumers.
//!
//! A plain data structure. It decides who gets which message and when; the server carries the [`Effect`]s out, holds
//! the lock, and keeps what must survive. It knows no channels (they appear as a [`ChannelGate`]), no clock and no
//! store. Called by the server's queue handle only.

use std::sync::Arc;

use crate::wire::message::Message;

use consumers::{ConsumerKey, Consumers};
use ready::{ReadyMessage, ReadyMessages};
use unacked::{UnackedMessage, UnackedMessages};

mod consumers;
mod options;
mod ready;
mod unacked;

pub use options::{QueueDeclare, QueueKind, QueueOptions, type_name};

/// The slot of a delivery that needs no acknowledgement.
pub const NO_SLOT: u32 = u32::MAX;

/// What a message in a queue costs beside itself, in bytes.
const ENTRY_BYTES: usize = size_of::<ReadyMessage>();

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

/// What the server is to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Hand a message to a consumer.
    Deliver {
        /// Whom to.
        consumer: ConsumerId,
        /// How it is settled; [`NO_SLOT`] if it need not be.
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
    /// A message that the store keeps (a persistent one in a durable queue) is done.
    Settled {
        /// Which.
        seq: Seq,
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
    /// How it is settled; [`NO_SLOT`] if it need not be.
    pub slot: u32,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Ready messages left.
    pub remaining: u32,
    /// The message is done with this and the store keeps it: as [`Effect::Settled`].
    pub settled: Option<Seq>,
}

/// Messages that a queue holds no more. They may be millions: drop this where nobody waits for a lock.
#[derive(Debug, Default)]
#[must_use = "it is to be dropped without a lock held"]
pub struct Removed {
    /// How many of them were ready.
    pub ready: u32,
    _messages: (ReadyMessages, UnackedMessages),
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    options: Arc<QueueOptions>,
    next_seq: Seq,
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
            self.ready.push(ReadyMessage { seq, message, redelivered: false });
        }
        seq
    }

    /// Delivers until no message is ready or no consumer can take one: message by message to the consumers of the
    /// highest priority that has an eligible one, in turn.
    pub fn dispatch(&mut self, gate: &mut (impl ChannelGate + ?Sized), effects: &mut Vec<Effect>) {
        while !self.ready.is_empty() {
            let Some(turn) = self.consumers.next(gate) else {
                return;
            };
            let Some(ReadyMessage { seq, message, redelivered }) = self.ready.pop() else {
                return;
            };
            self.consumers.delivered(&turn, message.body().len());
            let slot = self.hand_out(seq, &message, turn.ack_mode, Some(turn.key));
            let settled = (slot == NO_SLOT && self.is_stored(&message)).then_some(seq);
            effects.push(Effect::Deliver { consumer: turn.consumer(), slot, redelivered, message });
            effects.extend(settled.map(|seq| Effect::Settled { seq }));
        }
    }

    /// Settles outstanding deliveries. Requeued messages return to their places and count as redelivered. Credit goes
    /// back to their consumers; nothing is delivered yet. A deleted queue has none and ignores all.
    pub fn settle(&mut self, settlement: Settlement, slots: &[u32], effects: &mut Vec<Effect>) {
        if self.deleted {
            return;
        }
        let mut returned = Vec::new();
        for &slot in slots {
            let Some(UnackedMessage { seq, message, holder }) = self.unacked.remove(slot) else {
                debug_assert!(false, "slot {slot} holds no message");
                continue;
            };
            if let Some(holder) = holder {
                self.consumers.settled(holder);
            }
            match settlement {
                Settlement::Ack | Settlement::Discard => {
                    self.memory_bytes -= held_bytes(&message);
                    if self.is_stored(&message) {
                        effects.push(Effect::Settled { seq });
                    }
                }
                Settlement::Requeue => {
                    let entry = ReadyMessage { seq, message, redelivered: true };
                    if slots.len() == 1 { self.ready.put_back(entry) } else { returned.push(entry) }
                }
            }
        }
        self.ready.put_back_all(returned);
    }

    /// Takes one message for `basic.get`, whatever prefetch limits there are.
    pub fn take(&mut self, ack_mode: AckMode) -> Option<Taken> {
        let ReadyMessage { seq, message, redelivered } = self.ready.pop()?;
        let slot = self.hand_out(seq, &message, ack_mode, None);
        let settled = (slot == NO_SLOT && self.is_stored(&message)).then_some(seq);
        Some(Taken { message, slot, redelivered, remaining: self.ready_count(), settled })
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
        let mut ranges: Vec<SeqRange> = Vec::new();
        let mut any_stored = false;
        for ReadyMessage { seq, message, .. } in removed.iter() {
            self.memory_bytes -= held_bytes(message);
            any_stored |= self.is_stored(message);
            // A gap is a message that is outstanding, or was settled out of order.
            match ranges.last_mut() {
                Some(range) if range.last.0 + 1 == seq.0 => range.last = *seq,
                _ => ranges.push(SeqRange { first: *seq, last: *seq }),
            }
        }
        if any_stored {
            effects.push(Effect::Purged { ranges: ranges.into() });
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

    /// Messages that wait for delivery.
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

    /// What its messages, ready and unacked, occupy in memory. A message in several queues counts in each.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Books a message that leaves for the outside: it stays outstanding in a slot, or is gone.
    fn hand_out(
        &mut self,
        seq: Seq,
        message: &Message,
        ack_mode: AckMode,
        holder: Option<ConsumerKey>,
    ) -> u32 {
        match ack_mode {
            AckMode::Manual => self.unacked.insert(UnackedMessage { seq, message: message.clone(), holder }),
            AckMode::Automatic => {
                self.memory_bytes -= held_bytes(message);
                NO_SLOT
            }
        }
    }

    /// Whether the store keeps this message.
    fn is_stored(&self, message: &Message) -> bool {
        self.options.durable && message.is_persistent()
    }
}

fn held_bytes(message: &Message) -> usize {
    message.memory_bytes() + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
