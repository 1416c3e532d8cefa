//! What publishers hear of queues that refuse messages.

use amq_protocol::protocol::{AMQPClass, basic, channel};
use amq_protocol::types::AMQPValue;

use super::peer::{self, Broker, Peer, Sent};
use super::{TRANSIENT, acks, bodies};

fn nacks(sent: &[Sent]) -> Vec<u64> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Method(_, AMQPClass::Basic(basic::AMQPMethod::Nack(nack))) => Some(nack.delivery_tag),
            _ => None,
        })
        .collect()
}

fn declare_short(peer: &mut Peer, queue: &str, messages: i32) {
    let overflow = AMQPValue::LongString("reject-publish".into());
    peer.declare_with(queue, &[("x-max-length", AMQPValue::LongInt(messages)), ("x-overflow", overflow)]);
}

#[test]
fn what_a_full_queue_refuses_is_nacked_and_the_rest_is_acked() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    declare_short(&mut peer, "short", 2);
    peer.declare_queue("q", false);
    peer.confirm_select();
    let mut input = Vec::new();
    for queue in ["short", "short", "short", "q", "short"] {
        input.extend(peer::publish(1, queue, &TRANSIENT, b"x"));
    }
    peer.send(&input);
    let sent = peer.sent();
    assert_eq!((acks(&sent), nacks(&sent)), (vec![(2, true), (4, false)], vec![3, 5]));
    // There is room again.
    peer.send(&peer::method(1, &peer::get("short")));
    peer.sent();
    peer.send(&peer::publish(1, "short", &TRANSIENT, b"x"));
    assert_eq!(acks(&peer.sent()), [(6, false)]);
}

#[test]
fn a_message_that_one_of_two_queues_refuses_is_nacked_and_the_other_keeps_it() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    declare_short(&mut peer, "full", 0);
    peer.declare_queue("q", false);
    peer.send(&peer::method(1, &peer::bind("full", "amq.fanout")));
    peer.send(&peer::method(1, &peer::bind("q", "amq.fanout")));
    peer.confirm_select();
    peer.send(&peer::publish_to(1, "amq.fanout", "", b"half"));
    assert_eq!(nacks(&peer.sent()), [1]);
    peer.send(&peer::method(1, &peer::get("q")));
    assert_eq!(bodies(&peer.sent()), ["half"]);
}

#[test]
fn a_refusal_is_told_to_the_channel_that_published_and_no_other() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    declare_short(&mut peer, "full", 0);
    declare_short(&mut peer, "roomy", 10);
    peer.send(&peer::method(2, &peer::open_channel()));
    peer.sent();
    peer.confirm_select();
    let mut input = peer::publish(2, "full", &TRANSIENT, b"unconfirmed");
    input.extend(peer::publish(1, "roomy", &TRANSIENT, b"x"));
    peer.send(&input);
    let sent = peer.sent();
    assert_eq!((acks(&sent), nacks(&sent)), (vec![(1, false)], vec![]));
}

#[test]
fn a_transaction_with_a_refused_message_fails() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    declare_short(&mut peer, "short", 1);
    peer.select_transactions();
    peer.send(&peer::publish(1, "short", &TRANSIENT, b"a"));
    peer.send(&peer::method(1, &peer::commit()));
    peer.send(&peer::publish(1, "short", &TRANSIENT, b"b"));
    peer.send(&peer::method(1, &peer::commit()));
    let sent = peer.sent();
    let Some(Sent::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close)))) = sent.last() else {
        panic!("{sent:?}")
    };
    let text = close.reply_text.as_str();
    assert_eq!((close.reply_code, text), (406, "PRECONDITION_FAILED - partial tx completion"));
    assert_eq!((close.class_id, close.method_id), (90, 20));
}
