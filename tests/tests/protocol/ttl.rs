//! Time to live: of messages, by the queue and by themselves, and of queues.

use std::time::{Duration, Instant};

use amq_protocol::protocol::{basic, channel, confirm, queue};
use warren_tests::eventually;

use crate::features::{await_count, expiring, publish_confirmed, queue_with, watch, watched_queue};
use crate::peer::{Channel, passive, table};
use crate::target::{Test, differs_from_rabbitmq};

/// Longer than any test takes.
const LONG_MS: u32 = 3_600_000;

#[test]
fn a_queues_time_to_live_ends_messages_in_their_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", 50.into())]);
    let start = Instant::now();
    for body in ["a", "b", "c"] {
        channel.publish("", &queue, body);
    }
    assert_eq!(dead.expect_bodies(3), ["a", "b", "c"]);
    assert!(start.elapsed() >= Duration::from_millis(50), "they lived {:?}", start.elapsed());
    assert_eq!(channel.count(&queue), 0);
}

#[test]
fn a_message_may_expire_by_itself() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    let start = Instant::now();
    channel.publish_with("", &queue, &expiring(50), b"a");
    assert_eq!(dead.expect_deliver().text(), "a");
    assert!(start.elapsed() >= Duration::from_millis(50), "it lived {:?}", start.elapsed());
    assert!(channel.get(&queue).is_none());
}

#[test]
fn expired_messages_vanish_without_a_dead_letter_exchange() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = queue_with(channel, &[("x-message-ttl", 20.into())]);
    publish_confirmed(channel, &queue, &["x", "x", "x"]);
    await_count(channel, &queue, 0);
    assert!(channel.get(&queue).is_none());
}

#[test]
fn of_two_times_to_live_the_shorter_counts() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for (of_queue, of_message) in [(50, LONG_MS), (LONG_MS, 50)] {
        let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", of_queue.into())]);
        channel.publish_with("", &queue, &expiring(of_message), b"a");
        assert_eq!(dead.expect_deliver().text(), "a");
        dead.close();
    }
}

#[test]
fn with_no_time_to_live_at_all_a_message_is_delivered_at_once_or_never() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", 0.into())]);
    channel.publish("", &queue, "nobody is there");
    assert_eq!(dead.expect_deliver().text(), "nobody is there");
    assert!(channel.get(&queue).is_none());
    channel.qos(1, false);
    channel.consume(&queue, "c");
    channel.publish("", &queue, "delivered");
    channel.publish("", &queue, "no credit");
    assert_eq!(channel.expect_deliver().text(), "delivered");
    assert_eq!(dead.expect_deliver().text(), "no credit");
    dead.close();

    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish_with("", &queue, &expiring(0), b"by itself");
    assert_eq!(dead.expect_deliver().text(), "by itself");
    let other = peer.open(2);
    watch(other, &queue);
    channel.publish_with("", &queue, &expiring(0), b"delivered");
    assert_eq!(other.expect_deliver().text(), "delivered");
}

#[test]
fn what_expires_at_once_is_confirmed_all_the_same() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &[("x-message-ttl", 0.into())]);
    channel.publish("", &queue, "x");
    assert_eq!(channel.expect::<basic::Ack>().delivery_tag, 1);
    channel.expect_nothing();
}

#[test]
fn a_message_that_is_held_does_not_expire_and_is_expired_when_it_returns_too_late() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", 100.into())]);
    for body in ["settled", "returned", "witness"] {
        channel.publish("", &queue, body);
    }
    let settled = channel.get(&queue).expect("it has just been published");
    let returned = channel.get(&queue).expect("it has just been published");
    // Published later, so the time of the others is over, too.
    assert_eq!(dead.expect_deliver().text(), "witness");
    channel.ack(settled.delivery_tag);
    channel.requeue(returned.delivery_tag);
    assert_eq!(dead.expect_deliver().text(), "returned");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn a_returned_message_is_not_delivered_once_its_time_is_over() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, consumer) = (peer.open(1), peer.open(2));
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish_with("", &queue, &expiring(100), b"late");
    let late = channel.get(&queue).expect("it has just been published");
    channel.publish_with("", &queue, &expiring(100), b"witness");
    assert_eq!(dead.expect_deliver().text(), "witness");
    consumer.consume(&queue, "c");
    channel.requeue(late.delivery_tag);
    assert_eq!(dead.expect_deliver().text(), "late");
    channel.publish("", &queue, "next");
    assert_eq!(consumer.expect_deliver().text(), "next");
}

#[test]
fn messages_expire_behind_a_consumer_that_is_busy() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", 50.into())]);
    channel.qos(1, false);
    channel.consume(&queue, "c");
    channel.publish("", &queue, "held");
    channel.publish("", &queue, "waits");
    let held = channel.expect_deliver();
    assert_eq!(dead.expect_deliver().text(), "waits");
    channel.ack(held.delivery_tag);
    channel.publish("", &queue, "next");
    assert_eq!(channel.expect_deliver().text(), "next");
}

#[test]
fn messages_expire_anywhere_in_the_queue_in_the_order_of_their_times() {
    if differs_from_rabbitmq("it looks at the head of the queue only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish("", &queue, "lasts");
    for after_ms in [LONG_MS, 400, 200, 300, 100] {
        channel.publish_with("", &queue, &expiring(after_ms), after_ms.to_string().as_bytes());
    }
    channel.publish("", &queue, "lasts too");
    assert_eq!(dead.expect_bodies(4), ["100", "200", "300", "400"]);
    assert_eq!(channel.count(&queue), 3);
    assert_eq!(channel.drain(&queue), ["lasts", &LONG_MS.to_string(), "lasts too"]);
}

#[test]
fn an_expiration_stays_on_a_message_that_is_delivered_in_time() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = queue_with(channel, &[("x-message-ttl", LONG_MS.into())]);
    channel.publish_with("", &queue, &expiring(LONG_MS), b"x");
    let message = channel.get_with(&queue, true).expect("it has just been published");
    assert_eq!(message.properties, expiring(LONG_MS));
}

#[test]
fn expired_messages_make_room_for_the_count_of_those_left() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[]);
    channel.publish_with("", &queue, &expiring(50), b"short");
    channel.publish("", &queue, "one");
    channel.publish("", &queue, "two");
    dead.expect_deliver();
    let one = channel.get_with(&queue, true).expect("two are left");
    assert_eq!((one.text(), one.message_count), ("one", 1));
    assert_eq!(channel.call(queue::Purge { queue: queue.as_str().into(), nowait: false }).message_count, 1);
    channel.publish_with("", &queue, &expiring(50), b"after the purge");
    assert_eq!(dead.expect_deliver().text(), "after the purge");
}

#[test]
fn a_thousand_messages_expire_each_once() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-message-ttl", 30.into())]);
    for number in 0..1000 {
        channel.publish("", &queue, &number.to_string());
    }
    let bodies: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(dead.expect_bodies(1000), bodies);
    dead.expect_nothing_from(&queue);
}

/// Whether a queue is gone, by publishing to it: that is no use of a queue, while asking for it is.
#[track_caller]
fn is_gone(asking: Channel<'_>, queue: &str) -> bool {
    asking.publish_mandatory("", queue, "are you there?");
    asking.send(channel::Flow { active: true });
    let is_gone = asking.next().content.is_some();
    if is_gone {
        asking.expect::<channel::FlowOk>();
    }
    is_gone
}

#[track_caller]
fn await_end(asking: Channel<'_>, queue: &str) {
    eventually("the queue is deleted", || is_gone(asking, queue).then_some(()));
}

#[test]
fn a_queue_that_nobody_uses_is_deleted_and_its_messages_with_it() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-expires", 100.into())]);
    channel.publish("", &queue, "x");
    await_end(channel, &queue);
    channel.send(passive(&queue));
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    channel.expect_close(404, &text, (50, 10));
    // Its messages did not become dead letters.
    dead.expect_nothing();
}

#[test]
fn a_queue_with_a_consumer_does_not_expire_until_that_has_gone() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, consumer) = (peer.open(1), peer.open(2));
    let expires = [("x-expires", 200.into())];
    let used = queue_with(channel, &expires);
    consumer.consume(&used, "c");
    // Witnesses, whose times are over no earlier.
    for _ in 0..2 {
        let unused = queue_with(channel, &expires);
        await_end(channel, &unused);
    }
    channel.publish("", &used, "still here");
    let message = consumer.expect_deliver();
    assert_eq!(message.text(), "still here");
    consumer.ack(message.delivery_tag);
    consumer.call(basic::Cancel { consumer_tag: "c".into(), nowait: false });
    await_end(channel, &used);
}

#[test]
fn getting_and_declaring_use_a_queue() {
    type Use = fn(Channel<'_>, &str);
    let uses: [(&str, Use); 2] = [
        ("get", |channel, queue| drop(channel.get(queue))),
        ("declare", |channel, queue| drop(channel.look_at(queue))),
    ];
    let test = Test::start();
    let peer = test.connect();
    let (channel, user) = (peer.open(1), peer.open(2));
    for (name, make_use_of) in uses {
        println!("{name}");
        // The times are long, because the uses come late on a machine that is busy.
        let used = queue_with(channel, &[("x-expires", 1_500.into())]);
        let unused = queue_with(channel, &[("x-expires", 2_000.into())]);
        eventually("the unused queue is deleted", || {
            make_use_of(user, &used);
            is_gone(channel, &unused).then_some(())
        });
        channel.look_at(&used);
    }
}

#[test]
fn the_name_of_an_expired_queue_is_free() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let name = test.queue("reborn");
    let declare = |expires_ms: i32| queue::Declare {
        queue: name.as_str().into(),
        durable: true,
        arguments: table([("x-expires", expires_ms.into())]),
        ..Default::default()
    };
    channel.call(declare(100));
    await_end(channel, &name);
    // Other arguments: it is another queue.
    channel.call(declare(60_000));
    channel.publish("", &name, "x");
    assert_eq!(channel.drain(&name), ["x"]);
}
