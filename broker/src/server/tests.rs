//! Conversations with drivers, without sockets: what only the server's own parts can get wrong, above all order.

mod alarms;
mod dead_letters;
mod expiry;
mod meters;
mod peer;
mod prefetch;
mod refusals;

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue, tx};

use crate::limits::{CLOSE_OK_TIMEOUT, CONSUMER_WINDOW_MESSAGES};
use peer::{Broker, Logged, Peer, Sent};

const PERSISTENT: [u8; 3] = [0x10, 0x00, 2];
const TRANSIENT: [u8; 2] = [0, 0];

fn acks(sent: &[Sent]) -> Vec<(u64, bool)> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Method(_, AMQPClass::Basic(basic::AMQPMethod::Ack(ack))) => {
                Some((ack.delivery_tag, ack.multiple))
            }
            _ => None,
        })
        .collect()
}

fn bodies(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Body(_, body) => Some(String::from_utf8_lossy(body).into_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn confirm_of_a_persistent_message_waits_for_the_store_and_that_of_a_transient_one_does_not() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("durable", true);
    peer.confirm_select();
    peer.send(&peer::publish(1, "durable", &PERSISTENT, b"a"));
    peer.send(&peer::publish(1, "durable", &TRANSIENT, b"b"));
    assert_eq!(acks(&peer.sent()), [(2, false)]);
    broker.store.advance();
    assert_eq!(acks(&peer.sent()), [(1, false)]);
}

#[test]
fn confirm_waits_for_the_store_even_if_a_request_follows_in_the_same_input() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("durable", true);
    peer.confirm_select();
    let mut input = peer::publish(1, "durable", &PERSISTENT, b"a");
    input.extend(peer::method(1, &peer::declare("other", false)));
    peer.send(&input);
    let sent = peer.sent();
    assert!(
        sent.iter()
            .any(|sent| matches!(sent, Sent::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))))
    );
    assert_eq!(acks(&sent), []);
    broker.store.advance();
    assert_eq!(acks(&peer.sent()), [(1, false)]);
}

#[test]
fn confirms_of_a_closed_channel_do_not_count_for_its_successor() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("durable", true);
    peer.confirm_select();
    // One input: a publish, the end of its channel, a new channel of the same number, and its first publish.
    let mut input = peer::publish(1, "durable", &TRANSIENT, b"old");
    input.extend(peer::method(1, &peer::close_channel()));
    input.extend(peer::method(1, &peer::open_channel()));
    input.extend(peer::method(1, &peer::select_confirms()));
    input.extend(peer::publish(1, "durable", &PERSISTENT, b"new"));
    peer.send(&input);
    assert_eq!(acks(&peer.sent()), []);
    broker.store.advance();
    assert_eq!(acks(&peer.sent()), [(1, false)]);
}

#[test]
fn commit_ok_waits_for_the_store() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("durable", true);
    peer.select_transactions();
    peer.send(&peer::publish(1, "durable", &PERSISTENT, b"a"));
    peer.send(&peer::method(1, &peer::commit()));
    assert_eq!(peer.sent(), []);
    broker.store.advance();
    let sent = peer.sent();
    assert!(matches!(sent[..], [Sent::Method(1, AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)))]), "{sent:?}");
}

#[test]
fn confirm_waits_for_the_store_even_if_another_channel_commits_in_the_same_input() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("durable", true);
    peer.confirm_select();
    peer.send(&peer::method(2, &peer::open_channel()));
    peer.send(&peer::method(2, &AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))));
    peer.sent();
    let mut input = peer::publish(1, "durable", &PERSISTENT, b"a");
    input.extend(peer::method(2, &peer::commit()));
    peer.send(&input);
    assert_eq!(acks(&peer.sent()), []);
    broker.store.advance();
    assert_eq!(acks(&peer.sent()), [(1, false)]);
}

#[test]
fn a_commit_whose_exchange_is_gone_settles_what_it_acknowledges() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"job"));
    peer.declare_exchange("gone");
    peer.select_transactions();
    peer.consume("q", false);
    assert_eq!(bodies(&peer.sent()), ["job"]);
    peer.send(&peer::publish_to(1, "gone", "", b"lost"));
    peer.send(&peer::method(1, &peer::ack(1)));
    peer.delete_exchange("gone");
    peer.send(&peer::method(1, &peer::commit()));
    let sent = peer.sent();
    assert!(matches!(sent[..], [Sent::Method(1, AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)))]), "{sent:?}");
    assert_eq!(broker.shared.memory.held_bytes(), 0);
}

#[test]
fn a_transactional_publish_that_is_refused_leaves_nothing_unacknowledged() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    peer.send(&peer::publish(1, "q", &TRANSIENT, b"job"));
    peer.select_transactions();
    peer.consume("q", false);
    assert_eq!(bodies(&peer.sent()), ["job"]);
    peer.send(&peer::method(1, &peer::ack(1)));
    // user-id "other": refused when it is published, as everything that can be checked then.
    peer.send(&peer::publish(1, "q", &[0x00, 0x10, 5, b'o', b't', b'h', b'e', b'r'], b"forged"));
    let sent = peer.sent();
    assert!(
        matches!(sent.last(), Some(Sent::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close))))
            if close.reply_code == 406 && (close.class_id, close.method_id) == (60, 40)),
        "{sent:?}"
    );
    let mut other = Peer::open(&broker);
    other.consume("q", true);
    assert_eq!(bodies(&other.sent()), ["job"]);
}

#[test]
fn an_alarm_reaches_a_publisher_that_does_not_read_its_deliveries() {
    let broker = Broker::with_memory_limit(20_000_000);
    let mut peer = Peer::open(&broker);
    peer.declare_queue("mine", false);
    peer.declare_queue("other", false);
    peer.consume("mine", true);
    let deliveries = peer::publish(1, "mine", &TRANSIENT, &[7; 10_000]).repeat(100);
    peer.send(&deliveries);
    peer.work();
    assert!(peer.driver.out().len() > crate::limits::OUT_BUFFER_HIGH_BYTES / 2, "deliveries wait to be read");
    let one = peer::publish(1, "other", &TRANSIENT, &[7; 100_000]);
    let mut published = 0;
    while peer.driver.wants_input() {
        peer.send(&one);
        peer.work();
        published += 1;
        assert!(published < 1000, "the alarm never reached the publisher");
    }
}

#[test]
fn mandatory_messages_of_a_transaction_come_back_before_commit_ok() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.select_transactions();
    peer.send(&peer::publish_mandatory(1, "nowhere", b"lost"));
    assert_eq!(peer.sent(), []);
    peer.send(&peer::method(1, &peer::commit()));
    let sent = peer.sent();
    let [Sent::Method(1, AMQPClass::Basic(basic::AMQPMethod::Return(returned))), _, _, Sent::Method(1, last)] =
        &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!(bodies(&sent), ["lost"]);
    assert!(matches!(last, AMQPClass::Tx(tx::AMQPMethod::CommitOk(_))));
}

#[test]
fn what_a_round_publishes_is_stored_before_what_it_acknowledges_is_forgotten() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("in", true);
    peer.declare_queue("out", true);
    peer.send(&peer::publish(1, "in", &PERSISTENT, b"job"));
    peer.consume("in", false);
    assert_eq!(bodies(&peer.sent()), ["job"]);
    broker.store.take_log();
    // The acknowledgement first, so that the order of arrival alone would get it wrong.
    let mut input = peer::method(1, &peer::ack(1));
    input.extend(peer::publish(1, "out", &PERSISTENT, b"result"));
    peer.send(&input);
    let log = broker.store.take_log();
    assert!(matches!(log[..], [Logged::Append(_), Logged::Settle(_)]), "{log:?}");
}

#[test]
fn exclusive_queues_are_gone_before_close_ok_is_sent() {
    let broker = Broker::new();
    let mut first = Peer::open(&broker);
    first.declare_exclusive_queue("mine");
    first.send(&peer::method(0, &peer::close_connection()));
    // Close-ok is still in the out buffer: whoever reads it finds the name free.
    let mut second = Peer::open(&broker);
    second.declare_exclusive_queue("mine");
    let sent = first.sent();
    assert!(matches!(sent[..], [Sent::Method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)))]));
}

#[test]
fn no_delivery_follows_cancel_ok() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("q", false);
    consumer.consume("q", true);
    let mut publisher = Peer::open(&broker);
    for body in ["1", "2", "3"] {
        publisher.send(&peer::publish(1, "q", &TRANSIENT, body.as_bytes()));
    }
    // The deliveries wait in the outbox when the cancel arrives.
    consumer.send_without_events(&peer::method(1, &peer::cancel("tag")));
    let sent = consumer.sent();
    assert_eq!(bodies(&sent), ["1", "2", "3"]);
    assert!(matches!(sent.last(), Some(Sent::Method(1, AMQPClass::Basic(basic::AMQPMethod::CancelOk(_))))));
}

#[test]
fn deliveries_that_never_left_the_outbox_return_in_order_when_the_socket_breaks() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("q", false);
    consumer.consume("q", false);
    let mut publisher = Peer::open(&broker);
    for body in ["1", "2", "3"] {
        publisher.send(&peer::publish(1, "q", &TRANSIENT, body.as_bytes()));
    }
    consumer.driver.disconnect();
    publisher.consume("q", false);
    assert_eq!(bodies(&publisher.sent()), ["1", "2", "3"]);
}

#[test]
fn a_driver_that_is_dropped_gives_everything_back() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("q", false);
    consumer.consume("q", false);
    let mut publisher = Peer::open(&broker);
    publisher.send(&peer::publish(1, "q", &TRANSIENT, b"1"));
    drop(consumer);
    assert_eq!(broker.shared.connection_count(), 1);
    publisher.consume("q", false);
    assert_eq!(bodies(&publisher.sent()), ["1"]);
}

#[test]
fn closing_a_channel_returns_its_deliveries_before_anything_else_happens() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_queue("q", false);
    peer.consume("q", false);
    let mut publisher = Peer::open(&broker);
    publisher.send(&peer::publish(1, "q", &TRANSIENT, b"1"));
    // Close, reopen, get: all in one input, while the delivery is in the outbox.
    let mut input = peer::method(1, &peer::close_channel());
    input.extend(peer::method(1, &peer::open_channel()));
    input.extend(peer::method(1, &peer::get("q")));
    peer.send_without_events(&input);
    let sent = peer.sent();
    assert_eq!(bodies(&sent), ["1"]);
    assert!(sent.iter().any(|sent| matches!(
        sent,
        Sent::Method(1, AMQPClass::Basic(basic::AMQPMethod::GetOk(got))) if got.redelivered
    )));
}

#[test]
fn the_end_of_a_queue_does_not_reach_a_consumer_that_took_the_place_of_a_cancelled_one() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("old", false);
    consumer.declare_queue("new", false);
    consumer.consume("old", true);
    consumer.sent();
    let mut other = Peer::open(&broker);
    other.send(&peer::method(1, &peer::delete("old")));
    // The news of it waits in the outbox while the client cancels and starts another consumer.
    consumer.send_without_events(&peer::method(1, &peer::cancel("tag")));
    let mut input = peer::method(1, &peer::consume("new", true));
    input.extend(peer::publish(1, "new", &TRANSIENT, b"x"));
    consumer.send_without_events(&input);
    assert_eq!(bodies(&consumer.sent()), ["x"]);
}

#[test]
fn a_consumer_that_does_not_read_takes_no_more_than_its_window() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("q", false);
    consumer.consume("q", true);
    let mut publisher = Peer::open(&broker);
    let one = peer::publish(1, "q", &TRANSIENT, &[7; 100]);
    for _ in 0..20 {
        publisher.send(&one.repeat(1000));
    }
    // The consumer's task works, but nothing leaves its out buffer.
    for _ in 0..100 {
        consumer.work();
    }
    publisher.send(&peer::method(1, &peer::declare("q", false)));
    let ready = publisher.declared_message_count();
    let written = u32::try_from(consumer.driver.out().len() / 100).expect("few");
    assert!(ready >= 20_000 - written - 2 * CONSUMER_WINDOW_MESSAGES, "{ready} ready, {written} written");
    assert!(ready > 10_000, "{ready}");
    // Reading on brings everything.
    let mut count = bodies(&consumer.sent()).len();
    while count < 20_000 {
        let more = bodies(&consumer.sent()).len();
        assert!(more > 0, "stuck after {count}");
        count += more;
    }
}

#[test]
fn a_refused_login_is_answered_after_the_delay_only() {
    let broker = Broker::new();
    let mut peer = Peer::new(&broker);
    peer.greet("wrong");
    assert!(!peer.driver.may_write());
    assert!(!peer.driver.wants_input());
    assert!(!peer.driver.is_finished());
    // The session takes its first look at the clock since it has closed.
    peer.pass(Duration::ZERO);
    let due = peer.driver.poll_timeout().expect("the delay");
    assert_eq!(due, peer.now + broker.shared.access.failure_delay());
    peer.pass(broker.shared.access.failure_delay() + Duration::from_millis(1));
    assert!(peer.driver.may_write());
    let sent = peer.sent();
    let Some(Sent::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))) = sent.last()
    else {
        panic!("{sent:?}")
    };
    assert_eq!(close.reply_code, 403);
}

#[test]
fn a_peer_that_closes_and_never_reads_the_answer_is_given_up() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.send(&peer::method(0, &peer::close_connection()));
    assert!(!peer.driver.is_over(), "close-ok is not written yet");
    peer.pass(CLOSE_OK_TIMEOUT - Duration::from_secs(1));
    assert!(!peer.driver.is_over());
    peer.pass(Duration::from_secs(1));
    assert!(peer.driver.is_over());
}

#[test]
fn a_memory_alarm_holds_publishers_until_consumers_have_made_room() {
    let broker = Broker::with_memory_limit(100_000);
    let mut publisher = Peer::open(&broker);
    publisher.declare_queue("q", false);
    let one = peer::publish(1, "q", &TRANSIENT, &[7; 1000]);
    publisher.send(&one.repeat(200));
    publisher.work();
    publisher.send(&one);
    assert!(!publisher.driver.wants_input());
    let mut consumer = Peer::open(&broker);
    assert!(consumer.driver.wants_input(), "who only consumes is not held back");
    consumer.consume("q", true);
    let mut count = 0;
    while count < 201 {
        count += bodies(&consumer.sent()).len();
    }
    publisher.work();
    assert!(publisher.driver.wants_input());
    assert_eq!(broker.shared.memory.held_bytes(), 0);
}

#[test]
fn deliveries_in_an_outbox_count_as_memory_held() {
    let broker = Broker::new();
    let mut consumer = Peer::open(&broker);
    consumer.declare_queue("q", false);
    consumer.consume("q", true);
    let mut publisher = Peer::open(&broker);
    publisher.send(&peer::publish(1, "q", &TRANSIENT, &[7; 10_000]));
    assert!(broker.shared.memory.held_bytes() >= 10_000, "it waits for the consumer's task");
    assert_eq!(bodies(&consumer.sent()).len(), 1);
    assert_eq!(broker.shared.memory.held_bytes(), 0);
}

#[test]
fn unfinished_contents_count_as_memory_held() {
    let broker = Broker::with_memory_limit(100_000);
    let mut peer = Peer::open(&broker);
    let whole = peer::publish(1, "q", &TRANSIENT, &[7; 130_000]);
    // All but the last frame.
    peer.send(&whole[..whole.len() - 10_008]);
    assert!(broker.shared.memory.held_bytes() >= 100_000, "{}", broker.shared.memory.held_bytes());
    assert!(broker.shared.memory.is_alarmed());
    peer.driver.disconnect();
    assert_eq!(broker.shared.memory.held_bytes(), 0);
    assert!(!broker.shared.memory.is_alarmed());
}

#[test]
fn closing_everything_leaves_no_memory_held() {
    let broker = Broker::new();
    let mut peer = Peer::open(&broker);
    peer.declare_exclusive_queue("q");
    peer.send(&peer::publish(1, "q", &PERSISTENT, b"a"));
    peer.send(&peer::method(
        1,
        &AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        })),
    ));
    peer.driver.disconnect();
    assert_eq!(broker.shared.memory.held_bytes(), 0);
    assert_eq!(broker.shared.connection_count(), 0);
}
