//! Acknowledging, rejecting, giving back, recovering.

use amq_protocol::protocol::basic;

use crate::peer::{Channel, Message};
use crate::target::Test;

/// Publishes these bodies and fetches them all, unacknowledged.
fn hold(channel: Channel<'_>, queue: &str, bodies: &[&str]) -> Vec<u64> {
    for body in bodies {
        channel.publish("", queue, body);
    }
    bodies.iter().map(|_| channel.get(queue).expect("just published").delivery_tag).collect()
}

/// Fetches everything; body and redelivered flag of each.
fn rest(channel: Channel<'_>, queue: &str) -> Vec<(String, bool)> {
    let seen = |message: Message| (message.text().to_owned(), message.redelivered);
    std::iter::from_fn(|| channel.get_with(queue, true)).map(seen).collect()
}

fn again(bodies: &[&str]) -> Vec<(String, bool)> {
    bodies.iter().map(|body| ((*body).to_owned(), true)).collect()
}

#[test]
fn delivery_tags_count_from_one_on_each_channel_for_deliver_and_get_alike() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue();
    assert_eq!(hold(one, &queue, &["a", "b"]), [1, 2]);
    assert_eq!(hold(two, &queue, &["c"]), [1]);
    one.publish("", &queue, "d");
    one.get_with(&queue, true).unwrap();
    one.consume(&queue, "c");
    one.publish("", &queue, "e");
    assert_eq!(one.expect_deliver().delivery_tag, 4, "an automatic acknowledgement uses up a tag, too");
}

#[test]
fn ack_settles_one_delivery_in_any_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    hold(channel, &queue, &["a", "b", "c", "d"]);
    channel.ack(3);
    channel.ack(1);
    channel.call(basic::Recover { requeue: true });
    assert_eq!(rest(channel, &queue), again(&["b", "d"]));
}

#[test]
fn ack_multiple_settles_everything_up_to_the_tag() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    hold(channel, &queue, &["a", "b", "c", "d"]);
    channel.ack(2);
    channel.ack_up_to(3);
    channel.call(basic::Recover { requeue: true });
    assert_eq!(rest(channel, &queue), again(&["d"]));
}

#[test]
fn ack_multiple_of_zero_settles_everything_even_nothing() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.ack_up_to(0);
    hold(channel, &queue, &["a", "b"]);
    channel.ack_up_to(0);
    channel.call(basic::Recover { requeue: true });
    assert_eq!(channel.count(&queue), 0);
}

#[test]
fn settling_a_tag_that_is_not_outstanding_closes_the_channel() {
    type Settle = fn(Channel<'_>);
    let unknown: &[(&str, u64, u16, Settle)] = &[
        ("ack twice", 1, 80, |channel| {
            channel.ack(1);
            channel.ack(1);
        }),
        ("ack of the future", 3, 80, |channel| channel.ack(3)),
        ("ack of zero alone", 0, 80, |channel| channel.ack(0)),
        ("ack up to the future", 3, 80, |channel| channel.ack_up_to(3)),
        ("ack up to a settled tag", 1, 80, |channel| {
            channel.ack(1);
            channel.ack_up_to(1);
        }),
        ("reject", 9, 90, |channel| channel.send(basic::Reject { delivery_tag: 9, requeue: true })),
        ("nack", 8, 120, |channel| {
            channel.send(basic::Nack { delivery_tag: 8, multiple: false, requeue: true });
        }),
        ("nack multiple", 7, 120, |channel| {
            channel.send(basic::Nack { delivery_tag: 7, multiple: true, requeue: false });
        }),
    ];
    let test = Test::start();
    let peer = test.connect();
    for (name, tag, method, settle) in unknown {
        println!("{name}");
        let channel = peer.open(1);
        let queue = channel.temp_queue();
        hold(channel, &queue, &["a", "b"]);
        settle(channel);
        let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
        channel.expect_close(406, &text, (60, *method));
    }
}

#[test]
fn automatic_acknowledgements_cannot_be_acknowledged() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "a");
    assert_eq!(channel.get_with(&queue, true).unwrap().delivery_tag, 1);
    channel.ack(1);
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80));
}

#[test]
fn reject_with_requeue_puts_a_message_back_to_its_place() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    hold(channel, &queue, &["a", "b", "c"]);
    channel.publish("", &queue, "d");
    channel.requeue(2);
    channel.requeue(1);
    let mut expected = again(&["a", "b"]);
    expected.push(("d".to_owned(), false));
    assert_eq!(rest(channel, &queue), expected);
    channel.ack(3);
    channel.expect_nothing();
}

#[test]
fn nack_multiple_with_requeue_puts_messages_back_in_their_order() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    hold(channel, &queue, &["a", "b", "c", "d"]);
    channel.send(basic::Nack { delivery_tag: 3, multiple: true, requeue: true });
    assert_eq!(rest(channel, &queue), again(&["a", "b", "c"]));
    channel.send(basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
    assert_eq!(rest(channel, &queue), again(&["d"]));
}

#[test]
fn reject_and_nack_without_requeue_drop_messages() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    hold(channel, &queue, &["a", "b", "c", "d"]);
    channel.send(basic::Reject { delivery_tag: 2, requeue: false });
    channel.send(basic::Nack { delivery_tag: 3, multiple: true, requeue: false });
    channel.call(basic::Recover { requeue: true });
    assert_eq!(rest(channel, &queue), again(&["d"]));
}

#[test]
fn a_requeued_message_goes_to_the_next_consumer_marked_redelivered() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.qos(1, false);
    channel.consume(&queue, "one");
    channel.publish("", &queue, "a");
    channel.publish("", &queue, "b");
    let first = channel.expect_deliver();
    assert!(!first.redelivered);
    channel.consume(&queue, "two");
    assert_eq!(channel.expect_deliver().text(), "b");
    channel.requeue(first.delivery_tag);
    let second = channel.expect_deliver();
    assert_eq!((second.text(), second.redelivered, second.delivery_tag), ("a", true, 3));
}

#[test]
fn recover_gives_back_the_channels_own_deliveries_only() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue();
    hold(one, &queue, &["a"]);
    hold(two, &queue, &["b"]);
    one.call(basic::Recover { requeue: true });
    assert_eq!(rest(one, &queue), again(&["a"]));
    two.send(basic::RecoverAsync { requeue: true });
    two.expect_nothing();
    assert_eq!(rest(two, &queue), again(&["b"]));
}

#[test]
fn recover_delivers_to_consumers_again_under_new_tags() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    channel.publish("", &queue, "a");
    channel.publish("", &queue, "b");
    channel.expect_bodies(2);
    channel.send(basic::RecoverAsync { requeue: true });
    let (a, b) = (channel.expect_deliver(), channel.expect_deliver());
    assert_eq!((a.text(), a.redelivered, a.delivery_tag), ("a", true, 3));
    assert_eq!((b.text(), b.redelivered, b.delivery_tag), ("b", true, 4));
}

#[test]
fn a_closed_channel_gives_its_deliveries_back_in_order() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue();
    hold(one, &queue, &["a", "b", "c"]);
    one.publish("", &queue, "d");
    one.ack(2);
    one.close();
    let mut expected = again(&["a", "c"]);
    expected.push(("d".to_owned(), false));
    assert_eq!(rest(two, &queue), expected);
}

#[test]
fn a_channel_closed_by_an_error_gives_its_deliveries_back() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue();
    hold(one, &queue, &["a", "b"]);
    one.ack(9);
    one.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 9", (60, 80));
    // The peer may hear of the error before the queue does.
    two.consume(&queue, "c");
    for body in ["a", "b"] {
        let message = two.expect_deliver();
        assert_eq!((message.text(), message.redelivered), (body, true));
    }
}

#[test]
fn a_dropped_connection_gives_its_deliveries_back_in_order() {
    let test = Test::start();
    let survivor = test.connect();
    let channel = survivor.open(1);
    let queue = test.queue("dropped");
    channel.queue(&queue);
    let victim = test.connect();
    hold(victim.open(1), &queue, &["a", "b", "c"]);
    channel.consume(&queue, "c");
    drop(victim);
    for body in ["a", "b", "c"] {
        let message = channel.expect_deliver();
        assert_eq!((message.text(), message.redelivered), (body, true));
    }
}

#[test]
fn a_delivery_outlives_its_consumer() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    channel.publish("", &queue, "a");
    let tag = channel.expect_deliver().delivery_tag;
    channel.call(basic::Cancel { consumer_tag: "c".into(), nowait: false });
    assert_eq!(channel.count(&queue), 0);
    channel.requeue(tag);
    assert_eq!(rest(channel, &queue), again(&["a"]));
}
