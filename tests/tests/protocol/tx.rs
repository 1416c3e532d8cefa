//! Transactions.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{basic, tx};

use crate::peer::{Channel, Peer};
use crate::target::Test;

/// A transactional channel.
fn open(peer: &Peer, id: u16) -> Channel<'_> {
    let channel = peer.open(id);
    channel.call(tx::Select {});
    channel
}

#[test]
fn publishes_appear_with_the_commit_and_in_order() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (open(&peer, 1), peer.open(2));
    let queue = channel.temp_queue();
    for body in ["a", "b", "c"] {
        channel.publish("", &queue, body);
    }
    assert_eq!(channel.count(&queue), 0);
    channel.call(tx::Commit {});
    assert_eq!(other.drain(&queue), ["a", "b", "c"]);
}

#[test]
fn a_rollback_forgets_publishes() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "a");
    channel.call(tx::Rollback {});
    channel.publish("", &queue, "b");
    channel.call(tx::Commit {});
    assert_eq!(channel.drain(&queue), ["b"]);
}

#[test]
fn acknowledgements_take_effect_with_the_commit() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (open(&peer, 1), peer.open(2));
    let queue = channel.temp_queue();
    for body in ["a", "b", "c"] {
        other.publish("", &queue, body);
    }
    other.expect_nothing_from(&queue);
    for tag in 1..=3 {
        assert_eq!(channel.get(&queue).unwrap().delivery_tag, tag);
    }
    channel.ack(1);
    channel.send(basic::Reject { delivery_tag: 2, requeue: true });
    channel.expect_nothing();
    assert_eq!(other.count(&queue), 0, "nothing is requeued before the commit");
    channel.call(tx::Commit {});
    assert_eq!(other.drain(&queue), ["b"]);
    channel.close();
    assert_eq!(other.drain(&queue), ["c"], "what was not settled comes back with the channel's end");
}

#[test]
fn a_rollback_leaves_deliveries_unacknowledged_to_be_settled_again() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (open(&peer, 1), peer.open(2));
    let queue = channel.temp_queue();
    other.publish("", &queue, "a");
    other.expect_nothing_from(&queue);
    channel.get(&queue).unwrap();
    channel.ack(1);
    channel.call(tx::Rollback {});
    assert_eq!(other.count(&queue), 0, "a rollback does not redeliver");
    channel.ack(1);
    channel.call(tx::Commit {});
    channel.close();
    assert_eq!(other.count(&queue), 0);
}

#[test]
fn a_delivery_settled_in_the_transaction_cannot_be_settled_twice() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "a");
    channel.call(tx::Commit {});
    channel.get(&queue).unwrap();
    channel.ack(1);
    channel.ack(1);
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80));
}

#[test]
fn a_closed_channel_forgets_its_transaction() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (open(&peer, 1), peer.open(2));
    let queue = other.temp_queue();
    other.publish("", &queue, "a");
    other.expect_nothing_from(&queue);
    channel.get(&queue).unwrap();
    channel.ack(1);
    channel.publish("", &queue, "b");
    channel.close();
    let back = other.get_with(&queue, true).unwrap();
    assert_eq!((back.text(), back.redelivered), ("a", true));
    assert!(other.get(&queue).is_none());
}

#[test]
fn unroutable_mandatory_messages_come_back_with_the_commit() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    channel.publish_mandatory("", "nowhere", "a");
    channel.expect_nothing();
    channel.send(tx::Commit {});
    assert_eq!(channel.expect_return().text(), "a");
    channel.expect::<tx::CommitOk>();
}

#[test]
fn persistent_messages_are_committed() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = test.queue("tx");
    channel.queue(&queue);
    for _ in 0..10 {
        channel.publish_with("", &queue, &AMQPProperties::default().with_delivery_mode(2), b"x");
    }
    channel.call(tx::Commit {});
    assert_eq!(channel.count(&queue), 10);
}

#[test]
fn a_publish_to_a_missing_exchange_closes_the_channel_at_once_and_nothing_is_kept() {
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (open(&peer, 1), peer.open(2));
    let queue = other.temp_queue();
    channel.publish("", &queue, "a");
    channel.publish("proto.missing", "", "b");
    channel.expect_close(404, "NOT_FOUND - no exchange 'proto.missing' in vhost '/'", (60, 40));
    assert_eq!(other.count(&queue), 0);
}

#[test]
fn selecting_twice_is_fine_and_commit_needs_a_select() {
    let test = Test::start();
    let peer = test.connect();
    open(&peer, 1).call(tx::Select {});
    let plain = peer.open(2);
    plain.send(tx::Commit {});
    plain.expect_close(406, "PRECONDITION_FAILED - channel is not transactional", (90, 20));
    let plain = peer.open(2);
    plain.send(tx::Rollback {});
    plain.expect_close(406, "PRECONDITION_FAILED - channel is not transactional", (90, 30));
}

#[test]
fn empty_transactions_commit_and_roll_back() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    channel.call(tx::Commit {});
    channel.call(tx::Rollback {});
    channel.call(tx::Commit {});
}
