//! Arguments of `queue.declare`: every type, range and combination that is refused, with the reason.

use amq_protocol::protocol::{AMQPClass, channel, queue};
use amq_protocol::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable};

use crate::peer::{Peer, table, text};
use crate::target::{Test, differs_from_rabbitmq};

/// Which kind of queue a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Classic,
    Quorum,
}

use Kind::{Classic, Quorum};

const BOTH: &[Kind] = &[Classic, Quorum];

/// Arguments that must be integers, and the kinds of queue that know them.
const INTEGERS: &[(&str, &[Kind])] = &[
    ("x-expires", BOTH),
    ("x-message-ttl", BOTH),
    ("x-max-length", BOTH),
    ("x-max-length-bytes", BOTH),
    ("x-max-priority", &[Classic]),
    ("x-queue-version", &[Classic]),
    ("x-max-in-memory-length", &[Quorum]),
    ("x-max-in-memory-bytes", &[Quorum]),
    ("x-quorum-initial-group-size", &[Quorum]),
];

/// Arguments that must be strings. The dead letter exchange is one too, and has a text of its own.
const TEXTS: &[(&str, &[Kind])] = &[
    ("x-dead-letter-routing-key", BOTH),
    ("x-overflow", BOTH),
    ("x-queue-mode", &[Classic]),
    ("x-queue-leader-locator", &[Quorum]),
    ("x-dead-letter-strategy", &[Quorum]),
];

/// Values that are neither integers nor strings nor true or false.
fn odd_values() -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("float", AMQPValue::Float(1.0)),
        ("double", AMQPValue::Double(1.0)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 15 })),
        ("timestamp", AMQPValue::Timestamp(1)),
        ("array", AMQPValue::FieldArray(FieldArray::default())),
        ("table", AMQPValue::FieldTable(FieldTable::default())),
        ("binary", AMQPValue::ByteArray(ByteArray::from(b"1".as_slice()))),
        ("void", AMQPValue::Void),
    ]
}

/// One, in every width.
fn integers() -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("byte", AMQPValue::ShortShortInt(1)),
        ("unsignedbyte", AMQPValue::ShortShortUInt(1)),
        ("short", AMQPValue::ShortInt(1)),
        ("unsignedshort", AMQPValue::ShortUInt(1)),
        ("signedint", AMQPValue::LongInt(1)),
        ("unsignedint", AMQPValue::LongUInt(1)),
        ("long", AMQPValue::LongLongInt(1)),
    ]
}

fn strings() -> Vec<(&'static str, AMQPValue)> {
    vec![("longstr", text("1"))]
}

fn booleans() -> Vec<(&'static str, AMQPValue)> {
    vec![("bool", AMQPValue::Boolean(true))]
}

/// The arguments of a row, for a queue of this kind.
fn of_kind<'a>(kind: Kind, arguments: &[(&'a str, AMQPValue)]) -> Vec<(&'a str, AMQPValue)> {
    let mut arguments = arguments.to_vec();
    if kind == Quorum {
        arguments.push(("x-queue-type", text("quorum")));
    }
    arguments
}

/// What a broker answers to many declares, and what it should have answered.
struct Answers<'a> {
    peer: &'a Peer,
    name: String,
    wrong: Vec<String>,
}

impl<'a> Answers<'a> {
    fn new(test: &Test, peer: &'a Peer, name: &str) -> Self {
        Self { peer, name: test.queue(name), wrong: Vec::new() }
    }

    /// A durable queue with these arguments is refused. `{}` in the text is the queue.
    fn refused(&mut self, arguments: &[(&str, AMQPValue)], wanted: &str) {
        let wanted = wanted.replace("{}", &format!("queue '{}' in vhost '/'", self.name));
        self.check(arguments, &format!("406 PRECONDITION_FAILED - {wanted}"));
    }

    /// It is accepted.
    fn accepted(&mut self, arguments: &[(&str, AMQPValue)]) {
        self.check(arguments, "declare-ok");
    }

    fn check(&mut self, arguments: &[(&str, AMQPValue)], wanted: &str) {
        let answer = self.declare(arguments);
        if answer != wanted {
            self.wrong.push(format!("{arguments:?}: {answer}, not {wanted}"));
        }
    }

    /// Declares the queue and deletes it again.
    fn declare(&self, arguments: &[(&str, AMQPValue)]) -> String {
        let channel = self.peer.open(1);
        let arguments = table(arguments.iter().cloned());
        let queue = self.name.as_str();
        channel.send(queue::Declare { queue: queue.into(), durable: true, arguments, ..Default::default() });
        match channel.next().method {
            AMQPClass::Queue(_) => {
                channel.call(queue::Delete { queue: queue.into(), ..Default::default() });
                channel.close();
                "declare-ok".to_owned()
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                assert_eq!((close.class_id, close.method_id), (50, 10));
                channel.send(channel::CloseOk {});
                format!("{} {}", close.reply_code, close.reply_text)
            }
            other => format!("{other:?}"),
        }
    }

    #[track_caller]
    fn end(self) {
        assert!(self.wrong.is_empty(), "{} wrong answers:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[test]
fn what_must_be_an_integer_is_one_of_any_width_and_nothing_else() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "integers");
    for (argument, kinds) in INTEGERS {
        for kind in *kinds {
            for (of_type, value) in [odd_values(), strings(), booleans()].concat() {
                let wanted =
                    format!("invalid arg '{argument}' for {{}}: \"expected integer, got {of_type}\"");
                answers.refused(&of_kind(*kind, &[(argument, value)]), &wanted);
            }
            for (_, value) in integers() {
                answers.accepted(&of_kind(*kind, &[(argument, value)]));
            }
        }
    }
    answers.end();
}

#[test]
fn what_must_be_a_string_is_nothing_else() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "strings");
    for (of_type, value) in [odd_values(), integers(), booleans()].concat() {
        for (argument, kinds) in TEXTS {
            for kind in *kinds {
                let wanted = format!("invalid arg '{argument}' for {{}}: {{unacceptable_type,{of_type}}}");
                answers.refused(&of_kind(*kind, &[(argument, value.clone())]), &wanted);
            }
        }
        for kind in BOTH {
            let wanted = format!("invalid type '{of_type}' for arg 'x-dead-letter-exchange' in {{}}");
            answers.refused(&of_kind(*kind, &[("x-dead-letter-exchange", value.clone())]), &wanted);
        }
        let wanted = format!("invalid arg 'x-queue-type' for {{}}: {{unacceptable_type,{of_type}}}");
        answers.refused(&[("x-queue-type", value)], &wanted);
    }
    answers.end();
}

#[test]
fn what_must_be_true_or_false_is_nothing_else() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "booleans");
    for kind in BOTH {
        for (of_type, value) in [odd_values(), integers(), strings()].concat() {
            let argument = "x-single-active-consumer";
            let wanted = format!("invalid arg '{argument}' for {{}}: {{unacceptable_type,{of_type}}}");
            answers.refused(&of_kind(*kind, &[(argument, value)]), &wanted);
        }
    }
    answers.end();
}

#[test]
fn what_is_out_of_range_is_refused_and_what_is_at_the_bound_is_not() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "ranges");
    const TEN_YEARS_MS: i64 = 315_360_000_000;
    let rows: &[(&str, &[Kind], i64, &str)] = &[
        ("x-expires", BOTH, i64::MIN, "{value_negative,-9223372036854775808}"),
        ("x-expires", BOTH, -1, "{value_negative,-1}"),
        ("x-expires", BOTH, 0, "{value_zero,0}"),
        ("x-expires", BOTH, 1, ""),
        ("x-expires", BOTH, TEN_YEARS_MS, ""),
        ("x-expires", BOTH, TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-message-ttl", BOTH, -1, "{value_negative,-1}"),
        ("x-message-ttl", BOTH, 0, ""),
        ("x-message-ttl", BOTH, TEN_YEARS_MS, ""),
        ("x-message-ttl", BOTH, TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-message-ttl", BOTH, i64::MAX, "{value_too_large,9223372036854775807}"),
        ("x-max-length", BOTH, -1, "{value_negative,-1}"),
        ("x-max-length", BOTH, 0, ""),
        ("x-max-length", BOTH, i64::MAX, ""),
        ("x-max-length-bytes", BOTH, -1, "{value_negative,-1}"),
        ("x-max-length-bytes", BOTH, 0, ""),
        ("x-max-length-bytes", BOTH, i64::MAX, ""),
        ("x-max-priority", &[Classic], -1, "{value_negative,-1}"),
        ("x-max-priority", &[Classic], 0, ""),
        ("x-max-priority", &[Classic], 255, ""),
        ("x-max-priority", &[Classic], 256, "{max_value_exceeded,256}"),
        ("x-queue-version", &[Classic], -1, "{value_negative,-1}"),
        ("x-queue-version", &[Classic], 0, "\"unsupported queue version '0'\""),
        ("x-queue-version", &[Classic], 1, ""),
        ("x-queue-version", &[Classic], 2, ""),
        ("x-queue-version", &[Classic], 3, "\"unsupported queue version '3'\""),
        ("x-delivery-limit", &[Quorum], 0, ""),
        ("x-max-in-memory-length", &[Quorum], -1, "{value_negative,-1}"),
        ("x-max-in-memory-length", &[Quorum], 0, ""),
        ("x-max-in-memory-bytes", &[Quorum], -1, "{value_negative,-1}"),
        ("x-max-in-memory-bytes", &[Quorum], 0, ""),
        ("x-quorum-initial-group-size", &[Quorum], -1, "{value_negative,-1}"),
        ("x-quorum-initial-group-size", &[Quorum], 0, "{value_zero,0}"),
        ("x-quorum-initial-group-size", &[Quorum], 1, ""),
    ];
    for (argument, kinds, number, reason) in rows {
        for kind in *kinds {
            let arguments = of_kind(*kind, &[(argument, AMQPValue::LongLongInt(*number))]);
            if reason.is_empty() {
                answers.accepted(&arguments);
            } else {
                answers.refused(&arguments, &format!("invalid arg '{argument}' for {{}}: {reason}"));
            }
        }
    }
    answers.end();
}

#[test]
fn unknown_words_are_refused_and_all_known_ones_accepted() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "words");
    let rows: &[(&str, &[Kind], &[&str], &str)] = &[
        (
            "x-overflow",
            &[Classic],
            &["drop-head", "reject-publish", "reject-publish-dlx"],
            "invalid_overflow",
        ),
        ("x-overflow", &[Quorum], &["drop-head", "reject-publish"], "invalid_overflow"),
        ("x-queue-mode", &[Classic], &["default", "lazy"], "\"unsupported queue mode '?'\""),
        ("x-queue-leader-locator", &[Quorum], &["client-local", "balanced"], "invalid_queue_locator_arg"),
        ("x-dead-letter-strategy", &[Quorum], &["at-most-once", "at-least-once"], "invalid_dlx_strategy"),
    ];
    for (argument, kinds, known, reason) in rows {
        for kind in *kinds {
            for word in ["", "x", "Drop-Head", "drop-head "] {
                let reason = reason.replace('?', word);
                let arguments = of_kind(*kind, &[(argument, text(word))]);
                answers.refused(&arguments, &format!("invalid arg '{argument}' for {{}}: {reason}"));
            }
            for word in *known {
                answers.accepted(&of_kind(*kind, &[(argument, text(word))]));
            }
        }
    }
    for word in ["", "x", "Classic", "quorum "] {
        let reason = format!("\"unsupported queue type '{word}'\"");
        answers.refused(
            &[("x-queue-type", text(word))],
            &format!("invalid arg 'x-queue-type' for {{}}: {reason}"),
        );
    }
    answers.accepted(&[("x-queue-type", text("classic"))]);
    answers.end();
}

#[test]
fn each_kind_of_queue_refuses_the_arguments_of_the_others() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "kinds");
    let rows: &[(&str, AMQPValue, &[Kind])] = &[
        ("x-max-priority", 5.into(), &[Quorum]),
        ("x-queue-mode", text("lazy"), &[Quorum]),
        ("x-queue-version", 2.into(), &[Quorum]),
        ("x-max-in-memory-length", 5.into(), &[Classic]),
        ("x-max-in-memory-bytes", 5.into(), &[Classic]),
        ("x-quorum-initial-group-size", 1.into(), &[Classic]),
        ("x-max-age", text("1D"), BOTH),
        ("x-stream-max-segment-size-bytes", 5.into(), BOTH),
        ("x-initial-cluster-size", 1.into(), BOTH),
    ];
    for (argument, value, kinds) in rows {
        for kind in *kinds {
            let module = match kind {
                Classic => "rabbit_classic_queue",
                Quorum => "rabbit_quorum_queue",
            };
            let wanted = format!("invalid arg '{argument}' for {{}} of queue type {module}");
            answers.refused(&of_kind(*kind, &[(argument, value.clone())]), &wanted);
        }
    }
    answers.end();
}

#[test]
fn arguments_are_refused_together_that_are_accepted_alone() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "together");
    let key = ("x-dead-letter-routing-key", text("k"));
    for kind in BOTH {
        let wanted = "invalid arg 'x-dead-letter-routing-key' for {}: routing_key_but_no_dlx_defined";
        answers.refused(&of_kind(*kind, std::slice::from_ref(&key)), wanted);
        answers.accepted(&of_kind(*kind, &[key.clone(), ("x-dead-letter-exchange", text(""))]));
        answers.accepted(&of_kind(*kind, &[("x-dead-letter-exchange", text("nowhere"))]));
    }
    answers.end();
}

#[test]
fn of_several_faults_the_first_in_rabbitmqs_order_is_told() {
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "several");
    // Each row adds a fault that is found earlier than all above.
    let faults: &[(&str, AMQPValue, &str)] = &[
        ("x-max-age", text("1D"), " of queue type rabbit_classic_queue"),
        ("x-single-active-consumer", text("x"), ": {unacceptable_type,longstr}"),
        ("x-queue-version", 3.into(), ": \"unsupported queue version '3'\""),
        ("x-queue-mode", text("x"), ": \"unsupported queue mode 'x'\""),
        ("x-overflow", text("x"), ": invalid_overflow"),
        ("x-max-priority", 256.into(), ": {max_value_exceeded,256}"),
        ("x-max-length-bytes", (-1).into(), ": {value_negative,-1}"),
        ("x-max-length", (-1).into(), ": {value_negative,-1}"),
        ("x-dead-letter-routing-key", text("k"), ": routing_key_but_no_dlx_defined"),
        ("x-message-ttl", (-1).into(), ": {value_negative,-1}"),
        ("x-expires", 0.into(), ": {value_zero,0}"),
        ("x-queue-type", text("x"), ": \"unsupported queue type 'x'\""),
    ];
    for count in 1..=faults.len() {
        let arguments: Vec<_> =
            faults[..count].iter().map(|(name, value, _)| (*name, value.clone())).collect();
        let (name, _, reason) = &faults[count - 1];
        answers.refused(&arguments, &format!("invalid arg '{name}' for {{}}{reason}"));
    }
    answers.end();
}

#[test]
fn every_kind_of_queue_may_say_where_its_leader_should_be() {
    if differs_from_rabbitmq("before 4.0 it knew no such argument of classic queues") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "leader");
    let argument = "x-queue-leader-locator";
    for (of_type, value) in [odd_values(), integers(), booleans()].concat() {
        let wanted = format!("invalid arg '{argument}' for {{}}: {{unacceptable_type,{of_type}}}");
        answers.refused(&[(argument, value)], &wanted);
    }
    answers.refused(
        &[(argument, text("x"))],
        &format!("invalid arg '{argument}' for {{}}: invalid_queue_locator_arg"),
    );
    answers.accepted(&[(argument, text("client-local"))]);
    answers.accepted(&[(argument, text("balanced"))]);
    answers.end();
}

#[test]
fn a_delivery_limit_is_an_integer_and_may_be_negative() {
    if differs_from_rabbitmq("before 4.0 it accepted any type, and none at all for a classic queue") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "limit");
    let argument = "x-delivery-limit";
    for kind in BOTH {
        for (of_type, value) in [odd_values(), strings(), booleans()].concat() {
            let wanted = format!("invalid arg '{argument}' for {{}}: \"expected integer, got {of_type}\"");
            answers.refused(&of_kind(*kind, &[(argument, value)]), &wanted);
        }
        for number in [-1, 0, 1] {
            answers.accepted(&of_kind(*kind, &[(argument, number.into())]));
        }
    }
    answers.end();
}

#[test]
fn every_kind_of_queue_has_a_choice_of_dead_letter_strategies() {
    if differs_from_rabbitmq("it offers at-least-once for quorum queues only") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "strategy");
    let argument = "x-dead-letter-strategy";
    answers.refused(
        &[(argument, text("x"))],
        &format!("invalid arg '{argument}' for {{}}: invalid_dlx_strategy"),
    );
    answers.refused(
        &[(argument, true.into())],
        &format!("invalid arg '{argument}' for {{}}: {{unacceptable_type,bool}}"),
    );
    for strategy in ["at-most-once", "at-least-once"] {
        answers.accepted(&[(argument, text(strategy)), ("x-dead-letter-exchange", text(""))]);
    }
    answers.end();
}

#[test]
fn a_consumer_timeout_is_an_integer_that_is_not_negative() {
    if differs_from_rabbitmq("before 3.12 it knew no such argument") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "timeout");
    let argument = "x-consumer-timeout";
    for kind in BOTH {
        for (of_type, value) in [odd_values(), strings(), booleans()].concat() {
            let wanted = format!("invalid arg '{argument}' for {{}}: \"expected integer, got {of_type}\"");
            answers.refused(&of_kind(*kind, &[(argument, value)]), &wanted);
        }
        let wanted = format!("invalid arg '{argument}' for {{}}: {{value_negative,-1}}");
        answers.refused(&of_kind(*kind, &[(argument, (-1).into())]), &wanted);
        answers.accepted(&of_kind(*kind, &[(argument, 0.into())]));
    }
    answers.end();
}

#[test]
fn streams_are_refused_with_a_clear_text() {
    if differs_from_rabbitmq("it has streams") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let mut answers = Answers::new(&test, &peer, "stream");
    let wanted = "invalid arg 'x-queue-type' for {}: \"unsupported queue type 'stream'\"";
    answers.refused(&[("x-queue-type", text("stream"))], wanted);
    answers.end();
}
