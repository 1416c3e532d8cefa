//! Promises that are kept through kill -9, one by one. The first thing after the promise is the kill.

use warren_tests::Broker;

use crate::connection::{Connection, Lifetime};
use crate::message::{Id, Messages, Mode, Sizes, properties};
use crate::random::Random;
use crate::wire::{self, Ids, Settle, ids, method, short};

const CHANNEL: u16 = 1;
const TRANSACTIONS: u16 = 2;

const TX_SELECT: (Ids, Ids) = ((90, 10), (90, 11));
const TX_COMMIT: (Ids, Ids) = ((90, 20), (90, 21));

const MESSAGES: Messages = Messages { seed: 1, sizes: Sizes::Small };

fn message(number: u32) -> Id {
    Id { publisher: 1, number }
}

fn connect(broker: &Broker) -> Connection {
    let mut connection = Connection::open(broker.port());
    connection.channel(CHANNEL);
    connection
}

/// A broker that died and came back.
fn revive(mut broker: Broker) -> (Broker, Connection) {
    broker.crash();
    broker.start_again();
    let connection = connect(&broker);
    (broker, connection)
}

/// All messages of a queue, taken out of it, with their flag redelivered.
fn drain(connection: &mut Connection, queue: &str) -> Vec<(u32, bool)> {
    std::iter::from_fn(|| connection.get(CHANNEL, queue, true).unwrap())
        .map(|delivery| (MESSAGES.identify(&delivery.content).unwrap().0.number, delivery.redelivered))
        .collect()
}

fn send(connection: &mut Connection, channel: u16, queue: &str, id: Id) {
    let mut bytes = Vec::new();
    wire::publish(&mut bytes, channel, ("", queue), &properties(id, Mode::Persistent), MESSAGES.body(id));
    connection.send(&bytes);
}

fn transact(connection: &mut Connection, (ids, answer): (Ids, Ids)) {
    connection.call(TRANSACTIONS, ids, b"", answer).unwrap();
}

#[test]
fn a_transaction_survives_whole_once_it_is_committed_and_not_at_all_before() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.channel(TRANSACTIONS);
    for queue in ["one", "two"] {
        connection.declare(CHANNEL, queue, Lifetime::Durable).unwrap();
    }
    transact(&mut connection, TX_SELECT);
    for number in 0..20 {
        let queue = if number % 2 == 0 { "one" } else { "two" };
        send(&mut connection, TRANSACTIONS, queue, message(number));
    }
    transact(&mut connection, TX_COMMIT);
    for number in 20..40 {
        send(&mut connection, TRANSACTIONS, "one", message(number));
    }
    // Has the broker see all of them.
    connection.count(TRANSACTIONS, "one").unwrap();
    let (_broker, mut connection) = revive(broker);
    let numbers = |start| (start..20).step_by(2).map(|number| (number, false)).collect::<Vec<_>>();
    assert_eq!(drain(&mut connection, "one"), numbers(0));
    assert_eq!(drain(&mut connection, "two"), numbers(1));
}

#[test]
fn acknowledgements_survive_once_their_transaction_is_committed() {
    settle_in_a_transaction(|connection| {
        send(connection, TRANSACTIONS, "done", message(6));
    });
}

#[test]
fn acknowledgements_alone_survive_once_their_transaction_is_committed() {
    settle_in_a_transaction(|_| {});
}

fn settle_in_a_transaction(rest: impl FnOnce(&mut Connection)) {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.channel(TRANSACTIONS);
    connection.declare(CHANNEL, "tasks", Lifetime::Durable).unwrap();
    connection.declare(CHANNEL, "done", Lifetime::Durable).unwrap();
    connection.confirm(CHANNEL);
    for number in 0..6 {
        connection.publish(CHANNEL, ("", "tasks"), MESSAGES, message(number), Mode::Persistent);
    }
    transact(&mut connection, TX_SELECT);
    for _ in 0..6 {
        connection.get(TRANSACTIONS, "tasks", false).unwrap().unwrap();
    }
    for tag in [5, 1, 2] {
        connection.settle(TRANSACTIONS, tag, Settle::Ack);
    }
    rest(&mut connection);
    transact(&mut connection, TX_COMMIT);
    connection.settle(TRANSACTIONS, 3, Settle::Ack);
    connection.count(TRANSACTIONS, "tasks").unwrap();
    let (_broker, mut connection) = revive(broker);
    assert_eq!(drain(&mut connection, "tasks"), [2, 3, 5].map(|number| (number, true)));
}

#[test]
fn empty_and_huge_bodies_survive() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.declare(CHANNEL, "bodies", Lifetime::Durable).unwrap();
    connection.confirm(CHANNEL);
    let mut random = Random::new(5);
    // Around the sizes of segments of the store and of frames.
    let sizes = [0, 1, 131_064, 131_065, 16 << 20, (16 << 20) + 1, 0, 40 << 20, 7];
    let bodies = sizes.map(|size| {
        let mut body = random.next().to_le_bytes().repeat(size / 8 + 1);
        body.truncate(size);
        body
    });
    let properties = properties(message(0), Mode::Persistent);
    for body in &bodies {
        let mut bytes = Vec::new();
        wire::publish(&mut bytes, CHANNEL, ("", "bodies"), &properties, body);
        connection.send(&bytes);
        connection.wait(CHANNEL, &[ids::BASIC_ACK]).unwrap();
    }
    let (_broker, mut connection) = revive(broker);
    for body in &bodies {
        let delivery = connection.get(CHANNEL, "bodies", true).unwrap().expect("a message");
        assert_eq!(delivery.content.body.len(), body.len());
        assert!(delivery.content.body == *body, "a body of {} bytes changed", body.len());
    }
    assert_eq!(connection.count(CHANNEL, "bodies"), Ok(0));
}

#[test]
fn every_property_and_every_type_of_header_survives_to_the_byte() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.declare(CHANNEL, "properties", Lifetime::Durable).unwrap();
    connection.confirm(CHANNEL);
    // A table with one field of each type.
    let fields: &[&[u8]] = &[
        b"\x01tt\x01",
        b"\x01bb\xff",
        b"\x01BB\xff",
        b"\x01ss\xff\xfe",
        b"\x01uu\xff\xfe",
        b"\x01II\0\0\0\x01",
        b"\x01ii\0\0\0\x02",
        b"\x01ll\0\0\0\0\0\0\0\x03",
        b"\x01ff\x3f\x80\0\0",
        b"\x01dd\x3f\xf0\0\0\0\0\0\0",
        b"\x01DD\x02\0\0\x01\0",
        b"\x01SS\0\0\0\x04text",
        b"\x01AA\0\0\0\x04t\x01t\0",
        b"\x01TT\0\0\0\0\x65\0\0\0",
        b"\x01FF\0\0\0\x04\x01at\x01",
        b"\x01VV",
        b"\x01xx\0\0\0\x02\0\xff",
    ];
    let headers = fields.concat();
    let size = u32::try_from(headers.len()).unwrap().to_be_bytes();
    // All fourteen, in their order.
    let properties = [
        &0xfffc_u16.to_be_bytes()[..],
        &short("text/plain"),
        &short("gzip"),
        &size,
        &headers,
        &[2, 9],
        &short("correlation"),
        &short("reply"),
        &short("3600000"),
        &short("message"),
        &1_700_000_000_u64.to_be_bytes(),
        &short("type"),
        &short("guest"),
        &short("app"),
        &short("cluster"),
    ]
    .concat();
    let mut bytes = Vec::new();
    wire::publish(&mut bytes, CHANNEL, ("", "properties"), &properties, b"body");
    connection.send(&bytes);
    connection.wait(CHANNEL, &[ids::BASIC_ACK]).unwrap();
    let (_broker, mut connection) = revive(broker);
    let delivery = connection.get(CHANNEL, "properties", true).unwrap().expect("the message");
    assert_eq!(delivery.content.properties, properties);
    assert_eq!(delivery.content.body, b"body");
}

#[test]
fn a_message_that_was_purged_or_whose_queue_was_deleted_does_not_return() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.confirm(CHANNEL);
    for queue in ["purged", "deleted", "barrier"] {
        connection.declare(CHANNEL, queue, Lifetime::Durable).unwrap();
        for number in 0..3 {
            connection.publish(CHANNEL, ("", queue), MESSAGES, message(number), Mode::Persistent);
        }
    }
    let queue = |name| [b"\0\0", &short(name)[..], b"\0"].concat();
    connection.call(CHANNEL, (50, 30), &queue("purged"), (50, 31)).unwrap();
    connection.call(CHANNEL, (50, 40), &queue("deleted"), (50, 41)).unwrap();
    connection.declare(CHANNEL, "deleted", Lifetime::Durable).unwrap();
    connection.publish(CHANNEL, ("", "barrier"), MESSAGES, message(3), Mode::Persistent);
    let (_broker, mut connection) = revive(broker);
    assert_eq!(drain(&mut connection, "purged"), []);
    assert_eq!(drain(&mut connection, "deleted"), [], "a queue of the same name is another one");
    assert_eq!(drain(&mut connection, "barrier"), [0, 1, 2, 3].map(|number| (number, false)));
}

#[test]
fn half_a_message_is_none() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.declare(CHANNEL, "half", Lifetime::Durable).unwrap();
    connection.confirm(CHANNEL);
    connection.publish(CHANNEL, ("", "half"), MESSAGES, message(0), Mode::Persistent);
    connection.channel(TRANSACTIONS);
    let mut bytes = Vec::new();
    wire::publish(
        &mut bytes,
        TRANSACTIONS,
        ("", "half"),
        &properties(message(1), Mode::Persistent),
        &[7; 100_000],
    );
    connection.send(&bytes[..bytes.len() / 2]);
    let (_broker, mut connection) = revive(broker);
    assert_eq!(drain(&mut connection, "half"), [(0, false)]);
}

#[test]
fn a_queue_keeps_its_arguments() {
    let broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.confirm(CHANNEL);
    let arguments = b"\0\0\0\x1b\x18x-single-active-consumert\x01";
    let declare = |arguments: &[u8]| [b"\0\0", &short("single")[..], b"\x02", arguments].concat();
    connection.call(CHANNEL, (50, 10), &declare(arguments), (50, 11)).unwrap();
    connection.publish(CHANNEL, ("", "single"), MESSAGES, message(0), Mode::Persistent);
    let (_broker, mut connection) = revive(broker);
    connection.call(CHANNEL, (50, 10), &declare(arguments), (50, 11)).unwrap();
    let refused = connection.call(CHANNEL, (50, 10), &declare(b"\0\0\0\0"), (50, 11)).unwrap_err();
    assert_eq!(refused.code, 406, "{refused}");
}

#[test]
fn what_a_queue_gives_up_at_an_orderly_end_is_dead_lettered() {
    const COUNT: u32 = 3_000;
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.declare(CHANNEL, "grave", Lifetime::Durable).unwrap();
    let text = |name: &str, value: &str| {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        [&short(name)[..], b"S", &length, value.as_bytes()].concat()
    };
    let fields = [
        &short("x-delivery-limit")[..],
        b"I\0\0\0\0",
        &text("x-dead-letter-exchange", ""),
        &text("x-dead-letter-routing-key", "grave"),
    ]
    .concat();
    let length = u32::try_from(fields.len()).unwrap().to_be_bytes();
    let declare = [b"\0\0", &short("tried once")[..], b"\x02", &length, &fields].concat();
    connection.call(CHANNEL, (50, 10), &declare, (50, 11)).unwrap();
    connection.confirm(CHANNEL);
    for number in 0..COUNT {
        connection.publish(CHANNEL, ("", "tried once"), MESSAGES, message(number), Mode::Persistent);
    }
    connection.consume(CHANNEL, "tried once");
    for _ in 0..COUNT {
        connection.delivery(CHANNEL);
    }
    broker.begin_shut_down();
    connection.say_goodbye();
    broker.finish_shut_down();
    broker.start_again();
    let mut connection = connect(&broker);
    assert_eq!(connection.count(CHANNEL, "tried once").unwrap(), 0);
    assert_eq!(connection.count(CHANNEL, "grave").unwrap(), COUNT);
}

#[test]
fn a_broker_can_die_many_times_with_nothing_to_do() {
    let mut broker = Broker::warren_on_fixed_port(&[]);
    let mut connection = connect(&broker);
    connection.declare(CHANNEL, "kept", Lifetime::Durable).unwrap();
    connection.confirm(CHANNEL);
    connection.publish(CHANNEL, ("", "kept"), MESSAGES, message(0), Mode::Persistent);
    connection.send(&method(0, (10, 50), &[0; 7]));
    for _ in 0..10 {
        broker.crash();
        broker.start_again();
    }
    assert_eq!(drain(&mut connect(&broker), "kept"), [(0, false)]);
}
