//! Methods as amq-protocol encodes them, and the refusals, most of them in RabbitMQ's words.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{basic, channel, connection, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::*;

/// A method's payload as amq-protocol encodes it.
fn encoded(method: AMQPClass) -> Vec<u8> {
    let context = gen_frame(&AMQPFrame::Method(1, method))(WriteContext::from(Vec::new())).unwrap();
    let frame: Vec<u8> = context.into_inner().0;
    frame[7..frame.len() - 1].to_vec()
}

fn publish(exchange: &str, routing_key: &str, mandatory: bool, immediate: bool) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory,
        immediate,
    }))
}

fn declare(arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: "q".into(),
        durable: true,
        arguments,
        ..Default::default()
    }))
}

fn refusal(payload: &[u8]) -> (String, u16, u16) {
    let error = parse(payload).unwrap_err();
    assert_eq!(error.scope, crate::error::Scope::Connection);
    (error.to_string(), error.class_id, error.method_id)
}

#[test]
fn publish_comes_with_its_names_and_bits() {
    let longest = "é".repeat(127);
    for (mandatory, immediate) in [(false, false), (true, false), (false, true), (true, true)] {
        for (exchange, routing_key) in [("", "queue"), ("logs", ""), (&longest, &longest)] {
            let payload = encoded(publish(exchange, routing_key, mandatory, immediate));
            let expected = BasicPublish { exchange, routing_key, mandatory, immediate };
            assert_eq!(parse(&payload).unwrap(), Method::Publish(expected));
        }
    }
}

#[test]
fn settlements_come_with_their_bits() {
    let delivery_tag = 0x0102_0304_0506_0708;
    for (a, b) in [(false, false), (true, false), (false, true), (true, true)] {
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: a });
        let expected = Method::Ack { delivery_tag, multiple: a };
        assert_eq!(parse(&encoded(AMQPClass::Basic(ack))).unwrap(), expected);
        let nack = basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple: a, requeue: b });
        let expected = Method::Nack { delivery_tag, multiple: a, requeue: b };
        assert_eq!(parse(&encoded(AMQPClass::Basic(nack))).unwrap(), expected);
        let reject = basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: b });
        let expected = Method::Reject { delivery_tag, requeue: b };
        assert_eq!(parse(&encoded(AMQPClass::Basic(reject))).unwrap(), expected);
    }
}

/// The layouts are ours and the parser is amq-protocol's: whatever both know must be the same methods.
#[test]
fn the_layouts_are_those_of_amq_protocol() {
    let hot = [40, 80, 90, 120].map(|method_id| (60, method_id));
    let mut known = 0;
    for class_id in 0..=200_u16 {
        for method_id in (0..=200_u16).filter(|&method_id| !hot.contains(&(class_id, method_id))) {
            let ids = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
            // Zeros are good arguments of every type, and more of them than any method takes.
            let payload = [&ids[..], &[0; 64]].concat();
            let Some(layout) = layout(class_id, method_id) else {
                assert!(parse_class(&payload[..]).is_err(), "{class_id}.{method_id} has no layout");
                continue;
            };
            known += 1;
            let bytes = layout.iter().map(|argument| match argument {
                Octet | ShortString => 1,
                Short => 2,
                Long | LongString | Table => 4,
                LongLong => 8,
            });
            let end = ID_BYTES + bytes.sum::<usize>();
            let Method::Other(method) = parse(&payload[..end]).unwrap() else { panic!("a hot method") };
            let found = (method.get_amqp_class_id(), method.get_amqp_method_id());
            assert_eq!(found, (class_id, method_id));
            // Tickets mean nothing any more: amq-protocol skips them, and answers with 1.
            if (class_id, method_id) != (30, 11) {
                assert_eq!(encoded(*method), payload[..end], "{class_id}.{method_id}");
            }
        }
    }
    assert_eq!(known, 66 - hot.len());
}

#[test]
fn arguments_that_are_cut_or_left_over_are_refused() {
    let open =
        AMQPClass::Connection(connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() }));
    let close = AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
        reply_code: 200,
        reply_text: "bye".into(),
        class_id: 0,
        method_id: 0,
    }));
    for method in [publish("e", "k", true, false), open, close, declare(FieldTable::default())] {
        let ids = (method.get_amqp_class_id(), method.get_amqp_method_id());
        let payload = encoded(method);
        for end in ID_BYTES..payload.len() {
            let (text, class_id, method_id) = refusal(&payload[..end]);
            assert!(text.starts_with("501 FRAME_ERROR - cannot decode <<"), "{text}");
            assert_eq!((class_id, method_id), ids);
        }
        let (text, ..) = refusal(&[&payload[..], b"z"].concat());
        assert!(text.ends_with(",122>>"), "{text}");
    }
}

/// RabbitMQ 3.10 answered with these texts to the same bytes, except where it dropped the socket.
#[test]
fn refusals_say_what_rabbitmq_says() {
    for (payload, text, ids) in [
        (&b"\0\x32\0\x0a\0\0\x03abc"[..], "501 FRAME_ERROR - cannot decode <<0,0,3,97,98,99>>", (50, 10)),
        (b"\0\x55\0\x0a", "501 FRAME_ERROR - cannot decode <<>>", (85, 10)),
        (b"", "501 FRAME_ERROR - type 1, all octets = <<>>: unknown_frame", (0, 0)),
        (b"\0\x3c\0", "501 FRAME_ERROR - type 1, all octets = <<0,60,0>>: unknown_frame", (0, 0)),
        (b"\0\x32\0\x0a\0\0\x01\xff\0\0\0\0\0", "501 FRAME_ERROR - Malformed UTF-8 in shortstr", (50, 10)),
        (b"\0\x3c\0\x28\0\0\0\x01\xff\0", "501 FRAME_ERROR - Malformed UTF-8 in shortstr", (60, 40)),
        (
            b"\0\x32\0\x0a\0\0\x01q\x02\0\0\0\x10\x01kV",
            "501 FRAME_ERROR - cannot decode <<0,0,1,113,2,0,0,0,16,1,107,86>>",
            (50, 10),
        ),
        (
            b"\0\x32\0\x0a\0\0\x01q\x02\0\0\0\x04\x01kZ0",
            "502 SYNTAX_ERROR - unknown field table type 90",
            (50, 10),
        ),
        (b"\0\x3c\0\x63", "503 COMMAND_INVALID - unknown method 60.99", (60, 99)),
        (b"\0\x63\0\x63abc", "503 COMMAND_INVALID - unknown method 99.99", (99, 99)),
    ] {
        let (found, class_id, method_id) = refusal(payload);
        assert_eq!((found.as_str(), (class_id, method_id)), (text, ids));
    }
}

#[test]
fn the_text_of_a_refusal_does_not_grow_with_the_arguments() {
    let payload = [&b"\0\x3c\0\x50"[..], &vec![0; 100_000]].concat();
    let error = parse(&payload).unwrap_err();
    assert!(error.text.len() < 1_000);
    assert_eq!(error.reply_text().len(), 255);
}

/// Every method with a table, with a nesting that would overflow a recursive parser's stack.
#[test]
fn the_guard_stands_before_every_table() {
    let depth = 20_000_usize;
    let mut nested = Vec::new();
    for level in 0..depth {
        let inside = u32::try_from((depth - 1 - level) * 6).unwrap();
        nested.extend_from_slice(&inside.to_be_bytes());
        nested.extend_from_slice(if level + 1 < depth { &[0, b'F'] } else { &[] });
    }
    let names = |count: usize| vec![0_u8; 2 + count];
    for (ids, before, after) in [
        ([0, 10, 0, 10], vec![0, 9], vec![0; 8]),
        ([0, 10, 0, 11], vec![], vec![0; 6]),
        ([0, 40, 0, 10], names(2 + 1), vec![]),
        ([0, 40, 0, 30], names(3 + 1), vec![]),
        ([0, 40, 0, 40], names(3 + 1), vec![]),
        ([0, 50, 0, 10], names(1 + 1), vec![]),
        ([0, 50, 0, 20], names(3 + 1), vec![]),
        ([0, 50, 0, 50], names(3), vec![]),
        ([0, 60, 0, 20], names(2 + 1), vec![]),
    ] {
        let payload = [&ids[..], &before, &nested, &after].concat();
        let (text, ..) = refusal(&payload);
        assert_eq!(text, "502 SYNTAX_ERROR - field table nests deeper than 64 levels", "{ids:?}");
        // The same with an empty table is a good method: the offsets above are right.
        assert!(parse(&[&ids[..], &before, &[0; 4], &after].concat()).is_ok(), "{ids:?}");
    }
}

#[test]
fn ids_are_zero_where_they_are_cut_off() {
    assert_eq!(ids(&[0, 60, 0, 40, 9]), (60, 40));
    assert_eq!(ids(&[0, 60, 0]), (60, 0));
    assert_eq!(ids(&[0]), (0, 0));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(payload: Vec<u8>) {
        let _ = parse(&payload);
    }

    #[test]
    fn arbitrary_arguments_of_known_methods_never_panic(
        class_id in prop::sample::select(vec![10_u8, 20, 30, 40, 50, 60, 85, 90]),
        method_id in prop::sample::select(vec![10_u8, 11, 20, 21, 30, 31, 40, 50, 60, 70, 80, 90, 110, 120]),
        arguments: Vec<u8>,
    ) {
        let _ = parse(&[&[0, class_id, 0, method_id][..], &arguments].concat());
    }

    #[test]
    fn what_amq_protocol_encodes_is_parsed(name in "\\PC{0,60}", key in "\\PC{0,60}", ttl: i32) {
        let mut arguments = FieldTable::default();
        arguments.insert(key.as_str().into(), AMQPValue::LongInt(ttl));
        let method = declare(arguments);
        let expected = Method::Other(Box::new(method.clone()));
        let payload = encoded(method);
        prop_assert_eq!(parse(&payload).unwrap(), expected);
        let payload = encoded(publish(&name, &key, true, false));
        let publish = BasicPublish { exchange: &name, routing_key: &key, mandatory: true, immediate: false };
        prop_assert_eq!(parse(&payload).unwrap(), Method::Publish(publish));
    }
}
