//! Messages that come back again and again, and the limit to that.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::types::AMQPValue;

use crate::features::{await_count, await_message, dead_letters_to, durable_with, headers, watched_queue};
use crate::peer::{Channel, Message, table, text};
use crate::story::{entry, summary};
use crate::target::{Test, differs_from_rabbitmq};

/// Declares a quorum queue with these arguments, and consumes one by one on the channel.
fn quorum_consumer(test: &Test, channel: Channel<'_>, arguments: &[(&str, AMQPValue)]) -> String {
    let name = test.queue("quorum");
    let arguments = [arguments, &[("x-queue-type", text("quorum"))]].concat();
    channel.call(durable_with(&name, &arguments));
    channel.qos(1, false);
    channel.consume(&name, "c");
    name
}

/// The header that says how often a message has come back, if it is there.
fn delivery_count(message: &Message) -> Option<i64> {
    let headers = message.properties.headers().as_ref()?;
    match headers.inner().get("x-delivery-count")? {
        AMQPValue::LongLongInt(count) => Some(*count),
        other => panic!("a count that is no long: {other:?}"),
    }
}

#[test]
fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, watcher) = (peer.open(1), peer.open(2));
    let dead = watcher.temp_queue();
    let arguments = [dead_letters_to(&dead).as_slice(), &[("x-delivery-limit", 2.into())]].concat();
    let queue = quorum_consumer(&test, channel, &arguments);
    channel.publish("", &queue, "x");
    // Two returns are allowed, so it is delivered three times.
    for time in 0..3 {
        let message = channel.expect_deliver();
        assert_eq!((message.text(), message.redelivered), ("x", time > 0));
        assert_eq!(delivery_count(&message), (time > 0).then_some(time));
        channel.requeue(message.delivery_tag);
    }
    let message = await_message(watcher, &dead);
    assert_eq!(summary(&message), [entry(&queue, "delivery_limit", 1)]);
    assert_eq!(delivery_count(&message), None, "it counts for a queue only");
    channel.expect_nothing_from(&queue);
}

#[test]
fn a_classic_queue_may_have_a_delivery_limit_too() {
    if differs_from_rabbitmq("it has that for quorum queues only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-delivery-limit", 1.into())]);
    channel.consume(&queue, "c");
    let properties = AMQPProperties::default().with_headers(table([("mine", 1.into())]));
    channel.publish_with("", &queue, &properties, b"x");
    for count in [None, Some(1)] {
        let message = channel.expect_deliver();
        assert_eq!(delivery_count(&message), count);
        assert_eq!(headers(&message).inner()["mine"], 1.into());
        channel.requeue(message.delivery_tag);
    }
    assert_eq!(summary(&dead.expect_deliver()), [entry(&queue, "delivery_limit", 1)]);
    channel.expect_nothing_from(&queue);
}

#[test]
fn a_quorum_queue_has_a_limit_of_twenty_unless_told_otherwise() {
    if differs_from_rabbitmq("before 4.0 it had none") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    for (arguments, returns) in [(vec![], 20), (vec![("x-delivery-limit", AMQPValue::from(-1))], 60)] {
        let channel = peer.open(1);
        let queue = quorum_consumer(&test, channel, &arguments);
        channel.publish("", &queue, "x");
        for _ in 0..returns {
            let message = channel.expect_deliver();
            channel.requeue(message.delivery_tag);
        }
        let last = channel.expect_deliver();
        assert_eq!(delivery_count(&last), Some(returns));
        channel.requeue(last.delivery_tag);
        channel.publish("", &queue, "next");
        let next = if arguments.is_empty() { "next" } else { "x" };
        assert_eq!(channel.expect_deliver().text(), next);
        channel.close();
    }
}

#[test]
fn messages_fetched_one_by_one_are_counted_as_well() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = test.queue("fetched");
    let arguments = [("x-queue-type", text("quorum")), ("x-delivery-limit", 1.into())];
    channel.call(durable_with(&queue, &arguments));
    channel.publish("", &queue, "x");
    await_count(channel, &queue, 1);
    for count in 0..2 {
        let message = channel.get(&queue).expect("it is ready");
        // RabbitMQ 3.10 says 0 as well, if it is basic.get that asks.
        assert_eq!(delivery_count(&message).unwrap_or(0), count);
        channel.requeue(message.delivery_tag);
    }
    await_count(channel, &queue, 0);
    assert!(channel.get(&queue).is_none());
}

#[test]
fn what_waits_behind_a_returned_message_is_not_counted() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = quorum_consumer(&test, channel, &[("x-delivery-limit", 3.into())]);
    channel.publish("", &queue, "a");
    channel.publish("", &queue, "b");
    let a = channel.expect_deliver();
    channel.requeue(a.delivery_tag);
    let mut counts = Vec::new();
    for _ in 0..2 {
        let message = channel.expect_deliver();
        counts.push((message.text().to_owned(), delivery_count(&message)));
        channel.ack(message.delivery_tag);
    }
    counts.sort();
    assert_eq!(counts, [("a".to_owned(), Some(1)), ("b".to_owned(), None)]);
}

#[test]
fn without_dead_letters_it_is_gone() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = quorum_consumer(&test, channel, &[("x-delivery-limit", 0.into())]);
    channel.publish("", &queue, "x");
    let message = channel.expect_deliver();
    channel.requeue(message.delivery_tag);
    channel.publish("", &queue, "next");
    assert_eq!(channel.expect_deliver().text(), "next");
}

#[test]
fn every_way_back_counts() {
    type Return = fn(Channel<'_>, u64);
    let ways: [(&str, Return); 3] = [
        ("reject", |channel, delivery_tag| channel.send(basic::Reject { delivery_tag, requeue: true })),
        ("nack", |channel, delivery_tag| {
            channel.send(basic::Nack { delivery_tag, multiple: false, requeue: true });
        }),
        ("recover", |channel, _| channel.send(basic::RecoverAsync { requeue: true })),
    ];
    let test = Test::start();
    let peer = test.connect();
    for (name, give_back) in ways {
        println!("{name}");
        let channel = peer.open(1);
        let queue = quorum_consumer(&test, channel, &[("x-delivery-limit", 5.into())]);
        channel.publish("", &queue, "x");
        for time in 0..4 {
            let message = channel.expect_deliver();
            assert_eq!(delivery_count(&message).unwrap_or(0), time);
            give_back(channel, message.delivery_tag);
        }
        channel.expect_deliver();
        channel.close();
    }
}

#[test]
fn a_channel_that_ends_gives_back_what_it_held_and_that_counts() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = quorum_consumer(&test, channel, &[("x-delivery-limit", 1.into())]);
    channel.publish("", &queue, "x");
    assert_eq!(delivery_count(&channel.expect_deliver()), None);
    channel.close();
    let channel = peer.open(1);
    channel.consume(&queue, "c");
    assert_eq!(delivery_count(&channel.expect_deliver()), Some(1));
    channel.close();
    let channel = peer.open(1);
    channel.consume(&queue, "c");
    channel.publish("", &queue, "next");
    assert_eq!(channel.expect_deliver().text(), "next");
}
