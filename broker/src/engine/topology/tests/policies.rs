//! Policies that come and go, and the queues and exchanges that they find.

use serde_json::{Value, json};

use super::*;
use crate::engine::definitions::{Definition, load};
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::engine::queue::QueueSettings;
use crate::limits::POLICIES_PER_VHOST_MAX;

fn policy(kind: PolicyKind, name: &str, pattern: &str, definition: Value) -> Policy {
    Policy::from_declare(kind, "/", name, PolicyDeclare::new(pattern, definition)).unwrap()
}

fn set(topology: &mut Names, name: &str, pattern: &str, definition: Value) -> PolicyChange<String> {
    topology.set_policy(policy(PolicyKind::User, name, pattern, definition)).unwrap()
}

/// Names with their greatest lengths, in the order of names.
fn lengths(change: PolicyChange<String>) -> Vec<(String, Option<u64>)> {
    let length = |settings: Option<Arc<QueueSettings>>| settings.and_then(|settings| settings.max_length);
    let mut lengths: Vec<_> =
        change.queues.into_iter().map(|(queue, settings)| (queue, length(settings))).collect();
    lengths.sort();
    lengths
}

fn declare_with(topology: &mut Names, name: &str, fields: &[(&str, AMQPValue)]) -> Arc<QueueOptions> {
    let declare = QueueDeclare {
        name: name.into(),
        durable: true,
        arguments: arguments(fields),
        ..QueueDeclare::default()
    };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    let mut made = None;
    let make = |options: Arc<QueueOptions>| {
        made = Some(options);
        name.to_owned()
    };
    topology.declare_queue(options, QueueName::Given, None, ME, make).unwrap();
    made.unwrap()
}

#[test]
fn a_policy_reaches_queues_that_are_there_and_those_that_come() {
    let mut topology = Names::new("/");
    declare_with(&mut topology, "a", &[]);
    declare_with(&mut topology, "b", &[("x-max-length", AMQPValue::LongInt(3))]);
    declare(&mut topology, "exclusive", Some(ME), ME).unwrap();
    declare_with(&mut topology, "other", &[]);
    let change = set(&mut topology, "p", "^(a|b|ex|late)", json!({"max-length": 5}));
    assert_eq!(change.outcome, Outcome::Changed);
    let expected = [("a", Some(5)), ("b", Some(3)), ("exclusive", Some(5))];
    assert_eq!(lengths(change), expected.map(|(name, length)| (name.to_owned(), length)));
    let late = declare_with(&mut topology, "late", &[]);
    assert_eq!(late.settings.as_deref().and_then(|settings| settings.max_length), Some(5));
    assert!(declare_with(&mut topology, "plain", &[]).settings.is_none());

    let names = |topology: &Names| {
        let mut names: Vec<_> = topology
            .queues()
            .filter(|view| topology.policies_of(view.options).policy_name().is_some())
            .map(|view| view.options.name.clone())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&topology), ["a", "b", "exclusive", "late"]);
    // It is equivalent to what was declared: arguments are compared, not what policies make of them.
    declare_with_again(&mut topology, "late");

    let gone = topology.delete_policy(PolicyKind::User, "p");
    let expected = [("a", None), ("b", Some(3)), ("exclusive", None), ("late", None)];
    assert_eq!(lengths(gone), expected.map(|(name, length)| (name.to_owned(), length)));
    assert!(names(&topology).is_empty());
}

fn declare_with_again(topology: &mut Names, name: &str) {
    let declare = QueueDeclare { name: name.into(), durable: true, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    let again = topology.declare_queue(options, QueueName::Given, None, ME, |_| unreachable!()).unwrap();
    assert!(!again.created);
}

#[test]
fn only_what_changes_is_told() {
    let mut topology = Names::new("/");
    declare_with(&mut topology, "q", &[]);
    let _ = topology.take_changes();
    assert_eq!(set(&mut topology, "p", "", json!({"max-length": 5})).queues.len(), 1);
    let generation = topology.generation();
    assert_eq!(topology.take_changes().len(), 1);
    let same = set(&mut topology, "p", "", json!({"max-length": 5}));
    assert_eq!((same.outcome, same.queues.len()), (Outcome::Unchanged, 0));
    let missing = topology.delete_policy(PolicyKind::Operator, "p");
    assert_eq!((missing.outcome, missing.queues.len()), (Outcome::Unchanged, 0));
    assert_eq!((topology.generation(), topology.take_changes().len()), (generation, 0));

    // One that applies to nobody changes no queue, and one in its place with other settings changes those it is for.
    assert!(set(&mut topology, "a", "^nobody", json!({"max-length": 1})).queues.is_empty());
    assert_eq!(lengths(set(&mut topology, "p", "", json!({"max-length": 6}))), [("q".to_owned(), Some(6))]);
    let cap = policy(PolicyKind::Operator, "cap", "", json!({"max-length": 2}));
    assert_eq!(lengths(topology.set_policy(cap).unwrap()), [("q".to_owned(), Some(2))]);
    assert_eq!(topology.take_changes().len(), 3);
    assert!(topology.generation() > generation);
    let policies = topology.policies_of(topology.queues().next().unwrap().options);
    let names = (policies.policy_name(), policies.operator_policy_name());
    assert_eq!(names, (Some("p"), Some("cap")));
    assert_eq!(json!(policies.effective_definition().unwrap()), json!({"max-length": 2}));
}

#[test]
fn there_are_as_many_of_each_kind_as_there_may_be() {
    let mut topology = Names::new("/");
    let limit = || json!({"max-length": 1});
    for number in 0..POLICIES_PER_VHOST_MAX {
        set(&mut topology, &number.to_string(), "^x$", limit());
    }
    let one_more = policy(PolicyKind::User, "more", "^x$", limit());
    assert_eq!(topology.set_policy(one_more.clone()).unwrap_err(), TooManyPolicies);
    topology.set_policy(policy(PolicyKind::Operator, "more", "^x$", limit())).unwrap();
    assert_eq!(set(&mut topology, "0", "^y$", limit()).outcome, Outcome::Changed);
    let _ = topology.delete_policy(PolicyKind::User, "0");
    topology.set_policy(one_more).unwrap();
}

#[test]
fn an_alternate_exchange_by_policy_gives_way_to_an_argument() {
    let mut topology = Names::new("/");
    for (queue, alternate) in [("by-policy", "first"), ("by-argument", "second")] {
        declare_with(&mut topology, queue, &[]);
        topology.declare_exchange(exchange(alternate, "fanout")).unwrap();
        topology.bind(Destination::Queue(queue), alternate, "", &no_arguments(), ME).unwrap();
    }
    topology.declare_exchange(exchange("plain", "direct")).unwrap();
    topology.declare_exchange(with_alternate("own", "direct", "second")).unwrap();
    assert_eq!(routed(&topology, "plain", "key"), Vec::<String>::new());
    let before = topology.generation();
    set(&mut topology, "p", "", json!({"alternate-exchange": "first"}));
    assert!(topology.generation() > before);
    topology.declare_exchange(exchange("late", "topic")).unwrap();
    for plain in ["plain", "late", "amq.direct"] {
        assert_eq!(routed(&topology, plain, "key"), ["by-policy"]);
    }
    assert_eq!(routed(&topology, "own", "key"), ["by-argument"]);
    // To be unroutable is what the default exchange's publishers ask for.
    assert_eq!(routed(&topology, "", "key"), Vec::<String>::new());
    let alternate = |name: &str| {
        let view = topology.exchanges().find(|view| view.options.name == name).unwrap();
        (view.alternate_exchange, view.policies.policy_name())
    };
    assert_eq!(alternate("amq.topic"), (Some("first"), Some("p")));
    assert_eq!(alternate("own"), (Some("second"), Some("p")));

    let _ = topology.delete_policy(PolicyKind::User, "p");
    assert_eq!(routed(&topology, "plain", "key"), Vec::<String>::new());
}

#[test]
fn policies_come_back_before_what_they_apply_to() {
    let mut topology = Names::new("/");
    declare_with(&mut topology, "q", &[]);
    topology.declare_exchange(ExchangeOptions { durable: true, ..exchange("e", "direct") }).unwrap();
    set(&mut topology, "p", "", json!({"max-length": 5, "alternate-exchange": "amq.fanout"}));
    set(&mut topology, "gone", "", json!({"max-length": 5}));
    let cap = policy(PolicyKind::Operator, "cap", "^q", json!({"max-length": 4}));
    topology.set_policy(cap).unwrap();
    let _ = topology.delete_policy(PolicyKind::User, "gone");

    let mut kept = std::collections::BTreeMap::new();
    for change in topology.take_changes() {
        match change.value {
            Some(value) => kept.insert(change.key, value),
            None => kept.remove(&change.key),
        };
    }
    let mut again = Names::new("/");
    for definition in load(&kept).definitions {
        match definition {
            Definition::Policy(policy) => again.restore_policy(policy),
            Definition::Exchange { options, .. } => again.restore_exchange(options).unwrap(),
            Definition::Queue { options, .. } => {
                let options = again.with_policies(options);
                assert_eq!(options.settings.as_deref().and_then(|settings| settings.max_length), Some(4));
                again.restore_queue(Arc::new(options), "q".into()).unwrap();
            }
            Definition::Access(_) | Definition::Binding(_) => unreachable!(),
        }
    }
    assert!(again.take_changes().is_empty());
    for kind in [PolicyKind::User, PolicyKind::Operator] {
        assert_eq!(again.policies(kind), topology.policies(kind));
    }
    let policies = again.policies_of(again.queues().next().unwrap().options);
    assert_eq!((policies.policy_name(), policies.operator_policy_name()), (Some("p"), Some("cap")));
    for name in ["e", "amq.direct"] {
        let view = again.exchanges().find(|view| view.options.name == name).unwrap();
        assert_eq!(view.alternate_exchange, Some("amq.fanout"));
    }
}
