//! Scripts of frames on one channel.

#![allow(clippy::unwrap_used)]

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};
use amq_protocol::types::FieldTable;

use crate::error::AmqpError;
use crate::session::action::{
    Action, BindingChange, ChannelId, Delivery, DeliveryRef, Durability, Event, NO_SLOT, PublishOutcome,
    Reply, Settlement, SourceId, TopologyReply, TopologyRequest,
};
use crate::session::testing::{
    Feed, Received, TestPeer, capable, config, encode, frame, header, open_channel, publish_frames, tune_ok,
};
use crate::wire::message::Message;

const C1: ChannelId = ChannelId(1);
const NO_PROPERTIES: [u8; 2] = [0, 0];
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn basic(method: basic::AMQPMethod) -> AMQPClass {
    AMQPClass::Basic(method)
}

fn queue_declare(name: &str, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        nowait,
        ..queue::Declare::default()
    }))
}

fn queue_bind(queue: &str, key: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: "amq.topic".into(),
        routing_key: key.into(),
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

fn consume(queue: &str, tag: &str, no_ack: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        no_ack,
        ..basic::Consume::default()
    }))
}

fn cancel(tag: &str) -> AMQPClass {
    basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false }))
}

fn cancel_ok(tag: &str) -> AMQPClass {
    basic(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: tag.into() }))
}

fn get(queue: &str) -> AMQPClass {
    basic(basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack: false }))
}

fn ack(delivery_tag: u64, multiple: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }))
}

fn reject(delivery_tag: u64, requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }))
}

fn recover(requeue: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Recover(basic::Recover { requeue }))
}

fn qos(prefetch_count: u16, global: bool) -> AMQPClass {
    basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global }))
}

fn confirm_select() -> AMQPClass {
    AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))
}

fn tx_select() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))
}

fn tx_commit() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))
}

fn tx_rollback() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {}))
}

fn flow(active: bool) -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active }))
}

fn channel_close() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default()))
}

fn channel_close_ok() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
}

fn message(body: &[u8]) -> Message {
    Message::new("logs", "key", &NO_PROPERTIES, false, body)
}

fn delivery(source: u32, slot: u32, body: &[u8]) -> Delivery {
    Delivery {
        reference: DeliveryRef { source: SourceId(source), slot },
        redelivered: false,
        message: message(body),
    }
}

fn deliver(peer: &mut TestPeer, source: u32, slot: u32) -> Option<Action> {
    peer.connection.handle_event(Event::Deliver(delivery(source, slot, b"x")))
}

/// A running consumer.
fn start_consumer(peer: &mut TestPeer, tag: &str, source: u32) {
    let actions = peer.send(1, &consume("q", tag, false));
    let [Action::Consume(consume)] = &actions[..] else { panic!("{actions:?}") };
    let reply = Reply::Consuming {
        consumer_tag: consume.consumer_tag.clone(),
        source: SourceId(source),
        no_ack: false,
    };
    assert!(peer.connection.handle_reply(Some(C1), Ok(reply)).is_none());
    peer.received();
}

/// A channel whose consumer `t` has been delivered `count` messages, in slots 1, 2, ...
fn with_deliveries(count: u32) -> TestPeer {
    let mut peer = TestPeer::with_channel();
    start_consumer(&mut peer, "t", 7);
    for slot in 1..=count {
        assert!(deliver(&mut peer, 7, slot).is_none());
    }
    peer.received();
    peer
}

/// The slots of a settle action, with what becomes of them.
fn settled(actions: &[Action]) -> (Settlement, Vec<u32>) {
    let [Action::Settle(settle)] = actions else { panic!("{actions:?}") };
    (settle.settlement, settle.deliveries.iter().map(|delivery| delivery.slot).collect())
}

fn publish(peer: &mut TestPeer, properties: &[u8], body: &[u8]) -> crate::session::action::Publish {
    let mut actions = peer.publish(1, ("logs", "key"), properties, body);
    assert_eq!(actions.len(), 1);
    match actions.pop() {
        Some(Action::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

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

/// What a client may do wrong with one method, and how it is told.
#[test]
fn mistakes_have_the_codes_texts_and_methods_of_rabbitmq() {
    type Script = Vec<AMQPClass>;
    let immediate =
        basic(basic::AMQPMethod::Publish(basic::Publish { immediate: true, ..basic::Publish::default() }));
    let table: Vec<(Script, u16, u16, &str, (u16, u16))> = vec![
        (vec![ack(9, false)], 1, 406, "PRECONDITION_FAILED - unknown delivery tag 9", (60, 80)),
        (vec![ack(0, false)], 1, 406, "PRECONDITION_FAILED - unknown delivery tag 0", (60, 80)),
        (vec![ack(1, true)], 1, 406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80)),
        (vec![nack(2, false, true)], 1, 406, "PRECONDITION_FAILED - unknown delivery tag 2", (60, 120)),
        (vec![reject(3, true)], 1, 406, "PRECONDITION_FAILED - unknown delivery tag 3", (60, 90)),
        (vec![tx_commit()], 1, 406, "PRECONDITION_FAILED - channel is not transactional", (90, 20)),
        (vec![tx_rollback()], 1, 406, "PRECONDITION_FAILED - channel is not transactional", (90, 30)),
        (
            vec![tx_select(), confirm_select()],
            1,
            406,
            "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
            (85, 10),
        ),
        (
            vec![confirm_select(), tx_select()],
            1,
            406,
            "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
            (90, 10),
        ),
        (vec![get("")], 1, 404, "NOT_FOUND - no previously declared queue", (60, 70)),
        (vec![consume("", "t", false)], 1, 404, "NOT_FOUND - no previously declared queue", (60, 20)),
        (vec![queue_bind("", "")], 1, 404, "NOT_FOUND - no previously declared queue", (50, 20)),
        (
            vec![consume(REPLY_TO, "t", false)],
            1,
            406,
            "PRECONDITION_FAILED - reply consumer cannot acknowledge",
            (60, 20),
        ),
        (vec![flow(false)], 0, 540, "NOT_IMPLEMENTED - active=false", (20, 20)),
        (vec![recover(false)], 0, 540, "NOT_IMPLEMENTED - requeue=false", (60, 110)),
        (vec![immediate], 0, 540, "NOT_IMPLEMENTED - immediate=true", (60, 40)),
        (vec![open_channel()], 0, 504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10)),
        (vec![channel_close_ok()], 0, 503, "COMMAND_INVALID - unimplemented method", (20, 41)),
        (vec![cancel_ok("t")], 0, 503, "COMMAND_INVALID - unimplemented method", (60, 31)),
        (
            vec![AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk::default()))],
            0,
            503,
            "COMMAND_INVALID - unimplemented method",
            (50, 11),
        ),
        (
            vec![AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))],
            0,
            503,
            "COMMAND_INVALID - unimplemented method",
            (10, 51),
        ),
    ];
    for (script, channel, code, text, blamed) in table {
        let mut peer = TestPeer::with_channel();
        for method in &script {
            peer.send(1, method);
        }
        assert_eq!(peer.close(), (channel, code, text.to_owned(), blamed), "{script:?}");
    }
}

#[test]
fn a_prefetch_limit_in_bytes_is_not_implemented() {
    let mut peer = TestPeer::with_channel();
    peer.send_bytes(&frame(1, 1, &[0, 60, 0, 10, 0, 0, 0, 7, 0, 1, 0]));
    assert_eq!(peer.close(), (0, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (7)".to_owned(), (60, 10)));
}

#[test]
fn frames_that_break_a_content_end_the_connection() {
    let publish = frame(1, 1, &publish_frames(1, ("", "q"), &NO_PROPERTIES, b"")[7..][..12]);
    let publish = publish_frames(1, ("", "q"), &NO_PROPERTIES, b"").get(..publish.len()).unwrap().to_vec();
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
    let publish = &bytes[..bytes.len() - 22];
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
fn an_error_of_the_server_is_blamed_on_the_request_it_answers() {
    let no_queue = || AmqpError::not_found("no queue 'q' in vhost '/'");
    let mut peer = TestPeer::with_channel();
    peer.send(1, &get("q"));
    let action = peer.connection.handle_reply(Some(C1), Err(no_queue()));
    assert!(matches!(action, Some(Action::CloseChannel { channel: C1, .. })));
    assert_eq!(peer.close().3, (60, 70));

    let mut peer = TestPeer::with_channel();
    peer.send(1, &queue_declare("q", true));
    peer.connection.handle_reply(Some(C1), Err(no_queue()));
    assert_eq!(peer.close(), (1, 404, "NOT_FOUND - no queue 'q' in vhost '/'".to_owned(), (50, 10)));

    let mut peer = TestPeer::with_channel();
    publish(&mut peer, &NO_PROPERTIES, b"");
    peer.connection.handle_reply(Some(C1), Err(AmqpError::not_found("no exchange 'logs' in vhost '/'")));
    assert_eq!(peer.close().3, (60, 40));
}

#[test]
fn a_closing_channel_passes_everything_over_until_close_ok() {
    let mut peer = with_deliveries(2);
    peer.send(2, &open_channel());
    let actions = peer.send(1, &ack(9, false));
    let [Action::CloseChannel { channel, sources, unacked }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((*channel, &sources[..]), (C1, &[SourceId(7)][..]));
    assert_eq!(unacked.iter().map(|delivery| delivery.slot).collect::<Vec<_>>(), [1, 2]);
    peer.received();

    assert!(peer.send(1, &get("q")).is_empty());
    assert!(peer.send(1, &open_channel()).is_empty());
    assert!(peer.publish(1, ("", "q"), &NO_PROPERTIES, b"abc").is_empty());
    assert_eq!(peer.received(), []);
    peer.send(1, &channel_close());
    assert_eq!(peer.received(), [Received::Method(1, channel_close_ok())]);

    // The other channel goes on, and after close-ok the number can be used again, with tags from 1.
    assert_eq!(peer.send(2, &get("q")).len(), 1);
    peer.send(1, &channel_close_ok());
    peer.send(1, &open_channel());
    start_consumer(&mut peer, "t", 8);
    assert!(deliver(&mut peer, 8, 1).is_none());
    assert_eq!(settled(&peer.send(1, &ack(1, false))), (Settlement::Ack, vec![1]));
}

#[test]
fn channel_close_gives_everything_back_and_is_answered() {
    let mut peer = with_deliveries(1);
    let actions = peer.send(1, &channel_close());
    assert!(
        matches!(&actions[..], [Action::CloseChannel { sources, unacked, .. }] if sources.len() == 1 && unacked.len() == 1)
    );
    assert_eq!(peer.received(), [Received::Method(1, channel_close_ok())]);
    peer.send(1, &ack(1, false));
    assert_eq!(peer.close(), (0, 504, "CHANNEL_ERROR - expected 'channel.open'".to_owned(), (60, 80)));
}

#[test]
fn topology_requests_are_translated_and_their_answers_encoded() {
    let mut peer = TestPeer::with_channel();
    let declare = AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: "lo\r\ngs".into(),
        kind: "topic".into(),
        durable: true,
        ..exchange::Declare::default()
    }));
    let actions = peer.send(1, &declare);
    let [
        Action::Topology {
            channel: C1,
            request: TopologyRequest::DeclareExchange { name, kind, durable, .. },
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((&name[..], &kind[..], *durable), ("logs", "topic", true));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Topology(TopologyReply::Done)));
    let ok = AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}));
    assert_eq!(peer.methods(), [ok]);

    let delete = queue::Delete { queue: "q".into(), if_unused: true, ..queue::Delete::default() };
    let actions = peer.send(1, &AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    assert!(matches!(
        &actions[..],
        [Action::Topology { request: TopologyRequest::DeleteQueue { queue, if_unused: true, if_empty: false }, .. }]
            if queue == "q"
    ));
    let removed = TopologyReply::Removed { message_count: 5 };
    peer.connection.handle_reply(Some(C1), Ok(Reply::Topology(removed)));
    let ok = AMQPClass::Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: 5 }));
    assert_eq!(peer.methods(), [ok]);
}

#[test]
fn an_empty_queue_name_is_the_queue_declared_last() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &queue_declare("", false));
    let declared =
        TopologyReply::QueueDeclared { name: "amq.gen-1".to_owned(), message_count: 2, consumer_count: 3 };
    peer.connection.handle_reply(Some(C1), Ok(Reply::Topology(declared)));
    let ok = queue::DeclareOk { queue: "amq.gen-1".into(), message_count: 2, consumer_count: 3 };
    assert_eq!(peer.methods(), [AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))]);

    for (key, bound) in [("", "amq.gen-1"), ("k", "k")] {
        let actions = peer.send(1, &queue_bind("", key));
        let [
            Action::Topology {
                request: TopologyRequest::BindQueue { change, queue, routing_key, .. }, ..
            },
        ] = &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((*change, &queue[..], &routing_key[..]), (BindingChange::Bind, "amq.gen-1", bound));
        peer.connection.handle_reply(Some(C1), Ok(Reply::Topology(TopologyReply::Done)));
    }
    let actions = peer.send(1, &get(""));
    assert!(matches!(&actions[..], [Action::Get { queue, .. }] if queue == "amq.gen-1"));
}

#[test]
fn nowait_has_the_effect_without_the_answer() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &queue_declare("q", true));
    let declared = TopologyReply::QueueDeclared { name: "q".to_owned(), message_count: 0, consumer_count: 0 };
    peer.connection.handle_reply(Some(C1), Ok(Reply::Topology(declared)));
    let nowait = basic::Consume { consumer_tag: "t".into(), nowait: true, ..basic::Consume::default() };
    let actions = peer.send(1, &basic(basic::AMQPMethod::Consume(nowait)));
    assert!(matches!(&actions[..], [Action::Consume(consume)] if consume.queue == "q"));
    let consuming = Reply::Consuming { consumer_tag: "t".to_owned(), source: SourceId(1), no_ack: false };
    peer.connection.handle_reply(Some(C1), Ok(consuming));
    let nowait = basic::Cancel { consumer_tag: "t".into(), nowait: true };
    peer.send(1, &basic(basic::AMQPMethod::Cancel(nowait)));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Cancelled(SourceId(1))));
    peer.send(1, &AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true })));
    assert_eq!(peer.received(), []);
    assert_eq!(publish(&mut peer, &NO_PROPERTIES, b"").confirm, Some(1));
}

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

fn immediate() -> PublishOutcome {
    PublishOutcome::Accepted(Durability::Immediate)
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
fn access_is_always_granted_and_flow_may_only_be_switched_on() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &AMQPClass::Access(access::AMQPMethod::Request(access::Request::default())));
    // Ticket 1, in a frame of its own because the parser drops it.
    assert_eq!(peer.take_bytes(), frame(1, 1, &[0, 30, 0, 11, 0, 1]));
    peer.send(1, &flow(true));
    let ok = AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active: true }));
    assert_eq!(peer.methods(), [ok]);
}

#[test]
fn an_answer_that_does_not_fit_is_our_fault() {
    let mut peer = TestPeer::with_channel();
    peer.send(1, &get("q"));
    peer.connection.handle_reply(Some(C1), Ok(Reply::Cancelled(SourceId(1))));
    assert_eq!(peer.close().1, 541);
}
