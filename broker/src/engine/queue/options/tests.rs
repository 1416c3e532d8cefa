//! The rules for declare arguments and for declaring again. The texts were read off RabbitMQ.

use amq_protocol::types::{DecimalValue, FieldArray};

use super::*;
use crate::error::{ReplyCode, Scope};

/// A name with its value.
type Argument = (&'static str, AMQPValue);

fn table(entries: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

fn declare(durable: bool, entries: &[Argument]) -> Result<QueueOptions, AmqpError> {
    let arguments = table(entries);
    QueueOptions::from_declare(
        "/",
        QueueDeclare { name: "q".to_owned(), durable, arguments, ..QueueDeclare::default() },
    )
}

fn refusal(durable: bool, entries: &[Argument]) -> String {
    let error = declare(durable, entries).unwrap_err();
    assert_eq!((error.code, error.scope), (ReplyCode::PreconditionFailed, Scope::Channel));
    error.text.into_owned()
}

#[test]
fn an_argument_of_the_wrong_type_or_range_is_refused_with_the_reason() {
    let decimal = AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 15 });
    let cases: &[(&str, AMQPValue, &str)] = &[
        ("x-message-ttl", text("10"), "\"expected integer, got longstr\""),
        ("x-message-ttl", AMQPValue::Boolean(true), "\"expected integer, got bool\""),
        ("x-message-ttl", decimal, "\"expected integer, got decimal\""),
        ("x-message-ttl", AMQPValue::FieldTable(FieldTable::default()), "\"expected integer, got table\""),
        ("x-message-ttl", AMQPValue::FieldArray(FieldArray::default()), "\"expected integer, got array\""),
        ("x-message-ttl", AMQPValue::Void, "\"expected integer, got void\""),
        ("x-message-ttl", int(-1), "{value_negative,-1}"),
        ("x-message-ttl", AMQPValue::LongLongInt(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-expires", int(0), "{value_zero,0}"),
        ("x-dead-letter-routing-key", text("k"), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", int(1), "{unacceptable_type,signedint}"),
        ("x-dead-letter-exchange", text(&"x".repeat(256)), "{value_too_long,256}"),
        ("x-dead-letter-routing-key", text(&"x".repeat(256)), "{value_too_long,256}"),
        ("x-max-length", int(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", text("1"), "\"expected integer, got longstr\""),
        ("x-max-priority", int(256), "{max_value_exceeded,256}"),
        ("x-max-priority", int(-1), "{value_negative,-1}"),
        ("x-overflow", text("foo"), "invalid_overflow"),
        ("x-overflow", int(1), "{unacceptable_type,signedint}"),
        ("x-queue-mode", text("foo"), "\"unsupported queue mode 'foo'\""),
        ("x-queue-version", int(3), "\"unsupported queue version '3'\""),
        ("x-queue-version", int(-3), "{value_negative,-3}"),
        ("x-single-active-consumer", text("true"), "{unacceptable_type,longstr}"),
        ("x-queue-leader-locator", text("foo"), "invalid_queue_locator_arg"),
        ("x-queue-type", text("foo"), "\"unsupported queue type 'foo'\""),
        ("x-queue-type", text("stream"), "\"unsupported queue type 'stream'\""),
        ("x-queue-type", int(1), "{unacceptable_type,signedint}"),
        ("x-consumer-timeout", text("x"), "\"expected integer, got longstr\""),
    ];
    for (name, value, reason) in cases {
        assert_eq!(
            refusal(true, &[(name, value.clone())]),
            format!("invalid arg '{name}' for queue 'q' in vhost '/': {reason}")
        );
    }
    assert_eq!(
        refusal(true, &[("x-dead-letter-exchange", int(1))]),
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"
    );
}

#[test]
fn values_at_the_bounds_are_accepted_in_any_width() {
    let cases: &[Argument] = &[
        ("x-message-ttl", int(0)),
        ("x-message-ttl", AMQPValue::LongLongInt(315_360_000_000)),
        ("x-message-ttl", AMQPValue::LongUInt(u32::MAX)),
        ("x-expires", AMQPValue::ShortShortUInt(1)),
        ("x-max-length", AMQPValue::ShortShortInt(0)),
        ("x-max-priority", AMQPValue::ShortInt(255)),
        ("x-max-priority", AMQPValue::ShortUInt(0)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-queue-mode", text("lazy")),
        ("x-queue-version", int(1)),
        ("x-queue-version", int(2)),
        ("x-foo", AMQPValue::Void),
    ];
    for case in cases {
        assert!(declare(false, std::slice::from_ref(case)).is_ok(), "{case:?}");
    }
}

#[test]
fn each_kind_of_queue_refuses_the_arguments_of_the_others() {
    let quorum = ("x-queue-type", text("quorum"));
    for name in ["x-max-in-memory-length", "x-quorum-initial-group-size", "x-max-age"] {
        let text = refusal(true, &[(name, int(3))]);
        assert_eq!(
            text,
            format!("invalid arg '{name}' for queue 'q' in vhost '/' of queue type rabbit_classic_queue")
        );
    }
    for name in ["x-max-priority", "x-queue-mode", "x-max-age"] {
        let text = refusal(true, &[quorum.clone(), (name, text("lazy"))]);
        assert_eq!(
            text,
            format!("invalid arg '{name}' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue")
        );
    }
    assert_eq!(
        refusal(true, &[quorum.clone(), ("x-quorum-initial-group-size", int(0))]),
        "invalid arg 'x-quorum-initial-group-size' for queue 'q' in vhost '/': {value_zero,0}"
    );
    assert_eq!(
        refusal(true, &[quorum.clone(), ("x-dead-letter-strategy", text("a"))]),
        "invalid arg 'x-dead-letter-strategy' for queue 'q' in vhost '/': invalid_dlx_strategy"
    );
    let options = declare(true, &[quorum, ("x-delivery-limit", int(-1))]).unwrap();
    assert_eq!(options.kind, QueueKind::Quorum);
    // RabbitMQ keeps these two for quorum queues.
    let both = [("x-delivery-limit", int(3)), ("x-dead-letter-strategy", text("at-least-once"))];
    assert_eq!(declare(true, &both).unwrap().kind, QueueKind::Classic);
}

#[test]
fn a_quorum_queue_must_be_durable_shared_and_lasting() {
    let cases = [
        (true, true, true, "auto-delete"),
        (true, true, false, "exclusive-owner"),
        (false, false, false, "non-durable"),
    ];
    for (durable, exclusive, auto_delete, property) in cases {
        let arguments = table(&[("x-queue-type", text("quorum"))]);
        let declare = QueueDeclare { name: "q".to_owned(), durable, exclusive, auto_delete, arguments };
        let error = QueueOptions::from_declare("v", declare).unwrap_err();
        assert_eq!(error.text, format!("invalid property '{property}' for queue 'q' in vhost 'v'"));
    }
}

#[test]
fn arguments_without_effect_are_named() {
    let mixed = [
        ("x-queue-master-locator", text("min-masters")),
        ("x-queue-leader-locator", text("balanced")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-queue-type", text("classic")),
        ("x-queue-mode", text("lazy")),
        ("x-foo", int(1)),
    ];
    let options = declare(true, &mixed).unwrap();
    assert!(options.single_active_consumer);
    let named: Vec<_> = options.ineffective_arguments().collect();
    assert_eq!(named, ["x-queue-master-locator", "x-queue-leader-locator"]);
    let options = declare(true, &[("x-queue-type", text("quorum"))]).unwrap();
    assert_eq!(options.ineffective_arguments().count(), 0);
    assert_eq!(declare(false, &[]).unwrap().ineffective_arguments().count(), 0);
}

#[test]
fn an_exclusive_queue_is_never_durable() {
    let declare =
        QueueDeclare { name: "q".to_owned(), durable: true, exclusive: true, ..QueueDeclare::default() };
    assert!(!QueueOptions::from_declare("/", declare).unwrap().durable);
}

#[test]
fn declaring_again_with_other_properties_names_the_first_that_differs() {
    let with = |durable, exclusive, auto_delete| {
        let arguments = FieldTable::default();
        let declare = QueueDeclare { name: "q".to_owned(), durable, exclusive, auto_delete, arguments };
        QueueOptions::from_declare("/", declare).unwrap()
    };
    let current = with(true, false, false);
    assert_eq!(current.check_equivalent(&current), Ok(()));
    let error = current.check_equivalent(&with(false, false, true)).unwrap_err();
    assert_eq!(
        error.reply_text(),
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current \
         is 'true'"
    );
    let error = current.check_equivalent(&with(true, false, true)).unwrap_err();
    assert_eq!(
        error.text,
        "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'"
    );
    let error = current.check_equivalent(&with(true, true, false)).unwrap_err();
    assert_eq!(
        error.reply_text(),
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original \
         declaration."
    );
}

#[test]
fn declaring_again_compares_the_known_arguments() {
    let ttl = |value| vec![("x-message-ttl", value)];
    let long = AMQPValue::LongLongInt;
    let cases: &[(Vec<Argument>, Vec<Argument>, &str)] = &[
        (ttl(int(10)), ttl(int(20)), "'x-message-ttl': received '20' but current is '10'"),
        (
            ttl(int(10)),
            vec![],
            "'x-message-ttl': received none but current is the value '10' of type 'signedint'",
        ),
        (
            vec![],
            ttl(long(10)),
            "'x-message-ttl': received the value '10' of type 'long' but current is none",
        ),
        (
            vec![("x-dead-letter-exchange", text("a"))],
            vec![("x-dead-letter-exchange", text("b"))],
            "'x-dead-letter-exchange': received 'b' but current is 'a'",
        ),
        (
            vec![],
            vec![("x-single-active-consumer", AMQPValue::Boolean(true))],
            "'x-single-active-consumer': received the value 'true' of type 'bool' but current is none",
        ),
        (
            vec![],
            vec![("x-queue-type", text("quorum"))],
            "'x-queue-type': received the value 'quorum' of type 'longstr' but current is none",
        ),
        (
            vec![("x-max-length", int(1)), ("x-expires", int(7))],
            vec![("x-max-length", int(2)), ("x-expires", int(8))],
            "'x-expires': received '8' but current is '7'",
        ),
    ];
    for (current, received, difference) in cases {
        let error =
            declare(true, current).unwrap().check_equivalent(&declare(true, received).unwrap()).unwrap_err();
        let (name, rest) = difference.split_once(':').unwrap();
        assert_eq!(error.text, format!("inequivalent arg {name} for queue 'q' in vhost '/':{rest}"));
    }
}

#[test]
fn widths_unknown_arguments_and_the_default_type_do_not_make_a_difference() {
    let equivalent: &[(&[Argument], &[Argument])] = &[
        (&[("x-message-ttl", int(10))], &[("x-message-ttl", AMQPValue::LongLongInt(10))]),
        (&[("x-message-ttl", int(10))], &[("x-message-ttl", AMQPValue::ShortShortUInt(10))]),
        (&[], &[("x-queue-type", text("classic"))]),
        (&[("x-queue-type", text("classic"))], &[]),
        (&[], &[("x-foo", int(1))]),
        (&[("x-foo", int(1))], &[("x-foo", text("1"))]),
        (&[("x-consumer-timeout", int(1))], &[("x-consumer-timeout", int(2))]),
        // Nobody checks this argument's type, so it may be a float: those are one class too.
        (
            &[("x-queue-master-locator", AMQPValue::Float(0.5))],
            &[("x-queue-master-locator", AMQPValue::Double(0.5))],
        ),
    ];
    for (current, received) in equivalent {
        let result = declare(true, current).unwrap().check_equivalent(&declare(true, received).unwrap());
        assert_eq!(result, Ok(()), "{current:?} and {received:?}");
    }
    let integer = declare(true, &[("x-queue-master-locator", int(1))]).unwrap();
    let float = declare(true, &[("x-queue-master-locator", AMQPValue::Double(1.0))]).unwrap();
    assert!(integer.check_equivalent(&float).is_err());
}
