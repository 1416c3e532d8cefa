//! What is counted of channels and exchanges.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};

use super::peer::{
    Broker, Peer, ack, bind, close_channel, get, method, open_channel, publish, publish_mandatory, publish_to,
};
use crate::session::action::ChannelId;
use crate::stats::tally::Tally;

const NO_PROPERTIES: [u8; 2] = [0, 0];

/// Of a channel of the only connection, if it is open.
fn tally(broker: &Broker, channel: u16) -> Option<Tally> {
    let records = broker.shared.census.records();
    let [record] = &records[..] else { panic!("one connection") };
    record.traffic.channels.of(ChannelId(channel)).map(|meter| meter.tally())
}

/// Of the only connection.
fn sum(broker: &Broker) -> Tally {
    broker.shared.census.records()[0].traffic.tally.load()
}

/// Published to an exchange, and routed from it to queues.
fn passed(broker: &Broker, exchange: &str) -> [u64; 2] {
    let vhost = broker.shared.vhost("/").expect("the vhost that is always there");
    vhost.read(|registry| registry.topology.exchange(exchange).expect("it is there").meter.numbers())
}

#[test]
fn channels_count_what_their_connection_counts() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    for queue in ["a", "b", "empty"] {
        peer.declare_queue(queue, false);
    }
    assert_eq!(tally(&broker, 1), Some(Tally::default()), "to declare is no traffic");
    peer.send(&method(2, &open_channel()));
    peer.confirm_select();
    peer.send(&[publish(1, "a", &NO_PROPERTIES, b"x"), publish(2, "a", &NO_PROPERTIES, b"x")].concat());
    peer.send(&publish(2, "nowhere", &NO_PROPERTIES, b"x"));
    peer.send(&publish_mandatory(1, "nowhere", b"x"));
    for queue in ["a", "empty"] {
        peer.send(&method(1, &get(queue)));
    }
    peer.consume("a", false);
    peer.work();
    peer.send(&method(1, &ack(2)));
    let first = Tally {
        publish: 2,
        confirm: 2,
        return_unroutable: 1,
        get_no_ack: 1,
        get_empty: 1,
        deliver: 1,
        ack: 1,
        ..Tally::default()
    };
    let second = Tally { publish: 2, drop_unroutable: 1, ..Tally::default() };
    assert_eq!((tally(&broker, 1), tally(&broker, 2)), (Some(first), Some(second)));
    let mut both = first;
    both.add(&second);
    assert_eq!(sum(&broker), both);
    peer.send(&method(1, &close_channel()));
    assert_eq!(
        (tally(&broker, 1), sum(&broker)),
        (None, both),
        "its numbers stay in those of the connection"
    );
    peer.send(&method(1, &open_channel()));
    assert_eq!(tally(&broker, 1), Some(Tally::default()), "and do not come back");
}

#[test]
fn transactions_count_when_they_are_committed() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    peer.send(&publish(1, "q", &NO_PROPERTIES, b"x"));
    peer.consume("q", false);
    peer.select_transactions();
    peer.send(&[publish(1, "q", &NO_PROPERTIES, b"x"), method(1, &ack(1))].concat());
    let before = tally(&broker, 1).expect("it is open");
    assert_eq!((before.publish, before.ack, passed(&broker, "")), (1, 0, [1, 1]));
    peer.send(&method(1, &super::peer::commit()));
    let after = tally(&broker, 1).expect("it is open");
    assert_eq!((after.publish, after.ack, passed(&broker, "")), (2, 1, [2, 2]));
}

#[test]
fn exchanges_count_what_clients_publish_to_them_and_each_queue_that_gets_it() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_exchange("fan");
    for queue in ["a", "b"] {
        peer.declare_queue(queue, false);
        peer.send(&method(1, &bind(queue, "fan")));
    }
    let keys = ["", "k", "", "l"];
    peer.send(&keys.map(|key| publish_to(1, "fan", key, b"x")).concat());
    peer.send(&publish_to(1, "fan", "", b"x"));
    peer.send(&publish(1, "nowhere", &NO_PROPERTIES, b"x"));
    // Headers may lead anywhere: such routes are found for each message.
    peer.send(&publish_to(1, "amq.headers", "", b"x"));
    assert_eq!(passed(&broker, "fan"), [5, 10]);
    assert_eq!((passed(&broker, ""), passed(&broker, "amq.headers")), ([1, 0], [1, 0]));
    peer.delete_exchange("fan");
    peer.declare_exchange("fan");
    peer.work();
    assert_eq!(passed(&broker, "fan"), [0, 0], "it is another one");
}

#[test]
fn what_is_counted_has_rates() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    let shared = &broker.shared;
    shared.census.look(shared, 100_000);
    for _ in 0..50 {
        peer.send(&publish(1, "q", &NO_PROPERTIES, b"x"));
    }
    shared.census.look(shared, 105_000);
    let records = shared.census.records();
    let channel = records[0].traffic.channels.of(ChannelId(1)).expect("it is open");
    assert_eq!(channel.seen(|series| series.expect("there was traffic").rates(0, None).rate), 10.0);
    let vhost = shared.vhost("/").expect("the vhost that is always there");
    let exchange = vhost.read(|registry| registry.topology.exchange("").expect("always").meter.clone());
    let rates = [0, 1].map(|place| exchange.seen(|series| series.expect("so").rates(place, None).rate));
    assert_eq!(rates, [10.0, 10.0]);
}

#[test]
fn consumers_have_capacity_while_they_can_take_what_there_is() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    let shared = &broker.shared;
    let capacity = || {
        shared.census.look(shared, 0);
        // In thousandths.
        shared.queues()[0].look().capacity / 1_000
    };
    assert_eq!(capacity(), 0, "there is nobody");
    let qos = basic::Qos { prefetch_count: 1, global: false };
    peer.send(&method(1, &AMQPClass::Basic(basic::AMQPMethod::Qos(qos))));
    peer.consume("q", false);
    peer.work();
    broker.pass(Duration::from_secs(1_000));
    assert_eq!(capacity(), 1_000);
    peer.send(&[publish(1, "q", &NO_PROPERTIES, b"x"), publish(1, "q", &NO_PROPERTIES, b"x")].concat());
    peer.work();
    broker.pass(Duration::from_secs(3_000));
    peer.send(&method(1, &ack(1)));
    broker.pass(Duration::from_secs(1_000));
    // Of an hour, so that it is no matter how long the test itself takes.
    assert!((240..=260).contains(&capacity()));
}
