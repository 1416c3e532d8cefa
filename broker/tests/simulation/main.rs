//! The whole broker without sockets: several clients, random operations, random chunks of bytes, a clock that only the
//! simulation moves; and a naive account of where every message is.
//!
//! Each run depends on its seed alone. `WARREN_SIMULATION_SEED` runs one seed, `WARREN_SIMULATION_RUNS` another number of
//! them.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

mod client;
mod operations;
mod peer;
mod random;
mod scenarios;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use warren::Config;
use warren::server::{Shared, shared_state};
use warren::store::MemoryStore;

use peer::{Events, Peer};
use random::Random;
use wire::Kind;
use world::World;

/// Seeds that every test run goes through.
const RUNS: u64 = 100;

/// What happens in one run.
const STEPS: usize = 1500;

/// What happens between two moments at which everybody comes to rest and the books are compared.
const STEPS_BETWEEN_RESTS: usize = 100;

/// Rounds after which a broker that still does something is taken for one that never stops.
const ROUNDS_MAX: usize = 100_000;

/// A broker and its clients.
struct Simulation {
    shared: Arc<Shared>,
    random: Random,
    now: Instant,
    world: World,
    peers: Vec<Peer>,
}

#[test]
fn no_message_is_lost_or_doubled_whatever_clients_do() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("WARREN_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WARREN_SIMULATION_RUNS").unwrap_or(RUNS),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).run())) {
            println!("failed with WARREN_SIMULATION_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

impl Simulation {
    /// A broker with its queues declared.
    fn new(seed: u64) -> Self {
        let mut config = Config::in_process();
        config.limits.frame_max = 1 << 17;
        let shared = shared_state(&config, Arc::new(MemoryStore));
        let mut simulation = Self {
            shared,
            random: Random::new(seed),
            now: Instant::now(),
            world: World::default(),
            peers: Vec::new(),
        };
        simulation.declare();
        simulation
    }

    /// Queues that live for the whole run, and bindings that never change.
    fn declare(&mut self) {
        let mut peer = Peer::connect(&self.shared, 4096, self.now);
        peer.send(&wire::open_channel(1));
        peer.channels.insert(1, client::Channel::new(0, client::Mode::Plain, 0, 0));
        let bindings = [
            ("first", Kind::Durable, "amq.fanout", ""),
            ("second", Kind::Durable, "amq.fanout", ""),
            ("third", Kind::Durable, "amq.topic", "a.*"),
            ("single", Kind::SingleActive, "amq.topic", "#.b"),
            ("lossy", Kind::Durable, "amq.direct", "lossy"),
        ];
        for (base, kind, exchange, key) in bindings {
            let queue = self.world.add_queue(base, kind, false);
            self.world.queues[queue].lossy = base == "lossy";
            self.world.queues[queue].declared = true;
            let name = self.world.queues[queue].name.clone();
            let waiting = client::Phase::Waiting(client::Wait { queue, answer: client::Answer::Done });
            peer.channels.get_mut(&1).unwrap().phase = waiting;
            peer.send(&wire::declare(1, &name, kind));
            peer.send(&wire::bind(1, &name, exchange, key));
            while peer.round(&mut self.world, usize::MAX, Events::InTime, self.now) {}
        }
        peer.disconnect(&mut self.world);
    }

    fn run(mut self) {
        for _ in 0..STEPS / STEPS_BETWEEN_RESTS {
            for _ in 0..STEPS_BETWEEN_RESTS {
                self.step();
            }
            self.settle_down();
            self.check_quiet();
        }
        self.leave();
        self.check_remains();
    }

    /// One operation, or one round of one connection.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.below(20) as u64);
        if self.peers.len() < 2 || (self.peers.len() < 5 && self.random.one_in(40)) {
            let frame_max = *self.random.pick(&[4096, 10_000, 131_072]);
            self.peers.push(Peer::connect(&self.shared, frame_max, self.now));
        }
        let at = self.random.below(self.peers.len());
        match self.random.below(100) {
            0 => self.peers[at].stalled = true,
            1..=4 => self.peers[at].stalled = false,
            5 if self.random.one_in(4) => {
                let mut peer = self.peers.remove(at);
                peer.disconnect(&mut self.world);
            }
            6 if self.random.one_in(4) => {
                // What it had not sent by then is dropped with the connection, as by a client that closes and exits.
                let mut peer = self.peers.remove(at);
                peer.stalled = false;
                peer.send(&wire::close_connection());
                while !peer.driver.is_finished() {
                    assert!(
                        peer.round(&mut self.world, usize::MAX, Events::InTime, self.now),
                        "connection.close is answered"
                    );
                }
                peer.disconnect(&mut self.world);
            }
            7..=50 => self.operate(at),
            51 => self.peers[at].driver.shrink(),
            _ => {
                let chunk = match self.random.below(4) {
                    0 => 1 + self.random.below(30),
                    1 => 1 + self.random.below(500),
                    _ => usize::MAX / 2,
                };
                let events = *self.random.pick(&[Events::InTime, Events::TooLate]);
                self.peers[at].round(&mut self.world, chunk, events, self.now);
            }
        }
    }

    /// Until nobody has anything to say.
    fn settle_down(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut progress = false;
            for peer in &mut self.peers {
                peer.stalled = false;
                progress |= peer.round(&mut self.world, usize::MAX, Events::InTime, self.now);
            }
            if !progress {
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    /// Everything is answered; the broker's books agree with the clients', and no message waits for a consumer that
    /// could take it.
    fn check_quiet(&self) {
        let channels = || self.peers.iter().flat_map(|peer| peer.channels.values());
        assert!(self.peers.iter().all(Peer::is_read), "not everything that was sent is read");
        for channel in channels() {
            assert!(channel.unconfirmed.is_empty(), "unconfirmed: {:?}", channel.unconfirmed);
            assert!(channel.returns_due.is_empty(), "not returned: {:?}", channel.returns_due);
            assert!(matches!(channel.phase, client::Phase::Open), "unanswered: {:?}", channel.phase);
            assert!(channel.gets.is_empty() && channel.commits == 0, "unanswered");
        }
        for (queue, model) in self.world.queues.iter().enumerate().filter(|(_, model)| !model.temporary) {
            let counts = self.counts(&model.name);
            assert_eq!(counts.unacked as usize, self.world.held_in(queue), "unacked in {}", model.name);
            let consumers = channels().flat_map(|channel| {
                let consumers = channel.consumers.iter().filter(move |(_, consumer)| consumer.queue == queue);
                consumers.map(|(tag, _)| channel.has_credit(tag))
            });
            let credits: Vec<bool> = consumers.collect();
            assert_eq!(counts.consumers as usize, credits.len(), "consumers of {}", model.name);
            let is_served = match model.kind {
                Kind::SingleActive => !credits.is_empty() && credits.iter().all(|has_credit| *has_credit),
                _ => credits.contains(&true),
            };
            assert!(!is_served || counts.ready == 0, "{}: {} messages wait", model.name, counts.ready);
        }
    }

    fn leave(&mut self) {
        while let Some(mut peer) = self.peers.pop() {
            peer.disconnect(&mut self.world);
            self.settle_down();
        }
        assert_eq!(self.shared.connection_count(), 0);
    }

    /// Nobody is connected: every message is in its queue, done with, or purged, and nothing else takes memory.
    fn check_remains(&mut self) {
        let held_bytes = self.shared.memory.held_bytes();
        let mut remaining_bytes = 0;
        let names: Vec<String> = self.world.queues.iter().map(|queue| queue.name.clone()).collect();
        for (queue, name) in names.iter().enumerate() {
            let model = &self.world.queues[queue];
            if !self.exists(name) {
                assert!(model.temporary, "{name} is gone");
                continue;
            }
            assert!(model.kind != Kind::Exclusive, "{name} outlived its owner");
            assert!(model.kind != Kind::AutoDelete || !model.consumed, "{name} outlived its consumer");
            let counts = self.counts(name);
            assert_eq!((counts.unacked, counts.consumers), (0, 0), "{name}");
            let found = scenarios::drain(&self.shared, name, self.now);
            assert_eq!(counts.ready as usize, found.len());
            if !model.deleted {
                self.world.check_remains(queue, &found);
            }
            remaining_bytes += self.world.memory_bytes(&found);
        }
        assert_eq!(held_bytes, remaining_bytes, "what the broker holds, and what is in its queues");
        assert_eq!(self.shared.memory.held_bytes(), 0);
    }

    fn exists(&self, name: &str) -> bool {
        let vhost = self.shared.vhost("/").unwrap();
        vhost.read(|registry| registry.topology.find_queue(name).is_some())
    }

    fn counts(&self, name: &str) -> Counts {
        let vhost = self.shared.vhost("/").unwrap();
        let counts = vhost.read(|registry| registry.topology.find_queue(name).unwrap().counts());
        Counts { ready: counts.ready, unacked: counts.unacked, consumers: counts.consumers }
    }
}

struct Counts {
    ready: u32,
    unacked: u32,
    consumers: u32,
}
