//! Opening, closing and reusing channels.

use amq_protocol::protocol::{access, basic, channel, queue};

use crate::peer::Options;
use crate::target::Test;

#[test]
fn a_channel_opened_twice_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    peer.open(1).send(channel::Open {});
    peer.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10));
}

#[test]
fn a_method_on_an_unopened_channel_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    peer.channel(7).send(queue::Declare::default());
    peer.expect_close(504, "CHANNEL_ERROR - expected 'channel.open'", (50, 10));
}

#[test]
fn a_method_on_a_closed_channel_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.close();
    channel.send(basic::Get { queue: "x".into(), no_ack: true });
    peer.expect_close(504, "CHANNEL_ERROR - expected 'channel.open'", (60, 70));
}

#[test]
fn a_closed_number_can_be_opened_again_and_starts_afresh() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(3);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "one");
    assert_eq!(channel.get(&queue).unwrap().delivery_tag, 1);
    channel.close();
    let channel = peer.open(3);
    let again = channel.get(&queue).unwrap();
    assert_eq!((again.delivery_tag, again.redelivered), (1, true));
    channel.send(basic::Get { queue: "".into(), no_ack: true });
    channel.expect_close(404, "NOT_FOUND - no previously declared queue", (60, 70));
}

#[test]
fn what_follows_a_channel_error_is_discarded_until_close_ok() {
    let test = Test::start();
    let peer = test.connect();
    let healthy = peer.open(2);
    let queue = healthy.temp_queue();
    let channel = peer.open(1);
    channel.ack(1);
    // All of this is on its way before the client can know of the error.
    channel.publish("", &queue, "lost");
    channel.send(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80));
    assert_eq!(healthy.count(&queue), 0);
    assert_eq!(peer.open(1).count(&queue), 0);
}

#[test]
fn crossing_closes_are_both_answered() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.ack(1);
    channel.send(channel::Close { reply_code: 200, ..channel::Close::default() });
    let close = channel.expect::<channel::Close>();
    assert_eq!(close.reply_code, 406);
    channel.expect::<channel::CloseOk>();
    channel.send(channel::CloseOk {});
    peer.open(1).expect_nothing();
}

#[test]
fn an_error_on_one_channel_leaves_the_others_alone() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = two.temp_queue();
    two.consume(&queue, "c");
    one.ack(9);
    one.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 9", (60, 80));
    two.publish("", &queue, "still here");
    assert_eq!(two.expect_deliver().text(), "still here");
}

#[test]
fn one_channel_more_than_negotiated_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect_with(&Options { channel_max: Some(2), ..Options::default() });
    peer.open(1);
    peer.open(2).close();
    peer.open(2);
    peer.channel(3).send(channel::Open {});
    peer.expect_close(
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
        (0, 0),
    );
}

#[test]
fn as_many_channels_as_negotiated_work_side_by_side() {
    let test = Test::start();
    let peer = test.connect_with(&Options { channel_max: Some(300), ..Options::default() });
    let queue = peer.open(1).temp_queue();
    for id in 2..=300 {
        peer.open(id).publish("", &queue, "x");
    }
    for id in 1..=300 {
        peer.channel(id).expect_nothing();
    }
    assert_eq!(peer.channel(300).count(&queue), 299);
    for id in 1..=300 {
        peer.channel(id).close();
    }
    peer.close();
}

#[test]
fn flow_and_access_requests_are_answered() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    assert!(channel.call(channel::Flow { active: true }).active);
    let request = access::Request { realm: "/data".into(), active: true, ..access::Request::default() };
    channel.call(request);
}

#[test]
fn a_connection_closes_on_request_with_channels_open() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    peer.close();
}
