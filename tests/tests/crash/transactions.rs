//! kill -9 while transactions are committed: no message is lost, whenever the broker dies.
//!
//! A transaction moves messages: it acknowledges them in one queue and publishes their successors to two others. Until the
//! commit is answered it may be undone, and some of its publishes may be left, so that a client that tries again doubles
//! them. But what it acknowledged must not be gone without all of its publishes. `WARREN_CRASH_ROUNDS` and
//! `WARREN_CRASH_SEED` apply.

use std::thread;
use std::time::Duration;

use warren_tests::Broker;

use crate::connection::{Connection, Lifetime};
use crate::message::{Id, Messages, Mode, Sizes, properties};
use crate::random::{Random, seed, setting};
use crate::wire::{self, Settle, method};

const SOURCE: &str = "source";
const DESTINATIONS: [&str; 2] = ["first", "second"];

const MAIN: u16 = 1;
const TRANSACTIONS: u16 = 2;

/// How many messages a transaction moves: of some KiB each, they make several MiB.
const MOVED: u32 = 1_500;

const MESSAGES: Messages = Messages { seed: 2, sizes: Sizes::Mixed };

#[test]
fn a_transaction_that_a_crash_cuts_off_loses_nothing() {
    let rounds = setting("WARREN_CRASH_ROUNDS", || 20_u32);
    let seed = seed("WARREN_CRASH_SEED");
    println!("WARREN_CRASH_SEED={seed} WARREN_CRASH_ROUNDS={rounds}");
    let mut random = Random::new(seed);
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    for queue in DESTINATIONS.into_iter().chain([SOURCE]) {
        connection.declare(MAIN, queue, Lifetime::Durable).unwrap();
    }
    for round in 0..rounds {
        fill(&mut connection, round);
        let answered = commit_and_die(&mut connection, &mut broker, &mut random, round);
        broker.start_again();
        connection = connect(&broker);
        let found =
            [SOURCE, DESTINATIONS[0], DESTINATIONS[1]].map(|queue| drain(&mut connection, queue, round));
        println!("round {round}: commit answered: {answered}, found {found:?} of {MOVED}");
        let is_whole = found == [0, MOVED, MOVED];
        let is_undone = found[0] == MOVED;
        assert!(
            is_whole || is_undone,
            "WARREN_CRASH_SEED={seed}, round {round}: messages are lost: {found:?}"
        );
        assert!(
            is_whole || !answered,
            "WARREN_CRASH_SEED={seed}, round {round}: a committed transaction is gone"
        );
    }
}

fn connect(broker: &Broker) -> Connection {
    let mut connection = Connection::open(broker.port());
    connection.channel(MAIN);
    connection.confirm(MAIN);
    connection
}

/// Messages of the source have even numbers, their successors odd ones.
fn message(round: u32, number: u32) -> Id {
    Id { publisher: round + 1, number }
}

fn fill(connection: &mut Connection, round: u32) {
    let mut bytes = Vec::new();
    for number in 0..MOVED {
        publish(&mut bytes, MAIN, SOURCE, message(round, number * 2));
    }
    connection.send(&bytes);
    connection.wait_for_confirms(MAIN, u64::from(MOVED));
}

fn publish(bytes: &mut Vec<u8>, channel: u16, queue: &str, id: Id) {
    wire::publish(bytes, channel, ("", queue), &properties(id, Mode::Persistent), MESSAGES.body(id));
}

/// Whether the commit was answered before the broker died.
fn commit_and_die(connection: &mut Connection, broker: &mut Broker, random: &mut Random, round: u32) -> bool {
    connection.channel(TRANSACTIONS);
    connection.call(TRANSACTIONS, (90, 10), b"", (90, 11)).unwrap();
    connection.consume(TRANSACTIONS, SOURCE);
    let mut bytes = Vec::new();
    for number in 0..MOVED {
        let delivery = connection.delivery(TRANSACTIONS);
        for queue in DESTINATIONS {
            publish(&mut bytes, TRANSACTIONS, queue, message(round, number * 2 + 1));
        }
        bytes.extend(Settle::Ack.bytes(TRANSACTIONS, delivery.tag));
    }
    connection.send(&bytes);
    // The transaction is in the broker, complete, when this is answered.
    connection.count(TRANSACTIONS, SOURCE).unwrap();
    connection.send(&method(TRANSACTIONS, (90, 20), b""));
    // The moment of death, not a wait for anything.
    thread::sleep(Duration::from_micros(random.below(60_000)));
    broker.crash();
    connection.has_received((90, 21))
}

/// Takes all messages out of a queue, and says how many it had of the round. They are a part of them, in order.
fn drain(connection: &mut Connection, queue: &str, round: u32) -> u32 {
    let parity = u32::from(queue != SOURCE);
    let mut last = None;
    let count = connection.count(MAIN, queue).unwrap();
    for place in 0..count {
        let delivery = connection.get(MAIN, queue, true).unwrap().expect("as many messages as were counted");
        let problem = format!("queue {queue}, round {round}, place {place}");
        let (id, mode) = MESSAGES.identify(&delivery.content).expect(&problem);
        assert_eq!((id.publisher, mode), (round + 1, Mode::Persistent), "{problem}");
        assert!(id.number % 2 == parity && last < Some(id.number), "{problem}: {id} behind {last:?}");
        last = Some(id.number);
    }
    count
}
