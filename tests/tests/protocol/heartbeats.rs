//! Heartbeats. Time is measured in what the broker sends, not by a clock.

use amq_protocol::protocol::AMQPClass;

use crate::peer::Options;
use crate::target::Test;

const HEARTBEAT: u8 = 8;

fn every_second() -> Options {
    Options { heartbeat: 1, ..Options::default() }
}

#[test]
fn the_broker_sends_heartbeats_while_there_is_nothing_else_to_say() {
    let test = Test::start();
    let peer = test.connect_with(&every_second());
    peer.await_heartbeats(1);
    peer.open(1).expect_nothing();
    peer.await_heartbeats(2);
}

#[test]
fn a_client_that_falls_silent_is_dropped() {
    let test = Test::start();
    let peer = test.connect_with(&every_second());
    peer.open(1);
    // The broker sends at least one heartbeat a second, and must not wait for a fourth interval.
    peer.expect_end();
    assert!(peer.heartbeats() < 16, "dropped after {} heartbeats only", peer.heartbeats());
}

#[test]
fn heartbeats_alone_keep_a_connection_alive() {
    let test = Test::start();
    let peer = test.connect_with(&every_second());
    for count in 1..=5 {
        peer.await_heartbeats(count);
        peer.control().send_frame(HEARTBEAT, &[]);
    }
    peer.open(1).expect_nothing();
}

#[test]
fn any_traffic_keeps_a_connection_alive() {
    let test = Test::start();
    let peer = test.connect_with(&every_second());
    let channel = peer.open(1);
    for count in 1..=4 {
        peer.await_heartbeats(count);
        channel.publish("", "nowhere", "x");
    }
    channel.expect_nothing();
}

#[test]
fn no_heartbeats_are_sent_where_none_were_asked_for() {
    let test = Test::start();
    let (silent, clock) = (test.connect(), test.connect_with(&every_second()));
    for count in 1..=5 {
        clock.await_heartbeats(count);
        clock.control().send_frame(HEARTBEAT, &[]);
    }
    silent.open(1).expect_nothing();
    assert_eq!(silent.heartbeats(), 0);
}

#[test]
fn what_a_dropped_client_held_goes_to_others() {
    let test = Test::start();
    let queue = test.queue("silent");
    let other = test.connect();
    let channel = other.open(1);
    channel.queue(&queue);
    let silent = test.connect_with(&every_second());
    channel.publish("", &queue, "x");
    channel.expect_nothing_from(&queue);
    silent.open(1).get(&queue).unwrap();
    channel.consume(&queue, "c");
    let message = channel.expect_deliver();
    assert_eq!((message.text(), message.redelivered), ("x", true));
    if let Some(incoming) = silent.next(0) {
        assert!(
            !matches!(incoming.method, AMQPClass::Connection(_)),
            "a dead peer is told nothing: {incoming:?}"
        );
    }
}
