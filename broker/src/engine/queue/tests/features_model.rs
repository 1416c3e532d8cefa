//! Random operations on a queue with deadlines, limits, priorities, dead letters, paging and restarts, against plain lists.
//!
//! Every effect is checked against the rules when it is told, and what must follow at the end of each call. Says nothing
//! about whose turn it is, nor about what is in the store when: that is the other models'. `QUEUE_MODEL_SEED=n` repeats
//! one run.

mod paging;
mod passage;

use std::collections::{BTreeMap, BTreeSet};

use amq_protocol::types::AMQPValue;

use super::super::*;
use super::features::{dead_lettering, number, options, text};
use super::random::{Random, SeedOnFailure, seeds};

const RUNS: u64 = 150;
const STEPS: u32 = 700;

/// A level and a number.
type Place = (u8, u64);

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    message: Message,
    returned: u16,
    stored: bool,
    paged: bool,
    /// The queue has seen it since a restart, or was told about it.
    known: bool,
}

impl Entry {
    fn body_bytes(&self) -> u64 {
        self.message.body().len() as u64
    }
}

struct World {
    random: Random,
    queue: Queue,
    /// Else all messages are persistent, so that something is told of the end of each.
    dead_letters: bool,
    now_ms: u64,
    published: u32,
    next_seq: BTreeMap<u8, u64>,
    /// All below were handed out.
    delivered_end: BTreeMap<u8, u64>,
    ready: BTreeMap<Place, Entry>,
    outstanding: BTreeMap<u32, (Entry, Option<ConsumerId>)>,
    /// On its way into the queue.
    incoming: Option<Entry>,
    store: BTreeMap<Place, (Message, u16)>,
    /// Given up, and in the store until their dead letters are safe.
    dying: BTreeSet<Place>,
    /// Expired while paged and named by the queue.
    to_bury: Vec<Place>,
    loads: Vec<PagedIn>,
    consumers: Vec<(ConsumerId, usize)>,
    counters: QueueCounters,
}

fn settings_of(random: &mut Random, dead_letters: bool) -> Vec<(&'static str, AMQPValue)> {
    let mut arguments = Vec::new();
    let mut maybe = |random: &mut Random, name, smallest: usize, below: usize| {
        if random.one_in(2) {
            arguments.push((name, number(i64::try_from(smallest + random.below(below)).unwrap())));
        }
    };
    maybe(random, "x-message-ttl", 0, 80);
    maybe(random, "x-max-length", 0, 40);
    maybe(random, "x-max-length-bytes", 0, 800);
    maybe(random, "x-delivery-limit", 0, 4);
    if random.one_in(2) {
        let overflow = ["drop-head", "reject-publish", "reject-publish-dlx"][random.below(3)];
        arguments.push(("x-overflow", text(overflow)));
    }
    if dead_letters {
        arguments.push(dead_lettering());
    }
    arguments
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let dead_letters = random.one_in(2);
        let mut arguments = settings_of(&mut random, dead_letters);
        if random.one_in(2) {
            arguments.push(("x-max-priority", number(1 + i64::from(random.one_in(2)) * 3)));
        }
        Self {
            random,
            queue: Queue::new(options(true, &arguments)),
            dead_letters,
            now_ms: 1000,
            published: 0,
            next_seq: BTreeMap::new(),
            delivered_end: BTreeMap::new(),
            ready: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            incoming: None,
            store: BTreeMap::new(),
            dying: BTreeSet::new(),
            to_bury: Vec::new(),
            loads: Vec::new(),
            consumers: Vec::new(),
            counters: QueueCounters::default(),
        }
    }

    fn settings(&self) -> QueueSettings {
        self.queue.settings().map(|settings| (**settings).clone()).unwrap_or_default()
    }

    fn due_ms(&self, entry: &Entry) -> Option<u64> {
        let by_age = self.settings().message_ttl_ms.map(|ttl_ms| entry.message.arrived_ms() + ttl_ms);
        by_age.into_iter().chain(entry.message.expires_ms()).min()
    }

    fn is_due(&self, entry: &Entry) -> bool {
        self.due_ms(entry).is_some_and(|due_ms| due_ms <= self.now_ms)
    }

    fn levels(&self) -> u8 {
        self.queue.options().highest_level()
    }

    /// The first message of a level.
    fn head(&self, level: u8) -> Option<&Entry> {
        self.ready.range((level, 0)..=(level, u64::MAX)).next().map(|(_, entry)| entry)
    }

    /// The message that is to be delivered next.
    fn next(&self) -> Option<&Entry> {
        (0..=self.levels()).rev().find_map(|level| self.head(level))
    }

    /// The message that is to be dropped first.
    fn last(&self) -> Option<&Entry> {
        (0..=self.levels()).find_map(|level| self.head(level))
    }

    fn surveyed(&self) -> bool {
        self.ready.values().all(|entry| entry.known)
    }

    /// Whether limits are exceeded, with the incoming message if it is accepted.
    fn exceeds(&self) -> bool {
        let settings = self.settings();
        let all = self.ready.values().filter(|entry| entry.known || !entry.paged).chain(&self.incoming);
        let bytes: u64 = all.map(Entry::body_bytes).sum();
        let count = (self.ready.len() + usize::from(self.incoming.is_some())) as u64;
        settings.max_length.is_some_and(|max| count > max)
            || (settings.max_length_bytes.is_some_and(|max| bytes > max)
                && self.queue.survey_wanted().is_none())
    }

    fn drops(&self) -> bool {
        self.settings().overflow == Overflow::DropHead
    }

    fn has_credit(&self) -> bool {
        self.consumers.iter().any(|&(consumer, prefetch)| {
            self.outstanding.values().filter(|(_, holder)| *holder == Some(consumer)).count() < prefetch
        })
    }

    fn apply_settings(&mut self) {
        let settings = options(true, &settings_of(&mut self.random, self.dead_letters)).settings.clone();
        let mut effects = Vec::new();
        self.queue.apply_settings(settings, self.now_ms, &mut effects);
        self.check_effects(effects);
    }

    fn add_or_remove_consumer(&mut self) {
        if self.consumers.len() == 2 || (self.random.one_in(2) && !self.consumers.is_empty()) {
            let place = self.random.below(self.consumers.len());
            self.queue.remove_consumer(self.consumers.swap_remove(place).0);
        } else {
            let prefetch = 1 + self.random.below(6);
            let spec = ConsumerSpec {
                ack_mode: AckMode::Manual,
                prefetch: u16::try_from(prefetch).unwrap(),
                exclusive: false,
                priority: 0,
            };
            self.consumers.push((self.queue.add_consumer(spec).unwrap(), prefetch));
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..28 => self.enqueue(),
            28..36 => self.now_ms += self.random.next() % 30,
            36..44 => self.dispatch(),
            44..52 => self.tick(),
            52..60 => self.take(),
            60..68 => self.settle(),
            68..72 => self.add_or_remove_consumer(),
            72..78 => self.page_out(),
            78..85 => self.load(),
            85..92 => self.page_in(),
            92..94 => self.survey(),
            94..96 => self.bury(),
            96 => self.apply_settings(),
            97 if self.random.one_in(4) => self.purge(),
            98 if self.random.one_in(4) => self.restart(),
            _ => {}
        }
        assert_eq!(self.queue.ready_count() as usize, self.ready.len());
        assert_eq!(self.queue.unacked_count() as usize, self.outstanding.len());
    }

    /// The queue's books are those of the lists.
    fn check(&self) {
        let known = || self.ready.values().filter(|entry| entry.known);
        assert_eq!(self.queue.ready_bytes(), known().map(Entry::body_bytes).sum::<u64>());
        let outstanding = self.outstanding.values().map(|(entry, _)| entry);
        let held = self.ready.values().filter(|entry| !entry.paged).chain(outstanding);
        let named = known().filter(|entry| entry.message.expires_ms().is_some());
        let bytes =
            held.map(|entry| entry.message.memory_bytes() + 24).sum::<usize>() + named.clone().count() * 48;
        assert_eq!(self.queue.memory_bytes(), bytes);
        let mut counters = self.queue.counters();
        if !self.dead_letters {
            // Nothing tells why a message is gone that is both due and too much.
            let gone = counters.expired + counters.dropped;
            counters.expired = self.counters.expired;
            counters.dropped = gone - counters.expired;
        }
        assert_eq!(counters, self.counters);
        let heads = (0..=self.levels()).filter_map(|level| self.head(level)).filter(|head| !head.paged);
        let soonest =
            heads.filter_map(|head| self.due_ms(head)).chain(named.filter_map(|it| it.message.expires_ms()));
        if let Some(soonest) = soonest.min() {
            assert!(self.queue.next_due_ms().is_some_and(|due_ms| due_ms <= soonest));
        }
        let lacking = |level| self.head(level).is_some_and(|head| head.paged);
        let ttl = self.settings().message_ttl_ms.is_some();
        let must = if self.exceeds() && self.drops() {
            self.last().is_some_and(|last| last.paged)
        } else {
            ttl && (0..=self.levels()).any(lacking)
        };
        assert_eq!(self.queue.must_load(), must);
        assert!(!must || self.queue.page_in_wanted(1).is_some());
    }
}

#[test]
fn random_features_follow_their_rules() {
    for seed in seeds(RUNS) {
        let _on_failure = SeedOnFailure(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            world.check();
        }
    }
}
