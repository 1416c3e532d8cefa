//! Publishing: contents, faults of properties, direct reply-to, confirms and returns.

use super::*;

#[test]
fn a_publish_becomes_one_action_however_its_bytes_arrive() {
    for feed in [Feed::Whole, Feed::ByteByByte] {
        for size in [0, 1, 9_999, 10_001, 50_000] {
            let mut peer = TestPeer::with_channel();
            peer.feed = feed;
            let body = vec![3; size];
            let publish = publish(&mut peer, &[0x10, 0, 2], &body);
            assert_eq!(publish.message.exchange(), b"logs");
            assert_eq!(publish.message.routing_key(), b"key");
            assert_eq!(publish.message.properties(), [0x10, 0, 2]);
            assert_eq!(publish.message.body(), body);
            assert!(publish.message.is_persistent());
            assert!(publish.mandatory);
            assert_eq!(publish.confirm, None);
        }
    }
}

#[test]
fn contents_of_two_channels_may_interleave() {
    let mut peer = TestPeer::with_channel();
    peer.send(2, &open_channel());
    let split = |channel, body: &[u8]| {
        let bytes = publish_frames(channel, ("", "q"), &NO_PROPERTIES, body);
        let (head, tail) = bytes.split_at(bytes.len() - body.len() - 8);
        (head.to_vec(), tail.to_vec())
    };
    let (head_1, tail_1) = split(1, b"one");
    let (head_2, tail_2) = split(2, b"two");
    for bytes in [head_1, head_2] {
        assert!(peer.send_bytes(&bytes).is_empty());
    }
    for (bytes, channel, body) in [(tail_2, 2, b"two"), (tail_1, 1, b"one")] {
        let actions = peer.send_bytes(&bytes);
        let [Action::Publish(publish)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((publish.channel, publish.message.body()), (ChannelId(channel), &body[..]));
    }
}

#[test]
fn frames_that_break_a_content_end_the_connection() {
    let bytes = publish_frames(1, ("", "q"), &NO_PROPERTIES, b"");
    let publish = bytes[..bytes.len() - HEADER_FRAME_BYTES].to_vec();
    let header_frame = frame(2, 1, &header(5, &NO_PROPERTIES));
    let flow = frame(1, 1, &encode(&flow(true)));
    let body = frame(3, 1, b"abc");
    let no_header =
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    let no_body = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let no_method = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    let table = [
        (vec![&publish, &flow], 505, no_header, (60, 40)),
        (vec![&publish, &body], 505, no_header, (60, 40)),
        (vec![&publish, &header_frame, &flow], 505, no_body, (60, 40)),
        (vec![&publish, &header_frame, &header_frame], 505, no_body, (60, 40)),
        (vec![&header_frame], 505, no_method, (0, 0)),
        (vec![&body], 505, no_method, (0, 0)),
        (
            vec![&publish, &header_frame, &body, &body],
            501,
            "FRAME_ERROR - content body is 1 bytes longer than its header announced",
            (60, 40),
        ),
    ];
    for (frames, code, text, blamed) in table {
        let mut peer = TestPeer::with_channel();
        for frame in &frames {
            assert!(
                peer.send_bytes(frame).iter().all(|action| matches!(action, Action::CloseChannel { .. }))
            );
        }
        assert_eq!(peer.close(), (0, code, text.to_owned(), blamed));
    }
}

#[test]
fn a_content_header_of_another_class_ends_the_connection() {
    let mut peer = TestPeer::with_channel();
    let bytes = publish_frames(1, ("", "q"), &NO_PROPERTIES, b"");
    let publish = &bytes[..bytes.len() - HEADER_FRAME_BYTES];
    peer.send_bytes(publish);
    let mut payload = header(5, &NO_PROPERTIES);
    payload[1] = 50;
    peer.send_bytes(&frame(2, 1, &payload));
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead";
    assert_eq!(peer.close(), (0, 505, text.to_owned(), (60, 40)));
}

#[test]
fn a_message_over_the_bound_closes_the_channel_and_its_body_is_passed_over() {
    let mut peer = TestPeer::with_channel();
    let too_large = usize::try_from(config().message_bytes_max).unwrap() + 1;
    let actions = peer.publish(1, ("", "q"), &NO_PROPERTIES, &vec![0; too_large]);
    assert!(matches!(actions[..], [Action::CloseChannel { .. }]), "{actions:?}");
    let text = "PRECONDITION_FAILED - message size 1048577 is larger than configured max size 1048576";
    assert_eq!(peer.close(), (1, 406, text.to_owned(), (60, 40)));
    peer.send(1, &channel_close_ok());
    peer.send(1, &open_channel());
    peer.received();
    publish(&mut peer, &NO_PROPERTIES, &vec![0; too_large - 1]);
}

#[test]
fn property_faults_travel_with_the_publish() {
    let mut peer = TestPeer::with_channel();
    let expiration = [&[1, 0, 3][..], b"foo"].concat();
    let publish = publish(&mut peer, &expiration, b"");
    let fault = *publish.fault.unwrap();
    assert!(peer.connection.handle_reply(Some(C1), Err(fault)).is_some());
    let text = "PRECONDITION_FAILED - invalid expiration 'foo': no_integer";
    assert_eq!(peer.close(), (1, 406, text.to_owned(), (60, 40)));
}

#[test]
fn direct_reply_needs_a_consumer_of_its_own() {
    let reply_to = [&[2, 0, 21][..], REPLY_TO.as_bytes()].concat();
    let mut peer = TestPeer::with_channel();
    let without = publish(&mut peer, &reply_to, b"");
    assert_eq!(without.direct_reply_to, None);
    assert_eq!(without.fault.unwrap().text, "fast reply consumer does not exist");

    peer.send(1, &consume(REPLY_TO, "t", true));
    let consuming = Reply::Consuming { consumer_tag: "t".to_owned(), source: SourceId(4), no_ack: true };
    peer.connection.handle_reply(Some(C1), Ok(consuming));
    let with = publish(&mut peer, &reply_to, b"");
    assert_eq!((with.direct_reply_to, with.fault), (Some(SourceId(4)), None));
    assert_eq!(publish(&mut peer, &NO_PROPERTIES, b"").direct_reply_to, None);

    peer.send(1, &cancel("t"));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Cancelled(SourceId(4))));
    assert!(publish(&mut peer, &reply_to, b"").fault.is_some());
    peer.received();

    peer.send(1, &consume(REPLY_TO, "u", true));
    let consuming = Reply::Consuming { consumer_tag: "u".to_owned(), source: SourceId(5), no_ack: true };
    peer.connection.handle_reply(Some(C1), Ok(consuming));
    peer.send(1, &consume(REPLY_TO, "v", true));
    let text = "PRECONDITION_FAILED - reply consumer already set";
    assert_eq!(peer.close(), (1, 406, text.to_owned(), (60, 20)));
}

#[test]
fn confirms_are_numbered_from_the_select_on_and_coalesced() {
    let mut peer = TestPeer::with_channel();
    assert_eq!(publish(&mut peer, &NO_PROPERTIES, b"").confirm, None);
    for _ in 0..2 {
        peer.send(1, &confirm_select());
        assert_eq!(peer.methods().len(), 1);
    }
    for number in 1..=3 {
        assert_eq!(publish(&mut peer, &NO_PROPERTIES, b"").confirm, Some(number));
        peer.connection.handle_confirm(C1, number, immediate());
    }
    assert_eq!(peer.received(), []);
    peer.connection.flush_confirms();
    assert_eq!(peer.methods(), [ack(3, true)]);
    assert_eq!(publish(&mut peer, &NO_PROPERTIES, b"").confirm, Some(4));
    peer.connection.handle_confirm(C1, 4, PublishOutcome::Rejected);
    peer.connection.flush_confirms();
    assert_eq!(peer.methods(), [nack(4, false, true)]);
}

#[test]
fn a_return_goes_out_before_the_confirm_of_its_message() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &confirm_select());
    peer.received();
    let publish = publish(&mut peer, &NO_PROPERTIES, b"abc");
    peer.connection.handle_confirm(C1, 1, immediate());
    assert!(peer.connection.handle_reply(Some(C1), Ok(Reply::Returned(publish.message))).is_none());
    peer.connection.flush_confirms();
    let received = peer.received();
    let returned = basic::Return {
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
        exchange: "logs".into(),
        routing_key: "key".into(),
    };
    assert_eq!(received[0], Received::Method(1, basic(basic::AMQPMethod::Return(returned))));
    assert_eq!(received[2..], [Received::Body(1, b"abc".to_vec()), Received::Method(1, ack(1, false))]);
}

#[test]
fn confirms_wait_for_their_epoch() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &confirm_select());
    peer.received();
    for (number, epoch) in [(1, 5), (2, 6)] {
        publish(&mut peer, &NO_PROPERTIES, b"");
        let outcome = PublishOutcome::Accepted(Durability::AtEpoch(epoch));
        peer.connection.handle_confirm(C1, number, outcome);
    }
    peer.connection.flush_confirms();
    assert_eq!(peer.received(), []);
    peer.connection.handle_event(Event::Durable(5));
    peer.connection.flush_confirms();
    assert_eq!(peer.methods(), [ack(1, false)]);
    peer.connection.handle_event(Event::Durable(6));
    peer.connection.flush_confirms();
    assert_eq!(peer.methods(), [ack(2, false)]);
    publish(&mut peer, &NO_PROPERTIES, b"");
    peer.connection.handle_confirm(C1, 3, PublishOutcome::Accepted(Durability::AtEpoch(6)));
    peer.connection.flush_confirms();
    assert_eq!(peer.methods(), [ack(3, false)]);
}

#[test]
fn confirms_of_a_closed_channel_are_dropped() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &confirm_select());
    publish(&mut peer, &NO_PROPERTIES, b"");
    publish(&mut peer, &NO_PROPERTIES, b"");
    peer.connection.handle_confirm(C1, 1, immediate());
    peer.connection.handle_confirm(C1, 2, PublishOutcome::Accepted(Durability::AtEpoch(1)));
    peer.send(1, &channel_close());
    peer.send(1, &open_channel());
    peer.received();
    peer.connection.handle_event(Event::Durable(1));
    peer.connection.handle_confirm(C1, 1, immediate());
    peer.connection.flush_confirms();
    assert_eq!(peer.received(), []);
}
