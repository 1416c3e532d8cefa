//! Where messages go that a queue gives up, and in what order the store hears of it.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, channel};
use amq_protocol::types::AMQPValue;

use super::peer::{self, Broker, Logged, Peer, Sent};
use super::{PERSISTENT, TRANSIENT, bodies};

const SECOND: Duration = Duration::from_secs(1);

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// To the queue of this name, by the default exchange.
fn dead_to(queue: &str) -> [(&'static str, AMQPValue); 2] {
    [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
}

fn with(more: &[(&'static str, AMQPValue)], queue: &str) -> Vec<(&'static str, AMQPValue)> {
    [&dead_to(queue), more].concat()
}

/// All that a queue holds.
fn drain(peer: &mut Peer, queue: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        peer.send(&peer::method(1, &peer::get(queue)));
        match bodies(&peer.sent()).pop() {
            Some(body) => found.push(body),
            None => return found,
        }
    }
}

#[test]
fn the_store_gets_a_dead_letter_before_the_original_is_settled() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("dead", true);
    peer.declare_durable_with("q", &dead_to("dead"));
    peer.send(&peer::publish(1, "q", &PERSISTENT, b"job"));
    peer.consume("q", false);
    assert_eq!(bodies(&peer.sent()), ["job"]);
    let (source, target) = (broker.queue_id("q"), broker.queue_id("dead"));
    assert_eq!(broker.store.take_log(), [Logged::Append(source)]);
    peer.send(&peer::method(1, &peer::reject(1)));
    assert_eq!(broker.store.take_log(), []);
    broker.bury();
    assert_eq!(broker.store.take_log(), [Logged::Append(target), Logged::Settle(source)]);
    assert_eq!(drain(&mut peer, "dead"), ["job"]);
    assert_eq!((broker.shared.memory.held_bytes(), broker.shared.dead_letters.counts().published), (0, 1));
}

#[test]
fn what_expires_is_dead_lettered_in_order_and_a_plain_queue_forgets_it() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("dead", false);
    peer.declare_with("q", &with(&[("x-message-ttl", AMQPValue::LongInt(10_000))], "dead"));
    peer.declare_with("plain", &[("x-message-ttl", AMQPValue::LongInt(10_000))]);
    for body in ["1", "2", "3"] {
        peer.send(&peer::publish(1, "q", &TRANSIENT, body.as_bytes()));
        peer.send(&peer::publish(1, "plain", &TRANSIENT, body.as_bytes()));
    }
    broker.pass(9 * SECOND);
    broker.bury();
    assert_eq!(drain(&mut peer, "dead"), [""; 0]);
    broker.pass(2 * SECOND);
    broker.bury();
    assert_eq!(drain(&mut peer, "dead"), ["1", "2", "3"]);
    assert_eq!(drain(&mut peer, "plain"), [""; 0]);
    assert_eq!(broker.shared.memory.held_bytes(), 0);
}

#[test]
fn no_expired_message_is_delivered_although_the_timer_is_late() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_with("q", &[("x-message-ttl", AMQPValue::LongInt(10_000))]);
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"old"));
    broker.shared.timers.oversleep(11 * SECOND);
    peer.send(&peer::method(1, &peer::get("q")));
    assert_eq!(bodies(&peer.sent()), [""; 0]);
}

#[test]
fn without_a_way_a_dead_letter_is_dropped_or_waits_if_it_must_arrive() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    let at_least_once =
        [("x-dead-letter-strategy", text("at-least-once")), ("x-overflow", text("reject-publish"))];
    peer.declare_durable_with("careless", &dead_to("later"));
    peer.declare_durable_with("careful", &with(&at_least_once, "later"));
    let careful = broker.queue_id("careful");
    for queue in ["careless", "careful"] {
        peer.send(&peer::publish(1, queue, &PERSISTENT, queue.as_bytes()));
        peer.consume_as(queue, queue);
    }
    assert_eq!(bodies(&peer.sent()).len(), 2);
    peer.send(&peer::method(1, &peer::reject(1)));
    peer.send(&peer::method(1, &peer::reject(2)));
    broker.store.take_log();
    broker.bury();
    assert_eq!(broker.store.take_log(), [Logged::Settle(broker.queue_id("careless"))]);
    peer.declare_queue("later", true);
    broker.bury();
    let later = broker.queue_id("later");
    assert_eq!(broker.store.take_log(), [Logged::Append(later), Logged::Settle(careful)]);
    assert_eq!(drain(&mut peer, "later"), ["careful"]);
}

#[test]
fn what_must_arrive_is_tried_again_only_where_it_was_refused() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    let short = [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))];
    peer.declare_with("short", &short);
    peer.declare_queue("long", false);
    peer.send(&peer::method(1, &peer::bind("short", "amq.fanout")));
    peer.send(&peer::method(1, &peer::bind("long", "amq.fanout")));
    let arguments = [
        ("x-dead-letter-exchange", text("amq.fanout")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-message-ttl", AMQPValue::LongInt(1000)),
    ];
    peer.declare_with("q", &arguments);
    for body in ["1", "2", "3"] {
        peer.send(&peer::publish(1, "q", &TRANSIENT, body.as_bytes()));
    }
    broker.pass(2 * SECOND);
    for round in ["1", "2", "3"] {
        broker.bury();
        assert_eq!(drain(&mut peer, "short"), [round]);
    }
    broker.bury();
    assert_eq!(drain(&mut peer, "short"), [""; 0]);
    assert_eq!(drain(&mut peer, "long"), ["1", "2", "3"]);
    assert_eq!(broker.shared.memory.held_bytes(), 0);
}

#[test]
fn messages_do_not_go_round_for_ever_by_themselves() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_with("q", &with(&[("x-message-ttl", AMQPValue::LongInt(1000))], "q"));
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"x"));
    broker.pass(2 * SECOND);
    broker.bury();
    assert_eq!(drain(&mut peer, "q"), [""; 0]);
    assert_eq!(broker.shared.dead_letters.counts().cycles, 1);
}

#[test]
fn dead_letters_of_a_deleted_queue_still_arrive() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("dead", true);
    peer.declare_durable_with("q", &dead_to("dead"));
    peer.send(&peer::publish(1, "q", &PERSISTENT, b"job"));
    peer.consume("q", false);
    peer.sent();
    peer.send(&peer::method(1, &peer::reject(1)));
    peer.send(&peer::method(1, &peer::delete("q")));
    broker.store.take_log();
    broker.bury();
    assert_eq!(broker.store.take_log(), [Logged::Append(broker.queue_id("dead"))]);
    assert_eq!(drain(&mut peer, "dead"), ["job"]);
}

#[test]
fn a_delivery_that_nobody_acknowledges_in_time_closes_its_channel_and_returns() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_with("q", &[("x-consumer-timeout", AMQPValue::LongInt(60_000))]);
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"job"));
    peer.consume("q", false);
    assert_eq!(bodies(&peer.sent()), ["job"]);
    broker.pass(59 * SECOND);
    assert_eq!(peer.sent(), []);
    // Looked for now and then, not to the second.
    broker.pass(61 * SECOND);
    let sent = peer.sent();
    let [Sent::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close)))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(
        (close.reply_code, close.reply_text.as_str()),
        (
            406,
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. This timeout \
             value can be configured, see consumers doc guide to learn more"
        )
    );
    let mut other = Peer::open(&broker);
    other.send(&peer::method(1, &peer::get("q")));
    assert_eq!(bodies(&other.sent()), ["job"]);
}
