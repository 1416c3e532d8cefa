//! Queues with a single active consumer: who is it, and who is next.

use amq_protocol::protocol::{basic, queue};
use amq_protocol::types::AMQPValue;

use crate::features::{durable_with, queue_with};
use crate::peer::{Channel, table, text};
use crate::target::Test;

const SINGLE: (&str, AMQPValue) = ("x-single-active-consumer", AMQPValue::Boolean(true));

fn cancel(channel: Channel<'_>, consumer_tag: &str) {
    channel.call(basic::Cancel { consumer_tag: consumer_tag.into(), nowait: false });
}

#[test]
fn the_next_consumer_is_the_one_that_has_waited_longest() {
    let test = Test::start();
    let peer = test.connect();
    let channels = [peer.open(1), peer.open(2), peer.open(3)];
    let publisher = peer.open(4);
    let queue = queue_with(publisher, &[SINGLE]);
    for channel in channels {
        channel.consume(&queue, "c");
    }
    for (active, body) in channels.into_iter().zip(["a", "b", "c"]) {
        publisher.publish("", &queue, body);
        let message = active.expect_deliver();
        assert_eq!(message.text(), body);
        active.ack(message.delivery_tag);
        cancel(active, "c");
    }
}

#[test]
fn those_who_wait_get_nothing_even_if_the_active_one_can_take_no_more() {
    let test = Test::start();
    let peer = test.connect();
    let (active, waiting) = (peer.open(1), peer.open(2));
    let queue = queue_with(active, &[SINGLE]);
    active.qos(1, false);
    active.consume(&queue, "active");
    waiting.consume(&queue, "waiting");
    active.publish("", &queue, "a");
    active.publish("", &queue, "b");
    let a = active.expect_deliver();
    waiting.expect_nothing_from(&queue);
    active.ack(a.delivery_tag);
    assert_eq!(active.expect_deliver().text(), "b");
}

#[test]
fn a_consumer_that_waits_can_leave_and_counts_as_one() {
    let test = Test::start();
    let peer = test.connect();
    let (active, waiting) = (peer.open(1), peer.open(2));
    let queue = queue_with(active, &[SINGLE]);
    active.consume(&queue, "active");
    waiting.consume(&queue, "waiting");
    assert_eq!(active.look_at(&queue).consumer_count, 2);
    cancel(waiting, "waiting");
    assert_eq!(active.look_at(&queue).consumer_count, 1);
    active.publish("", &queue, "a");
    assert_eq!(active.expect_deliver().text(), "a");
}

#[test]
fn the_next_takes_over_when_a_connection_is_lost_with_what_it_held() {
    let test = Test::start();
    let (victim, survivor) = (test.connect(), test.connect());
    let (active, waiting) = (victim.open(1), survivor.open(1));
    let queue = test.queue("single");
    waiting.call(durable_with(&queue, &[SINGLE]));
    active.consume(&queue, "active");
    waiting.consume(&queue, "waiting");
    waiting.publish("", &queue, "a");
    waiting.publish("", &queue, "b");
    assert_eq!(active.expect_bodies(2), ["a", "b"]);
    drop(victim);
    for body in ["a", "b"] {
        let message = waiting.expect_deliver();
        assert_eq!((message.text(), message.redelivered), (body, true));
    }
}

#[test]
fn a_quorum_queue_can_have_a_single_active_consumer() {
    let test = Test::start();
    let peer = test.connect();
    let (active, waiting) = (peer.open(1), peer.open(2));
    let queue = test.queue("quorum");
    active.call(durable_with(&queue, &[SINGLE, ("x-queue-type", text("quorum"))]));
    active.consume(&queue, "active");
    waiting.consume(&queue, "waiting");
    active.publish("", &queue, "a");
    let message = active.expect_deliver();
    active.ack(message.delivery_tag);
    cancel(active, "active");
    active.publish("", &queue, "b");
    assert_eq!(waiting.expect_deliver().text(), "b");
}

#[test]
fn nobody_can_be_exclusive_beside_it() {
    let test = Test::start();
    let peer = test.connect();
    let owner = peer.open(2);
    let queue = queue_with(owner, &[SINGLE]);
    owner.consume(&queue, "first");
    let channel = peer.open(1);
    channel.send(basic::Consume { queue: queue.as_str().into(), exclusive: true, ..Default::default() });
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    channel.expect_close(403, &text, (60, 20));
}

#[test]
fn all_of_them_are_told_when_the_queue_is_deleted() {
    let test = Test::start();
    let peer = test.connect();
    let (active, waiting, other) = (peer.open(1), peer.open(2), peer.open(3));
    let queue = queue_with(other, &[SINGLE]);
    active.consume(&queue, "active");
    waiting.consume(&queue, "waiting");
    other.call(queue::Delete { queue: queue.as_str().into(), ..Default::default() });
    assert_eq!(active.expect::<basic::Cancel>().consumer_tag.as_str(), "active");
    assert_eq!(waiting.expect::<basic::Cancel>().consumer_tag.as_str(), "waiting");
}

#[test]
fn the_first_comes_first_whatever_its_priority() {
    let test = Test::start();
    let peer = test.connect();
    let (low, high) = (peer.open(1), peer.open(2));
    let queue = queue_with(low, &[SINGLE]);
    low.consume(&queue, "low");
    let arguments = table([("x-priority", 10.into())]);
    high.consume_with(basic::Consume { queue: queue.as_str().into(), arguments, ..Default::default() });
    low.publish("", &queue, "a");
    assert_eq!(low.expect_deliver().text(), "a");
    high.expect_nothing_from(&queue);
}
