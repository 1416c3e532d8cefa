//! Topologies rebuilt from their change logs: what fits nowhere by name, and random histories.

use std::collections::BTreeMap;

use super::*;
use crate::engine::definitions::{BindingDefinition, BoundTo, Definition, DefinitionChange, load};

type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

fn restore(topology: &mut Names, definition: Definition) -> Result<(), RestoreError> {
    match definition {
        Definition::Policy(policy) => {
            topology.restore_policy(policy);
            Ok(())
        }
        Definition::Exchange { options, .. } => topology.restore_exchange(options),
        Definition::Queue { options, .. } => {
            let name = options.name.clone();
            topology.restore_queue(Arc::new(options), name)
        }
        Definition::Binding(binding) => topology.restore_binding(binding),
        Definition::Access(_) => panic!("a topology has none"),
    }
}

fn restarted(kept: &Kept) -> Names {
    let loaded = load(kept);
    assert!(loaded.unreadable.is_empty(), "{:?}", loaded.unreadable);
    let mut topology = Names::new("/");
    for definition in loaded.definitions {
        if let Definition::Queue { id, options, .. } = &definition {
            assert_eq!(*id, options.name.id());
        }
        restore(&mut topology, definition).unwrap();
    }
    assert!(topology.take_changes().is_empty());
    topology
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut topology = Names::new("/");
    let options = |name: &str| {
        let declare = QueueDeclare { name: name.into(), durable: true, ..QueueDeclare::default() };
        Arc::new(QueueOptions::from_declare("/", declare).unwrap())
    };
    // The broker may have given a queue this name itself.
    topology.restore_queue(options("amq.gen-1"), "amq.gen-1".into()).unwrap();
    topology.restore_exchange(exchange("e", "headers")).unwrap();
    let generation = topology.generation();
    let exists = topology.restore_queue(options("amq.gen-1"), "amq.gen-1".into());
    assert_eq!(exists, Err(RestoreError::QueueExists("amq.gen-1".into())));
    for name in ["e", "amq.topic", ""] {
        let exists = topology.restore_exchange(exchange(name, "topic"));
        assert_eq!(exists, Err(RestoreError::ExchangeExists(name.into())));
    }

    let queue = |name: &str| BoundTo::Queue(name.into());
    let bind = |source: &str, destination| BindingDefinition {
        vhost: "/".into(),
        source: source.into(),
        destination,
        routing_key: "k".into(),
        arguments: no_arguments(),
    };
    let odd = arguments(&[("x-match", text("some"))]);
    let odd = BindingDefinition { arguments: odd, ..bind("e", queue("amq.gen-1")) };
    let table = [
        (bind("nox", queue("amq.gen-1")), "there is no exchange 'nox'"),
        (bind("e", BoundTo::Exchange("nox".into())), "there is no exchange 'nox'"),
        (bind("e", queue("noq")), "there is no queue 'noq'"),
        (
            bind("", queue("amq.gen-1")),
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (odd, "406 PRECONDITION_FAILED - Invalid x-match field value"),
    ];
    for (binding, expected) in table {
        let error = topology.restore_binding(binding).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
    assert_eq!(topology.generation(), generation);
    topology.restore_binding(bind("e", queue("amq.gen-1"))).unwrap();
    let again = topology.restore_binding(bind("e", queue("amq.gen-1")));
    assert_eq!(again, Err(RestoreError::BindingExists));
    assert!(topology.take_changes().is_empty());
    // From here on it is a queue like any other.
    topology.remove_queue("amq.gen-1").unwrap();
    assert_eq!(topology.take_changes().len(), 1, "the exchange is not durable, so neither was the binding");
}

const EXCHANGES: &[&str] = &["e0", "e1", "e2", "e3", "amq.topic", "amq.headers"];
const QUEUES: &[&str] = &["q0", "q1", "q2", "q3", "q4"];
const KEYS: &[&str] = &["", "a", "a.b", "*.b", "#", "q1"];

fn random_arguments(random: &mut Random) -> FieldTable {
    let value = match random.below(5) {
        0 => text(random.pick(&["u", "v"])),
        1 => AMQPValue::Timestamp(7),
        2 => AMQPValue::Double(f64::NAN),
        3 => AMQPValue::FieldTable(arguments(&[("deep", AMQPValue::FieldArray(vec![text("u")].into()))])),
        _ => return no_arguments(),
    };
    arguments(&[("x-match", text(random.pick(&["all", "any"]))), ("h", value)])
}

fn random_queue(random: &mut Random, name: &str, exclusive: bool) -> QueueOptions {
    let arguments = match random.below(3) {
        0 => arguments(&[("x-max-length", AMQPValue::LongLongInt(9)), ("mine", AMQPValue::Void)]),
        _ => no_arguments(),
    };
    let durable = random.below(4) > 0;
    let declare = QueueDeclare { name: name.into(), durable, exclusive, auto_delete: false, arguments };
    QueueOptions::from_declare("/", declare).unwrap()
}

fn random_exchange(random: &mut Random, name: &str) -> ExchangeOptions {
    let kind = random.pick(&["direct", "fanout", "topic", "headers"]);
    let arguments = match random.below(3) {
        0 => arguments(&[("alternate-exchange", text(random.pick(EXCHANGES)))]),
        _ => no_arguments(),
    };
    let (durable, auto_delete) = (random.below(4) > 0, random.below(4) == 0);
    ExchangeOptions::from_declare("/", name, kind, durable, auto_delete, false, &arguments).unwrap()
}

/// One random operation; whether it is allowed is not of interest here.
fn step(random: &mut Random, topology: &mut Names) -> String {
    let (exchange, queue) = (random.pick(EXCHANGES), random.pick(QUEUES));
    let to = match random.below(3) {
        0 => Destination::Exchange(random.pick(EXCHANGES)),
        _ => Destination::Queue(queue),
    };
    match random.below(22) {
        0 | 1 => {
            let options = random_exchange(random, exchange);
            let result = topology.declare_exchange(options.clone());
            format!("{options:?}: {result:?}")
        }
        2 => format!("delete {exchange}: {:?}", topology.delete_exchange(exchange, random.below(2) == 0)),
        3..=5 => {
            let owner = (random.below(5) == 0).then_some(ME);
            let options = random_queue(random, queue, owner.is_some());
            let make = |options: Arc<QueueOptions>| options.name.clone();
            let result = topology.declare_queue(options.clone(), QueueName::Given, owner, ME, make);
            format!("{options:?}: {result:?}")
        }
        6 => format!("remove {queue}: {:?}", topology.remove_queue(queue)),
        7 | 8 => {
            let bound: Vec<_> = topology
                .bindings()
                .map(|view| {
                    let to = match view.destination {
                        Destination::Queue(name) => BoundTo::Queue(name.to_owned()),
                        Destination::Exchange(name) => BoundTo::Exchange(name.to_owned()),
                    };
                    (view.source.to_owned(), to, view.routing_key.to_owned(), view.arguments.clone())
                })
                .collect();
            if bound.is_empty() {
                return "nothing to unbind".to_owned();
            }
            let (source, to, key, arguments) = random.pick(&bound);
            let result = topology.unbind(to.borrowed(), &source, &key, &arguments, ME);
            assert_eq!(result, Ok(Outcome::Changed));
            format!("unbind {to:?} from {source}, {key}, {arguments:?}")
        }
        _ => {
            let (key, arguments) = (random.pick(KEYS), random_arguments(random));
            let result = topology.bind(to, exchange, key, &arguments, ME);
            format!("bind {to:?} to {exchange}, {key}, {arguments:?}: {result:?}")
        }
    }
}

/// Applies changes as a store does, and sees that each of them is one.
fn keep(kept: &mut Kept, changes: Vec<DefinitionChange>, what: &str) {
    for DefinitionChange { key, value } in changes {
        match value {
            Some(value) => assert_eq!(kept.insert(key, value), None, "{what}: written twice"),
            None => assert!(kept.remove(&key).is_some(), "{what}: removed twice"),
        }
    }
}

/// The durable part, declared anew as clients would.
fn durable_part(original: &Names) -> Names {
    let mut part = Names::new("/");
    for view in original.exchanges().filter(|view| view.options.durable) {
        if !view.options.name.is_empty() {
            part.declare_exchange(view.options.clone()).unwrap();
        }
    }
    for view in original.queues().filter(|view| view.options.durable) {
        assert_eq!(view.owner, None);
        let make = |options: Arc<QueueOptions>| options.name.clone();
        part.declare_queue(view.options.clone(), QueueName::Given, None, ME, make).unwrap();
    }
    for view in original.bindings().filter(|view| view.durable) {
        part.bind(view.destination, view.source, view.routing_key, view.arguments, ME).unwrap();
    }
    part
}

fn listed(topology: &Names) -> Vec<String> {
    let exchanges = topology.exchanges().map(|view| format!("{view:?}"));
    let queues = topology.queues().map(|view| format!("{view:?}"));
    let bindings = topology.bindings().map(|view| format!("{view:?}"));
    let mut listed: Vec<String> = exchanges.chain(queues).chain(bindings).collect();
    listed.sort();
    listed
}

fn assert_routes_alike(one: &Names, other: &Names, random: &mut Random, what: &str) -> usize {
    let (key, header) = (random.pick(&["", "a", "a.b", "x.b", "q1"]), random.pick(&["u", "v", "w"]));
    let mut copies = 0;
    for exchange in EXCHANGES {
        let route = |topology: &Names| {
            let properties = with_headers(&arguments(&[("h", text(header))]));
            topology.route(exchange, &[key], &MessageView::new(&properties, 7)).map(|mut routed| {
                routed.queues.sort();
                routed.queues
            })
        };
        let routes = route(one);
        assert_eq!(routes, route(other), "{what}, route {exchange} '{key}' {header}");
        copies += routes.map_or(0, |queues| queues.len());
    }
    copies
}

#[test]
fn random_histories_leave_their_durable_part() {
    let (mut copies, mut bindings) = (0, 0);
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut topology = Names::new("/");
        let mut kept = Kept::new();
        for number in 0..200 {
            let before = topology.generation();
            let done = step(&mut random, &mut topology);
            let what = format!("seed {seed}, step {number}: {done}");
            let changes = topology.take_changes();
            assert!(changes.is_empty() || topology.generation() != before, "{what}");
            keep(&mut kept, changes, &what);

            let mut after = restarted(&kept);
            let part = durable_part(&topology);
            assert_eq!(listed(&after), listed(&part), "{what}");
            copies += assert_routes_alike(&after, &part, &mut random, &what);
            bindings += after.bindings().count();
            // A second declaration is taken, and changes nothing.
            for view in part.queues() {
                let fail = |_: Arc<QueueOptions>| panic!("{what}: made anew");
                after.declare_queue(view.options.clone(), QueueName::Given, None, OTHER, fail).unwrap();
            }
            for view in part.bindings() {
                let (key, arguments) = (view.routing_key, view.arguments);
                let again = after.bind(view.destination, view.source, key, arguments, OTHER).unwrap();
                assert_eq!(again, Outcome::Unchanged, "{what}");
            }
            assert!(after.take_changes().is_empty());
            // Every now and then the restart is a real one.
            if random.below(50) == 0 {
                topology = after;
            }
        }
    }
    assert!(copies > 10_000 && bindings > 10_000, "only {copies} copies and {bindings} bindings");
}
