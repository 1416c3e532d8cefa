//! Limits of a queue's length, in messages and in bytes, and what becomes of messages beyond them.

use amq_protocol::protocol::{AMQPClass, basic, confirm, tx};
use amq_protocol::types::AMQPValue;

use crate::features::{await_count, dead_letters_to, queue_with, watch, watched_queue};
use crate::peer::{Channel, text};
use crate::target::{Test, differs_from_rabbitmq};

const DROP_HEAD: &str = "drop-head";
const REJECT_PUBLISH: &str = "reject-publish";
const REJECT_PUBLISH_DLX: &str = "reject-publish-dlx";

/// At most so many messages.
fn at_most(messages: i32, overflow: &str) -> [(&'static str, AMQPValue); 2] {
    [("x-max-length", messages.into()), ("x-overflow", text(overflow))]
}

/// At most so many bytes.
fn at_most_bytes(bytes: i32, overflow: &str) -> [(&'static str, AMQPValue); 2] {
    [("x-max-length-bytes", bytes.into()), ("x-overflow", text(overflow))]
}

fn publish_all(channel: Channel<'_>, queue: &str, bodies: &[&str]) {
    for body in bodies {
        channel.publish("", queue, body);
    }
}

/// For each publish on a channel in confirm mode, from the first on, whether it was accepted.
#[track_caller]
fn confirms(channel: Channel<'_>, count: usize) -> Vec<bool> {
    let mut confirmed = vec![None; count];
    let mut settle = |tag: u64, multiple: bool, accepted: bool| {
        let last = usize::try_from(tag).expect("a small tag") - 1;
        let first = if multiple { 0 } else { last };
        for slot in &mut confirmed[first..=last] {
            assert!(multiple || slot.is_none(), "publish {tag} is confirmed twice");
            slot.get_or_insert(accepted);
        }
        confirmed.iter().all(Option::is_some)
    };
    loop {
        let is_all = match channel.next().method {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => settle(ack.delivery_tag, ack.multiple, true),
            AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) => {
                settle(nack.delivery_tag, nack.multiple, false)
            }
            other => panic!("expected a confirm, got {other:?}"),
        };
        if is_all {
            break;
        }
    }
    channel.expect_nothing();
    confirmed.into_iter().flatten().collect()
}

#[test]
fn the_oldest_messages_make_room() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = queue_with(channel, &[("x-max-length", 3.into())]);
    publish_all(channel, &queue, &["a", "b", "c"]);
    // The limit itself is no overflow.
    await_count(channel, &queue, 3);
    publish_all(channel, &queue, &["d", "e"]);
    assert_eq!(channel.drain(&queue), ["c", "d", "e"]);
}

#[test]
fn bytes_are_those_of_bodies_and_the_limit_itself_is_no_overflow() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["12345", "67890"], &["12345", "67890"]),
        (&["12345", "678901"], &["678901"]),
        (&["123", "456", "789", "0", ""], &["123", "456", "789", "0", ""]),
        (&["1", "2", "3", "12345678"], &["2", "3", "12345678"]),
        (&["1", "2", "0123456789"], &["0123456789"]),
        (&["1", "2", "0123456789a"], &[]),
        (&["1", "0123456789a", "2"], &["2"]),
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for (published, kept) in rows {
        let queue = queue_with(channel, &at_most_bytes(10, DROP_HEAD));
        publish_all(channel, &queue, published);
        assert_eq!(channel.drain(&queue), *kept, "of {published:?}");
    }
}

#[test]
fn of_two_limits_the_one_that_is_met_first_counts() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = queue_with(channel, &[("x-max-length", 3.into()), ("x-max-length-bytes", 10.into())]);
    publish_all(channel, &queue, &["1", "2", "3", "4"]);
    await_count(channel, &queue, 3);
    publish_all(channel, &queue, &["123456789"]);
    assert_eq!(channel.drain(&queue), ["4", "123456789"]);
}

#[test]
fn a_queue_without_room_passes_messages_to_consumers_only() {
    for arguments in [at_most(0, DROP_HEAD), at_most_bytes(0, DROP_HEAD)] {
        let test = Test::start();
        let peer = test.connect();
        let channel = peer.open(1);
        let queue = queue_with(channel, &arguments);
        channel.publish("", &queue, "lost");
        assert!(channel.get(&queue).is_none());
        channel.qos(1, false);
        channel.consume(&queue, "c");
        publish_all(channel, &queue, &["passed", "lost as well"]);
        let passed = channel.expect_deliver();
        assert_eq!(passed.text(), "passed");
        // An acknowledgement may overtake a publish, this does not.
        assert!(channel.get(&queue).is_none());
        channel.ack(passed.delivery_tag);
        channel.expect_nothing_from(&queue);
    }
}

#[test]
fn messages_that_are_held_do_not_count_until_they_return() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &[("x-max-length", 2.into())]);
    publish_all(channel, &queue, &["a", "b"]);
    let held = [channel.get(&queue).expect("ready"), channel.get(&queue).expect("ready")];
    publish_all(channel, &queue, &["c", "d"]);
    await_count(channel, &queue, 2);
    dead.expect_nothing_from(&queue);
    // There is no room for it any more: as the oldest it goes.
    channel.requeue(held[1].delivery_tag);
    assert_eq!(dead.expect_deliver().text(), "b");
    assert_eq!(channel.drain(&queue), ["c", "d"]);
    channel.requeue(held[0].delivery_tag);
    assert_eq!(channel.drain(&queue), ["a"]);
}

#[test]
fn what_is_dropped_is_dead_lettered_in_its_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &at_most(2, DROP_HEAD));
    publish_all(channel, &queue, &["a", "b", "c", "d", "e"]);
    assert_eq!(dead.expect_bodies(3), ["a", "b", "c"]);
    assert_eq!(channel.drain(&queue), ["d", "e"]);
}

#[test]
fn dropping_is_no_refusal_for_the_publisher() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most(1, DROP_HEAD));
    publish_all(channel, &queue, &["a", "b", "c"]);
    assert_eq!(confirms(channel, 3), [true, true, true]);
}

#[test]
fn publishers_are_told_what_a_full_queue_refuses() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most(2, REJECT_PUBLISH));
    publish_all(channel, &queue, &["a", "b", "c", "d"]);
    assert_eq!(confirms(channel, 4), [true, true, false, false]);
    assert_eq!(channel.drain(&queue), ["a", "b"]);
}

#[test]
fn a_queue_refuses_again_and_again_as_its_room_comes_and_goes() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, publisher) = (peer.open(1), peer.open(2));
    publisher.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most(1, REJECT_PUBLISH));
    for round in 0..20 {
        publish_all(publisher, &queue, &["x", "y"]);
        let ack = publisher.expect::<basic::Ack>();
        assert_eq!(ack.delivery_tag, 2 * round + 1);
        // RabbitMQ sets the flag, which means nothing here.
        let nack = publisher.expect::<basic::Nack>();
        assert_eq!((nack.delivery_tag, nack.requeue), (2 * round + 2, true));
        assert_eq!(channel.drain(&queue), ["x"]);
    }
}

#[test]
fn refusing_by_bytes_keeps_to_the_limit_exactly() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most_bytes(10, REJECT_PUBLISH));
    publish_all(channel, &queue, &["0123456789a", "12345", "67890", "", "x"]);
    assert_eq!(confirms(channel, 5), [false, true, true, true, false]);
    assert_eq!(channel.drain(&queue), ["12345", "67890", ""]);
}

#[test]
fn what_is_held_leaves_room_to_publish() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, holder) = (peer.open(1), peer.open(2));
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most(1, REJECT_PUBLISH));
    channel.publish("", &queue, "a");
    assert!(channel.expect::<basic::Ack>().delivery_tag == 1);
    let held = holder.get(&queue).expect("ready");
    publish_all(channel, &queue, &["b", "c"]);
    assert_eq!(channel.expect::<basic::Ack>().delivery_tag, 2);
    assert_eq!(channel.expect::<basic::Nack>().delivery_tag, 3);
    // Returned messages are not refused.
    holder.requeue(held.delivery_tag);
    assert_eq!(holder.drain(&queue), ["a", "b"]);
}

#[test]
fn without_confirms_a_refused_message_is_just_gone() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (queue, dead) = watched_queue(&peer, &at_most(1, REJECT_PUBLISH));
    publish_all(channel, &queue, &["a", "b"]);
    channel.publish_mandatory("", &queue, "it has a queue, so it does not come back");
    channel.expect_nothing_from(&queue);
    assert_eq!(channel.drain(&queue), ["a"]);
    dead.expect_nothing_from(&queue);
}

#[test]
fn what_is_refused_is_dead_lettered_if_the_queue_says_so() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let (queue, dead) = watched_queue(&peer, &at_most(1, REJECT_PUBLISH_DLX));
    publish_all(channel, &queue, &["a", "b", "c"]);
    assert_eq!(confirms(channel, 3), [true, false, false]);
    assert_eq!(dead.expect_bodies(2), ["b", "c"]);
    assert_eq!(channel.drain(&queue), ["a"]);
}

#[test]
fn one_queue_that_refuses_spoils_the_confirm_but_not_the_other_queues() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    let exchange = test.exchange("both");
    channel.exchange(&exchange, "fanout");
    let (open, full) = (channel.temp_queue(), queue_with(channel, &at_most(1, REJECT_PUBLISH)));
    channel.bind(&open, &exchange, "");
    channel.bind(&full, &exchange, "");
    for body in ["a", "b"] {
        channel.publish(&exchange, "", body);
    }
    assert_eq!(confirms(channel, 2), [true, false]);
    assert_eq!(channel.drain(&open), ["a", "b"]);
    assert_eq!(channel.drain(&full), ["a"]);
}

#[test]
fn a_transaction_with_a_refused_message_does_not_commit_cleanly() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (peer.open(1), peer.open(2));
    let queue = queue_with(other, &at_most(1, REJECT_PUBLISH));
    channel.call(tx::Select {});
    channel.publish("", &queue, "a");
    channel.call(tx::Commit {});
    channel.publish("", &queue, "b");
    channel.send(tx::Commit {});
    channel.expect_close(406, "PRECONDITION_FAILED - partial tx completion", (90, 20));
    assert_eq!(other.drain(&queue), ["a"]);
}

#[test]
fn a_full_queue_that_refuses_still_takes_dead_letters_in_silence() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let full = queue_with(channel, &at_most(1, REJECT_PUBLISH));
    let source = queue_with(channel, &dead_letters_to(&full));
    let witness = channel.temp_queue();
    publish_all(channel, &source, &["a", "b"]);
    for _ in 0..2 {
        let message = channel.get(&source).expect("ready");
        channel.send(basic::Reject { delivery_tag: message.delivery_tag, requeue: false });
    }
    await_count(channel, &full, 1);
    channel.publish("", &witness, "x");
    channel.expect_nothing_from(&witness);
    assert_eq!(channel.drain(&full), ["a"], "what it refused is gone");
}

#[test]
fn a_queue_that_refuses_does_not_refuse_what_a_consumer_takes_at_once() {
    if differs_from_rabbitmq("a queue of length 0 that refuses there refuses everything") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let (channel, consumer) = (peer.open(1), peer.open(2));
    channel.call(confirm::Select { nowait: false });
    let queue = queue_with(channel, &at_most(0, REJECT_PUBLISH));
    watch(consumer, &queue);
    channel.publish("", &queue, "x");
    assert_eq!(consumer.expect_deliver().text(), "x");
    assert_eq!(confirms(channel, 1), [true]);
}
