//! Queues with priorities.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::queue;
use amq_protocol::types::AMQPValue;

use crate::features::{await_count, dead_letters_to, expiring, queue_with, watched_queue};
use crate::peer::Channel;
use crate::target::{Test, differs_from_rabbitmq};

/// A queue that knows so many priorities above 0.
fn priority_queue(channel: Channel<'_>, levels: i32) -> String {
    queue_with(channel, &[("x-max-priority", levels.into())])
}

fn of_priority(priority: u8) -> AMQPProperties {
    AMQPProperties::default().with_priority(priority)
}

/// Publishes one message for each priority, which is its body.
fn publish_priorities(channel: Channel<'_>, queue: &str, priorities: &[u8]) {
    for priority in priorities {
        channel.publish_with("", queue, &of_priority(*priority), priority.to_string().as_bytes());
    }
}

fn publish_as(channel: Channel<'_>, queue: &str, priority: u8, body: &str) {
    channel.publish_with("", queue, &of_priority(priority), body.as_bytes());
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_their_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 5);
    for (priority, body) in [(1, "1a"), (5, "5a"), (0, "0a"), (3, "3a"), (5, "5b"), (1, "1b"), (0, "0b")] {
        publish_as(channel, &queue, priority, body);
    }
    await_count(channel, &queue, 7);
    assert_eq!(channel.drain(&queue), ["5a", "5b", "3a", "1a", "1b", "0a", "0b"]);
}

#[test]
fn the_order_is_strict_however_many_there_are_of_the_highest() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, consumer) = (peer.open(1), peer.open(2));
    let queue = priority_queue(channel, 2);
    publish_as(channel, &queue, 0, "low");
    for number in 0..300 {
        publish_as(channel, &queue, 2, &number.to_string());
    }
    consumer.qos(10, false);
    consumer.consume(&queue, "c");
    for number in 0..300 {
        let message = consumer.expect_deliver();
        assert_eq!(message.text(), number.to_string());
        // As long as there is something higher, the lower one has to wait.
        publish_as(channel, &queue, 2, "more");
        channel.expect_nothing_from(&queue);
        consumer.ack(message.delivery_tag);
    }
    for _ in 0..300 {
        let message = consumer.expect_deliver();
        assert_eq!(message.text(), "more");
        consumer.ack(message.delivery_tag);
    }
    assert_eq!(consumer.expect_deliver().text(), "low");
}

#[test]
fn without_a_priority_a_message_has_priority_zero() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 3);
    channel.publish("", &queue, "none");
    publish_as(channel, &queue, 0, "zero");
    publish_as(channel, &queue, 1, "one");
    assert_eq!(channel.drain(&queue), ["one", "none", "zero"]);
}

#[test]
fn priorities_above_the_highest_count_as_the_highest_and_stay_as_they_are() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 3);
    publish_priorities(channel, &queue, &[3, 9, 2, 255, 3]);
    let first = channel.get_with(&queue, true).expect("five are ready");
    let second = channel.get_with(&queue, true).expect("four are ready");
    assert_eq!((first.text(), second.text()), ("3", "9"));
    assert_eq!(second.properties, of_priority(9));
    assert_eq!(channel.drain(&queue), ["255", "3", "2"]);
}

#[test]
fn all_levels_can_be_told_apart() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 255);
    // Every level once, in a scattered order.
    let priorities: Vec<u8> = (0..=255_u8).map(|number| number.wrapping_mul(77)).collect();
    publish_priorities(channel, &queue, &priorities);
    let sorted: Vec<String> = (0..=255).rev().map(|priority: u8| priority.to_string()).collect();
    assert_eq!(channel.drain(&queue), sorted);
}

#[test]
fn a_queue_without_priorities_keeps_the_order_of_publishing() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for queue in [channel.temp_queue(), priority_queue(channel, 0)] {
        publish_priorities(channel, &queue, &[1, 9, 0, 5]);
        assert_eq!(channel.drain(&queue), ["1", "9", "0", "5"]);
    }
}

#[test]
fn returned_messages_go_back_to_their_places() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 3);
    for (priority, body) in [(2, "2a"), (2, "2b"), (1, "1a"), (1, "1b")] {
        publish_as(channel, &queue, priority, body);
    }
    let tags: Vec<u64> = (0..3).map(|_| channel.get(&queue).expect("ready").delivery_tag).collect();
    publish_as(channel, &queue, 2, "2c");
    publish_as(channel, &queue, 1, "1c");
    publish_as(channel, &queue, 3, "3a");
    channel.requeue(tags[2]);
    channel.requeue(tags[0]);
    channel.requeue(tags[1]);
    assert_eq!(channel.drain(&queue), ["3a", "2a", "2b", "2c", "1a", "1b", "1c"]);
}

#[test]
fn a_closed_channel_gives_messages_of_all_priorities_back() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, holder) = (peer.open(1), peer.open(2));
    let queue = priority_queue(channel, 3);
    publish_priorities(channel, &queue, &[0, 1, 2, 3]);
    await_count(channel, &queue, 4);
    for _ in 0..3 {
        holder.get(&queue).expect("ready");
    }
    holder.close();
    await_count(channel, &queue, 4);
    assert_eq!(channel.drain(&queue), ["3", "2", "1", "0"]);
}

#[test]
fn a_consumer_that_is_busy_gets_the_highest_next() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 9);
    channel.qos(1, false);
    channel.consume(&queue, "c");
    publish_priorities(channel, &queue, &[1]);
    let mut message = channel.expect_deliver();
    publish_priorities(channel, &queue, &[2, 9, 5]);
    await_count(channel, &queue, 3);
    for wanted in ["9", "5", "2"] {
        channel.ack(message.delivery_tag);
        message = channel.expect_deliver();
        assert_eq!(message.text(), wanted);
    }
}

#[test]
fn all_priorities_are_counted_and_purged() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = priority_queue(channel, 9);
    publish_priorities(channel, &queue, &[0, 9, 5, 5]);
    let message = channel.get(&queue).expect("ready");
    assert_eq!((message.text(), message.message_count), ("9", 3));
    let purge = queue::Purge { queue: queue.as_str().into(), nowait: false };
    assert_eq!(channel.call(purge).message_count, 3);
    assert_eq!(channel.count(&queue), 0);
    channel.requeue(message.delivery_tag);
    publish_priorities(channel, &queue, &[0, 5]);
    let delete = queue::Delete { queue: queue.as_str().into(), ..Default::default() };
    assert_eq!(channel.call(delete).message_count, 3);
}

#[test]
fn messages_of_any_priority_expire() {
    if differs_from_rabbitmq("it looks at the highest priority only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-max-priority", 3.into())]);
    publish_as(channel, &queue, 3, "stays");
    channel.publish_with("", &queue, &expiring(50).with_priority(1), b"one");
    assert_eq!(dead.expect_deliver().text(), "one");
    channel.publish_with("", &queue, &expiring(50).with_priority(2), b"two");
    assert_eq!(dead.expect_deliver().text(), "two");
    assert_eq!(channel.drain(&queue), ["stays"]);
}

#[test]
fn a_full_queue_drops_the_oldest_of_the_lowest_priority() {
    if differs_from_rabbitmq("it drops messages of the highest priority first") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let arguments = [("x-max-priority", AMQPValue::from(3)), ("x-max-length", 3.into())];
    let (queue, dead) = watched_queue(&peer, &arguments);
    for (priority, body) in [(1, "1a"), (3, "3a"), (1, "1b"), (3, "3b"), (3, "3c"), (0, "0a"), (3, "3d")] {
        publish_as(channel, &queue, priority, body);
    }
    assert_eq!(dead.expect_bodies(4), ["1a", "1b", "0a", "3a"]);
    assert_eq!(channel.drain(&queue), ["3b", "3c", "3d"]);
}

#[test]
fn rejected_messages_keep_their_priority_in_the_next_queue() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let dead = priority_queue(channel, 9);
    let queue = queue_with(channel, &dead_letters_to(&dead));
    publish_priorities(channel, &queue, &[1, 3, 2]);
    for _ in 0..3 {
        channel.get(&queue).expect("ready");
    }
    channel.send(basic::Nack { delivery_tag: 0, multiple: true, requeue: false });
    await_count(channel, &dead, 3);
    assert_eq!(channel.drain(&dead), ["3", "2", "1"]);
}
