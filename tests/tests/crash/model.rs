//! [`Model`]: what a broker is to its clients, in the plainest way: no disk, no speed, no sockets. It is what the real
//! one is compared with.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::Lifetime;
use crate::message::{Id, Mode};
use crate::rules::Rules;

/// A message in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) mode: Mode,
    pub(crate) redelivered: bool,
    /// Whether it is a dead letter.
    pub(crate) is_dead: bool,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Returned,
    Rejected,
}

/// Where a message is in its queue: how far its priority is below the highest, and when it came.
type Place = (u8, u64);

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) channel: u16,
    pub(crate) tag: u64,
    queue: &'static str,
    /// Of several queues of one name, one after the other, which it was.
    incarnation: u64,
    place: Place,
    entry: Entry,
}

#[derive(Debug)]
struct Queue {
    lifetime: Lifetime,
    rules: Rules,
    incarnation: u64,
    /// By the place at which they came in, to which they return.
    ready: BTreeMap<Place, Entry>,
}

impl Queue {
    /// Takes out what is beyond the limit: the oldest of the lowest priority first.
    fn overflow(&mut self) -> Vec<Entry> {
        let mut dropped = Vec::new();
        let max_length = self.rules.max_length.map_or(usize::MAX, |length| usize::try_from(length).unwrap());
        while self.ready.len() > max_length {
            let &(lowest, _) = self.ready.keys().next_back().unwrap();
            let (&oldest, _) = self.ready.range((lowest, 0)..).next().unwrap();
            dropped.extend(self.ready.remove(&oldest));
        }
        dropped
    }
}

/// An exchange: `fanout` or `direct`.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    kind: &'static str,
    lifetime: Lifetime,
}

/// Who gets what an exchange gets, under which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    Queue(&'static str),
    Exchange(&'static str),
}

/// A broker and its one client.
#[derive(Debug, Default)]
pub(crate) struct Model {
    queues: BTreeMap<&'static str, Queue>,
    exchanges: BTreeMap<&'static str, Exchange>,
    /// Source, key, destination.
    bindings: BTreeSet<(&'static str, &'static str, Destination)>,
    held: Vec<Held>,
    /// Counts places and incarnations.
    clock: u64,
    has_buried: bool,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn declare_queue(&mut self, name: &'static str, lifetime: Lifetime, rules: Rules) {
        let incarnation = self.tick();
        self.queues.entry(name).or_insert(Queue { lifetime, rules, incarnation, ready: BTreeMap::new() });
    }

    /// How many were ready, none if there is no such queue.
    pub(crate) fn delete_queue(&mut self, name: &str) -> Option<usize> {
        let queue = self.queues.remove(name)?;
        self.bindings
            .retain(|(_, _, destination)| !matches!(destination, Destination::Queue(at) if *at == name));
        Some(queue.ready.len())
    }

    pub(crate) fn declare_exchange(&mut self, name: &'static str, kind: &'static str, lifetime: Lifetime) {
        self.exchanges.entry(name).or_insert(Exchange { kind, lifetime });
    }

    pub(crate) fn delete_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.retain(|(source, _, destination)| {
            *source != name && !matches!(destination, Destination::Exchange(at) if *at == name)
        });
    }

    pub(crate) fn has_queue(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    pub(crate) fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.contains_key(name)
    }

    pub(crate) fn has(&self, destination: Destination) -> bool {
        match destination {
            Destination::Queue(name) => self.has_queue(name),
            Destination::Exchange(name) => self.has_exchange(name),
        }
    }

    pub(crate) fn bind(&mut self, source: &'static str, key: &'static str, destination: Destination) {
        self.bindings.insert((source, key, destination));
    }

    pub(crate) fn unbind(&mut self, source: &'static str, key: &'static str, destination: Destination) {
        self.bindings.remove(&(source, key, destination));
    }

    /// The empty name is the default exchange.
    pub(crate) fn publish(&mut self, exchange: &str, key: &str, id: Id, mode: Mode) {
        let mut queues = BTreeSet::new();
        if exchange.is_empty() {
            queues.extend(self.queues.keys().copied().filter(|name| *name == key));
        } else {
            self.route(exchange, key, &mut BTreeSet::new(), &mut queues);
        }
        for name in queues {
            self.enqueue(name, Entry { id, mode, redelivered: false, is_dead: false });
        }
    }

    fn enqueue(&mut self, name: &'static str, entry: Entry) {
        let place = self.tick();
        let queue = self.queues.get_mut(name).unwrap();
        if queue.rules.is_fleeting() {
            return self.bury(name, vec![entry]);
        }
        let max = queue.rules.max_priority;
        queue.ready.insert((max - entry.id.priority().min(max), place), entry);
        let dropped = queue.overflow();
        self.bury(name, dropped);
    }

    /// Sends what a queue gave up where its dead letters go, if anywhere.
    fn bury(&mut self, name: &str, entries: Vec<Entry>) {
        if let Some(grave) = self.queues[name].rules.grave {
            self.has_buried |= !entries.is_empty();
            for entry in entries {
                self.enqueue(grave, Entry { redelivered: false, is_dead: true, ..entry });
            }
        }
    }

    fn route<'a>(
        &'a self,
        exchange: &'a str,
        key: &str,
        passed: &mut BTreeSet<&'a str>,
        queues: &mut BTreeSet<&'static str>,
    ) {
        if !passed.insert(exchange) {
            return;
        }
        let takes_all = self.exchanges[exchange].kind == "fanout";
        let bindings = self.bindings.iter().filter(|(source, ..)| *source == exchange);
        for (_, _, destination) in bindings.filter(|(_, bound, _)| takes_all || *bound == key) {
            match destination {
                Destination::Queue(name) => drop(queues.insert(name)),
                Destination::Exchange(name) => self.route(name, key, passed, queues),
            }
        }
    }

    /// How many are ready.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        self.queues.get(name).map(|queue| queue.ready.len())
    }

    /// What a consumer would get, in order.
    pub(crate) fn ready(&self, name: &str) -> Vec<Entry> {
        self.queues[name].ready.values().copied().collect()
    }

    pub(crate) fn purge(&mut self, name: &str) -> usize {
        let queue = self.queues.get_mut(name).unwrap();
        std::mem::take(&mut queue.ready).len()
    }

    /// Takes the first message and forgets it.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Entry> {
        self.queues.get_mut(name).unwrap().ready.pop_first().map(|(_, entry)| entry)
    }

    /// Takes the first message and holds it.
    pub(crate) fn hold(&mut self, name: &'static str, channel: u16, tag: u64) -> Option<Entry> {
        let queue = self.queues.get_mut(name).unwrap();
        let (place, entry) = queue.ready.pop_first()?;
        let incarnation = queue.incarnation;
        self.held.push(Held { channel, tag, queue: name, incarnation, place, entry });
        Some(entry)
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Forgets what is held on a channel by these tags, gives it back, or gives it up.
    pub(crate) fn settle(&mut self, channel: u16, has: impl Fn(u64) -> bool, outcome: Outcome) {
        let settled: Vec<Held> =
            self.held.extract_if(.., |held| held.channel == channel && has(held.tag)).collect();
        match outcome {
            Outcome::Done => {}
            Outcome::Returned => self.give_back(settled),
            Outcome::Rejected => {
                for held in settled {
                    if self.is_same(&held) {
                        self.bury(held.queue, vec![held.entry]);
                    }
                }
            }
        }
    }

    /// Whether there have been dead letters since the last time.
    pub(crate) fn has_buried(&mut self) -> bool {
        std::mem::take(&mut self.has_buried)
    }

    /// Whether the queue of a delivery is the one that it came from, and not another of that name.
    fn is_same(&self, held: &Held) -> bool {
        self.queues.get(held.queue).is_some_and(|queue| queue.incarnation == held.incarnation)
    }

    fn give_back(&mut self, all: Vec<Held>) {
        let mut queues = BTreeSet::new();
        for held in all {
            if self.is_same(&held) {
                let queue = self.queues.get_mut(held.queue).unwrap();
                queue.ready.insert(held.place, Entry { redelivered: true, ..held.entry });
                queues.insert(held.queue);
            }
        }
        for name in queues {
            let dropped = self.queues.get_mut(name).unwrap().overflow();
            self.bury(name, dropped);
        }
    }

    /// The broker tells its client to go: channel by channel, what was held returns while all else is still there. So what
    /// a queue has room for is decided with its transient messages, which a kill leaves out.
    pub(crate) fn say_goodbye(&mut self) {
        let channels: BTreeSet<u16> = self.held.iter().map(|held| held.channel).collect();
        for channel in channels {
            self.settle(channel, |_| true, Outcome::Returned);
        }
    }

    /// The broker ends and starts again: what is not durable is gone, and what was held is ready again.
    pub(crate) fn restart(&mut self) {
        self.queues.retain(|_, queue| queue.lifetime == Lifetime::Durable);
        self.exchanges.retain(|_, exchange| exchange.lifetime == Lifetime::Durable);
        for queue in self.queues.values_mut() {
            queue.ready.retain(|_, entry| entry.mode == Mode::Persistent);
        }
        let mut held = std::mem::take(&mut self.held);
        held.retain(|held| held.entry.mode == Mode::Persistent);
        self.give_back(held);
        let mut bindings = std::mem::take(&mut self.bindings);
        bindings.retain(|(source, _, destination)| self.has_exchange(source) && self.has(*destination));
        self.bindings = bindings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    fn message(number: u32) -> Id {
        Id { publisher: 1, number }
    }

    fn numbers(model: &Model, queue: &str) -> Vec<(u32, bool)> {
        model.ready(queue).iter().map(|entry| (entry.id.number, entry.redelivered)).collect()
    }

    #[test]
    fn a_restart_keeps_what_is_durable_and_gives_back_what_was_held() {
        let mut model = Model::default();
        model.declare_queue("kept", Lifetime::Durable, Rules::NONE);
        model.declare_queue("lost", Lifetime::Transient, Rules::NONE);
        model.declare_exchange("both", "fanout", Lifetime::Durable);
        model.bind("both", "", Destination::Queue("kept"));
        model.bind("both", "", Destination::Queue("lost"));
        for (number, mode) in [(0, Mode::Persistent), (1, Mode::Transient), (2, Mode::Persistent)] {
            model.publish("both", "any", message(number), mode);
        }
        assert_eq!(model.count("lost"), Some(3));
        assert_eq!(model.hold("kept", 1, 1).unwrap().id, message(0));
        model.restart();
        assert_eq!(model.count("lost"), None);
        assert_eq!(numbers(&model, "kept"), [(0, true), (2, false)]);
        model.declare_queue("lost", Lifetime::Transient, Rules::NONE);
        model.publish("both", "any", message(3), Mode::Persistent);
        assert_eq!((model.count("kept"), model.count("lost")), (Some(3), Some(0)));
    }

    #[test]
    fn what_is_given_back_returns_to_its_place_unless_its_queue_is_another_now() {
        let mut model = Model::default();
        model.declare_queue("q", Lifetime::Durable, Rules::NONE);
        for number in 0..3 {
            model.publish("", "q", message(number), Mode::Persistent);
        }
        model.hold("q", 1, 1);
        model.hold("q", 1, 2);
        model.settle(1, |tag| tag == 2, Outcome::Returned);
        assert_eq!(numbers(&model, "q"), [(1, true), (2, false)]);
        model.delete_queue("q");
        model.declare_queue("q", Lifetime::Durable, Rules::NONE);
        model.settle(1, |_| true, Outcome::Returned);
        assert_eq!(model.count("q"), Some(0));
    }

    #[test]
    fn rules_decide_what_a_queue_keeps_and_what_it_gives_up() {
        let mut model = Model::default();
        for grave in rules::GRAVES {
            model.declare_queue(grave, Lifetime::Durable, Rules::NONE);
        }
        model.declare_queue("levels", Lifetime::Durable, rules::LEVELS);
        model.declare_queue("brief", Lifetime::Durable, rules::BRIEF);
        // Priorities 0 to 5, then 0 and 1; the highest of its own is 3.
        for number in 0..8 {
            model.publish("", "levels", message(number), Mode::Persistent);
        }
        assert_eq!(numbers(&model, "levels"), [3, 4, 5, 2, 1, 7].map(|number| (number, false)));
        assert_eq!(numbers(&model, "levels.grave"), [(0, false), (6, false)]);
        model.hold("levels", 1, 1);
        model.publish("", "levels", message(12), Mode::Persistent);
        model.settle(1, |_| true, Outcome::Returned);
        assert_eq!(numbers(&model, "levels").first(), Some(&(3, true)));
        model.hold("levels", 1, 2);
        model.settle(1, |_| true, Outcome::Rejected);
        assert_eq!(numbers(&model, "levels.grave"), [0, 6, 12, 3].map(|number| (number, false)));
        model.publish("", "brief", message(20), Mode::Persistent);
        assert_eq!((model.count("brief"), model.count("brief.grave")), (Some(0), Some(1)));
        assert!(model.ready("brief.grave")[0].is_dead && model.has_buried() && !model.has_buried());
    }

    #[test]
    fn transient_messages_take_room_when_the_broker_is_told_to_stop_but_not_when_it_is_killed() {
        for (is_told, left) in [(true, 3), (false, 4)] {
            let mut model = Model::default();
            model.declare_queue(rules::GRAVES[0], Lifetime::Durable, Rules::NONE);
            model.declare_queue("mourned", Lifetime::Durable, rules::MOURNED);
            model.publish("", "mourned", message(0), Mode::Persistent);
            model.hold("mourned", 1, 1);
            model.publish("", "mourned", message(1), Mode::Transient);
            for number in 2..5 {
                model.publish("", "mourned", message(number), Mode::Persistent);
            }
            if is_told {
                model.say_goodbye();
            }
            model.restart();
            assert_eq!(model.count("mourned"), Some(left));
            assert_eq!(model.count(rules::GRAVES[0]), Some(4 - left));
        }
    }

    #[test]
    fn exchanges_pass_on_by_key_and_each_queue_gets_one() {
        let mut model = Model::default();
        model.declare_queue("q", Lifetime::Durable, Rules::NONE);
        model.declare_exchange("direct", "direct", Lifetime::Durable);
        model.declare_exchange("fanout", "fanout", Lifetime::Durable);
        model.bind("direct", "a", Destination::Exchange("fanout"));
        model.bind("fanout", "x", Destination::Queue("q"));
        model.bind("direct", "a", Destination::Queue("q"));
        model.bind("fanout", "y", Destination::Exchange("direct"));
        model.publish("direct", "a", message(0), Mode::Persistent);
        model.publish("direct", "b", message(1), Mode::Persistent);
        assert_eq!(numbers(&model, "q"), [(0, false)]);
        model.delete_exchange("fanout");
        model.unbind("direct", "a", Destination::Queue("q"));
        model.publish("direct", "a", message(2), Mode::Persistent);
        assert_eq!(model.count("q"), Some(1));
    }
}
