//! From an exchange to queues.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{confirm, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use crate::peer::{Channel, Peer, encode_properties, table, text};
use crate::target::{Test, differs_from_rabbitmq};

/// A channel in confirm mode: a message that is confirmed has reached its queues.
fn open(peer: &Peer) -> Channel<'_> {
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    channel
}

/// Publishes and waits for the confirm.
#[track_caller]
fn route(channel: Channel<'_>, exchange: &str, routing_key: &str, body: &str) {
    channel.publish(exchange, routing_key, body);
    channel.expect::<basic::Ack>();
}

/// An exchange with one queue for each binding key; publishes each key and says which queues got it.
fn matches(channel: Channel<'_>, exchange: &str, bindings: &[&str], key: &str) -> Vec<String> {
    let queues: Vec<String> = bindings
        .iter()
        .map(|binding| {
            let queue = channel.temp_queue();
            channel.bind(&queue, exchange, binding);
            queue
        })
        .collect();
    route(channel, exchange, key, "x");
    let got = bindings
        .iter()
        .zip(&queues)
        .filter(|(_, queue)| channel.count(queue) == 1)
        .map(|(binding, _)| (*binding).to_owned())
        .collect();
    for queue in queues {
        channel.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    }
    got
}

#[test]
fn the_default_exchange_routes_to_the_queue_of_that_name() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (queue, other) = (channel.temp_queue(), channel.temp_queue());
    route(channel, "", &queue, "x");
    let message = channel.get(&queue).unwrap();
    assert_eq!((message.exchange.as_str(), message.routing_key), ("", queue));
    assert!(channel.get(&other).is_none());
}

#[test]
fn a_direct_exchange_routes_to_equal_keys() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("direct");
    channel.exchange(&exchange, "direct");
    let bindings = ["a", "A", "a.b", "*", "#", ""];
    assert_eq!(matches(channel, &exchange, &bindings, "a"), ["a"]);
    assert_eq!(matches(channel, &exchange, &bindings, ""), [""]);
    assert_eq!(matches(channel, &exchange, &bindings, "b"), [""; 0]);
}

#[test]
fn a_fanout_exchange_ignores_keys() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("fanout");
    channel.exchange(&exchange, "fanout");
    assert_eq!(matches(channel, &exchange, &["a", "", "b"], "z"), ["a", "", "b"]);
}

#[test]
fn a_topic_exchange_matches_words() {
    let table: &[(&str, &[&str])] = &[
        ("a", &["a", "*", "#", "#.a", "a.#", "#.#", "*.#", "#.*"]),
        ("", &["", "#", "#.#"]),
        (
            "a.b",
            &[
                "a.b", "a.*", "*.b", "*.*", "#", "a.#", "#.b", "*.#", "#.*", "#.#", "a.b.#", "#.a.b",
                "a.#.b", "#.b.#",
            ],
        ),
        (
            "a.b.c",
            &["a.b.c", "a.*.c", "a.#", "#.c", "#", "a.#.c", "a.b.#", "*.*.*", "*.#", "#.*", "#.#", "#.b.#"],
        ),
        ("a..b", &["a..b", "a.*.b", "a.#.b", "a.#", "#", "*.*.*", "#.b", "#.b.#", "*.#", "#.*", "#.#"]),
        (".", &["*.*", "#", "*.#", "#.*", "#.#", "."]),
        ("a.", &["a.", "a.*", "*.*", "#", "a.#", "*.#", "#.*", "#.#"]),
    ];
    let patterns = [
        "", "*", "#", "a", "a.b", "a.*", "*.b", "*.*", "a.#", "#.b", "#.a", "*.#", "#.*", "#.#", "a.b.#",
        "#.a.b", "a.#.b", "a.b.c", "a.*.c", "#.c", "a.#.c", "*.*.*", "#.b.#", "a..b", "a.*.b", "a.", ".",
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("topic");
    channel.exchange(&exchange, "topic");
    for (key, expected) in table {
        let mut got = matches(channel, &exchange, &patterns, key);
        let mut expected: Vec<String> = expected.iter().map(|&pattern| pattern.to_owned()).collect();
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "routing key {key:?}");
    }
}

#[test]
fn a_queue_bound_more_than_once_gets_one_copy() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("topic");
    channel.exchange(&exchange, "topic");
    let queue = channel.temp_queue();
    for key in ["#", "a.*", "a.b", "a.b"] {
        channel.bind(&queue, &exchange, key);
    }
    route(channel, &exchange, "a.b", "x");
    assert_eq!(channel.count(&queue), 1);
}

#[test]
fn an_unbound_queue_gets_nothing_more() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let queue = channel.temp_queue();
    channel.bind(&queue, "amq.topic", "proto.unbound.#");
    channel.bind(&queue, "amq.topic", "proto.unbound.*");
    let unbind = |key: &str| {
        channel.call(queue::Unbind {
            queue: queue.as_str().into(),
            exchange: "amq.topic".into(),
            routing_key: key.into(),
            arguments: FieldTable::default(),
        });
    };
    unbind("proto.unbound.#");
    unbind("proto.unbound.#");
    route(channel, "amq.topic", "proto.unbound.a.b", "x");
    route(channel, "amq.topic", "proto.unbound.a", "y");
    assert_eq!(channel.drain(&queue), ["y"]);
    unbind("proto.unbound.*");
    route(channel, "amq.topic", "proto.unbound.a", "z");
    assert_eq!(channel.count(&queue), 0);
}

/// Binding arguments, message headers, and whether they match.
type HeadersRow = (&'static [(&'static str, Value)], &'static [(&'static str, Value)], bool);

#[derive(Clone, Copy)]
enum Value {
    Text(&'static str),
    Int(i32),
    Long(i64),
    Bool(bool),
    Void,
}

impl From<Value> for AMQPValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(value) => text(value),
            Value::Int(value) => Self::LongInt(value),
            Value::Long(value) => Self::LongLongInt(value),
            Value::Bool(value) => Self::Boolean(value),
            Value::Void => Self::Void,
        }
    }
}

#[test]
fn a_headers_exchange_compares_headers() {
    use Value::{Bool, Int, Long, Text, Void};
    const ALL: (&str, Value) = ("x-match", Text("all"));
    const ANY: (&str, Value) = ("x-match", Text("any"));
    const ALL_X: (&str, Value) = ("x-match", Text("all-with-x"));
    const ANY_X: (&str, Value) = ("x-match", Text("any-with-x"));
    let rows: &[HeadersRow] = &[
        (&[("a", Int(1)), ("b", Text("x"))], &[("a", Int(1)), ("b", Text("x")), ("c", Int(3))], true),
        (&[("a", Int(1)), ("b", Text("x"))], &[("a", Int(1))], false),
        (&[ALL, ("a", Int(1)), ("b", Int(2))], &[("a", Int(1)), ("b", Int(2))], true),
        (&[ALL, ("a", Int(1))], &[("a", Int(2))], false),
        (&[ALL], &[], true),
        (&[ALL], &[("a", Int(1))], true),
        (&[], &[], true),
        (&[ANY, ("a", Int(1)), ("b", Int(2))], &[("b", Int(2))], true),
        (&[ANY, ("a", Int(1)), ("b", Int(2))], &[("a", Int(2)), ("b", Int(1))], false),
        (&[ANY], &[("a", Int(1))], false),
        (&[ALL, ("a", Void)], &[("a", Text("anything"))], true),
        (&[ALL, ("a", Void)], &[("b", Int(1))], false),
        (&[ANY, ("a", Void)], &[("a", Int(1))], true),
        (&[ALL, ("a", Int(1))], &[("a", Long(1))], true),
        (&[ALL, ("a", Int(1))], &[("a", Text("1"))], false),
        (&[ALL, ("a", Bool(true))], &[("a", Bool(true))], true),
        (&[ALL, ("a", Bool(true))], &[("a", Int(1))], false),
        (&[ALL, ("x-a", Int(1)), ("b", Int(2))], &[("b", Int(2))], true),
        (&[ANY, ("x-a", Int(1))], &[("x-a", Int(1))], false),
        (&[ALL_X, ("x-a", Int(1))], &[("x-a", Int(1))], true),
        (&[ALL_X, ("x-a", Int(1))], &[("b", Int(1))], false),
        (&[ANY_X, ("x-a", Int(1)), ("b", Int(2))], &[("x-a", Int(1))], true),
        (&[ANY_X, ("x-a", Int(1)), ("b", Int(2))], &[("x-a", Int(2))], false),
    ];
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("headers");
    channel.exchange(&exchange, "headers");
    for (number, (arguments, headers, expected)) in rows.iter().enumerate() {
        let of = |entries: &[(&'static str, Value)]| {
            table(entries.iter().map(|(key, value)| (*key, AMQPValue::from(*value))))
        };
        let queue = channel.temp_queue();
        channel.bind_with(&queue, &exchange, "ignored", of(arguments));
        let properties = AMQPProperties::default().with_headers(of(headers));
        channel.publish_with(&exchange, "", &properties, b"x");
        channel.expect::<basic::Ack>();
        assert_eq!(channel.count(&queue) == 1, *expected, "row {number}");
        channel.call(queue::Delete { queue: queue.as_str().into(), ..queue::Delete::default() });
    }
}

#[test]
fn a_headers_exchange_tells_whole_numbers_from_others() {
    if differs_from_rabbitmq("before 4.0 its headers exchange takes 1 and 1.0 for equal") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("headers");
    channel.exchange(&exchange, "headers");
    let queue = channel.temp_queue();
    channel.bind_with(&queue, &exchange, "", table([("a", 1.into())]));
    let headers = table([("a", AMQPValue::Double(1.0))]);
    channel.publish_with(&exchange, "", &AMQPProperties::default().with_headers(headers), b"x");
    channel.expect::<basic::Ack>();
    assert_eq!(channel.count(&queue), 0);
}

#[test]
fn a_headers_exchange_takes_a_message_without_headers() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (all, any) = (channel.temp_queue(), channel.temp_queue());
    let exchange = test.exchange("headers");
    channel.exchange(&exchange, "headers");
    channel.bind_with(&all, &exchange, "", table([("x-match", text("all"))]));
    channel.bind_with(&any, &exchange, "", table([("x-match", text("any")), ("a", 1.into())]));
    route(channel, &exchange, "", "x");
    assert_eq!((channel.count(&all), channel.count(&any)), (1, 0));
}

#[test]
fn exchanges_bound_to_each_other_route_in_circles_once() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (a, b, c) = (test.exchange("a"), test.exchange("b"), test.exchange("c"));
    for exchange in [&a, &b, &c] {
        channel.exchange(exchange, "fanout");
    }
    channel.bind_exchange(&b, &a, "");
    channel.bind_exchange(&c, &b, "");
    channel.bind_exchange(&a, &c, "");
    channel.bind_exchange(&a, &a, "");
    let (everywhere, last) = (channel.temp_queue(), channel.temp_queue());
    for exchange in [&a, &b, &c] {
        channel.bind(&everywhere, exchange, "");
    }
    channel.bind(&last, &c, "");
    route(channel, &a, "", "x");
    assert_eq!((channel.count(&everywhere), channel.count(&last)), (1, 1));
    let message = channel.get(&last).unwrap();
    assert_eq!(message.exchange, a, "the exchange is the one it was published to");
}

#[test]
fn exchange_bindings_filter_by_key_and_can_be_removed() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (source, destination) = (test.exchange("source"), test.exchange("destination"));
    channel.exchange(&source, "topic");
    channel.exchange(&destination, "fanout");
    channel.bind_exchange(&destination, &source, "a.*");
    let queue = channel.temp_queue();
    channel.bind(&queue, &destination, "");
    route(channel, &source, "a.b", "yes");
    route(channel, &source, "b.a", "no");
    assert_eq!(channel.drain(&queue), ["yes"]);
    channel.call(exchange::Unbind {
        destination: destination.as_str().into(),
        source: source.as_str().into(),
        routing_key: "a.*".into(),
        ..exchange::Unbind::default()
    });
    route(channel, &source, "a.b", "no");
    assert_eq!(channel.count(&queue), 0);
}

/// Declares a direct exchange with an alternate.
fn with_alternate(channel: Channel<'_>, name: &str, alternate: &str) {
    channel.call(exchange::Declare {
        exchange: name.into(),
        kind: "direct".into(),
        arguments: table([("alternate-exchange", text(alternate))]),
        ..exchange::Declare::default()
    });
}

#[test]
fn an_alternate_exchange_gets_what_finds_no_queue() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (main, alternate) = (test.exchange("main"), test.exchange("alternate"));
    with_alternate(channel, &main, &alternate);
    channel.exchange(&alternate, "fanout");
    let (hit, miss) = (channel.temp_queue(), channel.temp_queue());
    channel.bind(&hit, &main, "known");
    channel.bind(&miss, &alternate, "");
    channel.publish_mandatory(&main, "known", "a");
    channel.expect::<basic::Ack>();
    channel.publish_mandatory(&main, "unknown", "b");
    channel.expect::<basic::Ack>();
    assert_eq!(channel.drain(&hit), ["a"]);
    let message = channel.get(&miss).unwrap();
    assert_eq!((message.text(), &message.exchange, message.routing_key.as_str()), ("b", &main, "unknown"));
}

#[test]
fn alternates_of_alternates_are_asked_and_circles_end() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (a, b, c) = (test.exchange("a"), test.exchange("b"), test.exchange("c"));
    with_alternate(channel, &a, &b);
    with_alternate(channel, &b, &c);
    with_alternate(channel, &c, &a);
    channel.publish_mandatory(&a, "nowhere", "lost");
    assert_eq!(channel.expect_return().text(), "lost");
    channel.expect::<basic::Ack>();
    let queue = channel.temp_queue();
    channel.bind(&queue, &c, "k");
    route(channel, &a, "k", "found");
    assert_eq!(channel.drain(&queue), ["found"]);
}

#[test]
fn a_missing_alternate_exchange_is_no_error() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let main = test.exchange("main");
    with_alternate(channel, &main, "proto.missing");
    channel.publish_mandatory(&main, "nowhere", "x");
    assert_eq!(channel.expect_return().text(), "x");
    channel.expect::<basic::Ack>();
}

#[test]
fn a_mandatory_message_without_a_queue_comes_back_whole() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("empty");
    channel.exchange(&exchange, "topic");
    let properties = AMQPProperties::default().with_message_id("id".into()).with_priority(3);
    let publish = basic::Publish {
        exchange: exchange.as_str().into(),
        routing_key: "no.where".into(),
        mandatory: true,
        immediate: false,
    };
    channel.send_content(publish, &encode_properties(&properties), b"body");
    let message = channel.expect_return();
    channel.expect::<basic::Ack>();
    assert_eq!((message.exchange, message.routing_key.as_str()), (exchange.clone(), "no.where"));
    assert_eq!((message.properties, message.content.body.as_slice()), (properties, &b"body"[..]));
    route(channel, &exchange, "no.where", "not mandatory");
    channel.expect_nothing();
}

/// A CC or BCC header.
fn carbon_copies(name: &'static str, keys: &[&str]) -> (&'static str, AMQPValue) {
    (name, AMQPValue::FieldArray(keys.iter().map(|key| text(key)).collect::<Vec<_>>().into()))
}

#[test]
fn cc_and_bcc_add_keys_and_only_cc_is_seen() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let queues: Vec<String> = (0..4).map(|_| channel.temp_queue()).collect();
    let headers = table([
        carbon_copies("CC", &[&queues[1], &queues[0]]),
        carbon_copies("BCC", &[&queues[2], &queues[1]]),
        ("other", 1.into()),
    ]);
    let properties = AMQPProperties::default().with_headers(headers);
    channel.publish_with("", &queues[0], &properties, b"x");
    channel.expect::<basic::Ack>();
    let expected = table([carbon_copies("CC", &[&queues[1], &queues[0]]), ("other", 1.into())]);
    for queue in &queues[..3] {
        let message = channel.get(queue).unwrap();
        assert_eq!(message.message_count, 0, "one copy each");
        assert_eq!(message.properties.headers().as_ref(), Some(&expected));
        assert_eq!(message.routing_key, queues[0]);
    }
    assert!(channel.get(&queues[3]).is_none());
}

#[test]
fn what_is_no_text_in_a_list_of_carbon_copies_is_passed_over() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let queue = channel.temp_queue();
    let keys = vec![AMQPValue::LongInt(1), text(&queue), AMQPValue::Void];
    let headers = table([("CC", AMQPValue::FieldArray(keys.into()))]);
    channel.publish_with("", "nowhere", &AMQPProperties::default().with_headers(headers), b"x");
    channel.expect::<basic::Ack>();
    assert_eq!(channel.count(&queue), 1);
}

#[test]
fn cc_works_on_other_exchanges_and_for_mandatory_messages() {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let exchange = test.exchange("topic");
    channel.exchange(&exchange, "topic");
    let queue = channel.temp_queue();
    channel.bind(&queue, &exchange, "a.*");
    let headers = table([carbon_copies("BCC", &["a.b"])]);
    let publish = basic::Publish {
        exchange: exchange.as_str().into(),
        routing_key: "nowhere".into(),
        mandatory: true,
        immediate: false,
    };
    let properties = AMQPProperties::default().with_headers(headers);
    channel.send_content(publish, &encode_properties(&properties), b"x");
    channel.expect::<basic::Ack>();
    assert_eq!(channel.drain(&queue), ["x"]);
}
