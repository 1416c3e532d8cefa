//! Dead letters that must arrive: they stay in their queue until every queue that they are for has them.

use amq_protocol::protocol::basic;
use amq_protocol::types::AMQPValue;

use crate::features::{await_count, await_message, durable_with, queue_with};
use crate::peer::{Channel, text};
use crate::story::{entry, summary};
use crate::target::{Test, differs_from_rabbitmq};

/// The arguments of a queue whose dead letters must arrive at an exchange.
fn careful(exchange: &str) -> [(&'static str, AMQPValue); 3] {
    [
        ("x-dead-letter-exchange", text(exchange)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

/// A quorum queue of that kind.
fn careful_queue(test: &Test, channel: Channel<'_>, exchange: &str) -> String {
    let name = test.queue("careful");
    let arguments = [careful(exchange).as_slice(), &[("x-queue-type", text("quorum"))]].concat();
    channel.call(durable_with(&name, &arguments));
    name
}

#[track_caller]
fn reject_one(channel: Channel<'_>, queue: &str, body: &str) {
    channel.publish("", queue, body);
    await_count(channel, queue, 1);
    let message = channel.get(queue).expect("it is ready");
    channel.send(basic::Reject { delivery_tag: message.delivery_tag, requeue: false });
}

#[test]
fn dead_letters_arrive_and_leave_their_queue() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "fanout");
    let dead = [channel.temp_queue(), channel.temp_queue()];
    for queue in &dead {
        channel.bind(queue, &graveyard, "");
    }
    let queue = careful_queue(&test, channel, &graveyard);
    reject_one(channel, &queue, "x");
    for target in &dead {
        assert_eq!(summary(&await_message(channel, target)), [entry(&queue, "rejected", 1)]);
    }
    await_count(channel, &queue, 0);
}

#[test]
fn a_dead_letter_waits_for_its_exchange_and_its_queue() {
    if differs_from_rabbitmq("it tries again after three minutes") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    let queue = careful_queue(&test, channel, &graveyard);
    reject_one(channel, &queue, "x");
    channel.expect_nothing_from(&queue);
    channel.exchange(&graveyard, "fanout");
    let dead = channel.temp_queue();
    channel.bind(&dead, &graveyard, "");
    assert_eq!(await_message(channel, &dead).text(), "x");
}

#[test]
fn a_dead_letter_waits_for_room_in_a_queue_that_refuses() {
    if differs_from_rabbitmq("it tries again after three minutes") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    channel.exchange(&graveyard, "fanout");
    let full = queue_with(channel, &[("x-max-length", 1.into()), ("x-overflow", text("reject-publish"))]);
    channel.bind(&full, &graveyard, "");
    channel.publish("", &full, "in the way");
    let queue = careful_queue(&test, channel, &graveyard);
    reject_one(channel, &queue, "x");
    channel.expect_nothing_from(&queue);
    assert_eq!(await_message(channel, &full).text(), "in the way");
    assert_eq!(await_message(channel, &full).text(), "x");
    await_count(channel, &full, 0);
}

#[test]
fn a_classic_queue_can_be_as_careful() {
    if differs_from_rabbitmq("it offers at-least-once for quorum queues only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let graveyard = test.exchange("graveyard");
    let queue = test.queue("careful");
    channel.call(durable_with(&queue, &careful(&graveyard)));
    reject_one(channel, &queue, "x");
    channel.exchange(&graveyard, "fanout");
    let dead = channel.temp_queue();
    channel.bind(&dead, &graveyard, "");
    assert_eq!(summary(&await_message(channel, &dead)), [entry(&queue, "rejected", 1)]);
}
