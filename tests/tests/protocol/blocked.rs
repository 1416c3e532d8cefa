//! What publishers and consumers see while the broker is low on memory.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{confirm, connection};
use warren::config::MemoryLimit;

use crate::peer::{Options, Peer};
use crate::target::{OwnBroker, Test, differs_from_rabbitmq, needs_own_broker};

const LIMIT_BYTES: u64 = 64 * 1024;

fn small_broker() -> OwnBroker {
    OwnBroker::start(|config| config.limits.memory = MemoryLimit::Bytes(LIMIT_BYTES))
}

/// Publishes one by one until `is_enough`; returns how many messages that took.
fn fill(peer: &Peer, queue: &str, is_enough: impl Fn() -> bool) -> u64 {
    let channel = peer.channel(1);
    channel.call(confirm::Select { nowait: false });
    let body = vec![0; 1024];
    let mut count = 0;
    while !is_enough() {
        count += 1;
        assert!(count <= LIMIT_BYTES / 1024 + 2, "the limit is passed");
        channel.publish_with("", queue, &AMQPProperties::default(), &body);
        assert_eq!(channel.expect::<basic::Ack>().delivery_tag, count);
    }
    count
}

#[test]
fn publishers_are_told_and_held_until_consumers_have_made_room() {
    if needs_own_broker() {
        return;
    }
    let broker = small_broker();
    let (publisher, consumer) = (broker.connect(), broker.connect());
    let draining = consumer.open(1);
    draining.queue("q");
    let channel = publisher.open(1);
    let filled = fill(&publisher, "q", || publisher.has_heard(0));
    let blocked = publisher.control().expect::<connection::Blocked>();
    assert_eq!(blocked.reason.as_str(), "low on memory");
    // At most the first publish after the alarm is taken in.
    channel.publish("", "q", "held");
    channel.publish("", "q", "held");
    // Others work on: asking, consuming, acknowledging.
    let ready = draining.count("q");
    assert!((filled..=filled + 1).contains(&ready.into()), "{ready} after {filled}");
    draining.qos(10, false);
    draining.consume("q", "c");
    for tag in 1..=filled {
        assert_eq!(draining.expect_deliver().delivery_tag, tag);
        draining.ack(tag);
    }
    publisher.control().expect::<connection::Unblocked>();
    let mut confirmed = filled;
    while confirmed < filled + 2 {
        confirmed = channel.expect::<basic::Ack>().delivery_tag;
    }
    channel.expect_nothing();
}

#[test]
fn who_does_not_publish_is_not_held() {
    if needs_own_broker() {
        return;
    }
    let broker = small_broker();
    let (publisher, other) = (broker.connect(), broker.connect());
    publisher.open(1).queue("q");
    fill(&publisher, "q", || publisher.has_heard(0));
    publisher.control().expect::<connection::Blocked>();
    let channel = other.open(1);
    for _ in 0..10 {
        channel.get_with("q", true).unwrap();
        let queue = channel.temp_queue();
        channel.expect_nothing_from(&queue);
    }
    other.close();
}

#[test]
fn a_publisher_that_does_not_understand_is_held_without_a_word() {
    if needs_own_broker() {
        return;
    }
    let broker = small_broker();
    let consumer = broker.connect();
    let draining = consumer.open(1);
    draining.queue("q");
    let silent = Peer::connect(broker.address(), &Options { capabilities: &[], ..Options::default() });
    silent.open(1);
    // Another publisher, which is told, says when the limit is passed.
    let told = broker.connect();
    told.open(1);
    let filled = fill(&told, "q", || told.has_heard(0));
    silent.channel(1).publish("", "q", "taken");
    silent.channel(1).publish("", "q", "held");
    draining.consume_with(basic::Consume { queue: "q".into(), no_ack: true, ..basic::Consume::default() });
    for _ in 0..filled {
        draining.expect_deliver();
    }
    assert_eq!(draining.expect_bodies(2), ["taken", "held"]);
    silent.close();
    assert!(silent.next(0).is_none(), "neither blocked nor unblocked");
}

#[test]
fn a_client_may_say_that_it_is_blocked_itself() {
    if differs_from_rabbitmq("it closes the connection, with 504 CHANNEL_ERROR") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    peer.control().send(connection::Blocked { reason: "busy".into() });
    peer.control().send(connection::Unblocked {});
    peer.open(1).expect_nothing();
}
