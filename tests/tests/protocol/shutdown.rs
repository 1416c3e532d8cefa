//! The end of the broker, as its clients see it.

use std::time::Duration;

use amq_protocol::protocol::{channel, connection};

use crate::peer::{ALL_CAPABILITIES, Peer};
use crate::target::{OwnBroker, needs_own_broker};

const TEXT: &str = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

#[test]
fn every_client_is_told_and_the_broker_waits_for_their_answers() {
    if needs_own_broker() {
        return;
    }
    let mut broker = OwnBroker::start(|config| config.limits.shutdown_grace = Duration::from_secs(60));
    let (busy, idle) = (broker.connect(), broker.connect());
    let channel = busy.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    let down = broker.shut_down();
    idle.expect_close(320, TEXT, (0, 0));
    busy.expect_close(320, TEXT, (0, 0));
    broker.wait(down);
}

#[test]
fn a_client_that_does_not_answer_is_dropped_after_the_grace() {
    if needs_own_broker() {
        return;
    }
    let mut broker = OwnBroker::start(|config| config.limits.shutdown_grace = Duration::from_millis(100));
    let peer = broker.connect();
    let stranger = Peer::dial(broker.address());
    stranger.log_in(ALL_CAPABILITIES);
    let down = broker.shut_down();
    let close = peer.control().expect::<connection::Close>();
    assert_eq!((close.reply_code, close.reply_text.as_str()), (320, TEXT));
    // What it still asks for is passed over.
    peer.channel(1).send(channel::Open {});
    broker.wait(down);
    peer.expect_end();
    stranger.read_to_end();
}
