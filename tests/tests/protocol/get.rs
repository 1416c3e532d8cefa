//! `basic.get`.

use amq_protocol::protocol::{basic, queue};

use crate::peer::table;
use crate::target::{Test, differs_from_rabbitmq};

#[test]
fn get_takes_the_oldest_message_and_says_how_many_are_left() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    assert!(channel.get(&queue).is_none());
    for body in ["a", "b", "c"] {
        channel.publish("", &queue, body);
    }
    for (body, left) in [("a", 2), ("b", 1), ("c", 0)] {
        let message = channel.get(&queue).unwrap();
        assert_eq!((message.text(), message.message_count, message.redelivered), (body, left, false));
        assert_eq!((message.exchange.as_str(), message.routing_key), ("", queue.clone()));
    }
    assert!(channel.get(&queue).is_none());
}

#[test]
fn get_without_acknowledgement_forgets_the_message() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "a");
    channel.get_with(&queue, true).unwrap();
    channel.call(basic::Recover { requeue: true });
    assert!(channel.get(&queue).is_none());
}

#[test]
fn get_is_not_limited_by_prefetch() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.qos(1, true);
    for body in ["a", "b", "c"] {
        channel.publish("", &queue, body);
    }
    for body in ["a", "b", "c"] {
        assert_eq!(channel.get(&queue).unwrap().text(), body);
    }
}

#[test]
fn get_shares_a_queue_with_consumers() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.consume(&queue, "c");
    for body in ["a", "b", "c"] {
        channel.publish("", &queue, body);
    }
    let first = channel.expect_deliver();
    assert_eq!(channel.get_with(&queue, true).unwrap().text(), "b");
    channel.ack(first.delivery_tag);
    assert_eq!(channel.expect_deliver().text(), "c");
}

#[test]
fn get_without_a_name_takes_from_the_queue_declared_last() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let first = channel.temp_queue();
    let last = channel.temp_queue();
    channel.publish("", &first, "first");
    channel.publish("", &last, "last");
    assert_eq!(channel.get_with("", true).unwrap().text(), "last");
    channel.look_at(&first);
    assert_eq!(channel.get_with("", true).unwrap().text(), "first", "a passive declare counts, too");
}

#[test]
fn get_is_refused_where_only_one_consumer_is_to_be_active() {
    if differs_from_rabbitmq("before 4.0 it allows basic.get on a queue with a single active consumer") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let arguments = table([("x-single-active-consumer", true.into())]);
    let queue =
        channel.call(queue::Declare { exclusive: true, arguments, ..queue::Declare::default() }).queue;
    channel.send(basic::Get { queue: queue.clone(), no_ack: false });
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are not \
         supported by classic queues with single active consumer"
    );
    channel.expect_close(405, &text, (60, 70));
}
