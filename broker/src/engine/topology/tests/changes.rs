//! What goes to the change log, operation by operation and cascade by cascade.

use super::*;
use crate::engine::definitions::decode;

fn durable(name: &str, kind: &str) -> ExchangeOptions {
    ExchangeOptions { durable: true, ..exchange(name, kind) }
}

fn durable_queue(topology: &mut Names, name: &str) {
    declare_durable(topology, name, None).unwrap();
}

fn declare_durable(
    topology: &mut Names,
    name: &str,
    owner: Option<ConnectionId>,
) -> Result<Declared<String>, AmqpError> {
    let (exclusive, name) = (owner.is_some(), name.to_owned());
    let declare = QueueDeclare { name, durable: true, exclusive, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    topology.declare_queue(options, QueueName::Given, owner, ME, |options| options.name.clone())
}

/// The changes since the last look: `+` or `-`, and what.
fn changes(topology: &mut Names, known: &mut HashMap<Vec<u8>, String>) -> Vec<String> {
    let described = topology.take_changes().into_iter().map(|change| match change.value {
        Some(value) => {
            let what = decode(&change.key, &value).unwrap().to_string();
            known.insert(change.key, what.clone());
            format!("+ {what}")
        }
        // A key that was never written is not to be removed either.
        None => format!("- {}", known.remove(&change.key).expect("a key that was written")),
    });
    let described = described.map(|line| line.replace(" in vhost '/'", "")).collect();
    assert!(topology.take_changes().is_empty());
    described
}

#[test]
fn durable_things_are_noted_once() {
    let mut topology = Names::new("/");
    let mut known = HashMap::new();
    assert_eq!(changes(&mut topology, &mut known), [""; 0]);
    for count in [1, 0] {
        topology.declare_exchange(durable("e", "topic")).unwrap();
        assert_eq!(changes(&mut topology, &mut known), vec!["+ exchange 'e'"; count]);
    }
    for count in [1, 0] {
        durable_queue(&mut topology, "q");
        assert_eq!(changes(&mut topology, &mut known), vec!["+ queue 'q'"; count]);
    }
    let q = Destination::Queue("q");
    for count in [1, 0] {
        topology.bind(q, "e", "k", &no_arguments(), ME).unwrap();
        let noted = vec!["+ the binding from exchange 'e' to queue 'q' with key 'k'"; count];
        assert_eq!(changes(&mut topology, &mut known), noted);
    }
    for count in [1, 0] {
        topology.unbind(q, "e", "k", &no_arguments(), ME).unwrap();
        let noted = vec!["- the binding from exchange 'e' to queue 'q' with key 'k'"; count];
        assert_eq!(changes(&mut topology, &mut known), noted);
    }
    for count in [1, 0] {
        topology.remove_queue("q");
        assert_eq!(changes(&mut topology, &mut known), vec!["- queue 'q'"; count]);
    }
    for count in [1, 0] {
        topology.delete_exchange("e", true).unwrap();
        assert_eq!(changes(&mut topology, &mut known), vec!["- exchange 'e'"; count]);
    }
    assert!(known.is_empty());
}

#[test]
fn what_is_refused_is_not_noted() {
    let mut topology = Names::new("/");
    durable_queue(&mut topology, "q");
    topology.declare_exchange(durable("e", "headers")).unwrap();
    let _ = topology.take_changes();
    let bad = arguments(&[("x-match", text("some"))]);
    assert!(topology.declare_exchange(durable("e", "direct")).is_err());
    assert!(topology.declare_exchange(durable("amq.mine", "direct")).is_err());
    assert!(declare_durable(&mut topology, "q", Some(ME)).is_err());
    assert!(declare_durable(&mut topology, "amq.q", None).is_err());
    assert!(topology.bind(Destination::Queue("q"), "e", "", &bad, ME).is_err());
    assert!(topology.bind(Destination::Queue("q"), "", "", &no_arguments(), ME).is_err());
    assert!(topology.bind(Destination::Queue("missing"), "e", "", &no_arguments(), ME).is_err());
    assert!(topology.delete_exchange("amq.topic", false).is_err());
    bind_queue(&mut topology, "q", "e", "");
    let _ = topology.take_changes();
    assert!(topology.delete_exchange("e", true).is_err());
    assert!(topology.take_changes().is_empty());
}

#[test]
fn what_is_transient_or_exclusive_is_not_noted_nor_are_its_bindings() {
    let mut topology = Names::new("/");
    topology.declare_exchange(exchange("transient", "fanout")).unwrap();
    topology.declare_exchange(durable("durable", "fanout")).unwrap();
    queue(&mut topology, "transient");
    declare_durable(&mut topology, "mine", Some(ME)).unwrap();
    durable_queue(&mut topology, "durable");
    let mut known = HashMap::new();
    assert_eq!(changes(&mut topology, &mut known), ["+ exchange 'durable'", "+ queue 'durable'"]);
    let ends = [
        ("transient", Destination::Queue("durable")),
        ("durable", Destination::Queue("transient")),
        ("durable", Destination::Queue("mine")),
        ("amq.fanout", Destination::Queue("mine")),
        ("durable", Destination::Exchange("transient")),
        ("transient", Destination::Exchange("durable")),
    ];
    for (source, destination) in ends {
        topology.bind(destination, source, "k", &no_arguments(), ME).unwrap();
    }
    topology.unbind(ends[0].1, ends[0].0, "k", &no_arguments(), ME).unwrap();
    topology.remove_queue("mine").unwrap();
    topology.remove_queue("transient").unwrap();
    topology.delete_exchange("transient", false).unwrap();
    assert_eq!(changes(&mut topology, &mut known), [""; 0]);
}

#[test]
fn standard_exchanges_are_not_noted_but_their_bindings_are() {
    let mut topology = Names::new("/");
    let standard = ExchangeOptions { durable: true, ..exchange("amq.topic", "topic") };
    topology.declare_exchange(standard).unwrap();
    assert!(topology.take_changes().is_empty());
    durable_queue(&mut topology, "q");
    bind_queue(&mut topology, "q", "amq.topic", "a.#");
    bind_exchange(&mut topology, "amq.fanout", "amq.topic", "b");
    assert_eq!(
        changes(&mut topology, &mut HashMap::new()),
        [
            "+ queue 'q'",
            "+ the binding from exchange 'amq.topic' to queue 'q' with key 'a.#'",
            "+ the binding from exchange 'amq.topic' to exchange 'amq.fanout' with key 'b'",
        ]
    );
}

#[test]
fn a_queue_takes_its_bindings_along_and_the_exchanges_that_nothing_leads_from() {
    let mut topology = Names::new("/");
    let mut known = HashMap::new();
    for name in ["first", "second"] {
        topology.declare_exchange(ExchangeOptions { durable: true, ..auto_delete(name) }).unwrap();
    }
    topology.declare_exchange(durable("stays", "fanout")).unwrap();
    // It goes too, but was never written.
    topology.declare_exchange(auto_delete("transient")).unwrap();
    durable_queue(&mut topology, "q");
    bind_exchange(&mut topology, "first", "stays", "");
    bind_exchange(&mut topology, "second", "first", "");
    bind_queue(&mut topology, "q", "second", "");
    bind_queue(&mut topology, "q", "transient", "");
    bind_exchange(&mut topology, "second", "transient", "");
    bind_queue(&mut topology, "q", "amq.direct", "k");
    changes(&mut topology, &mut known);
    topology.remove_queue("q").unwrap();
    let mut noted = changes(&mut topology, &mut known);
    noted.sort();
    assert_eq!(
        noted,
        [
            "- exchange 'first'",
            "- exchange 'second'",
            "- queue 'q'",
            "- the binding from exchange 'amq.direct' to queue 'q' with key 'k'",
            "- the binding from exchange 'first' to exchange 'second' with key ''",
            "- the binding from exchange 'second' to queue 'q' with key ''",
            "- the binding from exchange 'stays' to exchange 'first' with key ''",
        ]
    );
    assert_eq!(known.into_values().collect::<Vec<_>>(), ["exchange 'stays' in vhost '/'"]);
}

#[test]
fn an_exchange_takes_the_bindings_on_both_its_sides_along() {
    let mut topology = Names::new("/");
    let mut known = HashMap::new();
    for name in ["before", "gone", "after"] {
        topology.declare_exchange(durable(name, "direct")).unwrap();
    }
    durable_queue(&mut topology, "q");
    bind_exchange(&mut topology, "gone", "before", "");
    bind_exchange(&mut topology, "gone", "gone", "");
    bind_exchange(&mut topology, "after", "gone", "");
    bind_queue(&mut topology, "q", "gone", "");
    changes(&mut topology, &mut known);
    topology.delete_exchange("gone", false).unwrap();
    let mut noted = changes(&mut topology, &mut known);
    noted.sort();
    assert_eq!(
        noted,
        [
            "- exchange 'gone'",
            "- the binding from exchange 'before' to exchange 'gone' with key ''",
            "- the binding from exchange 'gone' to exchange 'after' with key ''",
            "- the binding from exchange 'gone' to exchange 'gone' with key ''",
            "- the binding from exchange 'gone' to queue 'q' with key ''",
        ]
    );
    assert_eq!(known.len(), 3);
}

#[test]
fn the_last_unbind_takes_an_auto_delete_exchange_along() {
    let mut topology = Names::new("/");
    let mut known = HashMap::new();
    topology.declare_exchange(ExchangeOptions { durable: true, ..auto_delete("e") }).unwrap();
    // Not even the binding need be durable.
    queue(&mut topology, "transient");
    bind_queue(&mut topology, "transient", "e", "");
    changes(&mut topology, &mut known);
    topology.unbind(Destination::Queue("transient"), "e", "", &no_arguments(), ME).unwrap();
    assert_eq!(changes(&mut topology, &mut known), ["- exchange 'e'"]);
}
