//! Exchanges that choose: by hash, by chance; and those that remember. Statistics with fixed seeds.

use super::*;
use crate::wire::properties;

fn with_arguments(name: &str, kind: &str, fields: &[(&str, AMQPValue)]) -> ExchangeOptions {
    ExchangeOptions::from_declare("/", name, kind, true, false, false, &arguments(fields)).unwrap()
}

/// An exchange of this type with queues bound to it under these keys.
fn with_bindings(kind: &str, bindings: &[(&str, &str)]) -> Names {
    let mut topology = Names::new("/");
    topology.declare_exchange(exchange("e", kind)).unwrap();
    for (name, key) in bindings {
        queue(&mut topology, name);
        bind_queue(&mut topology, name, "e", key);
    }
    topology
}

fn one(topology: &Names, key: &str, properties: &[u8], random: u64) -> Option<String> {
    let mut queues = topology.route("e", &[key], &MessageView::new(properties, random)).unwrap().queues;
    assert!(queues.len() <= 1, "{queues:?}");
    queues.pop()
}

#[test]
fn a_random_exchange_takes_one_binding_each_as_likely_as_the_others() {
    for kind in ["x-random", "x-local-random"] {
        let topology = with_bindings(kind, &[("a", ""), ("b", ""), ("c", ""), ("d", "")]);
        let mut random = Random::new(1);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..8000 {
            let bits = u64::try_from(random.below(usize::MAX)).unwrap();
            *counts.entry(one(&topology, "k", &NO_PROPERTIES, bits).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 4, "{kind}");
        assert!(counts.values().all(|count| (1850..2150).contains(count)), "{kind}: {counts:?}");
        assert!(topology.varies_by_message("e"), "{kind}");
        assert_eq!(one(&with_bindings(kind, &[]), "k", &NO_PROPERTIES, 1), None);
    }
}

#[test]
fn a_local_random_exchange_takes_no_binding_keys() {
    let mut topology = with_bindings("x-local-random", &[("a", "")]);
    let refused = topology.bind(Destination::Queue("a"), "e", "k", &no_arguments(), ME);
    assert_eq!(reply(refused), "PRECONDITION_FAILED - Non empty binding 'k' key not permitted");
}

#[test]
fn a_modulus_hash_exchange_always_takes_the_same_binding_for_a_key() {
    let bindings = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "")];
    let topology = with_bindings("x-modulus-hash", &bindings);
    let mut reversed = bindings;
    reversed.reverse();
    let again = with_bindings("x-modulus-hash", &reversed);
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..4000 {
        let key = format!("key-{number}");
        let chosen = one(&topology, &key, &NO_PROPERTIES, number);
        assert_eq!(chosen, one(&again, &key, &NO_PROPERTIES, 0), "the order of bindings does not matter");
        *counts.entry(chosen.unwrap()).or_insert(0) += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
    assert!(!topology.varies_by_message("e"));
}

#[test]
fn removed_bindings_are_not_chosen_any_more() {
    for kind in ["x-consistent-hash", "x-random", "x-modulus-hash", "x-recent-history"] {
        let mut topology = with_bindings(kind, &[("a", "1"), ("b", "2"), ("c", "3")]);
        topology.remove_queue("b").unwrap();
        topology.unbind(Destination::Queue("a"), "e", "1", &no_arguments(), ME).unwrap();
        for number in 0..100 {
            let chosen = one(&topology, &number.to_string(), &NO_PROPERTIES, number << 57);
            assert_eq!(chosen.as_deref(), Some("c"), "{kind}");
        }
        topology.unbind(Destination::Queue("c"), "e", "3", &no_arguments(), ME).unwrap();
        assert_eq!(one(&topology, "k", &NO_PROPERTIES, 1), None, "{kind}");
    }
}

#[test]
fn a_consistent_hash_exchange_hashes_what_its_arguments_say() {
    type Make = fn(&str) -> Vec<u8>;
    let rows: [(&[(&str, AMQPValue)], Make); 5] = [
        (&[("hash-header", text("h"))], |id| with_headers(&arguments(&[("h", text(id))]))),
        (&[("hash-header", text("h"))], |id| {
            with_headers(&arguments(&[("h", AMQPValue::LongInt(id.parse().unwrap()))]))
        }),
        (&[("hash-property", text("message_id"))], |id| [&[0, 0x80, 2], id.as_bytes()].concat()),
        (&[("hash-property", text("correlation_id"))], |id| [&[4, 0, 2], id.as_bytes()].concat()),
        (&[("hash-property", text("timestamp"))], |id| {
            [&[0, 0x40][..], &id.parse::<u64>().unwrap().to_be_bytes()].concat()
        }),
    ];
    for (fields, make) in rows {
        let mut topology = Names::new("/");
        topology.declare_exchange(with_arguments("e", "x-consistent-hash", fields)).unwrap();
        for (name, weight) in [("a", "1"), ("b", "1"), ("c", "1")] {
            queue(&mut topology, name);
            bind_queue(&mut topology, name, "e", weight);
        }
        assert!(topology.varies_by_message("e"), "{fields:?}");
        let mut reached = std::collections::BTreeSet::new();
        for id in 10..60 {
            let properties = make(&id.to_string());
            properties::Properties::parse(&properties).unwrap();
            let chosen = one(&topology, "k", &properties, 0);
            assert_eq!(chosen, one(&topology, "other", &properties, 0), "the routing key does not matter");
            reached.extend(chosen);
        }
        assert_eq!(reached.len(), 3, "{fields:?}");
        let without: Vec<_> =
            ["k", "l", "m"].iter().map(|key| one(&topology, key, &NO_PROPERTIES, 0)).collect();
        assert!(without[0].is_some() && without.iter().all(|one| *one == without[0]), "{without:?}");
    }
}

#[test]
fn a_consistent_hash_exchange_refuses_keys_that_are_no_weight_and_keeps_nothing_of_them() {
    let mut topology = with_bindings("x-consistent-hash", &[("a", "1")]);
    queue(&mut topology, "b");
    let refused = topology.bind(Destination::Queue("b"), "e", "x", &no_arguments(), ME);
    assert_eq!(reply(refused), "PRECONDITION_FAILED - The binding key must be an integer: <<\"x\">>");
    assert_eq!(topology.bindings_of(Destination::Queue("b")).count(), 0);
    assert!(!topology.varies_by_message("e"));
}

#[test]
fn they_lead_to_exchanges_and_hand_over_to_alternate_ones() {
    for kind in ["x-consistent-hash", "x-random", "x-local-random", "x-modulus-hash", "x-recent-history"] {
        let mut topology = Names::new("/");
        let key = if kind == "x-consistent-hash" { "1" } else { "" };
        topology.declare_exchange(with_alternate("e", kind, "ae")).unwrap();
        topology.declare_exchange(exchange("ae", kind)).unwrap();
        topology.declare_exchange(exchange("next", "direct")).unwrap();
        for name in ["q", "lost"] {
            queue(&mut topology, name);
        }
        bind_queue(&mut topology, "lost", "ae", key);
        assert_eq!(one(&topology, "k", &NO_PROPERTIES, 1).as_deref(), Some("lost"), "{kind}");
        bind_exchange(&mut topology, "next", "e", key);
        assert_eq!(one(&topology, "k", &NO_PROPERTIES, 1).as_deref(), Some("lost"), "{kind}");
        bind_queue(&mut topology, "q", "next", "k");
        assert_eq!(one(&topology, "k", &NO_PROPERTIES, 1).as_deref(), Some("q"), "{kind}");
        bind_exchange(&mut topology, "e", "amq.fanout", "");
        assert_eq!(routed(&topology, "amq.fanout", "k"), ["q"], "{kind}");
        assert_eq!(topology.varies_by_message("amq.fanout"), kind.ends_with("random"), "{kind}");
    }
}

#[test]
fn two_random_exchanges_on_one_way_choose_independently() {
    let mut topology = Names::new("/");
    for name in ["e", "left", "right"] {
        topology.declare_exchange(exchange(name, "x-random")).unwrap();
    }
    for (name, source) in [("a", "left"), ("b", "left"), ("c", "right"), ("d", "right")] {
        queue(&mut topology, name);
        bind_queue(&mut topology, name, source, "");
    }
    bind_exchange(&mut topology, "left", "e", "");
    bind_exchange(&mut topology, "right", "e", "");
    let reached: std::collections::BTreeSet<_> =
        (0..64).map(|seed| one(&topology, "", &NO_PROPERTIES, seed)).collect();
    assert_eq!(reached.len(), 4);
}

#[test]
fn a_recent_history_exchange_is_a_fanout_whose_histories_are_told() {
    let mut topology = Names::new("/");
    let length = [("x-recent-history-length", AMQPValue::LongInt(3))];
    topology.declare_exchange(with_arguments("e", "x-recent-history", &length)).unwrap();
    topology.declare_exchange(with_arguments("f", "x-recent-history", &[])).unwrap();
    for name in ["a", "b"] {
        queue(&mut topology, name);
        bind_queue(&mut topology, name, "e", name);
    }
    bind_exchange(&mut topology, "f", "e", "");
    let route = topology.route("e", &["k"], &MessageView::new(&NO_PROPERTIES, 0)).unwrap();
    assert_eq!(route.queues, ["a", "b"]);
    let told: Vec<_> =
        route.histories.iter().map(|history| (history.version, history.messages_max)).collect();
    assert_eq!(told, [(3, 3), (0, 20)], "three bindings were made from the first");
    assert!(topology.history("amq.fanout").is_none());
    // Nobody can be reached; the message is kept nevertheless.
    let route = topology.route("f", &["k"], &MessageView::new(&NO_PROPERTIES, 0)).unwrap();
    assert_eq!((route.queues.len(), route.histories.len()), (0, 1));
}

#[test]
fn the_length_of_a_history_is_a_positive_integer() {
    let declare = |value: AMQPValue| {
        let arguments = arguments(&[("x-recent-history-length", value)]);
        ExchangeOptions::from_declare("/", "e", "x-recent-history", true, false, false, &arguments)
    };
    for (value, length) in [
        (AMQPValue::ShortShortInt(1), 1),
        (AMQPValue::LongUInt(7), 7),
        (AMQPValue::LongLongInt(1 << 40), u32::MAX),
    ] {
        assert_eq!(declare(value).unwrap().history_messages_max, length);
    }
    for (value, shown) in [
        (AMQPValue::LongInt(0), "0"),
        (AMQPValue::LongLongInt(-3), "-3"),
        (text("abc"), "<<\"abc\">>"),
        (text(""), "<<>>"),
        (AMQPValue::Boolean(true), "true"),
    ] {
        let wanted = format!(
            "PRECONDITION_FAILED - Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"
        );
        assert_eq!(reply(declare(value)), wanted);
    }
    assert!(
        ExchangeOptions::from_declare("/", "e", "x-recent", true, false, false, &no_arguments()).is_err()
    );
}
