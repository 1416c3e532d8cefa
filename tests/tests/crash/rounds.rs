//! kill -9 under load, again and again on the same data folder: after each restart all that a confirm or a proof promised
//! must hold.
//!
//! `WARREN_CRASH_ROUNDS` is how many rounds, `WARREN_CRASH_SEED` repeats the random choices (not the timing), and
//! `WARREN_CRASH_ARGUMENTS` are further command-line arguments for the broker.

use std::env;
use std::fmt::Write;
use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use warren_tests::Broker;

use crate::connection::{Connection, Lifetime};
use crate::ledger::{Ledger, Queue};
use crate::load::{Load, Plan, Route};
use crate::message::{Id, Messages, Mode, Sizes};
use crate::oracle::{Before, Delivered, Found, Known, Oracle, Tally};
use crate::random::{Random, seed, setting};
use crate::wire::Settle;

pub(crate) const QUEUES: [&str; 4] = ["work", "fan-a", "fan-b", "fan-c"];
pub(crate) const FANOUT: &str = "fan";

/// The second is the fanout to three queues, one of which gets messages directly as well.
pub(crate) const ROUTES: [Route; 3] =
    [(("", QUEUES[0]), &[0]), ((FANOUT, ""), &[1, 2, 3]), (("", QUEUES[1]), &[1])];

const WINDOWS: [usize; 3] = [1, 128, 10_000];

/// The most that one publisher sends in a round, so that the queues can be looked at within a second or two.
const PUBLISHES: usize = 10_000;

/// The most that a consumer publishes, for the sake of the proofs.
const PROOFS: usize = 1_000;

/// The channel for everything but consuming; queue `n` is consumed on channel `CONSUMING + n`.
const MAIN: u16 = 1;
const CONSUMING: u16 = 2;

#[test]
fn what_was_confirmed_survives_kill_9_at_any_moment() {
    let rounds = setting("WARREN_CRASH_ROUNDS", || 20);
    let seed = seed("WARREN_CRASH_SEED");
    println!("WARREN_CRASH_SEED={seed} WARREN_CRASH_ROUNDS={rounds}");
    let arguments = env::var("WARREN_CRASH_ARGUMENTS").unwrap_or_default();
    let broker = Broker::warren_on_fixed_port(&arguments.split_whitespace().collect::<Vec<_>>());
    let mut trial = Trial::new(broker, seed);
    let mut sum = Tally::default();
    for round in 0..rounds {
        trial.round = round;
        sum.add(trial.run_round());
    }
    println!("{rounds} rounds: {sum:?}, {} MiB on disk", trial.broker.data_bytes() >> 20);
    // Else the load was too small or too slow to prove anything.
    assert!(sum.checked > rounds * 50, "hardly a message was left to look at");
    assert!(sum.settlements_proved > rounds * 5, "hardly an acknowledgement was proved");
}

/// A broker and all that is known of its queues.
#[derive(Debug)]
struct Trial {
    seed: u64,
    messages: Messages,
    random: Random,
    round: usize,
    publishers: u32,
    queues: Vec<Before>,
    /// Keeps what was looked at unacknowledged until the broker dies.
    holding: Option<Connection>,
    /// The last, so that no connection is left when the broker is told to stop.
    broker: Broker,
}

impl Trial {
    fn new(broker: Broker, seed: u64) -> Self {
        let mut connection = Connection::open(broker.port());
        connection.channel(MAIN);
        connection.declare_exchange(MAIN, FANOUT, "fanout", Lifetime::Durable).unwrap();
        for (queue, name) in QUEUES.iter().enumerate() {
            connection.declare(MAIN, name, Lifetime::Durable).unwrap();
            if ROUTES[1].1.contains(&queue) {
                connection.bind(MAIN, name, FANOUT, "").unwrap();
            }
        }
        let queues = QUEUES.map(|name| Before { name: name.to_owned(), ..Before::default() });
        let mut trial = Self {
            broker,
            seed,
            messages: Messages { seed, sizes: Sizes::Mixed },
            random: Random::new(seed),
            round: 0,
            publishers: 0,
            queues: queues.to_vec(),
            holding: None,
        };
        // A confirm proves that the declarations before it are durable.
        trial.publish_to_all(&mut connection);
        trial
    }

    fn run_round(&mut self) -> Tally {
        let start = Instant::now();
        let plans = self.plans();
        for (queue, before) in self.queues.iter_mut().enumerate() {
            before.had_consumers = plans.iter().any(|plan| plan.consumes.iter().any(|(at, ..)| *at == queue));
        }
        let windows: Vec<usize> = plans.iter().map(|plan| plan.window).collect();
        let loads: Vec<Load> = plans
            .into_iter()
            .map(|plan| Load::start(self.broker.port(), self.messages, plan, self.random.fork()))
            .collect();
        let limit_ms = *self.random.pick(&[5, 50, 300, 700]);
        let load_ms = self.random.below(limit_ms);
        // The moment of death, not a wait for anything.
        thread::sleep(Duration::from_millis(load_ms));
        let end = self.end_broker();
        let ledgers: Vec<Ledger> = loads.into_iter().map(Load::finish).collect();
        self.holding = None;
        self.broker.start_again();
        let restarted = start.elapsed();
        let tally = self.look(&ledgers);
        println!(
            "round {}: windows {windows:?}, {end} after {load_ms} ms, up again at {} ms, {tally:?} at {} ms",
            self.round,
            restarted.as_millis(),
            start.elapsed().as_millis()
        );
        tally
    }

    /// Two that publish and two that consume, all with random habits.
    fn plans(&mut self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for turn in 0..2 {
            let window = WINDOWS[(self.round + turn) % WINDOWS.len()];
            let publisher = self.next_publisher();
            let routes = &ROUTES;
            plans.push(Plan {
                publisher,
                routes,
                window,
                publishes: PUBLISHES,
                consumes: Vec::new(),
                hold: 0,
            });
        }
        for _ in 0..2 {
            let window = *self.random.pick(&[1, 128]);
            let hold = *self.random.pick(&[0, 3, 40, 400]);
            let prefetch = *self.random.pick(&[1, 10, 300]) + u16::try_from(hold).unwrap();
            let mut consumes: Vec<_> =
                (0..).zip(QUEUES).map(|(queue, name)| (queue, name, prefetch)).collect();
            self.random.shuffle(&mut consumes);
            consumes.truncate(1 + self.random.index(2));
            let publisher = self.next_publisher();
            plans.push(Plan { publisher, routes: &ROUTES, window, publishes: PROOFS, consumes, hold });
        }
        plans
    }

    fn next_publisher(&mut self) -> u32 {
        self.publishers += 1;
        self.publishers
    }

    /// Kills the broker; now and then it is shut down, or killed again while it starts.
    fn end_broker(&mut self) -> &'static str {
        match self.random.below(12) {
            0 => {
                self.broker.begin_shut_down();
                // Else the broker would wait for it, for a while.
                self.holding.take().into_iter().for_each(Connection::say_goodbye);
                self.broker.finish_shut_down();
                "shut down"
            }
            1..5 => {
                self.broker.crash();
                for _ in 0..=self.random.below(2) {
                    let after = Duration::from_micros(self.random.below(60_000));
                    self.broker.die_while_starting(after);
                }
                "killed, and killed while starting"
            }
            _ => {
                self.broker.crash();
                "killed"
            }
        }
    }

    /// Looks at all queues, judges them, and leaves some messages for the next round.
    fn look(&mut self, ledgers: &[Ledger]) -> Tally {
        let mut connection = Connection::open(self.broker.port());
        connection.channel(MAIN);
        self.expect_definitions(&mut connection);
        let looks: Vec<Look> =
            (0..QUEUES.len()).map(|queue| look_at(self.messages, &mut connection, queue)).collect();
        let found: Vec<Vec<Found>> =
            looks.iter().map(|look| look.messages.iter().map(|(_, found)| *found).collect()).collect();
        let verdict = Oracle::new(&self.queues, ledgers).judge(&found);
        let unreadable = looks.iter().flat_map(|look| look.problems.iter().cloned());
        let (tally, mut problems) = match verdict {
            Ok(tally) => (tally, Vec::new()),
            Err(problems) => (Tally::default(), problems),
        };
        problems.extend(unreadable);
        self.fail_with(&problems);
        for (queue, look) in looks.into_iter().enumerate() {
            self.thin_out(&mut connection, queue, look);
        }
        self.publish_to_all(&mut connection);
        if self.random.percent(30) {
            self.holding = Some(connection);
        } else {
            self.give_back(&mut connection);
        }
        tally
    }

    fn expect_definitions(&self, connection: &mut Connection) {
        let mut problems = Vec::new();
        if let Err(closed) = connection.find_exchange(MAIN, FANOUT) {
            problems.push(format!("exchange {FANOUT}: {closed}"));
            connection.channel(MAIN);
        }
        for name in QUEUES {
            if let Err(closed) = connection.count(MAIN, name) {
                problems.push(format!("queue {name}: {closed}"));
                connection.channel(MAIN);
            }
        }
        self.fail_with(&problems);
        // Durable still, or this would be refused.
        for name in QUEUES {
            connection.declare(MAIN, name, Lifetime::Durable).expect("a durable queue stays durable");
        }
        connection.declare_exchange(MAIN, FANOUT, "fanout", Lifetime::Durable).expect("and an exchange");
    }

    /// Settles most of what was found, in any order.
    fn thin_out(&mut self, connection: &mut Connection, queue: Queue, look: Look) {
        let channel = channel_of(queue);
        let keep = self.random.index(300);
        let mut found: Vec<(usize, u64, Id)> =
            look.messages.iter().enumerate().map(|(place, (tag, found))| (place, *tag, found.id)).collect();
        self.random.shuffle(&mut found);
        let settled = found.split_off(keep.min(found.len()));
        for (_, tag, _) in settled {
            let settle =
                if self.random.percent(80) { Settle::Ack } else { Settle::Reject { requeue: false } };
            connection.settle(channel, tag, settle);
        }
        found.sort_unstable();
        let known = |(_, _, id)| Known { id, delivery: Delivered::Surely };
        self.queues[queue].left_over = found.into_iter().map(known).collect();
    }

    /// Publishes one message by each route. Their confirms prove everything that the connection did before, and their
    /// arrival that the bindings are there.
    fn publish_to_all(&mut self, connection: &mut Connection) {
        connection.confirm(MAIN);
        let publisher = self.next_publisher();
        for (number, (route, queues)) in (0..).zip(ROUTES) {
            let id = Id { publisher, number };
            connection.publish(MAIN, route, self.messages, id, Mode::Persistent);
            for queue in queues {
                self.queues[*queue].left_over.push(Known { id, delivery: Delivered::Never });
            }
        }
        for (queue, name) in QUEUES.iter().enumerate() {
            let count = usize::try_from(connection.count(MAIN, name).unwrap()).unwrap();
            let arrived = ROUTES.iter().filter(|(_, queues)| queues.contains(&queue)).count();
            self.expect_count(name, count, arrived);
        }
    }

    /// Requeues what was looked at and not settled.
    fn give_back(&self, connection: &mut Connection) {
        for (queue, name) in QUEUES.iter().enumerate() {
            connection.close_channel(channel_of(queue));
            let count = usize::try_from(connection.count(MAIN, name).unwrap()).unwrap();
            self.expect_count(name, count, self.queues[queue].left_over.len());
        }
    }

    fn expect_count(&self, name: &str, count: usize, expected: usize) {
        if count != expected {
            self.fail_with(&[format!("queue {name} counts {count} messages instead of {expected}")]);
        }
    }

    fn fail_with(&self, problems: &[String]) {
        if problems.is_empty() {
            return;
        }
        let mut text = String::new();
        let more = problems.len().saturating_sub(30);
        let more = (more > 0).then(|| format!("and {more} more"));
        for problem in problems.iter().take(30).chain(iter::once(&more.unwrap_or_default())) {
            let _ = write!(text, "\n  {problem}");
        }
        panic!("WARREN_CRASH_SEED={}, round {}: {} problems:{text}", self.seed, self.round, problems.len());
    }
}

/// Takes everything out of a queue, without an acknowledgement.
pub(crate) fn look_at(messages: Messages, connection: &mut Connection, queue: Queue) -> Look {
    let (name, channel) = (QUEUES[queue], channel_of(queue));
    let count = connection.count(MAIN, name).unwrap();
    connection.channel(channel);
    connection.consume(channel, name);
    let mut look = Look::default();
    for place in 0..count {
        let delivery = connection.delivery(channel);
        match messages.identify(&delivery.content) {
            Ok((id, Mode::Persistent)) => {
                look.messages.push((delivery.tag, Found { id, redelivered: delivery.redelivered }));
            }
            Ok((id, Mode::Transient)) => look.problems.push(format!("queue {name}: {id} is transient")),
            Err(problem) => look.problems.push(format!("queue {name}, place {place}: {problem}")),
        }
    }
    connection.cancel(channel);
    if connection.get(MAIN, name, false).unwrap().is_some() {
        look.problems.push(format!("queue {name} has more than the {count} messages it counted"));
    }
    look
}

/// What was found in a queue.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// With their delivery tags.
    pub(crate) messages: Vec<(u64, Found)>,
    pub(crate) problems: Vec<String>,
}

fn channel_of(queue: Queue) -> u16 {
    CONSUMING + u16::try_from(queue).unwrap()
}
