//! Scripts of frames on one channel.

#![allow(clippy::unwrap_used)]

mod consuming;
mod publishing;
mod transactions;

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
/// A content header frame with these properties.
const HEADER_FRAME_BYTES: usize = 22;
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

/// Methods in a row, and the channel, code, text and blamed method of the close that answers the last one.
type Mistake = (Vec<AMQPClass>, u16, u16, &'static str, (u16, u16));

/// What a client may do wrong with one method, and how it is told.
#[test]
#[allow(clippy::too_many_lines)] // A table.
fn mistakes_have_the_codes_texts_and_methods_of_rabbitmq() {
    let immediate =
        basic(basic::AMQPMethod::Publish(basic::Publish { immediate: true, ..basic::Publish::default() }));
    let table: Vec<Mistake> = vec![
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

fn immediate() -> PublishOutcome {
    PublishOutcome::Accepted(Durability::Immediate)
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
