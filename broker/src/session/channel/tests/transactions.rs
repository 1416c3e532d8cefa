//! Transactions.

use super::*;

#[test]
fn a_commit_hands_over_publishes_and_settlements_in_order() {
    let mut peer = with_deliveries(3);
    peer.send(1, &tx_select());
    peer.received();
    for body in [b"1", b"2"] {
        let actions = peer.publish(1, ("logs", "key"), &NO_PROPERTIES, body);
        assert!(matches!(&actions[..], [Action::CheckPublish(publish)] if publish.confirm.is_none()));
    }
    assert!(peer.send(1, &ack(2, true)).is_empty());
    assert!(peer.send(1, &reject(3, true)).is_empty());
    let actions = peer.send(1, &tx_commit());
    let [Action::Commit { channel: C1, publishes, settles }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(publishes.iter().map(|publish| publish.message.body()).collect::<Vec<_>>(), [b"1", b"2"]);
    let settles: Vec<_> = settles.iter().map(|settle| (settle.settlement, settle.deliveries.len())).collect();
    assert_eq!(settles, [(Settlement::Ack, 2), (Settlement::Requeue, 1)]);
    let returned = publishes[0].message.clone();
    peer.connection.handle_reply(Some(C1), Ok(Reply::Returned(returned)));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Committed(Durability::Immediate)));
    let methods = peer.methods();
    assert!(matches!(methods[0], AMQPClass::Basic(basic::AMQPMethod::Return(_))));
    assert_eq!(methods[1..], [AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}))]);
    assert!(
        matches!(&peer.send(1, &tx_commit())[..], [Action::Commit { publishes, .. }] if publishes.is_empty())
    );
}

#[test]
fn commit_ok_waits_for_the_store_and_nothing_else_is_allowed_meanwhile() {
    let commit = |peer: &mut TestPeer| {
        peer.send(1, &tx_select());
        peer.send(1, &tx_commit());
        peer.connection.handle_reply(Some(C1), Ok(Reply::Committed(Durability::AtEpoch(3))));
        peer.received();
    };
    let mut peer = TestPeer::with_channel();
    commit(&mut peer);
    peer.connection.handle_event(Event::Durable(2));
    assert_eq!(peer.received(), []);
    peer.connection.handle_event(Event::Durable(3));
    assert_eq!(peer.methods(), [AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}))]);

    let mut peer = TestPeer::with_channel();
    commit(&mut peer);
    peer.send(1, &flow(true));
    let text = "CHANNEL_ERROR - unexpected command while processing 'tx.commit'";
    assert_eq!(peer.close(), (0, 504, text.to_owned(), (20, 20)));

    let mut peer = TestPeer::with_channel();
    commit(&mut peer);
    peer.send(1, &channel_close());
    assert_eq!(peer.methods(), [channel_close_ok()]);
}

#[test]
fn a_rollback_drops_publishes_and_makes_acks_outstanding_again() {
    let mut peer = with_deliveries(3);
    peer.send(1, &tx_select());
    peer.publish(1, ("", "q"), &NO_PROPERTIES, b"");
    peer.send(1, &ack(2, false));
    peer.send(1, &tx_rollback());
    assert_eq!(peer.methods().len(), 2);
    assert!(peer.send(1, &ack(3, true)).is_empty());
    let actions = peer.send(1, &tx_commit());
    assert!(matches!(&actions[..], [Action::Commit { publishes, settles, .. }]
        if publishes.is_empty() && settles[0].deliveries.len() == 3));
}

#[test]
fn a_tag_cannot_be_acked_twice_in_a_transaction_and_its_messages_return_with_the_channel() {
    let mut peer = with_deliveries(2);
    peer.send(1, &tx_select());
    peer.send(1, &ack(1, false));
    let actions = peer.send(1, &ack(1, false));
    let [Action::CloseChannel { unacked, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(unacked.iter().map(|delivery| delivery.slot).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(peer.close().2, "PRECONDITION_FAILED - unknown delivery tag 1");
}

#[test]
fn held_bytes_are_those_of_unfinished_contents_and_of_open_transactions() {
    let mut peer = TestPeer::with_channel();
    peer.send(2, &open_channel());
    let held_bytes = |peer: &TestPeer| peer.connection.held_bytes();
    let names = "logskey".len() + NO_PROPERTIES.len();
    for (size, last_bytes) in [(12_000, 2_000), (50_000, 10_000)] {
        let bytes = publish_frames(2, ("logs", "key"), &NO_PROPERTIES, &vec![7; size]);
        let (head, tail) = bytes.split_at(bytes.len() - last_bytes - 8);
        peer.send_bytes(head);
        assert_eq!(held_bytes(&peer), names + size - last_bytes);
        assert_eq!(peer.send_bytes(tail).len(), 1);
        assert_eq!(held_bytes(&peer), 0);
    }

    peer.send(1, &tx_select());
    let small = publish_in(&mut peer, b"1");
    assert_eq!(held_bytes(&peer), small);
    let large = publish_in(&mut peer, &vec![1; 100_000]);
    assert!(large > 100_000);
    assert_eq!(held_bytes(&peer), small + large);
    peer.send(1, &tx_rollback());
    assert_eq!(held_bytes(&peer), 0);
    publish_in(&mut peer, b"1");
    peer.send(1, &tx_commit());
    assert_eq!(held_bytes(&peer), 0);
    peer.connection.handle_reply(Some(C1), Ok(Reply::Committed(Durability::Immediate)));
    assert_eq!(held_bytes(&peer), 0);
}

#[test]
fn nothing_is_held_for_a_channel_or_connection_that_is_gone() {
    let busy = || {
        let mut peer = TestPeer::with_channel();
        peer.send(1, &tx_select());
        let held = publish_in(&mut peer, b"1");
        peer.send(2, &open_channel());
        let bytes = publish_frames(2, ("", "q"), &NO_PROPERTIES, b"body");
        peer.send_bytes(&bytes[..bytes.len() - 12]);
        assert_eq!(peer.connection.held_bytes(), held + 3);
        peer
    };
    let mut peer = busy();
    peer.send(1, &channel_close());
    assert_eq!(peer.connection.held_bytes(), 3);
    // A channel in the middle of a content takes no method: that ends the connection.
    peer.send(2, &channel_close());
    assert_eq!(peer.connection.held_bytes(), 0);

    let mut peer = busy();
    peer.connection.handle_reply(Some(C1), Err(AmqpError::not_found("no exchange")));
    assert_eq!(peer.connection.held_bytes(), 3);
    peer.connection.handle_event(Event::Close(AmqpError::connection_forced("bye")));
    assert_eq!(peer.connection.held_bytes(), 0);

    let mut peer = busy();
    peer.connection.handle_disconnect();
    assert_eq!(peer.connection.held_bytes(), 0);
}

/// Publishes in the transaction of channel 1 and returns what the message occupies.
fn publish_in(peer: &mut TestPeer, body: &[u8]) -> usize {
    let mut actions = peer.publish(1, ("logs", "key"), &NO_PROPERTIES, body);
    let Some(Action::CheckPublish(publish)) = actions.pop() else { panic!("{actions:?}") };
    publish.message.memory_bytes()
}
