//! [`Consumers`]: who receives a queue's messages, and whose turn it is.
//!
//! A consumer is *eligible* while it is active, has prefetch credit and window left and its channel takes more. Only
//! eligible consumers are in the rings that a dispatch looks at, so finding the next one costs the same with one idle
//! consumer as with ten thousand. Holds no messages. Called by the queue only.

use std::num::NonZeroU32;

use super::{AckMode, ChannelGate, ConsumeRefused, ConsumerId, ConsumerSpec};
use crate::limits::{CONSUMER_WINDOW_BYTES, CONSUMER_WINDOW_MESSAGES, CONSUMERS_PER_QUEUE_MAX};

/// The bits of a [`ConsumerId`] that are the slot; those above are the low bits of the generation.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

/// The bits of a generation. With the index they fit into [`ConsumerKey::BITS`].
const GENERATION_BITS: u32 = 27;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const _: () = assert!(CONSUMERS_PER_QUEUE_MAX as u64 == 1 << INDEX_BITS);

/// The end of a list, or no list at all.
const NONE: u32 = u32::MAX;

/// A consumer for as long as any of its messages is outstanding: a slot reused by another consumer does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConsumerKey {
    index: u32,
    generation: NonZeroU32,
}

impl ConsumerKey {
    /// How many of the low bits of [`ConsumerKey::to_bits`] are used.
    pub(super) const BITS: u32 = INDEX_BITS + GENERATION_BITS;

    /// The key as a number, never 0.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.index) | (u64::from(self.generation.get()) << INDEX_BITS)
    }

    /// The key that this is the number of; none for 0.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let generation = u32::try_from(bits >> INDEX_BITS).ok().and_then(NonZeroU32::new)?;
        let index = u32::try_from(bits & u64::from(INDEX_MASK)).ok()?;
        Some(Self { index, generation })
    }
}

/// In which ring a consumer is; never in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In none: it cannot take a message now.
    Aside,
    /// In the ring of its priority.
    Eligible,
    /// Waiting to become the single active consumer.
    Waiting,
}

#[derive(Debug)]
struct Consumer {
    generation: NonZeroU32,
    ack_mode: AckMode,
    /// 0 is unlimited.
    prefetch: u16,
    /// The channel refused the last delivery and has not opened again.
    gate_closed: bool,
    place: Place,
    priority: i32,
    unacked: u32,
    window_messages: u32,
    window_bytes: usize,
    /// Neighbours in the ring of its place.
    previous: u32,
    next: u32,
}

#[derive(Debug)]
enum Slot {
    Taken(Consumer),
    Free { next: u32 },
}

/// The eligible consumers of one priority, as a ring that begins with whose turn it is. Never empty.
#[derive(Debug)]
struct Level {
    priority: i32,
    head: u32,
}

/// All consumers of a queue.
#[derive(Debug)]
pub(super) struct Consumers {
    slots: Vec<Slot>,
    first_free: u32,
    count: u32,
    last_generation: u32,
    single_active: bool,
    /// One consumer asked to be the only one, so it is.
    exclusive: bool,
    /// The single active consumer; `NONE` if there is none or all are active.
    active: u32,
    /// The ring of those that wait to become active, in the order of registration.
    waiting: u32,
    /// Ascending by priority, so that the highest comes and goes at the end.
    levels: Vec<Level>,
}

impl Consumers {
    pub(super) fn new(single_active: bool) -> Self {
        Self {
            slots: Vec::new(),
            first_free: NONE,
            count: 0,
            last_generation: 0,
            single_active,
            exclusive: false,
            active: NONE,
            waiting: NONE,
            levels: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Registers a consumer. It comes last in its round.
    pub(super) fn add(&mut self, spec: ConsumerSpec) -> Result<ConsumerId, ConsumeRefused> {
        // RabbitMQ refuses an exclusive consumer on a queue with a single active consumer in the same words.
        if self.exclusive || (spec.exclusive && (self.count > 0 || self.single_active)) {
            return Err(ConsumeRefused::ExclusiveInUse);
        }
        if self.count >= CONSUMERS_PER_QUEUE_MAX {
            return Err(ConsumeRefused::TooMany);
        }
        // Generations of consumers long gone come round after 2^27 registrations on one queue.
        let next = self.last_generation.wrapping_add(1) & GENERATION_MASK;
        let generation = NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN);
        self.last_generation = generation.get();
        let consumer = Consumer {
            generation,
            ack_mode: spec.ack_mode,
            prefetch: spec.prefetch,
            gate_closed: false,
            place: Place::Aside,
            priority: spec.priority,
            unacked: 0,
            window_messages: 0,
            window_bytes: 0,
            previous: NONE,
            next: NONE,
        };
        let index = self.place(consumer);
        self.count += 1;
        self.exclusive = spec.exclusive;
        if self.single_active && self.active != NONE {
            self.at_mut(index).place = Place::Waiting;
            self.waiting = self.link(self.waiting, index);
        } else {
            if self.single_active {
                self.active = index;
            }
            self.refresh(index);
        }
        Ok(id_of(index, generation))
    }

    /// Removes a consumer; tells whether there was one.
    pub(super) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        match self.at(index).place {
            Place::Aside => {}
            Place::Eligible => self.leave_level(index),
            Place::Waiting => self.waiting = self.unlink(self.waiting, index),
        }
        self.slots[index as usize] = Slot::Free { next: self.first_free };
        self.first_free = index;
        self.count -= 1;
        self.exclusive = false;
        if self.active == index {
            self.active = self.waiting;
            if self.active != NONE {
                self.waiting = self.unlink(self.waiting, self.active);
                self.at_mut(self.active).place = Place::Aside;
                self.refresh(self.active);
            }
        }
        if self.count == 0 {
            self.clear();
        }
        true
    }

    /// Its outstanding deliveries, if it acknowledges.
    pub(super) fn unacked_of(&self, id: ConsumerId) -> Option<u32> {
        let consumer = self.at(self.find(id)?);
        (consumer.ack_mode == AckMode::Manual).then_some(consumer.unacked)
    }

    /// Whether it is there and receives messages in its turn.
    pub(super) fn is_active(&self, id: ConsumerId) -> bool {
        self.find(id).is_some_and(|index| !self.single_active || self.active == index)
    }

    /// Who this is, if it is still there.
    pub(super) fn id(&self, key: ConsumerKey) -> Option<ConsumerId> {
        match self.slots.get(key.index as usize)? {
            Slot::Taken(consumer) if consumer.generation == key.generation => {
                Some(id_of(key.index, key.generation))
            }
            _ => None,
        }
    }

    /// All of them, in no particular order.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConsumerId> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| match slot {
            Slot::Taken(consumer) => Some(id_of(index, consumer.generation)),
            Slot::Free { .. } => None,
        })
    }

    /// Forgets all of them and gives the memory back. Generations go on, so that old keys stay unknown.
    pub(super) fn clear(&mut self) {
        *self = Self { last_generation: self.last_generation, ..Self::new(self.single_active) };
    }

    /// Whose turn it is. The caller has a message for it and must tell [`Consumers::delivered`] at once: the gate of
    /// its channel has been passed.
    pub(super) fn next(&mut self, gate: &mut (impl ChannelGate + ?Sized)) -> Option<Turn> {
        loop {
            let index = self.levels.last()?.head;
            let consumer = self.at_mut(index);
            let key = ConsumerKey { index, generation: consumer.generation };
            let turn = Turn { key, ack_mode: consumer.ack_mode };
            if turn.ack_mode == AckMode::Automatic || gate.try_acquire(turn.consumer()) {
                return Some(turn);
            }
            consumer.gate_closed = true;
            self.leave_level(index);
        }
    }

    /// Counts a delivery against credit and window and passes the turn on.
    pub(super) fn delivered(&mut self, turn: &Turn, body_bytes: usize) {
        let index = turn.key.index;
        let consumer = self.at_mut(index);
        consumer.window_messages += 1;
        consumer.window_bytes += body_bytes;
        consumer.unacked += u32::from(consumer.ack_mode == AckMode::Manual);
        let (eligible, next) = (consumer.is_eligible(), consumer.next);
        if !eligible {
            self.leave_level(index);
        } else if let Some(level) = self.levels.last_mut() {
            level.head = next;
        }
    }

    /// One of its messages is settled.
    pub(super) fn settled(&mut self, key: ConsumerKey) {
        if let Some(Slot::Taken(consumer)) = self.slots.get_mut(key.index as usize)
            && consumer.generation == key.generation
        {
            debug_assert!(consumer.unacked > 0, "settled more than was delivered");
            consumer.unacked = consumer.unacked.saturating_sub(1);
            self.refresh(key.index);
        }
    }

    /// Deliveries have left for the socket.
    pub(super) fn written(&mut self, id: ConsumerId, messages: u32, body_bytes: usize) {
        if let Some(index) = self.find(id) {
            let consumer = self.at_mut(index);
            debug_assert!(consumer.window_messages >= messages && consumer.window_bytes >= body_bytes);
            consumer.window_messages = consumer.window_messages.saturating_sub(messages);
            consumer.window_bytes = consumer.window_bytes.saturating_sub(body_bytes);
            self.refresh(index);
        }
    }

    /// Its channel may take more again.
    pub(super) fn gate_opened(&mut self, id: ConsumerId) {
        if let Some(index) = self.find(id) {
            self.at_mut(index).gate_closed = false;
            self.refresh(index);
        }
    }

    /// Moves a consumer into or out of its ring after something it depends on has changed.
    fn refresh(&mut self, index: u32) {
        let consumer = self.at(index);
        match (consumer.place, consumer.is_eligible()) {
            (Place::Aside, true) => self.enter_level(index),
            (Place::Eligible, false) => self.leave_level(index),
            _ => {}
        }
    }

    fn enter_level(&mut self, index: u32) {
        let priority = self.at(index).priority;
        match self.levels.binary_search_by_key(&priority, |level| level.priority) {
            Ok(found) => self.levels[found].head = self.link(self.levels[found].head, index),
            Err(place) => {
                let head = self.link(NONE, index);
                self.levels.insert(place, Level { priority, head });
            }
        }
        self.at_mut(index).place = Place::Eligible;
    }

    fn leave_level(&mut self, index: u32) {
        let priority = self.at(index).priority;
        let Ok(found) = self.levels.binary_search_by_key(&priority, |level| level.priority) else {
            unreachable!("an eligible consumer is in the level of its priority");
        };
        match self.unlink(self.levels[found].head, index) {
            NONE => drop(self.levels.remove(found)),
            head => self.levels[found].head = head,
        }
        self.at_mut(index).place = Place::Aside;
    }

    /// Adds to the end of a ring, which is just before its head; gives the head.
    fn link(&mut self, head: u32, index: u32) -> u32 {
        let (head, last) = if head == NONE { (index, index) } else { (head, self.at(head).previous) };
        let consumer = self.at_mut(index);
        (consumer.previous, consumer.next) = (last, head);
        self.at_mut(last).next = index;
        self.at_mut(head).previous = index;
        head
    }

    /// Takes out of a ring; gives the head, `NONE` if the ring is empty now.
    fn unlink(&mut self, head: u32, index: u32) -> u32 {
        let consumer = self.at(index);
        let (previous, next) = (consumer.previous, consumer.next);
        if next == index {
            return NONE;
        }
        self.at_mut(previous).next = next;
        self.at_mut(next).previous = previous;
        if head == index { next } else { head }
    }

    fn place(&mut self, consumer: Consumer) -> u32 {
        if let Some(slot @ &mut Slot::Free { next }) = self.slots.get_mut(self.first_free as usize) {
            *slot = Slot::Taken(consumer);
            return std::mem::replace(&mut self.first_free, next);
        }
        let index = u32::try_from(self.slots.len()).expect("CONSUMERS_PER_QUEUE_MAX bounds the slots");
        self.slots.push(Slot::Taken(consumer));
        index
    }

    fn find(&self, id: ConsumerId) -> Option<u32> {
        let index = id.0 & INDEX_MASK;
        match self.slots.get(index as usize)? {
            Slot::Taken(consumer) if id_of(index, consumer.generation) == id => Some(index),
            _ => None,
        }
    }

    fn at(&self, index: u32) -> &Consumer {
        match &self.slots[index as usize] {
            Slot::Taken(consumer) => consumer,
            Slot::Free { .. } => unreachable!("rings and keys name registered consumers only"),
        }
    }

    fn at_mut(&mut self, index: u32) -> &mut Consumer {
        match &mut self.slots[index as usize] {
            Slot::Taken(consumer) => consumer,
            Slot::Free { .. } => unreachable!("rings and keys name registered consumers only"),
        }
    }
}

/// A consumer that gets the next message.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) key: ConsumerKey,
    pub(super) ack_mode: AckMode,
}

impl Turn {
    pub(super) fn consumer(&self) -> ConsumerId {
        id_of(self.key.index, self.key.generation)
    }
}

impl Consumer {
    /// Checked before a delivery, so that a message larger than the window passes too, once there is any window.
    fn is_eligible(&self) -> bool {
        let credit = match self.ack_mode {
            AckMode::Automatic => true,
            AckMode::Manual => {
                !self.gate_closed && (self.prefetch == 0 || self.unacked < u32::from(self.prefetch))
            }
        };
        credit
            && self.place != Place::Waiting
            && self.window_messages < CONSUMER_WINDOW_MESSAGES
            && self.window_bytes < CONSUMER_WINDOW_BYTES
    }
}

pub(super) fn index_of(id: ConsumerId) -> usize {
    (id.0 & INDEX_MASK) as usize
}

fn id_of(index: u32, generation: NonZeroU32) -> ConsumerId {
    ConsumerId(index | (generation.get() << INDEX_BITS))
}
