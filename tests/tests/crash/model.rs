//! [`Model`]: what a broker is to its clients, in the plainest way: no disk, no speed, no sockets. It is what the real
//! one is compared with.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::Lifetime;
use crate::message::{Id, Mode};

/// A message in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) mode: Mode,
    pub(crate) redelivered: bool,
}

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) channel: u16,
    pub(crate) tag: u64,
    queue: &'static str,
    /// Of several queues of one name, one after the other, which it was.
    incarnation: u64,
    place: u64,
    entry: Entry,
}

#[derive(Debug)]
struct Queue {
    lifetime: Lifetime,
    incarnation: u64,
    /// By the place at which they came in, to which they return.
    ready: BTreeMap<u64, Entry>,
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
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn declare_queue(&mut self, name: &'static str, lifetime: Lifetime) {
        let incarnation = self.tick();
        self.queues.entry(name).or_insert(Queue { lifetime, incarnation, ready: BTreeMap::new() });
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
            let place = self.tick();
            let queue = self.queues.get_mut(name).unwrap();
            queue.ready.insert(place, Entry { id, mode, redelivered: false });
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

    /// Forgets what is held on a channel by these tags, or gives it back.
    pub(crate) fn settle(&mut self, channel: u16, has: impl Fn(u64) -> bool, requeue: bool) {
        let settled: Vec<Held> =
            self.held.extract_if(.., |held| held.channel == channel && has(held.tag)).collect();
        if requeue {
            settled.into_iter().for_each(|held| self.give_back(held));
        }
    }

    fn give_back(&mut self, held: Held) {
        let queue = self.queues.get_mut(held.queue);
        if let Some(queue) = queue.filter(|queue| queue.incarnation == held.incarnation) {
            queue.ready.insert(held.place, Entry { redelivered: true, ..held.entry });
        }
    }

    /// The broker ends and starts again: what is not durable is gone, and what was held is ready again.
    pub(crate) fn restart(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.give_back(held);
        }
        self.queues.retain(|_, queue| queue.lifetime == Lifetime::Durable);
        self.exchanges.retain(|_, exchange| exchange.lifetime == Lifetime::Durable);
        for queue in self.queues.values_mut() {
            queue.ready.retain(|_, entry| entry.mode == Mode::Persistent);
        }
        let mut bindings = std::mem::take(&mut self.bindings);
        bindings.retain(|(source, _, destination)| self.has_exchange(source) && self.has(*destination));
        self.bindings = bindings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> Id {
        Id { publisher: 1, number }
    }

    fn numbers(model: &Model, queue: &str) -> Vec<(u32, bool)> {
        model.ready(queue).iter().map(|entry| (entry.id.number, entry.redelivered)).collect()
    }

    #[test]
    fn a_restart_keeps_what_is_durable_and_gives_back_what_was_held() {
        let mut model = Model::default();
        model.declare_queue("kept", Lifetime::Durable);
        model.declare_queue("lost", Lifetime::Transient);
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
        model.declare_queue("lost", Lifetime::Transient);
        model.publish("both", "any", message(3), Mode::Persistent);
        assert_eq!((model.count("kept"), model.count("lost")), (Some(3), Some(0)));
    }

    #[test]
    fn what_is_given_back_returns_to_its_place_unless_its_queue_is_another_now() {
        let mut model = Model::default();
        model.declare_queue("q", Lifetime::Durable);
        for number in 0..3 {
            model.publish("", "q", message(number), Mode::Persistent);
        }
        model.hold("q", 1, 1);
        model.hold("q", 1, 2);
        model.settle(1, |tag| tag == 2, true);
        assert_eq!(numbers(&model, "q"), [(1, true), (2, false)]);
        model.delete_queue("q");
        model.declare_queue("q", Lifetime::Durable);
        model.settle(1, |_| true, true);
        assert_eq!(model.count("q"), Some(0));
    }

    #[test]
    fn exchanges_pass_on_by_key_and_each_queue_gets_one() {
        let mut model = Model::default();
        model.declare_queue("q", Lifetime::Durable);
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
