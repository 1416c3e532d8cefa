//! Exchange types that RabbitMQ has as plugins: by hash, by chance, with a memory. Against RabbitMQ they ask for its plugins.

use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{confirm, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use crate::peer::{Channel, Peer, table, text};
use crate::target::{Test, differs_from_rabbitmq, needs_plugins};

/// A channel in confirm mode, on a broker that certainly has these types.
fn open(peer: &Peer) -> Channel<'_> {
    let channel = peer.open(1);
    channel.call(confirm::Select { nowait: false });
    channel
}

#[track_caller]
fn publish(channel: Channel<'_>, exchange: &str, key: &str, properties: &AMQPProperties, body: &str) {
    channel.publish_with(exchange, key, properties, body.as_bytes());
    channel.expect::<basic::Ack>();
}

fn plain() -> AMQPProperties {
    AMQPProperties::default()
}

fn declare(channel: Channel<'_>, name: &str, kind: &str, arguments: FieldTable) {
    channel.call(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        arguments,
        ..exchange::Declare::default()
    });
}

/// Queues bound to the exchange under these keys.
fn bound(channel: Channel<'_>, exchange: &str, keys: &[&str]) -> Vec<String> {
    keys.iter()
        .map(|key| {
            let queue = channel.temp_queue();
            channel.bind(&queue, exchange, key);
            queue
        })
        .collect()
}

#[test]
fn consistent_hashing_shares_keys_by_weight_and_keeps_a_key_in_one_queue() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let name = test.exchange("hash");
    declare(channel, &name, "x-consistent-hash", FieldTable::default());
    let queues = bound(channel, &name, &["1", "3"]);
    for _ in 0..2 {
        for key in 0..200 {
            publish(channel, &name, &format!("k{key}"), &plain(), &key.to_string());
        }
    }
    let bodies: Vec<Vec<String>> = queues.iter().map(|queue| channel.drain(queue)).collect();
    assert_eq!(bodies[0].len() + bodies[1].len(), 400);
    // A share of a quarter, of which the names of the queues make an eighth to three eighths.
    assert!((50..=150).contains(&bodies[0].len()), "{}", bodies[0].len());
    for queue in &bodies {
        let (first, second) = queue.split_at(queue.len() / 2);
        assert_eq!(first, second, "the second time the same keys, in the same order");
    }
}

#[test]
fn consistent_hashing_by_header_and_property_ignores_the_routing_key() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    type Make = fn(&str) -> AMQPProperties;
    let rows: [(&str, &str, Make); 3] = [
        ("hash-header", "customer", |id| plain().with_headers(table([("customer", text(id))]))),
        ("hash-property", "message_id", |id| plain().with_message_id(id.into())),
        ("hash-property", "correlation_id", |id| plain().with_correlation_id(id.into())),
    ];
    for (argument, value, make) in rows {
        let name = test.exchange("hash");
        declare(channel, &name, "x-consistent-hash", table([(argument, text(value))]));
        let queues = bound(channel, &name, &["1", "1"]);
        for id in 0..32 {
            for key in ["a", "b"] {
                publish(channel, &name, key, &make(&id.to_string()), &id.to_string());
            }
        }
        for queue in &queues {
            let bodies = channel.drain(queue);
            assert!(!bodies.is_empty(), "{value}: a queue got nothing");
            assert!(bodies.chunks(2).all(|pair| pair[0] == pair[1]), "{value}: {bodies:?}");
        }
    }
}

#[test]
fn arguments_and_binding_keys_are_checked() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let both = table([("hash-header", text("a")), ("hash-property", text("message_id"))]);
    let declares = [
        ("x-consistent-hash", both, "hash-header and hash-property are mutually exclusive"),
        ("x-consistent-hash", table([("hash-property", text("foo"))]), "Unsupported property: foo"),
        (
            "x-recent-history",
            table([("x-recent-history-length", AMQPValue::LongInt(0))]),
            "Invalid argument 0, 'x-recent-history-length' must be a positive integer",
        ),
        (
            "x-recent-history",
            table([("x-recent-history-length", text("abc"))]),
            "Invalid argument <<\"abc\">>, 'x-recent-history-length' must be a positive integer",
        ),
    ];
    for (kind, arguments, text) in declares {
        let channel = peer.open(1);
        channel.send(exchange::Declare {
            exchange: test.exchange("refused").as_str().into(),
            kind: kind.into(),
            arguments,
            ..exchange::Declare::default()
        });
        channel.expect_close(406, &format!("PRECONDITION_FAILED - {text}"), (40, 10));
    }
    let binds = [
        ("x-consistent-hash", "0", "The binding key must be greater than 0"),
        ("x-consistent-hash", "abc", "The binding key must be an integer: <<\"abc\">>"),
        ("x-consistent-hash", "", "The binding key must be an integer: <<>>"),
    ];
    for (kind, key, text) in binds {
        expect_refused_key(&test, &peer, kind, key, text);
    }
}

#[test]
fn a_local_random_exchange_takes_no_binding_keys() {
    if differs_from_rabbitmq("3.10 does not have the type") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    expect_refused_key(&test, &peer, "x-local-random", "k", "Non empty binding 'k' key not permitted");
}

#[track_caller]
fn expect_refused_key(test: &Test, peer: &Peer, kind: &str, key: &str, text: &str) {
    let channel = peer.open(1);
    let name = test.exchange("refused");
    channel.exchange(&name, kind);
    let queue = channel.temp_queue();
    channel.send(queue::Bind {
        queue: queue.as_str().into(),
        exchange: name.as_str().into(),
        routing_key: key.into(),
        ..queue::Bind::default()
    });
    channel.expect_close(406, &format!("PRECONDITION_FAILED - {text}"), (50, 20));
}

#[test]
fn random_exchanges_give_each_message_to_one_queue() {
    if needs_plugins() {
        return;
    }
    expect_each_message_in_one_queue("x-random");
}

#[test]
fn local_random_exchanges_do_the_same() {
    if differs_from_rabbitmq("3.10 does not have the type") {
        return;
    }
    expect_each_message_in_one_queue("x-local-random");
}

#[track_caller]
fn expect_each_message_in_one_queue(kind: &str) {
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let name = test.exchange("random");
    channel.exchange(&name, kind);
    let queues = bound(channel, &name, &["", "", ""]);
    for _ in 0..120 {
        publish(channel, &name, "k", &plain(), "x");
    }
    let counts: Vec<u32> = queues.iter().map(|queue| channel.count(queue)).collect();
    assert_eq!(counts.iter().sum::<u32>(), 120, "{counts:?}");
    // Fewer than 12 of 120 come once in some 10^8 runs.
    assert!(counts.iter().all(|&count| count >= 12), "{counts:?}");
}

#[test]
fn a_modulus_hash_exchange_keeps_a_key_in_one_queue() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let name = test.exchange("modulus");
    channel.exchange(&name, "x-modulus-hash");
    let queues = bound(channel, &name, &["", "", ""]);
    for key in 0..60 {
        publish(channel, &name, &format!("k{key}"), &plain(), "first");
        publish(channel, &name, &format!("k{key}"), &plain(), "second");
    }
    for queue in &queues {
        let bodies = channel.drain(queue);
        assert!(bodies.len() >= 12 && bodies.chunks(2).all(|pair| pair == ["first", "second"]), "{bodies:?}");
    }
}

#[test]
fn a_new_binding_gets_the_recent_history_once() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let name = test.exchange("history");
    declare(channel, &name, "x-recent-history", table([("x-recent-history-length", AMQPValue::LongInt(3))]));
    let early = bound(channel, &name, &["a"]).remove(0);
    for body in ["1", "2", "3", "4"] {
        publish(channel, &name, "k", &plain(), body);
    }
    let secret = plain().with_headers(table([("x-recent-history-no-store", AMQPValue::Boolean(true))]));
    publish(channel, &name, "k", &secret, "secret");
    let not_secret = plain().with_headers(table([("x-recent-history-no-store", AMQPValue::Boolean(false))]));
    publish(channel, &name, "k", &not_secret, "5");
    assert_eq!(channel.drain(&early), ["1", "2", "3", "4", "secret", "5"], "a fanout");
    let late = bound(channel, &name, &["b"]).remove(0);
    channel.bind(&late, &name, "b");
    publish(channel, &name, "k", &plain(), "6");
    let first = channel.get(&late).expect("the history is there as soon as the binding is");
    assert_eq!((first.text(), first.exchange.as_str(), first.routing_key.as_str()), ("3", &*name, "k"));
    assert_eq!(channel.drain(&late), ["4", "5", "6"], "binding again changes nothing, so it brings nothing");
    // Another binding of the same queue is a new one.
    channel.bind(&late, &name, "c");
    assert_eq!(channel.drain(&late), ["4", "5", "6"]);
}

#[test]
fn the_recent_history_passes_through_exchanges() {
    if differs_from_rabbitmq("it fails with 541 when one message of the history reaches no queue") {
        return;
    }
    let test = Test::start();
    let peer = test.connect();
    let channel = open(&peer);
    let (source, history, topic) =
        (test.exchange("source"), test.exchange("history"), test.exchange("topic"));
    channel.exchange(&source, "fanout");
    channel.exchange(&history, "x-recent-history");
    channel.exchange(&topic, "topic");
    channel.bind_exchange(&history, &source, "");
    for number in 0..25 {
        publish(
            channel,
            &source,
            if number % 2 == 0 { "even" } else { "odd" },
            &plain(),
            &number.to_string(),
        );
    }
    let even = channel.temp_queue();
    channel.bind(&even, &topic, "even");
    channel.bind_exchange(&topic, &history, "");
    let wanted: Vec<String> =
        (5..25).filter(|number| number % 2 == 0).map(|number| number.to_string()).collect();
    assert_eq!(channel.drain(&even), wanted, "the last twenty, those of them that the key leads on");
}

#[test]
fn a_publisher_that_knows_the_way_fills_the_history_too() {
    if needs_plugins() {
        return;
    }
    let test = Test::start();
    let (publisher, binder) = (test.connect(), test.connect());
    let (channel, other) = (open(&publisher), open(&binder));
    let name = test.exchange("history");
    declare(
        channel,
        &name,
        "x-recent-history",
        table([("x-recent-history-length", AMQPValue::LongInt(100))]),
    );
    // While one publishes, queues are bound: each gets every message once, from the history or by its route.
    let mut queues = Vec::new();
    for number in 0..100 {
        channel.publish(&name, "k", &number.to_string());
        if number % 10 == 5 {
            queues.extend(bound(other, &name, &[""]));
        }
    }
    for _ in 0..100 {
        if channel.expect::<basic::Ack>().delivery_tag == 100 {
            break;
        }
    }
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for queue in queues {
        assert_eq!(other.drain(&queue), all);
    }
}
