//! Consumers: who gets what, how much of it, and how it ends.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::AMQPValue;

use crate::peer::{Channel, Options, table};
use crate::target::Test;

fn consumer(queue: &str, consumer_tag: &str) -> basic::Consume {
    basic::Consume { queue: queue.into(), consumer_tag: consumer_tag.into(), ..basic::Consume::default() }
}

fn cancel(consumer_tag: &str) -> basic::Cancel {
    basic::Cancel { consumer_tag: consumer_tag.into(), nowait: false }
}

fn publish_all(channel: Channel<'_>, queue: &str, bodies: &[&str]) {
    for body in bodies {
        channel.publish("", queue, body);
    }
}

/// The tags of the next deliveries.
fn tags(channel: Channel<'_>, count: usize) -> Vec<String> {
    (0..count).map(|_| channel.expect_deliver().consumer_tag).collect()
}

#[test]
fn a_delivery_says_where_it_comes_from() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.topic", &format!("{queue}.#"));
    channel.consume(&queue, "tag");
    channel.publish("amq.topic", &format!("{queue}.key"), "x");
    let message = channel.expect_deliver();
    assert_eq!((message.consumer_tag.as_str(), message.delivery_tag, message.redelivered), ("tag", 1, false));
    assert_eq!((message.exchange.as_str(), message.routing_key), ("amq.topic", format!("{queue}.key")));
}

#[test]
fn consumer_tags_are_made_up_by_the_server_and_differ() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    let one = channel.consume_with(consumer(&queue, ""));
    let two = channel.consume_with(consumer(&queue, ""));
    assert!(one.starts_with("amq.ctag-") && two.starts_with("amq.ctag-"), "{one} {two}");
    assert_ne!(one, two);
    channel.call(cancel(&one));
    channel.publish("", &queue, "x");
    assert_eq!(channel.expect_deliver().consumer_tag, two);
}

#[test]
fn messages_are_delivered_in_order_those_waiting_first() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    publish_all(channel, &queue, &["a", "b"]);
    channel.consume(&queue, "c");
    publish_all(channel, &queue, &["c", "d"]);
    assert_eq!(channel.expect_bodies(4), ["a", "b", "c", "d"]);
}

#[test]
fn consumers_take_turns() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    for tag in ["a", "b", "c"] {
        channel.consume(&queue, tag);
    }
    publish_all(channel, &queue, &["1", "2", "3", "4", "5", "6"]);
    for (tag, body) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4"), ("b", "5"), ("c", "6")] {
        let message = channel.expect_deliver();
        assert_eq!((message.consumer_tag.as_str(), message.text()), (tag, body));
    }
}

#[test]
fn a_consumer_with_a_full_prefetch_is_passed_over() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.consume(&queue, "one");
    channel.qos(3, false);
    channel.consume(&queue, "three");
    publish_all(channel, &queue, &["1", "2", "3", "4", "5", "6"]);
    let mut got = tags(channel, 4);
    got.sort();
    assert_eq!(got, ["one", "three", "three", "three"]);
    channel.expect_nothing_from(&queue);
    channel.ack_up_to(0);
    let mut got = tags(channel, 2);
    got.sort();
    assert!(got.contains(&"three".to_owned()), "{got:?}");
}

#[test]
fn prefetch_limits_what_is_unacknowledged() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(2, false);
    channel.consume(&queue, "c");
    publish_all(channel, &queue, &["1", "2", "3", "4", "5"]);
    assert_eq!(channel.expect_bodies(2), ["1", "2"]);
    channel.expect_nothing_from(&queue);
    channel.ack(1);
    assert_eq!(channel.expect_bodies(1), ["3"]);
    channel.expect_nothing_from(&queue);
    channel.ack_up_to(3);
    assert_eq!(channel.expect_bodies(2), ["4", "5"]);
    channel.send(basic::Reject { delivery_tag: 4, requeue: false });
    channel.publish("", &queue, "6");
    assert_eq!(channel.expect_bodies(1), ["6"]);
}

#[test]
fn prefetch_counts_for_consumers_started_later_and_each_for_itself() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (free, limited, other) = (channel.temp_queue(), channel.temp_queue(), channel.temp_queue());
    channel.consume(&free, "free");
    channel.qos(1, false);
    channel.consume(&limited, "limited");
    channel.consume(&other, "other");
    publish_all(channel, &free, &["a", "b", "c"]);
    assert_eq!(tags(channel, 3), ["free", "free", "free"]);
    publish_all(channel, &limited, &["a", "b"]);
    publish_all(channel, &other, &["a", "b"]);
    let mut got = tags(channel, 2);
    got.sort();
    assert_eq!(got, ["limited", "other"]);
    channel.expect_nothing_from(&limited);
    channel.expect_nothing_from(&other);
}

#[test]
fn automatic_acknowledgement_knows_no_prefetch() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.qos(1, true);
    channel.consume_with(basic::Consume { no_ack: true, ..consumer(&queue, "c") });
    publish_all(channel, &queue, &["a", "b", "c"]);
    assert_eq!(channel.expect_bodies(3), ["a", "b", "c"]);
    channel.close();
    assert_eq!(peer.open(2).count(&queue), 0);
}

#[test]
fn a_limit_for_the_channel_is_shared_by_all_its_consumers_and_queues() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (one, two) = (channel.temp_queue(), channel.temp_queue());
    channel.consume(&one, "one");
    channel.qos(3, true);
    channel.consume(&two, "two");
    for queue in [&one, &two] {
        publish_all(channel, queue, &["a", "b", "c", "d"]);
    }
    tags(channel, 3);
    channel.expect_nothing_from(&one);
    channel.expect_nothing_from(&two);
    channel.ack(2);
    tags(channel, 1);
    channel.expect_nothing_from(&one);
    channel.expect_nothing_from(&two);
    channel.ack_up_to(0);
    tags(channel, 3);
    channel.expect_nothing_from(&one);
    channel.expect_nothing_from(&two);
    // No limit any more: the rest comes.
    channel.qos(0, true);
    tags(channel, 1);
    channel.expect_nothing_from(&one);
    channel.expect_nothing_from(&two);
}

#[test]
fn a_limit_for_the_channel_counts_what_was_delivered_before_it() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(5, true);
    channel.consume(&queue, "c");
    publish_all(channel, &queue, &["1", "2", "3", "4", "5", "6", "7"]);
    channel.expect_bodies(5);
    channel.qos(3, true);
    channel.ack_up_to(2);
    channel.expect_nothing_from(&queue);
    channel.ack(3);
    assert_eq!(channel.expect_bodies(1), ["6"]);
    channel.expect_nothing_from(&queue);
}

#[test]
fn limits_of_channel_and_consumer_both_count() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let (one, two) = (channel.temp_queue(), channel.temp_queue());
    channel.qos(2, false);
    channel.qos(3, true);
    channel.consume(&one, "one");
    publish_all(channel, &one, &["a", "b", "c"]);
    assert_eq!(tags(channel, 2), ["one", "one"]);
    channel.expect_nothing_from(&one);
    channel.consume(&two, "two");
    publish_all(channel, &two, &["a", "b"]);
    assert_eq!(tags(channel, 1), ["two"]);
    channel.expect_nothing_from(&two);
}

#[test]
fn a_prefetch_in_bytes_is_not_implemented() {
    let test = Test::start();
    let peer = test.connect();
    peer.open(1).send_payload(&[0, 60, 0, 10, 0, 0, 0, 7, 0, 1, 0]);
    peer.expect_close(540, "NOT_IMPLEMENTED - prefetch_size!=0 (7)", (60, 10));
}

#[test]
fn an_exclusive_consumer_keeps_others_out() {
    let test = Test::start();
    let peer = test.connect();
    let keeper = peer.open(1);
    let queue = keeper.temp_queue();
    keeper.consume_with(basic::Consume { exclusive: true, ..consumer(&queue, "c") });
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    let channel = peer.open(2);
    channel.send(consumer(&queue, "other"));
    channel.expect_close(403, &text, (60, 20));
    keeper.call(cancel("c"));
    let channel = peer.open(2);
    channel.consume(&queue, "other");
    keeper.send(basic::Consume { exclusive: true, ..consumer(&queue, "c") });
    keeper.expect_close(403, &text, (60, 20));
}

#[test]
fn consumers_of_higher_priority_come_first_as_long_as_they_can() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.consume(&queue, "normal");
    for (tag, priority) in [("low", -1), ("high", 10), ("higher", 20)] {
        let arguments = table([("x-priority", priority.into())]);
        channel.consume_with(basic::Consume { arguments, ..consumer(&queue, tag) });
    }
    publish_all(channel, &queue, &["1", "2", "3", "4", "5"]);
    assert_eq!(tags(channel, 4), ["higher", "high", "normal", "low"]);
    channel.ack(1);
    assert_eq!(tags(channel, 1), ["higher"]);
}

#[test]
fn a_priority_that_is_no_integer_is_refused() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    let arguments = table([("x-priority", AMQPValue::LongString("high".into()))]);
    channel.send(basic::Consume { arguments, ..consumer(&queue, "c") });
    let text = format!(
        "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': \"expected integer, got longstr\""
    );
    channel.expect_close(406, &text, (60, 20));
}

#[test]
fn a_single_active_consumer_gets_everything_until_the_next_takes_over() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue_with(table([("x-single-active-consumer", true.into())]));
    one.consume(&queue, "first");
    two.consume(&queue, "second");
    publish_all(one, &queue, &["a", "b", "c"]);
    assert_eq!(tags(one, 3), ["first", "first", "first"]);
    one.ack(1);
    one.call(cancel("first"));
    one.publish("", &queue, "d");
    assert_eq!(two.expect_bodies(1), ["d"]);
    one.close();
    let back: Vec<_> = (0..2).map(|_| two.expect_deliver()).collect();
    assert!(back.iter().all(|message| message.redelivered && message.consumer_tag == "second"), "{back:?}");
    two.expect_nothing_from(&queue);
}

#[test]
fn consumers_are_told_when_their_queue_is_deleted() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (peer.open(1), peer.open(2));
    let queue = other.temp_queue();
    channel.consume(&queue, "c");
    other.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    let told = channel.expect::<basic::Cancel>();
    assert_eq!((told.consumer_tag.as_str(), told.nowait), ("c", true));
    // The tag is free again.
    channel.call(cancel("c"));
    let queue = other.temp_queue();
    channel.consume(&queue, "c");
    other.publish("", &queue, "x");
    assert_eq!(channel.expect_deliver().consumer_tag, "c");
}

#[test]
fn consumers_of_clients_that_do_not_understand_are_not_told() {
    let test = Test::start();
    let peer = test.connect_with(&Options { capabilities: &[], ..Options::default() });
    let (channel, other) = (peer.open(1), peer.open(2));
    let queue = other.temp_queue();
    channel.consume(&queue, "c");
    other.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    channel.expect_nothing();
    let queue = other.temp_queue();
    other.publish("", &queue, "x");
    channel.expect_nothing_from(&queue);
}

#[test]
fn deliveries_of_a_deleted_queue_can_still_be_acknowledged() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    publish_all(channel, &queue, &["a", "b"]);
    channel.get(&queue).unwrap();
    channel.get(&queue).unwrap();
    channel.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    channel.ack(1);
    channel.requeue(2);
    channel.expect_nothing();
}

#[test]
fn nothing_is_delivered_after_cancel_ok() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    for _ in 0..500 {
        channel.publish("", &queue, "x");
    }
    channel.consume(&queue, "c");
    channel.send(cancel("c"));
    let mut delivered = 0;
    loop {
        match channel.next().method {
            AMQPClass::Basic(basic::AMQPMethod::Deliver(_)) => delivered += 1,
            AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)) => {
                assert_eq!(ok.consumer_tag.as_str(), "c");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    channel.publish("", &queue, "x");
    channel.expect_nothing_from(&queue);
    assert_eq!(channel.count(&queue) + delivered, 501);
}

#[test]
fn cancelling_what_does_not_consume_is_fine() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    assert_eq!(channel.call(cancel("nobody")).consumer_tag.as_str(), "nobody");
}

#[test]
fn a_consumer_tag_used_twice_on_a_channel_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (peer.open(1), peer.open(2));
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    other.consume(&queue, "c");
    channel.send(consumer(&queue, "c"));
    peer.expect_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'", (60, 20));
}

#[test]
fn a_consumer_on_another_connection_is_served() {
    let test = Test::start();
    let (sender, receiver) = (test.connect(), test.connect());
    let queue = test.queue("across");
    let channel = receiver.open(1);
    channel.queue(&queue);
    channel.consume(&queue, "c");
    let publisher = sender.open(1);
    for _ in 0..3000 {
        publisher.publish("", &queue, "x");
    }
    for tag in 1..=3000 {
        assert_eq!(channel.expect_deliver().delivery_tag, tag);
        channel.ack(tag);
    }
    channel.expect_nothing_from(&queue);
}

#[test]
fn a_rejected_message_goes_round_even_with_a_single_consumer() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.consume(&queue, "c");
    channel.publish("", &queue, "x");
    for tag in 1..=20 {
        let message = channel.expect_deliver();
        assert_eq!((message.delivery_tag, message.redelivered), (tag, tag > 1));
        channel.requeue(tag);
    }
}
