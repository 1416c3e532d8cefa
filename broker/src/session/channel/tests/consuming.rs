//! Consuming: deliveries and their tags, settling, consumers, prefetch.

use super::*;

#[test]
fn deliveries_carry_rising_tags_shared_with_get() {
    let mut peer = TestPeer::with_channel();
    start_consumer(&mut peer, "t", 7);
    let mut delivery_7 = delivery(7, 1, b"abc");
    delivery_7.redelivered = true;
    peer.connection.handle_event(Event::Deliver(delivery_7));
    let deliver = basic::Deliver {
        consumer_tag: "t".into(),
        delivery_tag: 1,
        redelivered: true,
        exchange: "logs".into(),
        routing_key: "key".into(),
    };
    assert_eq!(
        peer.received(),
        [
            Received::Method(1, basic(basic::AMQPMethod::Deliver(deliver))),
            Received::Header(1, 3, NO_PROPERTIES.to_vec()),
            Received::Body(1, b"abc".to_vec()),
        ]
    );
    peer.send(1, &get("q"));
    let got = Reply::Got { delivery: delivery(8, 2, b""), message_count: 4, no_ack: false };
    peer.connection.handle_reply(Some(C1), Ok(got));
    let get_ok = basic::GetOk {
        delivery_tag: 2,
        redelivered: false,
        exchange: "logs".into(),
        routing_key: "key".into(),
        message_count: 4,
    };
    assert_eq!(peer.methods(), [basic(basic::AMQPMethod::GetOk(get_ok))]);
    peer.send(1, &get("q"));
    peer.connection.handle_reply(Some(C1), Ok(Reply::GetEmpty));
    assert_eq!(peer.methods(), [basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}))]);
    assert_eq!(settled(&peer.send(1, &ack(2, true))), (Settlement::Ack, vec![1, 2]));
}

#[test]
fn deliveries_without_acknowledgement_use_tags_but_cannot_be_acked() {
    let mut peer = with_deliveries(1);
    deliver(&mut peer, 7, NO_SLOT);
    deliver(&mut peer, 7, 3);
    assert_eq!(settled(&peer.send(1, &ack(3, false))), (Settlement::Ack, vec![3]));
    peer.received();
    peer.send(1, &ack(2, false));
    assert_eq!(peer.close().2, "PRECONDITION_FAILED - unknown delivery tag 2");
}

#[test]
fn settling_methods_map_to_settlements() {
    let mut peer = with_deliveries(7);
    assert_eq!(settled(&peer.send(1, &ack(1, false))), (Settlement::Ack, vec![1]));
    assert_eq!(settled(&peer.send(1, &nack(3, true, true))), (Settlement::Requeue, vec![2, 3]));
    assert_eq!(settled(&peer.send(1, &nack(4, false, false))), (Settlement::Discard, vec![4]));
    assert_eq!(settled(&peer.send(1, &reject(6, true))), (Settlement::Requeue, vec![6]));
    assert_eq!(settled(&peer.send(1, &reject(5, false))), (Settlement::Discard, vec![5]));
    assert_eq!(settled(&peer.send(1, &ack(0, true))), (Settlement::Ack, vec![7]));
    assert!(peer.send(1, &ack(0, true)).is_empty());
    assert_eq!(peer.received(), []);
}

#[test]
fn recover_requeues_all_that_is_unacked() {
    let mut peer = with_deliveries(3);
    assert_eq!(settled(&peer.send(1, &recover(true))), (Settlement::Requeue, vec![1, 2, 3]));
    assert_eq!(peer.methods(), [basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}))]);
    deliver(&mut peer, 7, 1);
    peer.received();
    let recover_async = basic(basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true }));
    assert_eq!(settled(&peer.send(1, &recover_async)), (Settlement::Requeue, vec![1]));
    assert_eq!(peer.received(), []);
}

#[test]
fn consumers_get_a_tag_if_they_bring_none() {
    let mut peer = TestPeer::with_channel();
    let actions = peer.send(1, &consume("q", "", true));
    let [Action::Consume(consume)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(consume.consumer_tag, format!("amq.ctag-{}", "A".repeat(22)));
    assert!(consume.no_ack);
}

#[test]
fn a_consumer_tag_can_be_used_again_once_it_is_cancelled_but_not_before() {
    let mut peer = TestPeer::with_channel();
    start_consumer(&mut peer, "t", 1);
    let actions = peer.send(1, &cancel("t"));
    assert!(matches!(actions[..], [Action::Cancel { channel: C1, source: SourceId(1) }]), "{actions:?}");
    peer.connection.handle_reply(Some(C1), Ok(Reply::Cancelled(SourceId(1))));
    assert_eq!(peer.methods(), [cancel_ok("t")]);
    start_consumer(&mut peer, "t", 2);
    peer.send(1, &consume("q", "t", false));
    assert_eq!(
        peer.close(),
        (0, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'".to_owned(), (60, 20))
    );
}

#[test]
fn cancelling_an_unknown_consumer_is_fine() {
    let mut peer = TestPeer::with_channel();
    assert!(peer.send(1, &cancel("zz")).is_empty());
    assert_eq!(peer.methods(), [cancel_ok("zz")]);
}

#[test]
fn consumers_per_channel_are_bounded() {
    let mut peer = TestPeer::with_channel();
    for (tag, source) in [("a", 1), ("b", 2), ("c", 3)] {
        start_consumer(&mut peer, tag, source);
    }
    peer.send(1, &consume("q", "d", false));
    let text = "NOT_ALLOWED - reached maximum (3) of consumers per channel";
    assert_eq!(peer.close(), (0, 530, text.to_owned(), (60, 20)));
}

#[test]
fn a_late_delivery_returns_to_its_queue() {
    let mut peer = with_deliveries(0);
    peer.send(1, &cancel("t"));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Cancelled(SourceId(7))));
    peer.received();
    let action = deliver(&mut peer, 7, 5).unwrap();
    assert_eq!(settled(&[action]), (Settlement::Requeue, vec![5]));
    assert!(deliver(&mut peer, 7, NO_SLOT).is_none());
    assert_eq!(peer.received(), []);
}

#[test]
fn a_consumer_whose_queue_goes_is_forgotten_and_cancelled_if_the_client_can_take_it() {
    for (properties, expected) in [(capable(), 1), (FieldTable::default(), 0)] {
        let mut peer = TestPeer::connected_with(config(), properties, tune_ok(10, 4096, 0));
        peer.send(1, &open_channel());
        start_consumer(&mut peer, "t", 7);
        deliver(&mut peer, 7, 1);
        peer.received();
        assert!(peer.connection.handle_event(Event::ConsumerCancelled(SourceId(7))).is_none());
        let methods = peer.methods();
        assert_eq!(methods.len(), expected);
        if let Some(method) = methods.first() {
            let cancel = basic::Cancel { consumer_tag: "t".into(), nowait: true };
            assert_eq!(*method, basic(basic::AMQPMethod::Cancel(cancel)));
        }
        assert_eq!(settled(&[deliver(&mut peer, 7, 2).unwrap()]), (Settlement::Requeue, vec![2]));
        assert_eq!(settled(&peer.send(1, &ack(1, false))), (Settlement::Ack, vec![1]));
        start_consumer(&mut peer, "t", 8);
    }
}

#[test]
fn prefetch_limits_go_where_they_belong() {
    let mut peer = TestPeer::with_channel();
    assert!(peer.send(1, &qos(5, false)).is_empty());
    let actions = peer.send(1, &qos(9, true));
    assert!(matches!(actions[..], [Action::SetChannelPrefetch { channel: C1, limit: 9 }]), "{actions:?}");
    let actions = peer.send(1, &consume("q", "t", false));
    assert!(matches!(&actions[..], [Action::Consume(consume)] if consume.prefetch == 5));
    let consuming = Reply::Consuming { consumer_tag: "t".to_owned(), source: SourceId(1), no_ack: false };
    peer.connection.handle_reply(Some(C1), Ok(consuming));
    let actions = peer.send(1, &qos(1, false));
    assert!(matches!(actions[..], [Action::SetChannelPrefetch { channel: C1, limit: 0 }]), "{actions:?}");
    let ok = basic(basic::AMQPMethod::QosOk(basic::QosOk {}));
    assert_eq!(peer.methods().iter().filter(|method| **method == ok).count(), 3);
}
