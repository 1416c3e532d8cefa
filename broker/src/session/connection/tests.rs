//! Scripts of frames on a whole connection: handshake, limits, closing, heartbeats, alarms.

#![allow(clippy::unwrap_used)]

mod handshake;
mod log;

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use amq_protocol::types::FieldTable;

use super::{Connection, FinishReason, Slot};
use crate::error::AmqpError;
use crate::limits::CLOSE_OK_TIMEOUT;
use crate::session::action::{
    Action, ChannelId, Credentials, Durability, Event, Mechanism, PublishOutcome, Reply,
};
use crate::session::channel::Channel;
use crate::session::config::SessionConfig;
use crate::session::login_refused;
use crate::session::testing::{
    Feed, Random, Received, TestPeer, capable, config, encode, frame, open, open_channel, publish_frames,
    start_ok, tune_ok,
};
use crate::wire::frame::Greeting;

const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
const NO_PROPERTIES: [u8; 2] = [0, 0];

fn connection(method: connection::AMQPMethod) -> AMQPClass {
    AMQPClass::Connection(method)
}

fn close() -> AMQPClass {
    connection(connection::AMQPMethod::Close(connection::Close::default()))
}

fn close_ok() -> AMQPClass {
    connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

fn flow() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: true }))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Bytes, and the code, text and blamed method of the close that answers them.
type Mistake = (Vec<u8>, u16, &'static str, (u16, u16));

/// What a running connection refuses, and how.
#[test]
fn mistakes_outside_of_channels_end_the_connection() {
    let qos = frame(1, 0, &[0, 60, 0, 10, 0, 0, 0, 0, 0, 1, 0]);
    let wrong_end = [&frame(1, 1, &[0, 20, 0, 20, 1])[..12], &[1]].concat();
    let table: Vec<Mistake> = vec![
        (frame(8, 1, &[]), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0)),
        (frame(2, 0, &[0, 60]), 505, "UNEXPECTED_FRAME - type 2, all octets = <<0,60>>", (0, 0)),
        (frame(3, 0, &[7]), 505, "UNEXPECTED_FRAME - type 3, all octets = <<7>>", (0, 0)),
        (
            frame(1, 0, &encode(&start_ok("PLAIN", b"", FieldTable::default()))),
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
            (10, 11),
        ),
        (qos, 504, "CHANNEL_ERROR - unexpected method in connection state running", (60, 10)),
        (
            frame(1, 0, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
            (60, 80),
        ),
        (frame(1, 2, &encode(&flow())), 504, "CHANNEL_ERROR - expected 'channel.open'", (20, 20)),
        (
            publish_frames(2, ("", "q"), &NO_PROPERTIES, b""),
            504,
            "CHANNEL_ERROR - expected 'channel.open'",
            (60, 40),
        ),
        (
            frame(2, 2, &[0, 60]),
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
            (0, 0),
        ),
        (
            wrong_end,
            501,
            "FRAME_ERROR - type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,1}",
            (0, 0),
        ),
    ];
    for (bytes, code, text, blamed) in table {
        let mut peer = TestPeer::with_channel();
        peer.send_bytes(&bytes);
        assert_eq!(peer.close(), (0, code, text.to_owned(), blamed), "{bytes:?}");
        assert!(!peer.connection.is_finished());
        peer.send(0, &close_ok());
        assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Closed));
    }
}

#[test]
fn after_a_frame_that_is_too_large_the_answer_to_our_close_is_still_found() {
    for feed in [Feed::Whole, Feed::ByteByByte] {
        let mut peer = TestPeer::with_channel();
        peer.feed = feed;
        let mut bytes = frame(3, 1, &vec![0xCE; 200_000]);
        bytes.extend(frame(1, 0, &encode(&close_ok())));
        let actions = peer.send_bytes(&bytes);
        assert!(matches!(actions[..], [Action::CloseChannel { .. }]));
        let (_, code, text, _) = peer.close();
        assert_eq!(code, 501);
        assert!(text.ends_with("{frame_too_large,200000,131064}"), "{text}");
        assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Closed));
    }
}

#[test]
fn channels_are_bounded_by_what_was_negotiated() {
    let mut peer = TestPeer::connected_with(config(), capable(), tune_ok(2, 4096, 0));
    for channel in [1, 7] {
        peer.send(channel, &open_channel());
    }
    assert_eq!(peer.methods().len(), 2);
    // A channel that has closed makes room.
    peer.send(7, &AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())));
    peer.send(7, &open_channel());
    assert_eq!(peer.methods().len(), 2);
    peer.send(3, &open_channel());
    let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    assert_eq!(peer.close(), (0, 530, text.to_owned(), (0, 0)));
}

#[test]
fn a_closed_connection_gives_up_its_channels_in_order() {
    let channels = |actions: &[Action]| {
        let channel = |action: &Action| match action {
            Action::CloseChannel { channel, .. } => channel.0,
            other => panic!("{other:?}"),
        };
        actions.iter().map(channel).collect::<Vec<_>>()
    };
    let open_three = || {
        let mut peer = TestPeer::connected();
        for channel in [5, 1, 3] {
            peer.send(channel, &open_channel());
        }
        peer.received();
        peer
    };
    let mut peer = open_three();
    assert_eq!(channels(&peer.send(0, &close())), [1, 3, 5]);
    assert_eq!(peer.methods(), [close_ok()]);
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Closed));
    assert!(peer.connection.handle_disconnect().is_empty());

    let mut peer = open_three();
    assert_eq!(channels(&peer.connection.handle_disconnect()), [1, 3, 5]);
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Disconnected));

    let mut peer = open_three();
    let error = AmqpError::connection_forced("broker forced connection closure with reason 'shutdown'");
    let first = peer.connection.handle_event(Event::Close(error)).unwrap();
    let rest = std::iter::from_fn(|| peer.connection.poll_action());
    assert_eq!(channels(&std::iter::once(first).chain(rest).collect::<Vec<_>>()), [1, 3, 5]);
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(peer.close(), (0, 320, text.to_owned(), (0, 0)));
}

#[test]
fn a_closing_connection_passes_everything_over_but_close_and_close_ok() {
    let closing = || {
        let mut peer = TestPeer::with_channel();
        peer.connection.handle_event(Event::Close(AmqpError::connection_forced("bye")));
        peer.received();
        peer
    };
    let mut peer = closing();
    assert!(peer.send(1, &flow()).is_empty());
    assert!(peer.send(9, &flow()).is_empty());
    assert!(peer.publish(1, ("", "q"), &NO_PROPERTIES, b"abc").is_empty());
    assert!(peer.send_bytes(&frame(8, 0, &[])).is_empty());
    assert_eq!(peer.received(), []);
    peer.send(0, &close());
    assert_eq!(peer.methods(), [close_ok()]);
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::Closed));
}

#[test]
fn a_close_that_is_not_answered_ends_after_its_time_limit() {
    let mut peer = TestPeer::with_channel();
    peer.now += seconds(1000);
    peer.connection.handle_event(Event::Close(AmqpError::connection_forced("bye")));
    // The session has not seen a clock for long, so that it asks for one first.
    assert!(peer.connection.poll_timeout().is_some_and(|at| at <= peer.now));
    peer.pass(Duration::ZERO);
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + CLOSE_OK_TIMEOUT));
    peer.pass(CLOSE_OK_TIMEOUT);
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::CloseTimeout));
    assert_eq!(peer.connection.poll_timeout(), None);
}

#[test]
fn heartbeats_are_sent_when_idle_and_expected_from_the_peer() {
    let mut peer = TestPeer::connected_with(config(), capable(), tune_ok(2047, 131_072, 10));
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(5)));
    // open-ok went out in the first half interval.
    peer.pass(seconds(5));
    assert_eq!(peer.received(), []);
    peer.send_bytes(&frame(8, 0, &[]));
    peer.pass(seconds(5));
    assert_eq!(peer.received(), [Received::Heartbeat]);
    peer.pass(seconds(10));
    assert!(!peer.connection.is_finished());
    // Half a frame is a sign of life, too.
    peer.connection.handle_input(&[8], peer.now);
    peer.pass(seconds(10));
    peer.pass(seconds(10));
    assert!(!peer.connection.is_finished());
    peer.pass(seconds(10));
    assert_eq!(peer.connection.finish_reason(), Some(&FinishReason::HeartbeatMissed));
}

#[test]
fn a_peer_whose_socket_is_not_read_is_not_silent() {
    let mut peer = TestPeer::connected_with(config(), capable(), tune_ok(2047, 131_072, 10));
    for _ in 0..10 {
        peer.now += seconds(10);
        peer.connection.handle_timeout(peer.now, false);
        assert!(!peer.connection.is_finished());
    }
    // It counts from where its socket is read again.
    for is_over in [false, true] {
        peer.now += seconds(10);
        peer.connection.handle_timeout(peer.now, true);
        assert_eq!(peer.connection.is_finished(), is_over);
    }
}

#[test]
fn only_a_publisher_is_held_by_an_alarm_and_only_from_its_next_publish() {
    let blocked = connection::AMQPMethod::Blocked(connection::Blocked { reason: "low on memory".into() });
    let unblocked = connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
    for (properties, is_told) in [(capable(), true), (FieldTable::default(), false)] {
        let mut peer = TestPeer::connected_with(config(), properties, tune_ok(2047, 131_072, 10));
        peer.send(1, &open_channel());
        peer.received();
        peer.connection.handle_event(Event::Blocked("low on memory"));
        peer.send(1, &flow());
        assert!(peer.connection.wants_input());
        assert_eq!(peer.methods().len(), 1);
        assert_eq!(peer.connection.details().state, "blocking");

        assert_eq!(peer.publish(1, ("", "q"), &NO_PROPERTIES, b"").len(), 1);
        assert!(!peer.connection.wants_input());
        assert_eq!(peer.methods() == [connection(blocked.clone())], is_told);
        // Nobody hears the peer now, which is not its fault.
        for _ in 0..5 {
            peer.pass(seconds(10));
        }
        assert!(!peer.connection.is_finished());
        peer.received();

        peer.connection.handle_event(Event::Unblocked);
        assert!(peer.connection.wants_input());
        assert_eq!(peer.methods() == [unblocked.clone()], is_told);
    }
}

#[test]
fn a_blocked_connection_that_closes_reads_again() {
    let mut peer = TestPeer::with_channel();
    peer.connection.handle_event(Event::Blocked("low on disk"));
    peer.publish(1, ("", "q"), &NO_PROPERTIES, b"");
    assert!(!peer.connection.wants_input());
    peer.connection.handle_event(Event::Close(AmqpError::connection_forced("bye")));
    assert!(peer.connection.wants_input());
}

#[test]
fn a_client_may_say_that_it_is_blocked_and_renew_its_secret() {
    let mut peer = TestPeer::connected();
    let blocked = connection::Blocked { reason: "busy".into() };
    peer.send(0, &connection(connection::AMQPMethod::Blocked(blocked)));
    peer.send(0, &connection(connection::AMQPMethod::Unblocked(connection::Unblocked {})));
    assert_eq!(peer.received(), []);

    let update = connection::UpdateSecret { new_secret: "token".into(), reason: "old".into() };
    let update = connection(connection::AMQPMethod::UpdateSecret(update));
    let actions = peer.send(0, &update);
    assert!(matches!(&actions[..], [Action::UpdateSecret { secret }] if secret == b"token"));
    peer.connection.handle_reply(None, Ok(Reply::SecretUpdated));
    let ok = connection(connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {}));
    assert_eq!(peer.methods(), [ok]);
    peer.send(0, &update);
    peer.connection.handle_reply(None, Err(AmqpError::not_allowed("no")));
    assert_eq!(peer.close(), (0, 530, "NOT_ALLOWED - no".to_owned(), (10, 70)));
}

#[test]
fn unconfirmed_publishes_are_counted_until_they_are_confirmed_or_their_channel_closes() {
    use amq_protocol::protocol::confirm;
    let mut peer = TestPeer::with_channel();
    let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true }));
    peer.send(1, &select);
    peer.send(2, &open_channel());
    peer.send(2, &select);
    for channel in [1, 1, 1, 2] {
        peer.publish(channel, ("", "q"), &NO_PROPERTIES, b"");
    }
    assert_eq!(peer.connection.unconfirmed, 4);
    for number in 1..=2 {
        let outcome = PublishOutcome::Accepted(Durability::Immediate);
        peer.connection.handle_confirm(ChannelId(1), number, outcome);
    }
    peer.connection.flush_confirms();
    assert_eq!(peer.connection.unconfirmed, 2);
    peer.send(1, &AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())));
    assert_eq!(peer.connection.unconfirmed, 1);
    peer.connection.handle_disconnect();
    assert_eq!(peer.connection.unconfirmed, 0);
}

#[test]
fn bodies_are_split_to_the_negotiated_frame_size() {
    let mut peer = TestPeer::connected_with(config(), capable(), tune_ok(10, 4096, 0));
    peer.send(1, &open_channel());
    let get = basic::Get { queue: "q".into(), no_ack: true };
    peer.send(1, &AMQPClass::Basic(basic::AMQPMethod::Get(get)));
    peer.received();
    let delivery = crate::session::action::Delivery {
        reference: crate::session::action::DeliveryRef {
            source: crate::session::action::SourceId(1),
            slot: crate::session::action::NO_SLOT,
        },
        redelivered: false,
        message: crate::wire::message::Message::new("", "q", &NO_PROPERTIES, false, &[1; 10_000]),
    };
    let got = Reply::Got { delivery, message_count: 0, no_ack: true };
    peer.connection.handle_reply(Some(ChannelId(1)), Ok(got));
    let sizes: Vec<usize> = peer
        .received()
        .iter()
        .filter_map(|received| if let Received::Body(1, body) = received { Some(body.len()) } else { None })
        .collect();
    assert_eq!(sizes, [4088, 4088, 1824]);
}

#[test]
fn idle_connections_and_channels_are_small() {
    assert!(size_of::<Connection>() <= 1024, "{}", size_of::<Connection>());
    assert!(size_of::<Channel>() <= 400, "{}", size_of::<Channel>());
}

#[test]
fn a_connection_can_hold_2047_channels() {
    let mut peer = TestPeer::connected();
    for channel in (1..=2047).rev() {
        peer.send(channel, &open_channel());
    }
    assert_eq!(peer.methods().len(), 2047);
    assert_eq!(peer.connection.details().channels, 2047);
    assert_eq!(peer.send(0, &close()).len(), 2047);
}

impl Slot {
    fn held_bytes(&self) -> usize {
        if let Self::Open(channel) = self { channel.held_bytes() } else { 0 }
    }
}

/// Any bytes at all, and frames of any content in any order, are taken without a panic, and what the session says stays
/// well-formed.
#[test]
fn random_frames_never_break_the_session() {
    let methods: Vec<Vec<u8>> = [
        (20, 10),
        (20, 40),
        (20, 41),
        (60, 40),
        (60, 80),
        (60, 110),
        (85, 10),
        (90, 10),
        (90, 20),
        (90, 30),
        (50, 10),
        (10, 50),
    ]
    .iter()
    .map(|(class, method): &(u16, u16)| [class.to_be_bytes(), method.to_be_bytes()].concat())
    .collect();
    for seed in 1..300 {
        let mut random = Random::new(seed);
        let mut peer = TestPeer::with_channel();
        for _ in 0..100 {
            let channel = u16::try_from(random.below(3)).unwrap();
            let payload = match random.below(3) {
                0 => (0..random.below(30)).map(|_| u8::try_from(random.below(256)).unwrap()).collect(),
                1 => {
                    let zeros = vec![0; random.below(16)];
                    [&methods[random.below(methods.len())][..], &zeros].concat()
                }
                _ => crate::session::testing::header(random.below(4) as u64, &NO_PROPERTIES),
            };
            let held: usize = peer.connection.channels.values().map(Slot::held_bytes).sum();
            assert_eq!(peer.connection.held_bytes(), held, "seed {seed}");
            let kind = [1, 1, 1, 2, 3, 8][random.below(6)];
            for action in peer.send_bytes(&frame(kind, channel, &payload)) {
                let channel = action.channel();
                if random.below(2) == 0 {
                    peer.connection.handle_reply(channel, Err(AmqpError::not_found("nothing here")));
                } else {
                    peer.connection.handle_reply(channel, Ok(Reply::GetEmpty));
                }
            }
            peer.received();
        }
        peer.connection.flush_confirms();
        peer.connection.handle_disconnect();
        assert_eq!(peer.connection.unconfirmed, 0, "seed {seed}");
        assert_eq!(peer.connection.open_channels, 0, "seed {seed}");
        assert_eq!(peer.connection.held_bytes(), 0, "seed {seed}");
    }
}
