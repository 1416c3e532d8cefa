//! Random operations on a queue with deadlines, limits, priorities, dead letters, paging and restarts, against plain lists.
//!
//! Every effect is checked against the rules when it is told, and what must follow at the end of each call. Says nothing
//! about whose turn it is, nor about what is in the store when: that is the other models'. `QUEUE_MODEL_SEED=n` repeats
//! one run.

use std::collections::{BTreeMap, BTreeSet};

use amq_protocol::types::AMQPValue;

use super::super::*;
use super::features::{Publish, dead_lettering, number, number_of, options, text};
use super::paging::Unlimited;
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

    /// A message leaves the queue without a consumer; the reason is what the rules allow.
    fn end(&mut self, place: Place, reason: Option<DeathReason>) {
        let incoming = self.incoming.take_if(|incoming| incoming.place == place);
        let is_last = self.last().is_some_and(|last| last.place == place) || incoming.is_some();
        let over = (self.exceeds() || incoming.is_some()) && self.drops();
        let entry = incoming.or_else(|| self.ready.remove(&place));
        let entry = entry.unwrap_or_else(|| panic!("{place:?} is not waiting"));
        let because = match reason {
            Some(reason) => reason,
            None if self.is_due(&entry) => DeathReason::Expired,
            None => DeathReason::MaxLength,
        };
        match because {
            DeathReason::Expired => {
                assert!(self.is_due(&entry), "{place:?} is not due");
                self.counters.expired += 1;
            }
            DeathReason::MaxLength => {
                assert!(over && is_last && !entry.paged, "{place:?} is not too much");
                self.counters.dropped += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
        if entry.stored && reason.is_some() {
            self.dying.insert(place);
        } else if entry.stored {
            self.store.remove(&place).unwrap();
        }
    }

    /// A message goes to a consumer or to who asked; gives what is outstanding.
    fn hand_out(&mut self, number: u32) -> Entry {
        let incoming = self.incoming.take_if(|incoming| number_of(&incoming.message) == number);
        let direct = incoming.is_some();
        assert!(!direct || self.ready.is_empty(), "{number} overtakes others");
        let place = incoming.as_ref().or_else(|| self.next()).unwrap().place;
        let entry = incoming.or_else(|| self.ready.remove(&place)).unwrap();
        assert_eq!(number_of(&entry.message), number, "{entry:?} of {:?}", self.settings());
        assert!(!entry.paged && (direct || !self.is_due(&entry)), "{number} has expired");
        let end = self.delivered_end.entry(place.0).or_default();
        *end = (*end).max(place.1 + 1);
        entry
    }

    fn check_effects(&mut self, effects: Vec<Effect>) {
        let (mut automatic, mut last_due_ms) = (None, 0);
        let any_paged = self.ready.values().any(|entry| entry.paged);
        for (level, seq) in self.queue.expired_paged() {
            self.end((level, seq.0), Some(DeathReason::Expired));
            self.counters.dead_lettered += 1;
            self.to_bury.push((level, seq.0));
        }
        for effect in effects {
            match effect {
                Effect::Deliver { consumer, slot, redelivered, message, .. } => {
                    self.queue.written(consumer, 1, message.body().len());
                    let entry = self.hand_out(number_of(&message));
                    assert!(redelivered || entry.returned == 0);
                    if slot == NO_SLOT {
                        automatic = entry.stored.then_some(entry.place);
                    } else {
                        self.outstanding.insert(slot, (entry, Some(consumer)));
                    }
                }
                Effect::Settled { level, seq } if automatic == Some((level, seq.0)) => {
                    self.store.remove(&(level, seq.0)).unwrap();
                    automatic = None;
                }
                Effect::Settled { level, seq } => self.end((level, seq.0), None),
                Effect::Dead { stored: false, reason: DeathReason::MaxLength, message, .. }
                    if !self.drops() =>
                {
                    let refused = self.incoming.take().unwrap();
                    assert_eq!(refused.message.identity(), message.identity());
                }
                Effect::Dead { level, seq, stored, reason, message } => {
                    self.counters.dead_lettered += 1;
                    assert!(self.dead_letters);
                    let found = self.ready.get(&(level, seq.0)).or(self.incoming.as_ref()).unwrap();
                    assert_eq!((found.stored, number_of(&found.message)), (stored, number_of(&message)));
                    if reason == DeathReason::Expired {
                        let due_ms = self.due_ms(found).unwrap();
                        // What lies behind paged messages is not known to be due by its age.
                        let in_order = last_due_ms <= due_ms || self.incoming.is_some();
                        assert!(in_order || any_paged);
                        last_due_ms = last_due_ms.max(due_ms);
                    }
                    self.end((level, seq.0), Some(reason));
                }
                Effect::Delivered { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn enqueue(&mut self) {
        self.published += 1;
        let publish = Publish {
            number: self.published,
            priority: u8::try_from(self.random.below(7)).unwrap(),
            persistent: !self.dead_letters || !self.random.one_in(4),
            arrived_ms: self.now_ms,
            more_bytes: self.random.below(40),
            expiration_ms: self.random.one_in(3).then(|| self.random.next() % 150),
        };
        let message = publish.message();
        let level = publish.priority.min(self.levels());
        let next = self.next_seq.entry(level).or_default();
        let place = (level, *next);
        let entry = Entry {
            place,
            message: message.clone(),
            returned: 0,
            stored: publish.persistent,
            paged: false,
            known: true,
        };
        *next += 1;
        if publish.persistent {
            self.store.insert(place, (message.clone(), 0));
        }
        self.incoming = Some(entry);
        let mut effects = Vec::new();
        let enqueued = self.queue.enqueue(message, self.now_ms, &mut Unlimited, &mut effects);
        let refused_dead = effects.iter().any(|effect| matches!(effect, Effect::Dead { stored: false, .. }));
        match enqueued {
            Enqueued::Accepted { level, seq } => {
                assert_eq!((level, seq.0), place);
                self.check_effects(effects);
                if let Some(entry) = self.incoming.take() {
                    assert!(!self.is_due(&entry), "{place:?} should have expired at once");
                    self.ready.insert(place, entry);
                }
                let stuck = self.last().is_some_and(|last| last.paged);
                assert!(!self.drops() || !self.exceeds() || stuck, "too much is left");
            }
            Enqueued::Refused => {
                *self.next_seq.get_mut(&level).unwrap() -= 1;
                let refused = self.incoming.clone();
                self.store.remove(&place);
                self.check_effects(effects);
                let dlx = self.settings().overflow == Overflow::RejectPublishDlx && self.dead_letters;
                assert!(!dlx || refused_dead);
                self.counters.refused += 1;
                self.counters.dead_lettered += u64::from(dlx);
                self.incoming = refused;
                assert!(!self.drops() && self.exceeds(), "there is room");
                self.incoming = None;
                assert!(!self.has_credit() || !self.ready.is_empty(), "a consumer could take it");
            }
        }
    }

    fn dispatch(&mut self) {
        let mut effects = Vec::new();
        self.queue.dispatch(self.now_ms, &mut Unlimited, &mut effects);
        self.check_effects(effects);
        self.check_quiet();
    }

    fn tick(&mut self) {
        let (mut effects, max) = (Vec::new(), 1 + self.random.below(5));
        let before = self.counters.expired;
        let more = self.queue.tick(self.now_ms, max, &mut Unlimited, &mut effects);
        self.check_effects(effects);
        if more {
            assert!(self.counters.expired - before <= max as u64);
        } else {
            self.check_quiet();
        }
    }

    /// Nothing is left to do at this moment.
    fn check_quiet(&self) {
        for entry in self.ready.values() {
            let named = entry.known && entry.message.expires_ms().is_some_and(|due_ms| due_ms <= self.now_ms);
            let is_head = self.head(entry.place.0).is_some_and(|head| head.place == entry.place);
            let due = named || (is_head && !entry.paged && self.is_due(entry));
            assert!(!due, "{entry:?} is due");
        }
        let next = self.next().filter(|next| !next.paged);
        assert!(next.is_none() || !self.has_credit(), "a consumer is left idle");
        let stuck = self.last().is_some_and(|last| last.paged);
        assert!(!self.drops() || !self.exceeds() || stuck, "too much is left");
    }

    fn take(&mut self) {
        let ack_mode = if self.random.one_in(2) { AckMode::Automatic } else { AckMode::Manual };
        let mut effects = Vec::new();
        let taken = self.queue.take(ack_mode, self.now_ms, &mut effects);
        self.check_effects(effects);
        match taken {
            Err(NothingTaken::Empty) => assert!(self.ready.is_empty()),
            Err(NothingTaken::PagedOut) => assert!(self.next().unwrap().paged),
            Ok(taken) => {
                let entry = self.hand_out(number_of(&taken.message));
                assert_eq!((taken.level, taken.remaining as usize), (entry.place.0, self.ready.len()));
                if ack_mode == AckMode::Manual {
                    self.outstanding.insert(taken.slot, (entry, None));
                } else if entry.stored {
                    assert_eq!(taken.settled.map(|seq| seq.0), Some(entry.place.1));
                    self.store.remove(&entry.place).unwrap();
                }
            }
        }
    }

    fn settle(&mut self) {
        let settlement = [Settlement::Ack, Settlement::Requeue, Settlement::Requeue, Settlement::Discard]
            [self.random.below(4)];
        let mut slots: Vec<u32> = self.outstanding.keys().copied().collect();
        slots.truncate(self.random.below(5));
        let mut effects = Vec::new();
        self.queue.settle(settlement, &slots, &mut effects);
        let mut effects = effects.into_iter();
        let (limit, dead_letters) = (self.settings().delivery_limit, self.dead_letters);
        for slot in slots {
            let (mut entry, _) = self.outstanding.remove(&slot).unwrap();
            let reason = match settlement {
                Settlement::Ack => None,
                Settlement::Discard => Some(DeathReason::Rejected),
                Settlement::Requeue if limit.is_some_and(|limit| u32::from(entry.returned) >= limit) => {
                    Some(DeathReason::DeliveryLimit)
                }
                Settlement::Requeue => {
                    entry.returned += 1;
                    if entry.stored {
                        let effect = effects.next();
                        assert!(
                            matches!(effect, Some(Effect::Returned { count, .. }) if count == entry.returned)
                        );
                        self.store.get_mut(&entry.place).unwrap().1 = entry.returned;
                    }
                    self.ready.insert(entry.place, entry);
                    continue;
                }
            };
            self.counters.rejected += u64::from(reason == Some(DeathReason::Rejected));
            self.counters.delivery_limited += u64::from(reason == Some(DeathReason::DeliveryLimit));
            if reason.is_some() && dead_letters {
                self.counters.dead_lettered += 1;
                let effect = effects.next();
                let Some(Effect::Dead { level, seq, stored, reason: told, .. }) = effect else {
                    panic!("unexpected {effect:?}");
                };
                assert_eq!(((level, seq.0), Some(told), stored), (entry.place, reason, entry.stored));
                if stored {
                    self.dying.insert(entry.place);
                }
            } else if entry.stored {
                let effect = effects.next();
                let told =
                    matches!(effect, Some(Effect::Settled { level, seq }) if (level, seq.0) == entry.place);
                assert!(told, "unexpected {effect:?}");
                self.store.remove(&entry.place).unwrap();
            }
        }
        assert!(effects.next().is_none());
    }

    fn page_out(&mut self) {
        let level = u8::try_from(self.random.below(usize::from(self.levels()) + 1)).unwrap();
        let candidates = self.queue.paging_candidates(level, 0, usize::MAX);
        for (seq, message) in candidates {
            self.ready.get_mut(&(level, seq.0)).unwrap().stored = true;
            self.store.insert((level, seq.0), (message, 0));
        }
        let from = self.delivered_end.get(&level).copied().unwrap_or(0);
        let any_paged = self.head(level).is_some()
            && self.ready.range((level, 0)..=(level, u64::MAX)).any(|(_, entry)| entry.paged);
        let mut paged = 0;
        let last_paged = self.ready.range((level, 0)..=(level, u64::MAX));
        let last_paged = last_paged.filter(|(_, entry)| entry.paged).map(|(place, _)| place.1).next_back();
        for (_, entry) in self.ready.range_mut((level, 0)..=(level, u64::MAX)) {
            let behind = if any_paged { Some(entry.place.1) > last_paged } else { entry.place.1 >= from };
            if behind && !entry.paged {
                assert!(entry.stored);
                entry.paged = true;
                paged += 1;
            }
        }
        let newest = self.queue.newest(level).unwrap_or_default();
        assert_eq!(self.queue.page_out(level, newest, 0).ready, paged);
    }

    fn load(&mut self) {
        let Some(wanted) = self.queue.page_in_wanted(1 + self.random.below(300)) else { return };
        let (level, range) = (wanted.level, wanted.range);
        let paged = self.ready.values().filter(|entry| entry.paged && entry.place.0 == level).count() as u64;
        assert_eq!(range.count, paged);
        let kept = self.store.range((level, range.first.0)..=(level, u64::MAX));
        let messages: Vec<_> = kept
            .take(1 + self.random.below(20))
            .map(|(place, (message, returned))| (Seq(place.1), message.clone(), *returned))
            .collect();
        let up_to = messages.last().map_or(range.last, |message| message.0);
        self.loads.push(PagedIn { wanted, messages, up_to, damaged: Vec::new() });
    }

    fn page_in(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let loaded = self.loads.swap_remove(self.random.below(self.loads.len()));
        let (wanted, level) = (loaded.wanted, loaded.wanted.level);
        let current = self.queue.levels.at(level).ready.page_in_wanted(usize::MAX);
        let in_time = current.is_some_and(|current| {
            current.range.first == wanted.range.first && current.page_ins == wanted.page_ins
        });
        let up_to = loaded.up_to.min(wanted.range.last).0;
        if in_time && up_to >= wanted.range.first.0 {
            for (_, entry) in self.ready.range_mut((level, wanted.range.first.0)..=(level, up_to)) {
                assert!(loaded.messages.iter().any(|message| message.0.0 == entry.place.1), "{entry:?}");
                (entry.paged, entry.known) = (false, true);
            }
        }
        self.queue.page_in(loaded);
    }

    fn purge(&mut self) {
        let mut effects = Vec::new();
        assert_eq!(self.queue.purge(&mut effects).ready as usize, self.ready.len());
        let within = |place: &Place| {
            effects.iter().any(|effect| match effect {
                Effect::Purged { level, ranges } => {
                    *level == place.0
                        && ranges.iter().any(|range| (range.first.0..=range.last.0).contains(&place.1))
                }
                other => panic!("unexpected {other:?}"),
            })
        };
        let stored = self.ready.values().filter(|entry| entry.stored);
        let stored: BTreeSet<Place> = stored.map(|entry| entry.place).collect();
        let named: BTreeSet<Place> = self.store.keys().filter(|place| within(place)).copied().collect();
        assert_eq!(named, stored);
        self.store.retain(|place, _| !stored.contains(place));
        self.ready.clear();
    }

    /// Dead letters become safe, and expired messages are loaded for theirs.
    fn bury(&mut self) {
        for place in std::mem::take(&mut self.to_bury) {
            let message = self.store[&place].0.clone();
            let mut effects = Vec::new();
            self.queue.bury_loaded(place.0, vec![(Seq(place.1), message)], &mut effects);
            assert_eq!(effects.len(), 1);
        }
        if self.random.one_in(2) {
            for place in std::mem::take(&mut self.dying) {
                self.store.remove(&place).unwrap();
            }
        }
    }

    fn survey(&mut self) {
        let Some(SurveyWanted { level, range }) = self.queue.survey_wanted() else {
            assert!(self.surveyed());
            return;
        };
        let up_to = range.first.0 + self.random.next() % (range.last.0 - range.first.0 + 1);
        let kept = self.store.range((level, range.first.0)..=(level, up_to));
        let surveyed = |(place, (message, _)): (&Place, &(Message, u16))| Surveyed {
            seq: Seq(place.1),
            expires_ms: message.expires_ms(),
            body_bytes: message.body().len() as u64,
        };
        let surveyed: Vec<_> = kept.map(surveyed).collect();
        for (_, entry) in self.ready.range_mut((level, 0)..=(level, up_to)) {
            entry.known = true;
        }
        let mut effects = Vec::new();
        self.queue.survey(level, Seq(up_to), &surveyed, &mut effects);
        self.check_effects(effects);
    }

    fn apply_settings(&mut self) {
        let settings = options(true, &settings_of(&mut self.random, self.dead_letters)).settings.clone();
        let mut effects = Vec::new();
        self.queue.apply_settings(settings, self.now_ms, &mut effects);
        self.check_effects(effects);
    }

    /// The broker ends and begins again with what is persistent.
    fn restart(&mut self) {
        self.store.retain(|_, (message, _)| message.is_persistent());
        self.ready.clear();
        self.outstanding.clear();
        self.consumers.clear();
        self.loads.clear();
        self.dying.clear();
        self.to_bury.clear();
        self.counters = QueueCounters::default();
        for (place, (message, returned)) in &self.store {
            let (message, returned) = (message.clone(), *returned);
            let entry = Entry { place: *place, message, returned, stored: true, paged: true, known: false };
            self.ready.insert(*place, entry);
        }
        let restored: Vec<_> = (0..=self.levels())
            .map(|level| {
                let mut kept =
                    self.store.range((level, 0)..=(level, u64::MAX)).map(|(place, _)| Seq(place.1));
                let count = kept.clone().count() as u64;
                let paged = kept.next().map(|first| PagedRange {
                    first,
                    last: kept.next_back().unwrap_or(first),
                    count,
                });
                let next_seq = Seq(self.next_seq.get(&level).copied().unwrap_or(0));
                let delivered = self.delivered_end.get(&level).and_then(|end| end.checked_sub(1)).map(Seq);
                Restored { next_seq, delivered, paged }
            })
            .collect();
        self.queue = Queue::restore(self.queue.options().clone(), &restored);
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
