//! Random operations against a naive model of a queue that predicts every effect.
//!
//! The model keeps plain lists and searches them; it shares no code with the queue. `QUEUE_MODEL_SEED=n` repeats one run.

use std::collections::HashMap;

use amq_protocol::types::FieldTable;

use super::super::*;
use super::paging::enqueue_one;
use super::random::{Random, SeedOnFailure, seeds};
use crate::limits::{CONSUMER_WINDOW_BYTES, CONSUMER_WINDOW_MESSAGES};

const RUNS: u64 = 60;
const STEPS: u32 = 1500;
const CHANNELS: usize = 3;

#[derive(Debug, Clone)]
struct Entry {
    seq: u64,
    message: Message,
    returned: u16,
}

#[derive(Debug)]
struct Outstanding {
    slot: u32,
    entry: Entry,
    holder: Option<ConsumerId>,
}

#[derive(Debug)]
struct Registered {
    id: ConsumerId,
    spec: ConsumerSpec,
    channel: usize,
    unacked: usize,
    gate_closed: bool,
    /// Body sizes of deliveries that are not written yet.
    window: Vec<usize>,
}

/// Credit per channel; `None` is unlimited.
#[derive(Debug, Clone, PartialEq)]
struct Channels {
    credit: [Option<usize>; CHANNELS],
    of: HashMap<ConsumerId, usize>,
}

impl ChannelGate for Channels {
    fn try_acquire(&mut self, consumer: ConsumerId) -> bool {
        match &mut self.credit[self.of[&consumer]] {
            None => true,
            Some(0) => false,
            Some(credit) => {
                *credit -= 1;
                true
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Expected {
    Deliver { consumer: ConsumerId, body: u64, redelivered: bool, needs_slot: bool },
    Settled(u64),
    Delivered(u64),
    Returned(u64, u16),
}

struct Model {
    durable: bool,
    single_active: bool,
    next_seq: u64,
    /// All below were handed out once.
    delivered_end: u64,
    ready: Vec<Entry>,
    outstanding: Vec<Outstanding>,
    /// In the order of registration.
    consumers: Vec<Registered>,
    /// The eligible ones in the order of their turns, all priorities together.
    turns: Vec<ConsumerId>,
    channels: Channels,
}

fn name_of(message: &Message) -> u64 {
    u64::from_be_bytes(message.body()[..8].try_into().unwrap())
}

impl Model {
    fn is_stored(&self, entry: &Entry) -> bool {
        self.durable && entry.message.is_persistent()
    }

    /// Books that a message is handed out; whether the store is to know.
    fn marks(&mut self, entry: &Entry, ack_mode: AckMode) -> bool {
        let first_time = entry.seq >= self.delivered_end;
        self.delivered_end = self.delivered_end.max(entry.seq + 1);
        first_time && ack_mode == AckMode::Manual && self.is_stored(entry)
    }

    fn memory_bytes(&self) -> usize {
        let held = self.ready.iter().chain(self.outstanding.iter().map(|outstanding| &outstanding.entry));
        held.map(|entry| entry.message.memory_bytes() + 24).sum()
    }

    fn is_eligible(&self, consumer: &Registered) -> bool {
        let active = !self.single_active || self.consumers[0].id == consumer.id;
        let manual = consumer.spec.ack_mode == AckMode::Manual;
        let prefetch = usize::from(consumer.spec.prefetch);
        active
            && !(manual && (consumer.gate_closed || (prefetch > 0 && consumer.unacked >= prefetch)))
            && consumer.window.len() < CONSUMER_WINDOW_MESSAGES as usize
            && consumer.window.iter().sum::<usize>() < CONSUMER_WINDOW_BYTES
    }

    fn consumer(&mut self, id: ConsumerId) -> Option<&mut Registered> {
        self.consumers.iter_mut().find(|consumer| consumer.id == id)
    }

    fn refresh(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.iter().find(|consumer| consumer.id == id) else {
            return;
        };
        let eligible = self.is_eligible(consumer);
        match self.turns.iter().position(|&turn| turn == id) {
            Some(place) if !eligible => drop(self.turns.remove(place)),
            None if eligible => self.turns.push(id),
            _ => {}
        }
    }

    fn dispatch(&mut self) -> (Vec<Expected>, Vec<Outstanding>) {
        let (mut expected, mut delivered, mut marked) = (Vec::new(), Vec::new(), None);
        while !self.ready.is_empty() {
            let priority = |id: &ConsumerId| {
                self.consumers.iter().find(|consumer| consumer.id == *id).unwrap().spec.priority
            };
            let Some(highest) = self.turns.iter().map(priority).max() else {
                break;
            };
            let place = self.turns.iter().position(|id| priority(id) == highest).unwrap();
            let id = self.turns.remove(place);
            let needs_slot = self.consumer(id).unwrap().spec.ack_mode == AckMode::Manual;
            if needs_slot && !self.channels.try_acquire(id) {
                self.consumer(id).unwrap().gate_closed = true;
                continue;
            }
            let entry = self.ready.remove(0);
            let consumer = self.consumer(id).unwrap();
            let ack_mode = consumer.spec.ack_mode;
            consumer.window.push(entry.message.body().len());
            consumer.unacked += usize::from(needs_slot);
            self.refresh(id);
            let (body, redelivered) = (name_of(&entry.message), entry.returned > 0);
            expected.push(Expected::Deliver { consumer: id, body, redelivered, needs_slot });
            if self.marks(&entry, ack_mode) {
                marked = Some(entry.seq);
            }
            if needs_slot {
                delivered.push(Outstanding { slot: NO_SLOT, entry, holder: Some(id) });
            } else if self.is_stored(&entry) {
                expected.push(Expected::Settled(entry.seq));
            }
        }
        expected.extend(marked.map(Expected::Delivered));
        (expected, delivered)
    }

    /// Every rule that can be said without knowing the order of turns.
    fn check_invariants(&self) {
        for consumer in &self.consumers {
            let prefetch = usize::from(consumer.spec.prefetch);
            assert!(
                prefetch == 0 || consumer.unacked <= prefetch || consumer.spec.ack_mode == AckMode::Automatic
            );
            assert!(consumer.window.len() <= CONSUMER_WINDOW_MESSAGES as usize);
            let all_but_last: usize = consumer.window.iter().rev().skip(1).sum();
            assert!(all_but_last < CONSUMER_WINDOW_BYTES);
        }
        assert!(self.ready.is_sorted_by_key(|entry| entry.seq));
    }
}

struct Run {
    random: Random,
    queue: Queue,
    model: Model,
    /// Removed consumers with deliveries that are still to be written.
    gone: Vec<ConsumerId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (durable, single_active) = (random.one_in(2), random.one_in(4));
        let mut arguments = FieldTable::default();
        arguments.insert("x-single-active-consumer".into(), single_active.into());
        let declare = QueueDeclare { name: "q".to_owned(), durable, arguments, ..QueueDeclare::default() };
        let queue = Queue::new(Arc::new(QueueOptions::from_declare("/", declare).unwrap()));
        let credit = [None, Some(1 + random.below(3)), Some(1 + random.below(20))];
        let model = Model {
            durable,
            single_active,
            next_seq: 0,
            delivered_end: 0,
            ready: Vec::new(),
            outstanding: Vec::new(),
            consumers: Vec::new(),
            turns: Vec::new(),
            channels: Channels { credit, of: HashMap::new() },
        };
        Self { random, queue, model, gone: Vec::new() }
    }

    fn enqueue(&mut self) {
        let burst = if self.random.one_in(200) { 2500 } else { 1 + self.random.below(4) };
        for _ in 0..burst {
            let seq = self.model.next_seq;
            self.model.next_seq += 1;
            let mut body = seq.to_be_bytes().to_vec();
            let large = burst < 5 && self.random.one_in(40);
            body.resize(if large { 400_000 } else { 8 + self.random.below(40) }, 0);
            let message = Message::new("e", "k", &[0, 0], self.random.one_in(2), &body);
            assert_eq!(enqueue_one(&mut self.queue, message.clone()), Seq(seq));
            self.model.ready.push(Entry { seq, message, returned: 0 });
        }
    }

    fn dispatch(&mut self) {
        let mut gate = self.model.channels.clone();
        let mut effects = Vec::new();
        self.queue.dispatch(0, &mut gate, &mut effects);
        let (expected, mut delivered) = self.model.dispatch();
        let mut unfilled = delivered.iter_mut();
        assert_eq!(effects.len(), expected.len());
        for (effect, expected) in effects.into_iter().zip(expected) {
            let found = match effect {
                Effect::Deliver { consumer, slot, redelivered, message, .. } => {
                    if slot != NO_SLOT {
                        unfilled.next().unwrap().slot = slot;
                    }
                    let body = name_of(&message);
                    Expected::Deliver { consumer, body, redelivered, needs_slot: slot != NO_SLOT }
                }
                Effect::Settled { seq, .. } => Expected::Settled(seq.0),
                Effect::Delivered { up_to, .. } => Expected::Delivered(up_to.0),
                other => panic!("unexpected {other:?}"),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(gate, self.model.channels, "the channels' credit");
        self.model.outstanding.append(&mut delivered);
        let idle = self.model.consumers.iter().find(|consumer| self.model.is_eligible(consumer));
        assert!(self.model.ready.is_empty() || idle.is_none(), "{idle:?} is left idle");
    }

    /// A random selection of the outstanding deliveries, in random order.
    fn select(&mut self) -> Vec<Outstanding> {
        let count = match self.random.below(4) {
            0 => self.random.below(self.model.outstanding.len() + 1),
            _ => self.model.outstanding.len().min(1 + self.random.below(3)),
        };
        let mut selected = Vec::new();
        for _ in 0..count {
            let place = self.random.below(self.model.outstanding.len());
            selected.push(self.model.outstanding.swap_remove(place));
        }
        selected
    }

    fn settle(&mut self) {
        let settlement = match self.random.below(5) {
            0 => Settlement::Discard,
            1 | 2 => Settlement::Requeue,
            _ => Settlement::Ack,
        };
        let selected = self.select();
        let slots: Vec<u32> = selected.iter().map(|outstanding| outstanding.slot).collect();
        let mut effects = Vec::new();
        self.queue.settle(settlement, &slots, &mut effects);
        let mut expected = Vec::new();
        for Outstanding { entry, holder, .. } in selected {
            if let Some(id) = holder {
                if let Some(consumer) = self.model.consumer(id) {
                    consumer.unacked -= 1;
                }
                self.model.refresh(id);
                if let Some(credit) = &mut self.model.channels.credit[self.model.channels.of[&id]] {
                    *credit += 1;
                }
            }
            if settlement == Settlement::Requeue {
                let entry = Entry { returned: entry.returned + 1, ..entry };
                if self.model.is_stored(&entry) {
                    expected.push(Expected::Returned(entry.seq, entry.returned));
                }
                self.model.ready.push(entry);
            } else if self.model.is_stored(&entry) {
                expected.push(Expected::Settled(entry.seq));
            }
        }
        self.model.ready.sort_by_key(|entry| entry.seq);
        let found: Vec<_> = effects
            .iter()
            .map(|effect| match *effect {
                Effect::Settled { seq, .. } => Expected::Settled(seq.0),
                Effect::Returned { seq, count, .. } => Expected::Returned(seq.0, count),
                ref other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn add_consumer(&mut self) {
        let spec = ConsumerSpec {
            ack_mode: if self.random.one_in(4) { AckMode::Automatic } else { AckMode::Manual },
            prefetch: [0, 1, 1, 2, 5, 50][self.random.below(6)],
            exclusive: self.random.one_in(12),
            priority: [0, 0, 0, 5, -3][self.random.below(5)],
        };
        let others = &self.model.consumers;
        let refused = others.iter().any(|other| other.spec.exclusive)
            || (spec.exclusive && (!others.is_empty() || self.model.single_active));
        let added = self.queue.add_consumer(spec);
        assert_eq!(added.is_err(), refused);
        let Ok(id) = added else {
            return;
        };
        assert!(others.iter().all(|other| other.id != id));
        let channel = self.random.below(CHANNELS);
        self.model.channels.of.insert(id, channel);
        self.model.consumers.push(Registered {
            id,
            spec,
            channel,
            unacked: 0,
            gate_closed: false,
            window: Vec::new(),
        });
        self.model.refresh(id);
    }

    fn remove_consumer(&mut self) {
        if self.model.consumers.is_empty() {
            return;
        }
        let place = self.random.below(self.model.consumers.len());
        let consumer = self.model.consumers.remove(place);
        self.model.turns.retain(|&turn| turn != consumer.id);
        if let Some(first) = self.model.consumers.first().map(|first| first.id) {
            self.model.refresh(first);
        }
        let last = self.model.consumers.is_empty();
        assert_eq!(self.queue.remove_consumer(consumer.id), RemovedConsumer { last });
        assert_eq!(self.queue.remove_consumer(consumer.id), RemovedConsumer { last: false });
        self.gone.push(consumer.id);
    }

    fn take(&mut self) {
        let ack_mode = if self.random.one_in(2) { AckMode::Automatic } else { AckMode::Manual };
        let taken = self.queue.take(ack_mode, 0, &mut Vec::new());
        if self.model.ready.is_empty() {
            assert_eq!(taken.err(), Some(NothingTaken::Empty));
            return;
        }
        let (entry, taken) = (self.model.ready.remove(0), taken.unwrap());
        assert_eq!(name_of(&taken.message), name_of(&entry.message));
        assert_eq!(taken.redelivered, entry.returned > 0);
        assert_eq!(taken.remaining as usize, self.model.ready.len());
        assert_eq!(taken.slot == NO_SLOT, ack_mode == AckMode::Automatic);
        let stored = ack_mode == AckMode::Automatic && self.model.is_stored(&entry);
        assert_eq!(taken.settled, stored.then_some(Seq(entry.seq)));
        let marked = self.model.marks(&entry, ack_mode);
        assert_eq!(taken.delivered, marked.then_some(Seq(entry.seq)));
        if ack_mode == AckMode::Manual {
            self.model.outstanding.push(Outstanding { slot: taken.slot, entry, holder: None });
        }
    }

    fn purge(&mut self) {
        let mut effects = Vec::new();
        assert_eq!(self.queue.purge(&mut effects).ready as usize, self.model.ready.len());
        let purged = std::mem::take(&mut self.model.ready);
        let stored: Vec<u64> =
            purged.iter().filter(|entry| self.model.is_stored(entry)).map(|entry| entry.seq).collect();
        let [Effect::Purged { level: 0, ranges }] = &effects[..] else {
            assert!(effects.is_empty() && stored.is_empty(), "{effects:?}");
            return;
        };
        let within = |seq: u64| ranges.iter().any(|range| (range.first.0..=range.last.0).contains(&seq));
        assert!(stored.into_iter().all(within));
        assert!(!self.model.outstanding.iter().any(|outstanding| within(outstanding.entry.seq)));
        assert!(ranges.windows(2).all(|pair| pair[0].last < pair[1].first));
    }

    fn written(&mut self) {
        // A removed consumer's deliveries may be written yet; that changes nothing for anybody.
        if let Some(gone) = self.gone.pop() {
            self.queue.written(gone, 1, 8);
            self.queue.gate_opened(gone);
        }
        if self.model.consumers.is_empty() {
            return;
        }
        let place = self.random.below(self.model.consumers.len());
        let waiting = self.model.consumers[place].window.len();
        let count = if self.random.one_in(2) { waiting } else { self.random.below(waiting + 1) };
        let consumer = &mut self.model.consumers[place];
        let id = consumer.id;
        let body_bytes = consumer.window.drain(..count).sum();
        self.queue.written(id, u32::try_from(count).unwrap(), body_bytes);
        self.model.refresh(id);
    }

    fn open_gate(&mut self) {
        let channel = self.random.below(CHANNELS);
        let closed = self
            .model
            .consumers
            .iter()
            .filter(|consumer| consumer.gate_closed && consumer.channel == channel);
        let ids: Vec<_> = closed.map(|consumer| consumer.id).collect();
        for id in ids {
            self.queue.gate_opened(id);
            self.model.consumer(id).unwrap().gate_closed = false;
            self.model.refresh(id);
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..25 => self.enqueue(),
            25..55 => self.dispatch(),
            55..70 => self.settle(),
            70..75 => self.add_consumer(),
            75..78 => self.remove_consumer(),
            78..83 => self.take(),
            83 => self.purge(),
            84..93 => self.written(),
            _ => self.open_gate(),
        }
        self.model.check_invariants();
        assert_eq!(self.queue.ready_count() as usize, self.model.ready.len());
        assert_eq!(self.queue.unacked_count() as usize, self.model.outstanding.len());
        assert_eq!(self.queue.consumer_count() as usize, self.model.consumers.len());
    }

    /// All is settled and taken at last; nothing may be left behind.
    fn drain(mut self) {
        while !self.model.outstanding.is_empty() {
            self.settle();
        }
        while !self.model.ready.is_empty() {
            self.take();
        }
        while !self.model.outstanding.is_empty() {
            self.settle();
            self.purge();
        }
        self.purge();
        assert_eq!(self.queue.memory_bytes(), 0);
        assert_eq!((self.queue.ready_count(), self.queue.unacked_count()), (0, 0));
    }
}

#[test]
fn random_operations_have_exactly_the_effects_of_the_model() {
    for seed in seeds(RUNS) {
        let _on_failure = SeedOnFailure(seed);
        let mut run = Run::new(seed);
        for step in 0..STEPS {
            run.step();
            if step % 16 == 0 {
                assert_eq!(run.queue.memory_bytes(), run.model.memory_bytes());
            }
        }
        run.drain();
    }
}
