//! Contents: split, joined, passed on unchanged, refused.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::channel;
use amq_protocol::types::{AMQPValue, DecimalValue};

use crate::peer::{Channel, Options, Peer, content_header, encode_properties, table, text};
use crate::target::{OwnBroker, Test, differs_from_rabbitmq, needs_own_broker};

const HEADER: u8 = 2;
const BODY: u8 = 3;

/// The smallest limit there is, and the body bytes that fit a frame then.
const FRAME_MAX: u32 = 4096;
const PIECE: usize = 4088;

fn small_frames(test: &Test) -> Peer {
    test.connect_with(&Options { frame_max: Some(FRAME_MAX), ..Options::default() })
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
}

fn to(queue: &str) -> basic::Publish {
    basic::Publish { routing_key: queue.into(), ..basic::Publish::default() }
}

#[test]
fn bodies_are_split_and_joined_at_the_frame_limit() {
    let test = Test::start();
    let small = small_frames(&test);
    let large = test.connect();
    let queue = test.queue("bodies");
    let channel = small.open(1);
    channel.queue(&queue);
    let reader = large.open(1);
    for bytes in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 1024 * 1024] {
        let body = pattern(bytes);
        channel.publish_with("", &queue, &AMQPProperties::default(), &body);
        channel.publish_with("", &queue, &AMQPProperties::default(), &body);
        let back = channel.get_with(&queue, true).unwrap().content;
        assert!(back.body == body, "{bytes} bytes");
        let frames: Vec<usize> = body.chunks(PIECE).map(<[u8]>::len).collect();
        assert_eq!(back.body_frames, frames, "{bytes} bytes in frames of 4096");
        let back = reader.get_with(&queue, true).unwrap().content;
        assert!(back.body == body, "{bytes} bytes");
        let pieces = large.frame_max() as usize - 8;
        let frames: Vec<usize> = body.chunks(pieces).map(<[u8]>::len).collect();
        assert_eq!(back.body_frames, frames, "{bytes} bytes in frames of {}", large.frame_max());
    }
}

#[test]
fn deliveries_are_split_at_the_frame_limit_of_the_consumer() {
    let test = Test::start();
    let peer = small_frames(&test);
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    let body = pattern(3 * PIECE + 1);
    channel.publish_with("", &queue, &AMQPProperties::default(), &body);
    let content = channel.expect_deliver().content;
    assert!(content.body == body);
    assert_eq!(content.body_frames, [PIECE, PIECE, PIECE, 1]);
}

#[test]
fn a_body_may_come_in_pieces_of_any_size() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    let body = pattern(100);
    channel.send(to(&queue));
    channel.send_frame(HEADER, &content_header(100, &[0, 0]));
    for piece in [&body[..1], &body[1..1], &body[1..60], &body[60..99], &body[99..]] {
        channel.send_frame(BODY, piece);
    }
    assert_eq!(channel.get(&queue).unwrap().content.body, body);
}

#[test]
fn contents_of_several_channels_may_interleave() {
    let test = Test::start();
    let peer = test.connect();
    let (one, two) = (peer.open(1), peer.open(2));
    let queue = one.temp_queue();
    one.send(to(&queue));
    two.send(to(&queue));
    two.send_frame(HEADER, &content_header(4, &[0, 0]));
    one.send_frame(HEADER, &content_header(3, &[0, 0]));
    two.send_frame(BODY, b"tw");
    one.send_frame(BODY, b"one");
    peer.open(3).expect_nothing();
    two.send_frame(BODY, b"o!");
    two.expect_nothing_from(&queue);
    one.expect_nothing_from(&queue);
    let mut bodies = one.drain(&queue);
    bodies.sort();
    assert_eq!(bodies, ["one", "two!"]);
}

#[test]
fn every_property_and_every_type_passes_unchanged() {
    let inner = table([("deep", table([("er", AMQPValue::Void)]).into())]);
    let headers = table([
        ("bool", true.into()),
        ("byte", AMQPValue::ShortShortInt(-8)),
        ("short", AMQPValue::ShortInt(-300)),
        ("long", AMQPValue::LongInt(-70_000)),
        ("longlong", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.5)),
        ("double", AMQPValue::Double(-0.1)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("text", text("käse")),
        ("array", AMQPValue::FieldArray(vec![1.into(), text("two"), AMQPValue::Void].into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("table", inner.into()),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("void", AMQPValue::Void),
    ]);
    let all = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("none".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(255)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(u64::MAX)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("x".into());
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.consume(&queue, "c");
    for properties in [all, AMQPProperties::default(), AMQPProperties::default().with_app_id("".into())] {
        let sent = encode_properties(&properties);
        channel.send_content(to(&queue), &sent, b"x");
        assert_eq!(channel.expect_deliver().content.properties, sent, "{properties:?}");
    }
}

/// Publishes with these properties and expects the channel to be closed with this text.
fn refused(channel: Channel<'_>, properties: &AMQPProperties, text: &str) {
    channel.publish_with("", "nowhere", properties, b"x");
    channel.expect_close(406, text, (60, 40));
    channel.call(channel::Open {});
}

#[test]
fn an_expiration_that_is_no_number_of_milliseconds_closes_the_channel() {
    let rows = [
        ("", "no_integer"),
        ("foo", "no_integer"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("10 ", "{leftover_string,\" \"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for (expiration, reason) in rows {
        let properties = AMQPProperties::default().with_expiration(expiration.into());
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}");
        refused(channel, &properties, &text);
    }
    let longest = AMQPProperties::default().with_expiration("315360000000".into());
    channel.publish_with("", "nowhere", &longest, b"x");
    channel.expect_nothing();
}

#[test]
fn a_user_id_that_is_not_the_users_closes_the_channel() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let text = "PRECONDITION_FAILED - user_id property set to 'admin' but authenticated user was 'guest'";
    refused(channel, &AMQPProperties::default().with_user_id("admin".into()), text);
    let own = AMQPProperties::default().with_user_id("guest".into());
    channel.publish_with("", "nowhere", &own, b"x");
    channel.expect_nothing();
}

#[test]
fn a_delivery_mode_other_than_one_or_two_closes_the_channel() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for mode in [0, 3, 255] {
        let text = format!("PRECONDITION_FAILED - invalid message: {{delivery_mode_unknown,{mode}}}");
        refused(channel, &AMQPProperties::default().with_delivery_mode(mode), &text);
    }
}

#[test]
fn carbon_copies_that_are_no_list_close_the_channel() {
    let rows = [
        ("CC", text("q"), "{unacceptable_type_in_header,\"CC\",longstr}"),
        ("BCC", AMQPValue::LongInt(1), "{unacceptable_type_in_header,\"BCC\",signedint}"),
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    for (name, value, reason) in rows {
        let properties = AMQPProperties::default().with_headers(table([(name, value)]));
        refused(channel, &properties, &format!("PRECONDITION_FAILED - invalid message: {reason}"));
    }
}

#[test]
fn immediate_messages_are_not_implemented() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let publish = basic::Publish { immediate: true, ..to("nowhere") };
    channel.send_content(publish, &[0, 0], b"x");
    peer.expect_close(540, "NOT_IMPLEMENTED - immediate=true", (60, 40));
}

#[test]
fn the_exchange_is_checked_before_the_properties() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    let bad = AMQPProperties::default().with_expiration("foo".into());
    channel.publish_with("proto.missing", "", &bad, b"x");
    channel.expect_close(404, "NOT_FOUND - no exchange 'proto.missing' in vhost '/'", (60, 40));
}

#[test]
fn a_message_larger_than_allowed_closes_the_channel_and_one_at_the_limit_passes() {
    if needs_own_broker() {
        return;
    }
    let broker = OwnBroker::start(|config| config.limits.message_bytes_max = 1000);
    let peer = broker.connect();
    let channel = peer.open(1);
    let queue = channel.temp_queue();
    channel.publish_with("", &queue, &AMQPProperties::default(), &pattern(1000));
    assert_eq!(channel.get_with(&queue, true).unwrap().content.body.len(), 1000);
    // The body follows though the header was refused already.
    channel.publish_with("proto.missing", "", &AMQPProperties::default(), &pattern(1001));
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    channel.expect_close(406, text, (60, 40));
    assert_eq!(peer.open(1).count(&queue), 0);
}

#[test]
fn a_method_inside_a_content_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(to("q"));
    channel.send(channel::Flow { active: true });
    let text =
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    peer.expect_close(505, text, (60, 40));
}

#[test]
fn a_method_before_the_body_is_complete_ends_the_connection() {
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(to("q"));
    channel.send_frame(HEADER, &content_header(10, &[0, 0]));
    channel.send_frame(BODY, b"half");
    channel.send(channel::Flow { active: true });
    let text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    peer.expect_close(505, text, (60, 40));
}

#[test]
fn a_body_longer_than_announced_ends_the_connection() {
    if differs_from_rabbitmq("it waits for more; the specification asks for an error") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(to("q"));
    channel.send_frame(HEADER, &content_header(3, &[0, 0]));
    channel.send_frame(BODY, b"four");
    let text = "FRAME_ERROR - content body is 1 bytes longer than its header announced";
    peer.expect_close(501, text, (60, 40));
}

#[test]
fn content_without_a_method_ends_the_connection() {
    let test = Test::start();
    for (kind, payload) in [(HEADER, content_header(1, &[0, 0])), (BODY, b"x".to_vec())] {
        let peer = test.connect();
        peer.open(1).send_frame(kind, &payload);
        let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
        peer.expect_close(505, text, (0, 0));
    }
}

#[test]
fn an_abandoned_content_is_forgotten_with_its_connection() {
    let test = Test::start();
    let queue = test.queue("abandoned");
    let peer = test.connect();
    peer.open(1).queue(&queue);
    let quitter = test.connect();
    let channel = quitter.open(1);
    channel.publish("", &queue, "whole");
    channel.send(to(&queue));
    channel.send_frame(HEADER, &content_header(10, &[0, 0]));
    channel.send_frame(BODY, b"half");
    quitter.open(2).expect_nothing_from(&queue);
    drop(quitter);
    assert_eq!(peer.channel(1).drain(&queue), ["whole"]);
}
