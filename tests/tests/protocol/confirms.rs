//! Publisher confirms.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, confirm, queue};

use crate::peer::{Channel, Peer};
use crate::target::Test;

/// A channel in confirm mode.
fn open(peer: &Peer, id: u16) -> Channel<'_> {
    let channel = peer.open(id);
    channel.call(confirm::Select { nowait: false });
    channel
}

/// Reads acks until all numbers from `first` to `last` are confirmed, each exactly once.
#[track_caller]
fn expect_acks(channel: Channel<'_>, first: u64, last: u64) {
    let mut open: Vec<u64> = (first..=last).collect();
    while !open.is_empty() {
        let ack = channel.expect::<basic::Ack>();
        let before = open.len();
        if ack.multiple {
            open.retain(|number| *number > ack.delivery_tag);
        } else {
            open.retain(|number| *number != ack.delivery_tag);
        }
        assert!(open.len() < before, "{ack:?} confirms nothing that is open: {open:?}");
        assert!(ack.delivery_tag <= last, "{ack:?} was never published");
    }
    channel.expect_nothing();
}

#[test]
fn numbering_starts_with_the_first_publish_after_select() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.publish("", &queue, "before");
    channel.call(confirm::Select { nowait: false });
    channel.expect_nothing_from(&queue);
    channel.publish("", &queue, "first");
    let ack = channel.expect::<basic::Ack>();
    assert_eq!(ack.delivery_tag, 1);
    channel.call(confirm::Select { nowait: false });
    channel.publish("", &queue, "second");
    assert_eq!(channel.expect::<basic::Ack>().delivery_tag, 2, "selecting again changes nothing");
}

#[test]
fn select_without_wait_is_not_answered() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(confirm::Select { nowait: true });
    channel.expect_nothing();
    channel.publish("", "nowhere", "x");
    assert_eq!(channel.expect::<basic::Ack>().delivery_tag, 1);
}

#[test]
fn each_channel_counts_for_itself() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (open(&peer, 1), open(&peer, 2));
    for _ in 0..3 {
        one.publish("", "nowhere", "x");
    }
    two.publish("", "nowhere", "x");
    expect_acks(two, 1, 1);
    expect_acks(one, 1, 3);
}

#[test]
fn a_thousand_publishes_are_each_confirmed_once() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = channel.temp_queue();
    for number in 0..1000 {
        channel.publish("", if number % 3 == 0 { "nowhere" } else { &queue }, "x");
    }
    expect_acks(channel, 1, 1000);
    assert_eq!(channel.count(&queue), 666);
}

#[test]
fn persistent_messages_in_durable_queues_are_confirmed() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = test.queue("durable");
    channel.queue(&queue);
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    for _ in 0..100 {
        channel.publish_with("", &queue, &persistent, b"x");
    }
    expect_acks(channel, 1, 100);
    assert_eq!(channel.count(&queue), 100);
}

#[test]
fn a_persistent_message_is_confirmed_though_a_consumer_takes_it_at_once() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = test.queue("taken");
    channel.queue(&queue);
    let consumer = peer.open(2);
    let automatic = basic::Consume { queue: queue.as_str().into(), no_ack: true, ..Default::default() };
    consumer.consume_with(automatic);
    channel.publish_with("", &queue, &AMQPProperties::default().with_delivery_mode(2), b"x");
    consumer.expect_deliver();
    expect_acks(channel, 1, 1);
}

#[test]
fn an_unroutable_message_is_confirmed_and_returned_before_that_if_mandatory() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    channel.publish("amq.direct", "nowhere", "one");
    channel.publish_mandatory("amq.direct", "nowhere", "two");
    // The first may be confirmed alone or together with the second, but the second only after it came back.
    let mut acked = 0;
    loop {
        let incoming = channel.next();
        match incoming.method {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => {
                assert_eq!(ack.delivery_tag, 1, "the second is confirmed before it came back");
                acked = ack.delivery_tag;
            }
            AMQPClass::Basic(basic::AMQPMethod::Return(returned)) => {
                assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
                assert_eq!(incoming.content.unwrap().body, b"two");
                break;
            }
            other => panic!("expected a confirm or the returned message, got {other:?}"),
        }
    }
    expect_acks(channel, acked + 1, 2);
}

#[test]
fn returns_and_acks_keep_the_order_of_publishing_in_a_burst() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    for number in 1..=50 {
        channel.publish_mandatory("", "nowhere", &number.to_string());
    }
    let (mut returned, mut acked) = (0, 0);
    while acked < 50 {
        let incoming = channel.next();
        match incoming.method {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => {
                assert!(ack.delivery_tag <= returned, "{ack:?} after {returned} returned messages");
                acked = ack.delivery_tag;
            }
            AMQPClass::Basic(basic::AMQPMethod::Return(_)) => {
                returned += 1;
                assert_eq!(incoming.content.unwrap().body, returned.to_string().as_bytes());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((returned, acked), (50, 50));
}

#[test]
fn a_message_to_several_queues_is_confirmed_once() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let exchange = test.exchange("fan");
    channel.exchange(&exchange, "fanout");
    for _ in 0..5 {
        channel.bind(&channel.temp_queue(), &exchange, "");
    }
    channel.publish(&exchange, "", "x");
    expect_acks(channel, 1, 1);
}

#[test]
fn publishes_to_a_queue_deleted_meanwhile_are_confirmed() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    let queue = test.queue("deleted");
    channel.queue(&queue);
    for _ in 0..100 {
        channel.publish_with("", &queue, &AMQPProperties::default().with_delivery_mode(2), b"x");
    }
    let delete = queue::Delete { queue: queue.as_str().into(), nowait: true, ..queue::Delete::default() };
    channel.send(delete);
    expect_acks(channel, 1, 100);
}

#[test]
fn a_failed_publish_closes_the_channel_after_the_confirms_before_it() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    channel.publish("", "nowhere", "x");
    channel.publish("", "nowhere", "x");
    assert!(channel.expect::<basic::Ack>().delivery_tag <= 2);
    channel.publish("proto.missing", "", "x");
    loop {
        let incoming = channel.next();
        match incoming.method {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => assert_eq!(ack.delivery_tag, 2),
            AMQPClass::Channel(amq_protocol::protocol::channel::AMQPMethod::Close(close)) => {
                assert_eq!((close.reply_code, close.class_id, close.method_id), (404, 60, 40));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn confirm_and_tx_exclude_each_other() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer, 1);
    channel.send(amq_protocol::protocol::tx::Select {});
    channel.expect_close(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", (90, 10));
    let channel = peer.open(1);
    channel.call(amq_protocol::protocol::tx::Select {});
    channel.send(confirm::Select { nowait: false });
    channel.expect_close(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", (85, 10));
}
