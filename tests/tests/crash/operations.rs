//! Random operations against a real broker, one after the other, compared with the model at every step, with crashes and
//! restarts between.
//!
//! `WARREN_MODEL_STEPS` is how many, and `WARREN_MODEL_SEED` repeats a run exactly, because nothing happens at the same
//! time as anything else. `WARREN_CRASH_ARGUMENTS` are further command-line arguments for the broker.

mod looks;

use std::env;
use std::thread;

use warren_tests::Broker;

use crate::connection::{Connection, Lifetime};
use crate::message::{Id, Messages, Mode, Sizes};
use crate::model::{Destination, Model, Outcome};
use crate::random::{Random, seed, setting};
use crate::rules::{self, GRAVES, Rules};
use crate::wire::{Arguments, Settle, method, short};

/// Queues by name, as they are declared if they are.
const QUEUES: [(&str, Lifetime, Rules); 14] = [
    ("d0", Lifetime::Durable, Rules::NONE),
    ("d1", Lifetime::Durable, Rules::NONE),
    ("d2", Lifetime::Durable, Rules::NONE),
    ("d3", Lifetime::Durable, Rules::NONE),
    ("t0", Lifetime::Transient, Rules::NONE),
    ("t1", Lifetime::Transient, Rules::NONE),
    ("x0", Lifetime::Exclusive, Rules::NONE),
    ("x1", Lifetime::DurableExclusive, Rules::NONE),
    ("limited", Lifetime::Durable, rules::LIMITED),
    ("mourned", Lifetime::Durable, rules::MOURNED),
    ("levels", Lifetime::Durable, rules::LEVELS),
    ("transient-levels", Lifetime::Transient, Rules { grave: None, ..rules::LEVELS }),
    ("fleeting", Lifetime::Durable, rules::FLEETING),
    ("brief", Lifetime::Durable, rules::BRIEF),
];

/// A queue that is always there. A confirmed publish to it proves that all before it is durable.
const BARRIER: &str = "barrier";

const EXCHANGES: [(&str, &str, Lifetime); 4] = [
    ("durable-direct", "direct", Lifetime::Durable),
    ("durable-fanout", "fanout", Lifetime::Durable),
    ("transient-direct", "direct", Lifetime::Transient),
    ("transient-fanout", "fanout", Lifetime::Transient),
];

const KEYS: [&str; 3] = ["a", "b", "c"];

/// Channels that hold deliveries.
const HOLDING: [u16; 2] = [1, 2];
const PUBLISHING: u16 = 3;
/// For what the broker may refuse.
const ASKING: u16 = 4;
/// For a look at everything, closed after it.
const LOOKING: u16 = 5;

#[test]
fn a_broker_that_dies_now_and_then_equals_the_model_at_every_step() {
    let steps: u64 = setting("WARREN_MODEL_STEPS", || 2_500);
    let seed = seed("WARREN_MODEL_SEED");
    println!("WARREN_MODEL_SEED={seed} WARREN_MODEL_STEPS={steps}");
    let arguments = env::var("WARREN_CRASH_ARGUMENTS").unwrap_or_default();
    let broker = Broker::warren_on_fixed_port(&arguments.split_whitespace().collect::<Vec<_>>());
    let mut pair = Pair::new(broker, seed);
    for step in 0..steps {
        pair.note(format!("--- step {step}"));
        pair.step();
        let name = pair.any_queue();
        pair.compare_count(name);
    }
    pair.die();
    pair.look_at_everything();
    println!(
        "{steps} steps, {} crashes, {} restarts, {} messages compared",
        pair.crashes, pair.restarts, pair.compared
    );
    assert!(
        pair.crashes > steps / 200 && pair.compared > steps / 10,
        "the run was too tame to prove anything"
    );
}

/// A broker and what it should be.
#[derive(Debug)]
struct Pair {
    /// None while the broker is down.
    connection: Option<Connection>,
    model: Model,
    messages: Messages,
    random: Random,
    published: u32,
    /// What was done, for the report of a failure.
    story: Vec<String>,
    crashes: u64,
    restarts: u64,
    compared: u64,
    /// The last, so that the connection is gone when the broker is told to stop.
    broker: Broker,
}

impl Drop for Pair {
    fn drop(&mut self) {
        if thread::panicking() {
            let seed = self.messages.seed;
            println!("WARREN_MODEL_SEED={seed}; the last that was done:");
            for line in self.story.iter().rev().take(80).rev() {
                println!("  {line}");
            }
        }
    }
}

impl Pair {
    fn new(broker: Broker, seed: u64) -> Self {
        let connection = Some(connect(&broker));
        let mut pair = Self {
            broker,
            connection,
            model: Model::default(),
            messages: Messages { seed, sizes: Sizes::Small },
            random: Random::new(seed),
            published: 0,
            story: Vec::new(),
            crashes: 0,
            restarts: 0,
            compared: 0,
        };
        for name in GRAVES.into_iter().chain([BARRIER]) {
            pair.declare_queue(name, Lifetime::Durable, Rules::NONE);
        }
        pair
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("the broker is up")
    }

    fn note(&mut self, what: String) {
        self.story.push(what);
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..60 => {
                let (name, lifetime, rules) = *self.random.pick(&QUEUES);
                self.declare_queue(name, lifetime, rules);
            }
            60..75 => self.delete_queue(),
            75..115 => self.declare_exchange(),
            115..120 => self.delete_exchange(),
            120..220 => self.bind(),
            220..250 => self.unbind(),
            250..550 => {
                let route = self.any_route();
                self.publish(route);
            }
            550..650 => self.get(),
            650..680 => self.get_without_ack(),
            680..760 => self.consume(),
            760..890 => self.settle(),
            890..905 => self.purge(),
            905..915 => self.recover(),
            915..925 => self.close_channel(),
            925..930 => self.look_at_everything(),
            930..965 => self.publish_many(),
            965..985 => self.die(),
            985..990 => self.die_twice(),
            _ => self.restart(),
        }
    }

    fn any_queue(&mut self) -> &'static str {
        if self.random.percent(15) { BARRIER } else { self.random.pick(&QUEUES).0 }
    }

    /// One that exists, to take messages from.
    fn some_source(&mut self) -> &'static str {
        if self.random.percent(15) { GRAVES[self.random.index(GRAVES.len())] } else { self.some_queue() }
    }

    /// One that exists.
    fn some_queue(&mut self) -> &'static str {
        let name = self.any_queue();
        if self.model.has_queue(name) { name } else { BARRIER }
    }

    fn some_exchange(&mut self) -> Option<&'static str> {
        let name = self.random.pick(&EXCHANGES).0;
        self.model.has_exchange(name).then_some(name)
    }

    fn any_route(&mut self) -> (&'static str, &'static str) {
        match self.some_exchange() {
            Some(exchange) => (exchange, *self.random.pick(&KEYS)),
            // A queue that does not exist gets nothing, and that is confirmed.
            None => ("", self.any_queue()),
        }
    }

    fn declare_queue(&mut self, name: &'static str, lifetime: Lifetime, rules: Rules) {
        self.note(format!("declare queue {name}"));
        let count = self
            .connection()
            .declare_by(ASKING, name, lifetime, rules)
            .unwrap_or_else(|closed| panic!("{closed}"));
        self.model.declare_queue(name, lifetime, rules);
        assert_eq!(self.model.count(name), usize::try_from(count).ok(), "messages in queue {name}");
    }

    fn delete_queue(&mut self) {
        let (name, ..) = *self.random.pick(&QUEUES);
        self.note(format!("delete queue {name}"));
        let arguments = [b"\0\0", &short(name)[..], b"\0"].concat();
        let answer = self.connection().call(ASKING, (50, 40), &arguments, (50, 41)).unwrap();
        let count = Arguments(&answer).u32();
        let expected = self.model.delete_queue(name).unwrap_or(0);
        assert_eq!(usize::try_from(count), Ok(expected), "messages in queue {name} when deleted");
    }

    fn declare_exchange(&mut self) {
        let (name, kind, lifetime) = *self.random.pick(&EXCHANGES);
        self.note(format!("declare exchange {name}"));
        self.connection().declare_exchange(ASKING, name, kind, lifetime).unwrap();
        self.model.declare_exchange(name, kind, lifetime);
    }

    fn delete_exchange(&mut self) {
        let (name, ..) = *self.random.pick(&EXCHANGES);
        self.note(format!("delete exchange {name}"));
        let arguments = [b"\0\0", &short(name)[..], b"\0"].concat();
        self.connection().call(ASKING, (40, 20), &arguments, (40, 21)).unwrap();
        self.model.delete_exchange(name);
    }

    /// Source, key and destination, all of which exist.
    fn some_binding(&mut self) -> Option<(&'static str, &'static str, Destination)> {
        let source = self.some_exchange()?;
        let key = *self.random.pick(&KEYS);
        let destination = if self.random.percent(25) {
            Destination::Exchange(self.some_exchange()?)
        } else {
            Destination::Queue(self.some_queue())
        };
        Some((source, key, destination))
    }

    fn bind(&mut self) {
        let Some((source, key, destination)) = self.some_binding() else { return };
        self.note(format!("bind {source} by {key} to {destination:?}"));
        match destination {
            Destination::Queue(name) => self.connection().bind(ASKING, name, source, key).unwrap(),
            Destination::Exchange(name) => {
                let arguments =
                    [b"\0\0", &short(name)[..], &short(source), &short(key), b"\0\0\0\0\0"].concat();
                self.connection().call(ASKING, (40, 30), &arguments, (40, 31)).unwrap();
            }
        }
        self.model.bind(source, key, destination);
    }

    /// Often of what is not bound, which is no error.
    fn unbind(&mut self) {
        let Some((source, key, destination)) = self.some_binding() else { return };
        self.note(format!("unbind {source} by {key} from {destination:?}"));
        let (ids, answer, name, end) = match destination {
            Destination::Queue(name) => ((50, 50), (50, 51), name, &b"\0\0\0\0"[..]),
            Destination::Exchange(name) => ((40, 40), (40, 51), name, &b"\0\0\0\0\0"[..]),
        };
        let arguments = [b"\0\0", &short(name)[..], &short(source), &short(key), end].concat();
        self.connection().call(ASKING, ids, &arguments, answer).unwrap();
        self.model.unbind(source, key, destination);
    }

    fn publish(&mut self, route: (&'static str, &'static str)) {
        self.publish_without_wait(route);
        self.await_burials();
    }

    fn publish_without_wait(&mut self, (exchange, key): (&'static str, &'static str)) {
        let mode = if self.random.percent(75) { Mode::Persistent } else { Mode::Transient };
        let id = Id { publisher: 1, number: self.published };
        self.published += 1;
        self.note(format!("publish {id} ({mode:?}) to {exchange:?} by {key}"));
        let messages = self.messages;
        self.connection().publish(PUBLISHING, (exchange, key), messages, id, mode);
        self.model.publish(exchange, key, id, mode);
    }

    fn publish_many(&mut self) {
        let route = self.any_route();
        for _ in 0..self.random.below(30) {
            self.publish(route);
        }
    }

    fn get(&mut self) {
        let (name, channel) = (self.some_source(), *self.random.pick(&HOLDING));
        self.note(format!("get from {name} on channel {channel}"));
        let delivery = self.connection().get(channel, name, false).unwrap();
        let tag = delivery.as_ref().map_or(0, |delivery| delivery.tag);
        let expected = self.model.hold(name, channel, tag);
        self.compare(name, delivery.as_ref(), expected);
    }

    fn get_without_ack(&mut self) {
        let (name, channel) = (self.some_source(), *self.random.pick(&HOLDING));
        self.note(format!("get from {name} without acknowledgement"));
        let delivery = self.connection().get(channel, name, true).unwrap();
        let expected = self.model.take(name);
        self.compare(name, delivery.as_ref(), expected);
    }

    /// A consumer that takes some messages and ends.
    fn consume(&mut self) {
        let (name, channel) = (self.some_source(), *self.random.pick(&HOLDING));
        let prefetch = 1 + self.random.below(20);
        let count = self.model.count(name).unwrap().min(usize::try_from(prefetch).unwrap());
        self.note(format!("consume {count} of {name} on channel {channel} with prefetch {prefetch}"));
        self.connection().prefetch(channel, u16::try_from(prefetch).unwrap());
        self.connection().consume(channel, name);
        for _ in 0..count {
            let delivery = self.connection().delivery(channel);
            let expected = self.model.hold(name, channel, delivery.tag);
            self.compare(name, Some(&delivery), expected);
        }
        self.connection().cancel(channel);
    }

    fn settle(&mut self) {
        if self.model.held().is_empty() {
            return;
        }
        let held = self.random.pick(self.model.held());
        let (channel, tag) = (held.channel, held.tag);
        let settle = *self.random.pick(&[
            Settle::Ack,
            Settle::Ack,
            Settle::AckUpTo,
            Settle::Nack { up_to: false, requeue: true },
            Settle::Nack { up_to: true, requeue: true },
            Settle::Nack { up_to: false, requeue: false },
            Settle::Reject { requeue: true },
            Settle::Reject { requeue: false },
        ]);
        self.note(format!("{settle:?} of {tag} on channel {channel}"));
        self.connection().settle(channel, tag, settle);
        let all = settle.takes_all_up_to_the_tag();
        let outcome = match settle {
            Settle::Ack | Settle::AckUpTo => Outcome::Done,
            _ if settle.requeues() => Outcome::Returned,
            _ => Outcome::Rejected,
        };
        self.model.settle(channel, |other| other == tag || all && other < tag, outcome);
        self.finish(channel);
        self.await_burials();
    }

    /// Settlements have no answer, so this has one after them on the same channel.
    fn finish(&mut self, channel: u16) {
        self.connection().count(channel, BARRIER).unwrap();
    }

    fn purge(&mut self) {
        let name = self.some_source();
        self.note(format!("purge {name}"));
        let arguments = [b"\0\0", &short(name)[..], b"\0"].concat();
        let answer = self.connection().call(ASKING, (50, 30), &arguments, (50, 31)).unwrap();
        let count = Arguments(&answer).u32();
        assert_eq!(usize::try_from(count), Ok(self.model.purge(name)), "purged from {name}");
    }

    fn recover(&mut self) {
        let channel = *self.random.pick(&HOLDING);
        self.note(format!("recover on channel {channel}"));
        self.connection().send(&method(channel, (60, 110), b"\x01"));
        self.connection().wait(channel, &[(60, 111)]).unwrap();
        self.model.settle(channel, |_| true, Outcome::Returned);
        self.await_burials();
    }

    fn close_channel(&mut self) {
        let channel = *self.random.pick(&HOLDING);
        self.note(format!("close channel {channel}"));
        self.connection().close_channel(channel);
        self.connection().channel(channel);
        self.model.settle(channel, |_| true, Outcome::Returned);
        self.await_burials();
    }

    /// Proves that all before is durable.
    fn pass_barrier(&mut self) {
        let id = Id { publisher: 1, number: self.published };
        self.published += 1;
        let (messages, mode) = (self.messages, Mode::Persistent);
        self.connection().publish(PUBLISHING, ("", BARRIER), messages, id, mode);
        self.model.publish("", BARRIER, id, mode);
    }

    fn die(&mut self) {
        self.note("kill -9".to_owned());
        // It may die before they expire, and they expire all the same.
        for _ in 0..self.random.below(4) {
            self.publish_without_wait(("", "brief"));
        }
        self.pass_barrier();
        self.broker.crash();
        self.crashes += 1;
        self.come_back();
    }

    fn die_twice(&mut self) {
        self.note("kill -9, and again while starting".to_owned());
        self.pass_barrier();
        self.broker.crash();
        let after = std::time::Duration::from_micros(self.random.below(50_000));
        self.broker.die_while_starting(after);
        self.crashes += 2;
        self.come_back();
    }

    /// An orderly end needs no barrier.
    fn restart(&mut self) {
        self.note("SIGTERM".to_owned());
        // The broker has seen every operation, because each had an answer.
        self.broker.begin_shut_down();
        self.connection.take().unwrap().say_goodbye();
        self.model.say_goodbye();
        self.broker.finish_shut_down();
        self.restarts += 1;
        self.come_back();
    }

    fn come_back(&mut self) {
        self.broker.start_again();
        self.connection = Some(connect(&self.broker));
        self.model.restart();
        self.await_burials();
        for (name, ..) in QUEUES {
            self.compare_count(name);
        }
        self.compare_count(BARRIER);
        for (name, ..) in EXCHANGES {
            let found = self.connection().find_exchange(ASKING, name);
            let found = self.exists(found).is_some();
            assert_eq!(found, self.model.has_exchange(name), "exchange {name} exists");
        }
        if self.random.percent(50) {
            self.probe_bindings();
        }
        if self.random.percent(30) {
            self.look_at_everything();
        }
    }
}

fn connect(broker: &Broker) -> Connection {
    let mut connection = Connection::open(broker.port());
    for channel in HOLDING.into_iter().chain([PUBLISHING, ASKING]) {
        connection.channel(channel);
    }
    connection.confirm(PUBLISHING);
    connection
}
