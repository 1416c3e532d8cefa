//! Random operations on a queue that pages and is restored, against plain lists and a store that is a map.
//!
//! Says nothing about whose turn it is: that is the other model's. `QUEUE_MODEL_SEED=n` repeats one run.

mod operator;
mod pager;

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::paging::{Unlimited, enqueue_one};
use super::random::{Random, SeedOnFailure, seeds};

const RUNS: u64 = 80;
const STEPS: u32 = 1200;

#[derive(Debug, Clone)]
struct Entry {
    seq: u64,
    message: Message,
    returned: u16,
    stored: bool,
    paged: bool,
    /// It left for a consumer once, in this life of the queue or before.
    handed_out: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.message.memory_bytes() + 24
    }
}

#[derive(Debug)]
struct Outstanding {
    slot: u32,
    entry: Entry,
    holder: Option<ConsumerId>,
}

#[derive(Debug, Default)]
struct FakeStore {
    kept: BTreeMap<u64, (Message, u16)>,
    unwritten: BTreeSet<u64>,
    delivered: Option<u64>,
}

impl FakeStore {
    fn append(&mut self, seq: u64, message: &Message) {
        assert!(self.kept.insert(seq, (message.clone(), 0)).is_none(), "{seq} is appended twice");
        self.unwritten.insert(seq);
    }

    fn settle(&mut self, seq: u64) {
        assert!(self.kept.remove(&seq).is_some(), "{seq} is not in the store");
        self.unwritten.remove(&seq);
    }

    /// Everything up to this is written.
    fn written(&self) -> Option<u64> {
        self.unwritten.first().map_or(Some(u64::MAX), |seq| seq.checked_sub(1))
    }
}

/// What was read for the queue and not handed over yet.
#[derive(Debug)]
struct Load {
    wanted: WantedRange,
    /// How many were taken in before.
    turn: u32,
    good: Vec<u64>,
    damaged: Vec<u64>,
    up_to: u64,
}

struct World {
    random: Random,
    queue: Queue,
    next_seq: u64,
    ready: Vec<Entry>,
    outstanding: Vec<Outstanding>,
    paged: Option<(u64, u64)>,
    /// All below were handed out, or count so since a restart.
    delivered_end: u64,
    restored_end: u64,
    store: FakeStore,
    loads: Vec<Load>,
    /// How many loads were taken in.
    turn: u32,
    /// Prefetch; none for those that need no acknowledgement.
    consumers: Vec<(ConsumerId, Option<usize>)>,
    /// Taken out, and neither settled nor back.
    claims: Vec<(Claimed, Entry)>,
}

fn number_of(message: &Message) -> u64 {
    u64::from_be_bytes(message.body()[..8].try_into().unwrap())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let declare =
            QueueDeclare { name: "q".to_owned(), durable: !random.one_in(4), ..QueueDeclare::default() };
        Self {
            random,
            queue: Queue::new(Arc::new(QueueOptions::from_declare("/", declare).unwrap())),
            next_seq: 0,
            ready: Vec::new(),
            outstanding: Vec::new(),
            paged: None,
            delivered_end: 0,
            restored_end: 0,
            store: FakeStore::default(),
            loads: Vec::new(),
            turn: 0,
            consumers: Vec::new(),
            claims: Vec::new(),
        }
    }

    fn durable(&self) -> bool {
        self.queue.options().durable
    }

    fn enqueue(&mut self) {
        let burst = if self.random.one_in(20) { 100 } else { 1 + self.random.below(6) };
        for _ in 0..burst {
            let seq = self.next_seq;
            self.next_seq += 1;
            let mut body = seq.to_be_bytes().to_vec();
            body.resize(8 + self.random.below(100), 0);
            let message = Message::new("e", "k", &[0, 0], !self.random.one_in(5), &body);
            assert_eq!(enqueue_one(&mut self.queue, message.clone()), Seq(seq));
            let stored = self.durable() && message.is_persistent();
            if stored {
                self.store.append(seq, &message);
            }
            self.ready.push(Entry { seq, message, returned: 0, stored, paged: false, handed_out: false });
        }
    }

    /// Books that the first message leaves as the queue says; whether its mark is to be told.
    fn hand_out(
        &mut self,
        message: &Message,
        redelivered: bool,
        slot: u32,
        holder: Option<ConsumerId>,
    ) -> bool {
        let mut entry = self.ready.remove(0);
        assert!(!entry.paged, "{} is not in memory", entry.seq);
        assert_eq!(number_of(message), entry.seq);
        assert_eq!(redelivered, entry.returned > 0 || entry.seq < self.restored_end);
        assert!(redelivered || !entry.handed_out, "{} was forgotten to have been delivered", entry.seq);
        let further = entry.seq >= self.delivered_end;
        self.delivered_end = self.delivered_end.max(entry.seq + 1);
        let marks = further && slot != NO_SLOT && entry.stored && self.durable();
        entry.handed_out = true;
        if slot != NO_SLOT {
            self.outstanding.push(Outstanding { slot, entry, holder });
        } else if entry.stored {
            self.store.settle(entry.seq);
        }
        marks
    }

    fn dispatch(&mut self) {
        let mut effects = Vec::new();
        self.queue.dispatch(0, &mut Unlimited, &mut effects);
        let (mut settled, mut mark) = (None, None);
        for effect in effects {
            assert!(settled.is_none() || matches!(effect, Effect::Settled { .. }), "{settled:?} is not told");
            match effect {
                Effect::Deliver { consumer, slot, redelivered, message, .. } => {
                    self.queue.written(consumer, 1, message.body().len());
                    let Entry { seq, stored, .. } = self.ready[0];
                    settled = (slot == NO_SLOT && stored).then_some(seq);
                    if self.hand_out(&message, redelivered, slot, Some(consumer)) {
                        mark = Some(seq);
                    }
                }
                Effect::Settled { seq, .. } => assert_eq!(settled.take(), Some(seq.0)),
                Effect::Delivered { up_to, .. } => {
                    assert_eq!(mark.take(), Some(up_to.0));
                    self.store.delivered = Some(up_to.0);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!((settled, mark), (None, None));
        let more = self.ready.first().is_some_and(|entry| !entry.paged);
        for &(consumer, prefetch) in &self.consumers {
            let held = self.outstanding.iter().filter(|held| held.holder == Some(consumer)).count();
            assert!(prefetch.is_none_or(|prefetch| held <= prefetch));
            assert!(!more || prefetch == Some(held), "{consumer:?} is left idle");
        }
    }

    fn settle(&mut self) {
        let settlement = [Settlement::Ack, Settlement::Ack, Settlement::Requeue, Settlement::Discard]
            [self.random.below(4)];
        let few = self.outstanding.len().min(3);
        let count = if self.random.one_in(3) { self.outstanding.len() } else { few };
        let selected: Vec<_> = (0..count)
            .map(|_| self.outstanding.swap_remove(self.random.below(self.outstanding.len())))
            .collect();
        let slots: Vec<_> = selected.iter().map(|outstanding| outstanding.slot).collect();
        let mut effects = Vec::new();
        self.queue.settle(settlement, &slots, &mut effects);
        let mut effects = effects.into_iter();
        for Outstanding { mut entry, .. } in selected {
            let requeued = settlement == Settlement::Requeue;
            entry.returned += u16::from(requeued);
            if entry.stored && (!requeued || self.durable()) {
                match effects.next() {
                    Some(Effect::Settled { seq, .. }) if !requeued && seq.0 == entry.seq => {
                        self.store.settle(seq.0);
                    }
                    Some(Effect::Returned { seq, count, .. }) if requeued && seq.0 == entry.seq => {
                        assert_eq!(count, entry.returned);
                        self.store.kept.get_mut(&seq.0).unwrap().1 = count;
                    }
                    other => panic!("unexpected {other:?} for {entry:?}"),
                }
            }
            if requeued {
                self.ready.push(entry);
            }
        }
        assert!(effects.next().is_none());
        self.ready.sort_by_key(|entry| entry.seq);
    }

    fn take(&mut self) {
        let ack_mode = if self.random.one_in(2) { AckMode::Automatic } else { AckMode::Manual };
        match self.queue.take(ack_mode, 0, &mut Vec::new()) {
            Err(NothingTaken::Empty) => assert!(self.ready.is_empty()),
            Err(NothingTaken::PagedOut) => assert!(self.ready[0].paged),
            Ok(taken) => {
                let Entry { seq, stored, .. } = self.ready[0];
                assert_eq!(taken.slot == NO_SLOT, ack_mode == AckMode::Automatic);
                let settled = stored && ack_mode == AckMode::Automatic;
                assert_eq!(taken.settled, settled.then_some(Seq(seq)));
                let marks = self.hand_out(&taken.message, taken.redelivered, taken.slot, None);
                assert_eq!(taken.delivered, marks.then_some(Seq(seq)));
                if marks {
                    self.store.delivered = Some(seq);
                }
                assert_eq!(taken.remaining as usize, self.ready.len());
            }
        }
    }

    fn purge(&mut self) {
        let mut effects = Vec::new();
        assert_eq!(self.queue.purge(&mut effects).ready as usize, self.ready.len());
        self.paged = None;
        let purged = std::mem::take(&mut self.ready);
        let stored: BTreeSet<u64> =
            purged.iter().filter(|entry| entry.stored).map(|entry| entry.seq).collect();
        let ranges = match &effects[..] {
            [] => &[],
            [Effect::Purged { level: 0, ranges }] => &ranges[..],
            other => panic!("unexpected {other:?}"),
        };
        assert!(ranges.windows(2).all(|pair| pair[0].last < pair[1].first));
        let within = |seq: u64| ranges.iter().any(|range| (range.first.0..=range.last.0).contains(&seq));
        assert!(!self.outstanding.iter().any(|outstanding| within(outstanding.entry.seq)));
        let named: BTreeSet<u64> = self.store.kept.keys().copied().filter(|&seq| within(seq)).collect();
        assert_eq!(named, stored);
        named.into_iter().for_each(|seq| self.store.settle(seq));
    }

    fn add_or_remove_consumer(&mut self) {
        if self.consumers.len() == 2 || (self.random.one_in(2) && !self.consumers.is_empty()) {
            let place = self.random.below(self.consumers.len());
            self.queue.remove_consumer(self.consumers.swap_remove(place).0);
        } else {
            let prefetch = 1 + self.random.below(12);
            let ack_mode = if self.random.one_in(4) { AckMode::Automatic } else { AckMode::Manual };
            let spec = ConsumerSpec {
                ack_mode,
                prefetch: u16::try_from(prefetch).unwrap(),
                exclusive: false,
                priority: 0,
            };
            let id = self.queue.add_consumer(spec).unwrap();
            self.consumers.push((id, (ack_mode == AckMode::Manual).then_some(prefetch)));
        }
    }

    /// The broker ends and begins again with what is persistent.
    fn restart(&mut self) {
        if !self.durable() {
            return;
        }
        self.ready.extend(self.outstanding.drain(..).map(|outstanding| outstanding.entry));
        self.ready.extend(self.claims.drain(..).map(|(_, entry)| entry));
        self.ready.sort_by_key(|entry| entry.seq);
        self.ready.retain(|entry| entry.message.is_persistent());
        self.ready.iter_mut().for_each(|entry| entry.paged = true);
        self.store.kept.retain(|_, (message, _)| message.is_persistent());
        self.store.unwritten.clear();
        self.loads.clear();
        self.consumers.clear();
        self.paged = self.store.kept.first_key_value().map(|(first, _)| {
            let last = *self.store.kept.last_key_value().unwrap().0;
            (first / 2, last + self.random.next() % (self.next_seq - last))
        });
        self.restored_end = self.store.delivered.map_or(0, |seq| seq + 1);
        self.delivered_end = self.restored_end;
        let count = self.store.kept.len() as u64;
        let paged = self.paged.map(|(first, last)| PagedRange { first: Seq(first), last: Seq(last), count });
        let (next_seq, delivered) = (Seq(self.next_seq), self.store.delivered.map(Seq));
        let restored = Restored { next_seq, delivered, paged };
        self.queue = Queue::restore(self.queue.options().clone(), &[restored]);
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..22 => self.enqueue(),
            22..34 => self.dispatch(),
            34..44 => self.settle(),
            44..54 => self.take(),
            54..58 => self.add_or_remove_consumer(),
            58..64 => self.offer_candidates(),
            64..74 => self.write(),
            74..82 => self.page_out(),
            82..86 => self.load(),
            86 => self.browse(),
            87 => self.claim(),
            88 => self.finish_claims(),
            89 => self.load(),
            90..98 => self.page_in(),
            98 if self.random.one_in(4) => self.purge(),
            98 => self.claim(),
            _ if self.random.one_in(4) => self.restart(),
            _ => self.browse(),
        }
        assert_eq!(self.queue.ready_count() as usize, self.ready.len());
        assert_eq!(self.queue.unacked_count() as usize, self.outstanding.len());
    }

    /// The queue's memory and the store's contents are those of the lists.
    fn check(&self) {
        let outstanding = || self.outstanding.iter().map(|outstanding| &outstanding.entry);
        let in_memory = self.ready.iter().filter(|entry| !entry.paged).chain(outstanding());
        assert_eq!(self.queue.memory_bytes(), in_memory.map(Entry::bytes).sum::<usize>());
        let claimed = self.claims.iter().map(|(_, entry)| entry);
        let stored = self.ready.iter().chain(outstanding()).chain(claimed).filter(|entry| entry.stored);
        let mut stored: Vec<_> = stored.map(|entry| (entry.seq, entry.returned)).collect();
        stored.sort_unstable();
        let kept = self.store.kept.iter();
        // How often a message of a queue that does not survive was returned is nobody's concern.
        let kept = kept.zip(&stored).map(|((&seq, &(_, returned)), &(_, known))| {
            (seq, if self.durable() { returned } else { known })
        });
        assert_eq!(kept.collect::<Vec<_>>(), stored);
        assert_eq!(self.store.kept.len(), stored.len());
    }

    fn drain(mut self) {
        while !self.claims.is_empty() {
            self.finish_claims();
        }
        while !self.ready.is_empty() || !self.outstanding.is_empty() {
            self.settle();
            self.load();
            self.page_in();
            self.take();
        }
        self.check();
        assert_eq!((self.queue.memory_bytes(), self.store.kept.len()), (0, 0));
    }
}

#[test]
fn random_paging_and_restarts_lose_nothing_repeat_nothing_and_keep_the_order() {
    for seed in seeds(RUNS) {
        let _on_failure = SeedOnFailure(seed);
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.step();
            if step % 8 == 0 {
                world.check();
            }
        }
        world.drain();
    }
}
