//! [`World`]: what must be true of every message, whatever order things happen in.
//!
//! Naive: it keeps each copy of each message, one for each queue that it was routed to, and says where it is. It is told
//! what the broker has taken in and what clients received; it predicts nothing that depends on timing.

use std::collections::{BTreeMap, HashMap};

use warren::wire::message::Message;

use crate::wire::Kind;

/// A channel of a connection; never reused.
pub(crate) type Holder = u64;

/// One message in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CopyId {
    pub(crate) queue: usize,
    pub(crate) message: u64,
}

/// How a delivery is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Ack,
    Discard,
    Requeue,
}

#[derive(Debug, Default)]
struct CopyState {
    holder: Option<Holder>,
    seen: bool,
    done: bool,
}

/// A queue as everybody knows it.
#[derive(Debug)]
pub(crate) struct QueueModel {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Somebody may delete it, or it deletes itself.
    pub(crate) temporary: bool,
    /// Consumers that do not acknowledge may lose messages with their channel.
    pub(crate) lossy: bool,
    pub(crate) declared: bool,
    /// Somebody has asked for that, or brought it about.
    pub(crate) deleted: bool,
    /// It had a consumer at some time.
    pub(crate) consumed: bool,
    purged: usize,
    /// A consumer ended, so messages may have returned that nobody saw.
    pub(crate) interrupted: bool,
}

/// All messages and queues.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) queues: Vec<QueueModel>,
    copies: BTreeMap<CopyId, CopyState>,
    memory_bytes: HashMap<u64, usize>,
    messages: u64,
    last_holder: Holder,
}

/// Who published the message with this number.
pub(crate) fn publisher_of(message: u64) -> Holder {
    message >> 32
}

/// What a message costs in a queue beside itself; a test of the engine holds on to it.
const ENTRY_BYTES: usize = 24;

impl World {
    pub(crate) fn add_queue(&mut self, base: &str, kind: Kind, temporary: bool) -> usize {
        let name = format!("{base}-{}", self.queues.len());
        self.queues.push(QueueModel {
            name,
            kind,
            temporary,
            lossy: false,
            declared: false,
            deleted: false,
            consumed: false,
            purged: 0,
            interrupted: false,
        });
        self.queues.len() - 1
    }

    pub(crate) fn new_holder(&mut self) -> Holder {
        self.last_holder += 1;
        self.last_holder
    }

    /// A message of `size` bytes or a few more, which begins with its number. Numbers of one publisher ascend.
    pub(crate) fn new_message(
        &mut self,
        publisher: Holder,
        (exchange, key): (&str, &str),
        persistent: bool,
        size: usize,
    ) -> (u64, Vec<u8>) {
        self.messages += 1;
        let number = publisher << 32 | self.messages;
        let mut body = number.to_be_bytes().to_vec();
        body.resize(8 + size, 0x55);
        let properties: &[u8] = if persistent { &[0x10, 0, 2] } else { &[0, 0] };
        let message = Message::new(exchange, key, properties, persistent, &body);
        self.memory_bytes.insert(number, message.memory_bytes() + ENTRY_BYTES);
        (number, body)
    }

    /// The broker has taken a message in that belongs into these queues.
    pub(crate) fn routed(&mut self, message: u64, queues: &[usize]) {
        for &queue in queues {
            let before = self.copies.insert(CopyId { queue, message }, CopyState::default());
            assert!(before.is_none(), "message {message} was published twice");
        }
    }

    /// A client received a message.
    pub(crate) fn delivered(&mut self, copy: CopyId, holder: Holder, redelivered: bool, no_ack: bool) {
        let queue = &self.queues[copy.queue];
        let Some(state) = self.copies.get_mut(&copy) else {
            panic!("{copy:?} was delivered and never published")
        };
        assert!(!state.done, "{copy:?} was delivered again after it was done with");
        assert_eq!(state.holder, None, "{copy:?} was delivered to {holder} while another holds it");
        if state.seen {
            assert!(redelivered, "{copy:?} came again without saying so");
        } else {
            assert!(!redelivered || queue.interrupted, "{copy:?} says redelivered and never was delivered");
        }
        state.seen = true;
        if no_ack {
            state.done = true;
        } else {
            state.holder = Some(holder);
        }
    }

    /// The broker has taken in what became of a delivery.
    pub(crate) fn settled(&mut self, copy: CopyId, how: How) {
        let state = self.copies.get_mut(&copy).expect("only what was delivered is settled");
        state.holder = None;
        state.done = how != How::Requeue;
    }

    pub(crate) fn purged(&mut self, queue: usize, count: usize) {
        self.queues[queue].purged += count;
    }

    /// How many copies in this queue a client holds.
    pub(crate) fn held_in(&self, queue: usize) -> usize {
        let copies = self.copies.iter().filter(|(copy, _)| copy.queue == queue);
        copies.filter(|(_, state)| state.holder.is_some()).count()
    }

    /// Everybody has left, and these messages were found in the queue. Each copy is in one place.
    pub(crate) fn check_remains(&self, queue: usize, found: &[u64]) {
        let model = &self.queues[queue];
        let mut in_order = found.to_vec();
        in_order.sort_unstable();
        in_order.dedup();
        assert_eq!(in_order.len(), found.len(), "{}: a message is there twice", model.name);
        let mut missing = 0;
        for (copy, state) in self.copies.iter().filter(|(copy, _)| copy.queue == queue) {
            let is_there = in_order.binary_search(&copy.message).is_ok();
            assert!(!(is_there && state.done), "{copy:?} is still there after it was done with");
            assert_eq!(state.holder, None, "{copy:?} is held by somebody who left");
            missing += usize::from(!is_there && !state.done);
        }
        if model.lossy {
            assert!(missing >= model.purged, "{}: purged what is still there", model.name);
        } else {
            assert_eq!(missing, model.purged, "{}: messages missing, and messages purged", model.name);
        }
    }

    /// What these messages occupy.
    pub(crate) fn memory_bytes(&self, messages: &[u64]) -> usize {
        messages.iter().map(|message| self.memory_bytes[message]).sum()
    }
}
