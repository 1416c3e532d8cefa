//! What happens when time passes.

use std::time::Duration;

use amq_protocol::types::AMQPValue;

use super::TRANSIENT;
use super::peer::{self, Broker, Peer};

const SECOND: Duration = Duration::from_secs(1);

fn expires(peer: &mut Peer, queue: &str) {
    peer.declare_with(queue, &[("x-expires", AMQPValue::LongInt(10_000))]);
}

#[test]
fn an_unused_queue_is_deleted_with_its_messages_after_its_time() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    expires(&mut peer, "q");
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"lost"));
    broker.pass(9 * SECOND);
    assert!(broker.has_queue("q"));
    broker.pass(SECOND);
    assert!(!broker.has_queue("q"));
    assert_eq!((broker.shared.memory.held_bytes(), broker.shared.timers.armed()), (0, 0));
}

#[test]
fn a_queue_that_is_asked_for_lives_on_but_publishing_is_no_use_of_it() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    for queue in ["declared", "looked-at", "got-from", "published-to"] {
        expires(&mut peer, queue);
    }
    broker.pass(6 * SECOND);
    expires(&mut peer, "declared");
    peer.send(&peer::method(1, &peer::declare_passively("looked-at")));
    peer.send(&peer::method(1, &peer::get("got-from")));
    peer.send(&peer::publish(1, "published-to", &TRANSIENT, b"x"));
    broker.pass(6 * SECOND);
    let left = ["declared", "looked-at", "got-from", "published-to"].map(|queue| broker.has_queue(queue));
    assert_eq!(left, [true, true, true, false]);
    broker.pass(4 * SECOND);
    assert!(!broker.has_queue("declared"));
}

#[test]
fn a_queue_with_a_consumer_does_not_expire_until_so_long_after_its_end() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    expires(&mut peer, "q");
    peer.consume("q", false);
    broker.pass(60 * SECOND);
    peer.send(&peer::method(1, &peer::cancel("tag")));
    broker.pass(9 * SECOND);
    assert!(broker.has_queue("q"));
    broker.pass(SECOND);
    assert!(!broker.has_queue("q"));
}

#[test]
fn deleted_queues_leave_nothing_with_the_timers() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    expires(&mut peer, "q");
    assert_eq!(broker.shared.timers.armed(), 1);
    peer.send(&peer::method(1, &peer::delete("q")));
    assert_eq!(broker.shared.timers.armed(), 0);
    peer.declare_with("plain", &[]);
    assert_eq!(broker.shared.timers.armed(), 0);
}
