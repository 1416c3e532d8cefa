//! Deliveries that are not acknowledged in time.

use amq_protocol::protocol::basic;
use warren_tests::eventually;

use crate::features::{await_count, durable_with, queue_with};
use crate::peer::text;
use crate::target::{Test, differs_from_rabbitmq};

const DIFFERENCE: &str = "before 3.12 queues had no timeouts of their own, and it looks once a minute";

/// The text for a channel that held a delivery for longer than this.
fn text_for(channel: u16, timeout_ms: u32) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} \
         ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
}

#[test]
fn a_channel_that_holds_a_delivery_for_too_long_is_closed() {
    if differs_from_rabbitmq(DIFFERENCE) {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let (channel, other) = (peer.open(1), peer.open(2));
    let queue = queue_with(other, &[("x-consumer-timeout", 150.into())]);
    channel.consume(&queue, "c");
    other.publish("", &queue, "x");
    channel.expect_deliver();
    channel.expect_close(406, &text_for(1, 150), (0, 0));
    // The message is somebody else's now.
    let message = eventually("the message is ready again", || other.get(&queue));
    assert_eq!((message.text(), message.redelivered), ("x", true));
}

#[test]
fn what_is_acknowledged_in_time_or_at_once_does_no_harm() {
    if differs_from_rabbitmq(DIFFERENCE) {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let (slow, quick, careless) = (peer.open(1), peer.open(2), peer.open(3));
    let queue = queue_with(quick, &[("x-consumer-timeout", 400.into())]);
    let [of_slow, of_careless] = [(); 2].map(|()| queue_with(quick, &[("x-consumer-timeout", 400.into())]));
    quick.consume(&queue, "quick");
    careless.consume_with(basic::Consume {
        queue: of_careless.as_str().into(),
        no_ack: true,
        ..Default::default()
    });
    slow.consume(&of_slow, "slow");
    quick.publish("", &queue, "a");
    let message = quick.expect_deliver();
    quick.ack(message.delivery_tag);
    careless.publish("", &of_careless, "b");
    careless.expect_deliver();
    // The witness comes last, so its time is over last.
    slow.publish("", &of_slow, "c");
    slow.expect_deliver();
    slow.expect_close(406, &text_for(1, 400), (0, 0));
    quick.expect_nothing();
    careless.expect_nothing();
}

#[test]
fn a_quorum_queue_has_the_same_timeout_and_zero_is_none() {
    if differs_from_rabbitmq(DIFFERENCE) {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let (channel, patient) = (peer.open(1), peer.open(2));
    let name = test.queue("quorum");
    let arguments = [("x-queue-type", text("quorum")), ("x-consumer-timeout", 100.into())];
    patient.call(durable_with(&name, &arguments));
    let never = queue_with(patient, &[("x-consumer-timeout", 0.into())]);
    patient.consume(&never, "patient");
    patient.publish("", &never, "x");
    patient.expect_deliver();
    channel.consume(&name, "c");
    patient.publish("", &name, "x");
    channel.expect_deliver();
    channel.expect_close(406, &text_for(1, 100), (0, 0));
    await_count(patient, &name, 1);
    patient.expect_nothing();
}
