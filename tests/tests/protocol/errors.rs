//! Errors that are nobody else's subject: code, text, and the method to blame, as tables.

use amq_protocol::protocol::{basic, channel, exchange, queue};

use crate::peer::{Channel, content_header, passive, table, text};
use crate::target::{Test, differs_from_rabbitmq};

/// What goes wrong: a name, code and text, the method, and how to provoke it.
type Row = (&'static str, u16, &'static str, (u16, u16), fn(Channel<'_>));

const NO_QUEUE: &str = "NOT_FOUND - no queue 'proto.missing' in vhost '/'";
const NO_EXCHANGE: &str = "NOT_FOUND - no exchange 'proto.missing' in vhost '/'";
const DEFAULT_EXCHANGE: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

fn declare_exchange(name: &str, kind: &str) -> exchange::Declare {
    exchange::Declare { exchange: name.into(), kind: kind.into(), ..exchange::Declare::default() }
}

fn bind(queue: &str, exchange: &str) -> queue::Bind {
    queue::Bind { queue: queue.into(), exchange: exchange.into(), ..queue::Bind::default() }
}

fn bind_exchange(destination: &str, source: &str) -> exchange::Bind {
    exchange::Bind { destination: destination.into(), source: source.into(), ..exchange::Bind::default() }
}

fn delete_exchange(name: &str) -> exchange::Delete {
    exchange::Delete { exchange: name.into(), ..exchange::Delete::default() }
}

const CHANNEL_ERRORS: &[Row] = &[
    ("declare a missing queue passively", 404, NO_QUEUE, (50, 10), |channel| {
        channel.send(passive("proto.missing"));
    }),
    ("bind a missing queue", 404, NO_QUEUE, (50, 20), |channel| {
        channel.send(bind("proto.missing", "amq.direct"));
    }),
    ("purge a missing queue", 404, NO_QUEUE, (50, 30), |channel| {
        channel.send(queue::Purge { queue: "proto.missing".into(), nowait: false });
    }),
    ("consume from a missing queue", 404, NO_QUEUE, (60, 20), |channel| {
        channel.send(basic::Consume { queue: "proto.missing".into(), ..basic::Consume::default() });
    }),
    ("get from a missing queue", 404, NO_QUEUE, (60, 70), |channel| {
        channel.send(basic::Get { queue: "proto.missing".into(), no_ack: false });
    }),
    ("declare a missing exchange passively", 404, NO_EXCHANGE, (40, 10), |channel| {
        channel.send(exchange::Declare { passive: true, ..declare_exchange("proto.missing", "direct") });
    }),
    ("bind to a missing exchange", 404, NO_EXCHANGE, (50, 20), |channel| {
        let queue = channel.temp_queue();
        channel.send(bind(&queue, "proto.missing"));
    }),
    ("bind a missing exchange", 404, NO_EXCHANGE, (40, 30), |channel| {
        channel.send(bind_exchange("proto.missing", "amq.direct"));
    }),
    ("bind an exchange to a missing one", 404, NO_EXCHANGE, (40, 30), |channel| {
        channel.send(bind_exchange("amq.direct", "proto.missing"));
    }),
    ("publish to a missing exchange", 404, NO_EXCHANGE, (60, 40), |channel| {
        channel.publish("proto.missing", "", "x");
    }),
    ("declare the default exchange", 403, DEFAULT_EXCHANGE, (40, 10), |channel| {
        channel.send(declare_exchange("", "direct"));
    }),
    ("delete the default exchange", 403, DEFAULT_EXCHANGE, (40, 20), |channel| {
        channel.send(delete_exchange(""));
    }),
    ("bind to the default exchange", 403, DEFAULT_EXCHANGE, (50, 20), |channel| {
        let queue = channel.temp_queue();
        channel.send(bind(&queue, ""));
    }),
    ("unbind from the default exchange", 403, DEFAULT_EXCHANGE, (50, 50), |channel| {
        let queue = channel.temp_queue();
        channel.send(queue::Unbind { queue: queue.as_str().into(), ..queue::Unbind::default() });
    }),
    ("bind the default exchange", 403, DEFAULT_EXCHANGE, (40, 30), |channel| {
        channel.send(bind_exchange("", "amq.direct"));
    }),
    ("bind an exchange to the default one", 403, DEFAULT_EXCHANGE, (40, 30), |channel| {
        channel.send(bind_exchange("amq.direct", ""));
    }),
    (
        "declare a queue with a reserved name",
        403,
        "ACCESS_REFUSED - queue name 'amq.proto' contains reserved prefix 'amq.*'",
        (50, 10),
        |channel| {
            channel.send(queue::Declare { queue: "amq.proto".into(), exclusive: true, ..Default::default() });
        },
    ),
    (
        "declare an exchange with a reserved name",
        403,
        "ACCESS_REFUSED - exchange name 'amq.proto' contains reserved prefix 'amq.*'",
        (40, 10),
        |channel| channel.send(declare_exchange("amq.proto", "direct")),
    ),
    (
        "delete a pre-declared exchange",
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
        (40, 20),
        |channel| channel.send(delete_exchange("amq.topic")),
    ),
    (
        "redeclare a pre-declared exchange with another type",
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'direct' but \
         current is 'topic'",
        (40, 10),
        |channel| {
            channel.send(exchange::Declare { durable: true, ..declare_exchange("amq.topic", "direct") });
        },
    ),
    (
        "publish to an internal exchange",
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
        (60, 40),
        |channel| channel.publish("amq.rabbitmq.trace", "", "x"),
    ),
    (
        "bind to a headers exchange with a strange x-match",
        406,
        "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
        (50, 20),
        |channel| {
            let queue = channel.temp_queue();
            let arguments = table([("x-match", text("some"))]);
            channel.send(queue::Bind { arguments, ..bind(&queue, "amq.headers") });
        },
    ),
];

#[test]
fn a_channel_error_closes_the_channel_and_nothing_else() {
    let test = Test::start();
    let peer = test.connect();
    let bystander = peer.open(2);
    for (name, code, text, method, provoke) in CHANNEL_ERRORS {
        println!("{name}");
        let channel = peer.open(1);
        provoke(channel);
        channel.expect_close(*code, text, *method);
        bystander.expect_nothing();
    }
}

const CONNECTION_ERRORS: &[Row] = &[
    ("recover without requeue", 540, "NOT_IMPLEMENTED - requeue=false", (60, 110), |channel| {
        channel.send(basic::Recover { requeue: false });
    }),
    (
        "asynchronously recover without requeue",
        540,
        "NOT_IMPLEMENTED - requeue=false",
        (60, 100),
        |channel| {
            channel.send(basic::RecoverAsync { requeue: false });
        },
    ),
    ("stop the flow", 540, "NOT_IMPLEMENTED - active=false", (20, 20), |channel| {
        channel.send(channel::Flow { active: false });
    }),
    ("send what only a server sends", 503, "COMMAND_INVALID - unimplemented method", (50, 11), |channel| {
        channel.send(queue::DeclareOk::default());
    }),
    ("send get-empty", 503, "COMMAND_INVALID - unimplemented method", (60, 72), |channel| {
        channel.send(basic::GetEmpty {});
    }),
    ("cut a method short", 501, "FRAME_ERROR - cannot decode <<0,0>>", (60, 70), |channel| {
        channel.send_payload(&[0, 60, 0, 70, 0, 0]);
    }),
];

#[test]
fn a_connection_error_closes_the_connection() {
    let test = Test::start();
    for (name, code, text, method, provoke) in CONNECTION_ERRORS {
        println!("{name}");
        let peer = test.connect();
        provoke(peer.open(1));
        peer.expect_close(*code, text, *method);
    }
}

#[test]
fn an_unknown_exchange_type_closes_the_channel() {
    if differs_from_rabbitmq("before 4.0 it closes the connection, with 503 COMMAND_INVALID") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = peer.open(1);
    channel.send(declare_exchange("proto.strange", "x-strange"));
    channel.expect_close(406, "PRECONDITION_FAILED - unknown exchange type 'x-strange'", (40, 10));
}

#[test]
fn an_unknown_method_ends_the_connection_with_a_reason() {
    if differs_from_rabbitmq("it closes the socket without a word") {
        return;
    }
    let test = Test::start();
    for (payload, text) in [
        ([0, 60, 0, 99], "COMMAND_INVALID - unknown method 60.99"),
        ([0, 99, 0, 10], "COMMAND_INVALID - unknown method 99.10"),
    ] {
        let peer = test.connect();
        peer.open(1).send_payload(&payload);
        peer.expect_close(503, text, (payload[1].into(), payload[3].into()));
    }
}

#[test]
fn a_malformed_table_ends_the_connection_with_a_reason() {
    if differs_from_rabbitmq("it closes the socket without a word") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut payload = vec![0, 50, 0, 10, 0, 0, 0, 0];
    payload.extend_from_slice(&[0, 0, 0, 3, 1, b'a', b'?']);
    peer.open(1).send_payload(&payload);
    let close = peer.control().expect::<amq_protocol::protocol::connection::Close>();
    assert_eq!((close.reply_code, close.class_id, close.method_id), (502, 50, 10), "{close:?}");
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let test = Test::start();
    // A frame with another end than 0xCE.
    let peer = test.connect();
    peer.open(1);
    peer.send_bytes(&[1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 20, 0]);
    let close = peer.control().expect::<amq_protocol::protocol::connection::Close>();
    assert_eq!((close.reply_code, close.class_id, close.method_id), (501, 0, 0), "{close:?}");
    assert!(close.reply_text.as_str().ends_with("{invalid_frame_end_marker,0}"), "{close:?}");
}

#[test]
fn a_frame_larger_than_negotiated_ends_the_connection() {
    let test = Test::start();
    let options = crate::peer::Options { frame_max: Some(4096), ..Default::default() };
    let peer = test.connect_with(&options);
    peer.open(1);
    let mut head = vec![3, 0, 1];
    head.extend_from_slice(&100_000_u32.to_be_bytes());
    peer.send_bytes(&head);
    peer.send_bytes(&[b'x'; 64]);
    let close = peer.control().expect::<amq_protocol::protocol::connection::Close>();
    assert_eq!((close.reply_code, close.class_id, close.method_id), (501, 0, 0), "{close:?}");
    assert!(close.reply_text.as_str().ends_with("{frame_too_large,100000,4088}"), "{close:?}");
}

#[test]
fn frames_where_they_do_not_belong_end_the_connection() {
    let test = Test::start();
    for (kind, channel, payload) in
        [(8, 1, vec![]), (2, 0, content_header(1, &[0, 0])), (3, 0, b"x".to_vec())]
    {
        let peer = test.connect();
        peer.open(1);
        peer.channel(channel).send_frame(kind, &payload);
        let close = peer.control().expect::<amq_protocol::protocol::connection::Close>();
        assert_eq!(
            (close.reply_code, close.class_id, close.method_id),
            (505, 0, 0),
            "type {kind}: {close:?}"
        );
    }
}

#[test]
fn a_channel_method_on_the_connection_ends_it() {
    let test = Test::start();
    let peer = test.connect();
    peer.control().send(queue::Declare::default());
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    peer.expect_close(504, text, (50, 10));
}
