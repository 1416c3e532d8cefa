//! Channel-wide prefetch (`basic.qos` with global set) over several queues.

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;

use super::peer::{self, Broker, Peer, Sent};
use super::{TRANSIENT, bodies};

fn limit_channel(peer: &mut Peer, prefetch_count: u16) {
    let qos = basic::Qos { prefetch_count, global: true };
    peer.send(&peer::method(1, &AMQPClass::Basic(basic::AMQPMethod::Qos(qos))));
    peer.sent();
}

/// Starts a consumer that is called as its queue.
fn consume(peer: &mut Peer, queue: &str) {
    let consume = basic::Consume {
        queue: queue.into(),
        consumer_tag: queue.into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    };
    peer.send(&peer::method(1, &AMQPClass::Basic(basic::AMQPMethod::Consume(consume))));
}

fn fill(peer: &mut Peer, queue: &str, count: usize) {
    peer.declare_queue(queue, false);
    for number in 1..=count {
        peer.send(&peer::publish(1, queue, &TRANSIENT, format!("{queue}{number}").as_bytes()));
    }
}

fn requeue(delivery_tag: u64) -> Vec<u8> {
    let nack = basic::Nack { delivery_tag, multiple: false, requeue: true };
    peer::method(1, &AMQPClass::Basic(basic::AMQPMethod::Nack(nack)))
}

fn last_tag(sent: &[Sent]) -> Option<u64> {
    sent.iter().rev().find_map(|sent| match sent {
        Sent::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => Some(deliver.delivery_tag),
        _ => None,
    })
}

#[test]
fn queues_share_the_credit_of_a_channel_in_turn() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    fill(&mut peer, "a", 8);
    fill(&mut peer, "b", 3);
    limit_channel(&mut peer, 1);
    consume(&mut peer, "a");
    consume(&mut peer, "b");
    let mut got = Vec::new();
    loop {
        let sent = peer.sent();
        let Some(tag) = last_tag(&sent) else { break };
        assert_eq!(bodies(&sent).len(), 1);
        got.extend(bodies(&sent));
        peer.send(&peer::method(1, &peer::ack(tag)));
    }
    // The consumer of "a" was the first to be refused, so it is the first in the line.
    assert_eq!(got, ["a1", "a2", "b1", "a3", "b2", "a4", "b3", "a5", "a6", "a7", "a8"]);
}

#[test]
fn a_message_returned_again_and_again_does_not_keep_the_credit() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    fill(&mut peer, "a", 1);
    fill(&mut peer, "b", 1);
    limit_channel(&mut peer, 1);
    consume(&mut peer, "a");
    consume(&mut peer, "b");
    let mut got = Vec::new();
    for _ in 0..4 {
        let sent = peer.sent();
        got.extend(bodies(&sent));
        peer.send(&requeue(last_tag(&sent).expect("a delivery")));
    }
    assert_eq!(got, ["a1", "b1", "a1", "b1"]);
}

#[test]
fn lifting_a_limit_lets_everything_pass_and_setting_it_again_counts_all_of_it() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    fill(&mut peer, "a", 3);
    fill(&mut peer, "b", 3);
    limit_channel(&mut peer, 1);
    consume(&mut peer, "a");
    consume(&mut peer, "b");
    assert_eq!(bodies(&peer.sent()), ["a1"]);
    let qos = basic::Qos { prefetch_count: 0, global: true };
    peer.send(&peer::method(1, &AMQPClass::Basic(basic::AMQPMethod::Qos(qos))));
    assert_eq!(bodies(&peer.sent()).len(), 5);
    limit_channel(&mut peer, 6);
    peer.send(&peer::publish(1, "a", &TRANSIENT, b"a4"));
    assert_eq!(bodies(&peer.sent()), [""; 0]);
    peer.send(&peer::method(1, &peer::ack(1)));
    assert_eq!(bodies(&peer.sent()), ["a4"]);
}

#[test]
fn deliveries_of_a_cancelled_consumer_count_against_a_limit_set_later() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    fill(&mut peer, "a", 2);
    fill(&mut peer, "b", 2);
    consume(&mut peer, "a");
    assert_eq!(bodies(&peer.sent()).len(), 2);
    peer.send(&peer::method(1, &peer::cancel("a")));
    limit_channel(&mut peer, 2);
    consume(&mut peer, "b");
    assert_eq!(bodies(&peer.sent()), [""; 0]);
    peer.send(&peer::method(1, &peer::ack(1)));
    assert_eq!(bodies(&peer.sent()), ["b1"]);
    peer.send(&peer::method(1, &peer::ack(2)));
    assert_eq!(bodies(&peer.sent()), ["b2"]);
}
