//! Every setting's rules and texts, which policy applies, and what becomes of arguments and policies together.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::*;
use crate::engine::queue::{DeadLetterStrategy, DeadLettering, Overflow, QueueSettings};
use crate::limits::POLICY_PATTERN_BYTES_MAX;

fn declare(kind: PolicyKind, declare: PolicyDeclare) -> Result<Policy, InvalidPolicy> {
    Policy::from_declare(kind, "/", "p", declare)
}

fn refused(kind: PolicyKind, definition: Value) -> String {
    let problems = declare(kind, PolicyDeclare::new("", definition)).unwrap_err().problems;
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    problem.clone()
}

fn named(kind: PolicyKind, name: &str, priority: i64, pattern: &str, definition: Value) -> Arc<Policy> {
    let declare = PolicyDeclare { priority, ..PolicyDeclare::new(pattern, definition) };
    Arc::new(Policy::from_declare(kind, "/", name, declare).unwrap())
}

fn queue(name: &str) -> PolicyTarget<'_> {
    PolicyTarget::Queue { name, kind: QueueKind::Classic }
}

#[test]
fn every_setting_is_accepted_with_values_in_its_range() {
    let both = [
        ("delivery-limit", json!(-1)),
        ("delivery-limit", json!(0)),
        ("expires", json!(1)),
        ("max-in-memory-bytes", json!(0)),
        ("max-in-memory-length", json!(0)),
        ("max-length", json!(0)),
        ("max-length", json!(u64::MAX)),
        ("max-length-bytes", json!(0)),
        ("message-ttl", json!(0)),
        ("target-group-size", json!(3)),
    ];
    let policies_only = [
        ("alternate-exchange", json!("")),
        ("alternate-exchange", json!("x".repeat(255))),
        ("consumer-timeout", json!(0)),
        ("dead-letter-exchange", json!("")),
        ("dead-letter-routing-key", json!("a.b")),
        ("dead-letter-strategy", json!("at-most-once")),
        ("dead-letter-strategy", json!("at-least-once")),
        ("ha-mode", json!("exactly")),
        ("ha-params", json!(2)),
        ("ha-promote-on-failure", json!("always")),
        ("ha-promote-on-shutdown", json!("always")),
        ("ha-sync-batch-size", json!(1)),
        ("ha-sync-mode", json!("automatic")),
        ("initial-cluster-size", json!(0)),
        ("max-age", json!("7D")),
        ("overflow", json!("drop-head")),
        ("overflow", json!("reject-publish")),
        ("overflow", json!("reject-publish-dlx")),
        ("queue-leader-locator", json!("client-local")),
        ("queue-leader-locator", json!("balanced")),
        ("queue-master-locator", json!("min-masters")),
        ("queue-mode", json!("default")),
        ("queue-mode", json!("lazy")),
        ("queue-version", json!(1)),
        ("queue-version", json!(2)),
        ("stream-filter-size-bytes", json!(16)),
        ("stream-max-segment-size-bytes", json!(1)),
    ];
    for (key, value) in &both {
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            let policy = declare(kind, PolicyDeclare::new("", json!({ *key: value }))).unwrap();
            assert_eq!(policy.definition()[*key], *value);
        }
    }
    for (key, value) in &policies_only {
        declare(PolicyKind::User, PolicyDeclare::new("", json!({ *key: value }))).unwrap();
        let expected =
            format!("[{{<<\"{key}\">>,{}}}] are not recognised policy settings", erlang::term(value));
        assert_eq!(refused(PolicyKind::Operator, json!({ *key: value })), expected);
    }
}

#[test]
fn every_bad_value_is_refused_with_rabbitmqs_text() {
    let long = "x".repeat(256);
    let table = [
        ("alternate-exchange", json!(1), "1 is not a valid alternate exchange name"),
        ("alternate-exchange", json!({"a": 1}), "#{<<\"a\">> => 1} is not a valid alternate exchange name"),
        (
            "alternate-exchange",
            json!(long),
            &format!("<<\"{long}\">> is not a valid alternate exchange name"),
        ),
        ("consumer-timeout", json!(-1), "-1 is not a valid consumer timeout"),
        ("dead-letter-exchange", json!(1), "1 is not a valid dead letter exchange name"),
        ("dead-letter-routing-key", json!(true), "true is not a valid dead letter routing key"),
        ("dead-letter-strategy", json!("x"), "<<\"x\">> is not a valid dead letter strategy"),
        ("delivery-limit", json!("1"), "<<\"1\">> is not a valid delivery limit"),
        ("expires", json!(0), "0 is not a valid queue expiry"),
        ("initial-cluster-size", json!(-1), "-1 is not a valid cluster size"),
        ("max-age", json!("7"), "<<\"7\">> is not a valid max age"),
        ("max-age", json!("D"), "<<\"D\">> is not a valid max age"),
        ("max-age", json!("7DD"), "<<\"7DD\">> is not a valid max age"),
        ("max-in-memory-bytes", json!(null), "null is not a valid maximum memory in bytes"),
        ("max-in-memory-length", json!(-1), "-1 is not a valid maximum memory in bytes"),
        ("max-length", json!(-1), "-1 is not a valid maximum length"),
        ("max-length-bytes", json!(1.5), "1.5 is not a valid maximum length in bytes"),
        ("message-ttl", json!(-1), "-1 is not a valid message TTL"),
        ("message-ttl", json!(1.0), "1.0 is not a valid message TTL"),
        ("message-ttl", json!(1e20), "1.0e20 is not a valid message TTL"),
        ("message-ttl", json!(100_000.0), "1.0e5 is not a valid message TTL"),
        ("message-ttl", json!([1, "b", []]), "[1,<<\"b\">>,[]] is not a valid message TTL"),
        ("message-ttl", json!("ä\"\n"), "<<\"ä\\\"\\n\">> is not a valid message TTL"),
        ("message-ttl", json!(""), "<<>> is not a valid message TTL"),
        ("overflow", json!("x"), "<<\"x\">> is not a valid overflow value"),
        ("queue-leader-locator", json!([]), "[] is not a valid queue leader locator value"),
        ("queue-mode", json!("x"), "<<\"x\">> is not a valid queue-mode value"),
        ("queue-version", json!(3), "3 is not a valid queue-version value"),
        ("stream-filter-size-bytes", json!(15), "15 is not a valid filter size"),
        ("stream-max-segment-size-bytes", json!(-1), "-1 is not a valid segment size"),
        ("target-group-size", json!(-1), "-1 is not a valid target group size"),
        // No policy can give a queue priorities, nor what else belongs to its declaration.
        ("max-priority", json!(10), "[{<<\"max-priority\">>,10}] are not recognised policy settings"),
        ("x-max-length", json!(1), "[{<<\"x-max-length\">>,1}] are not recognised policy settings"),
    ];
    for (key, value, expected) in table {
        assert_eq!(refused(PolicyKind::User, json!({ key: value })), expected);
    }
    let unknown = json!({"b": "x", "a": 1, "max-length": 1});
    let expected = "[{<<\"a\">>,1},{<<\"b\">>,<<\"x\">>}] are not recognised policy settings";
    assert_eq!(refused(PolicyKind::User, unknown), expected);
}

#[test]
fn what_is_no_definition_is_refused() {
    for empty in [json!({}), json!([])] {
        assert_eq!(refused(PolicyKind::User, empty), "no policy provided");
    }
    assert_eq!(refused(PolicyKind::User, json!([1])), "definition must be a dictionary: [1]");
    assert_eq!(
        refused(PolicyKind::User, json!("x")),
        "parse error while reading policy definition: <<\"x\">>. Validator: policy_validator."
    );
    assert_eq!(
        refused(PolicyKind::Operator, json!(null)),
        "parse error while reading policy definition: null. Validator: operator_policy_validator."
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = PolicyDeclare {
        pattern: "(a".into(),
        apply_to: "queue".into(),
        ..PolicyDeclare::new("", json!({"expires": 0}))
    };
    let error = Policy::from_declare(PolicyKind::User, "/", "n".repeat(256), wrong).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Validation failed\n\n0 is not a valid queue expiry\n\
         apply-to 'queue' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
         'exchanges', or 'all'\n\
         pattern should be regular expression but is invalid: \
         {\"Opening parenthesis without closing parenthesis\",2}\n\
         name should be at most 255 bytes, actually was 256"
    );
}

#[test]
fn patterns_are_bounded() {
    let definition = json!({"max-length": 1});
    let of = |pattern: String| declare(PolicyKind::User, PolicyDeclare::new(pattern, definition.clone()));
    assert!(of("x".repeat(POLICY_PATTERN_BYTES_MAX)).is_ok());
    let error = of("x".repeat(POLICY_PATTERN_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.problems, ["pattern should be at most 4096 bytes, actually was 4097"]);
    let huge = of("(a{1000}){1000}".into()).unwrap_err();
    assert!(huge.problems[0].starts_with("pattern should be regular expression"), "{huge}");
    // It would turn back for ages; no match is what RabbitMQ says then, too.
    let slow = of(r"^(?=(a+)+$)\1*b".into()).unwrap();
    assert!(!slow.matches(queue(&"a".repeat(200))));
}

#[test]
fn patterns_are_looked_for_anywhere_in_a_name_as_perl_does() {
    let table = [
        ("", "q", true),
        ("as", "tasks", true),
        ("^as", "tasks", false),
        ("^task(s|es)$", "tasks", true),
        ("(?i)TASK", "tasks", true),
        // The most popular pattern of all: what is not the broker's own.
        (r"^(?!amq\.).*", "tasks", true),
        (r"^(?!amq\.).*", "amq.gen-1", false),
        (r"(.)\1$", "ass", true),
        (r"(.)\1$", "tasks", false),
    ];
    for (pattern, name, expected) in table {
        let policy =
            declare(PolicyKind::User, PolicyDeclare::new(pattern, json!({"max-length": 1}))).unwrap();
        assert_eq!(policy.matches(queue(name)), expected, "{pattern} in {name}");
    }
}

#[test]
fn a_policy_is_for_the_objects_it_says() {
    let classic = queue("a");
    let quorum = PolicyTarget::Queue { name: "a", kind: QueueKind::Quorum };
    let exchange = PolicyTarget::Exchange { name: "a" };
    let table = [
        ("all", "max-length", json!(1), [true, true, true]),
        ("queues", "max-length", json!(1), [true, true, false]),
        ("classic_queues", "max-length", json!(1), [true, false, false]),
        ("quorum_queues", "max-length", json!(1), [false, true, false]),
        ("streams", "max-length", json!(1), [false, false, false]),
        ("exchanges", "alternate-exchange", json!("e"), [false, false, true]),
        // A policy does not apply to queues that do not know one of its settings.
        ("all", "queue-mode", json!("lazy"), [true, false, true]),
        ("all", "ha-mode", json!("all"), [true, false, true]),
        ("all", "max-age", json!("1h"), [false, false, true]),
        ("all", "delivery-limit", json!(1), [true, true, true]),
    ];
    for (apply_to, key, value, expected) in table {
        let declared =
            PolicyDeclare { apply_to: apply_to.into(), ..PolicyDeclare::new("", json!({ key: value })) };
        let policy = declare(PolicyKind::User, declared.clone()).unwrap();
        let found = [classic, quorum, exchange].map(|target| policy.matches(target));
        assert_eq!(found, expected, "{apply_to} {key}");
        assert_eq!(policy.to_declare(), declared);
    }
}

#[test]
fn the_highest_priority_applies_and_of_equals_the_first_by_name() {
    use PolicyKind::{Operator, User};
    let limit = || json!({"max-length": 1});
    let mut policies = Policies::default();
    for (kind, name, priority, pattern) in [
        (User, "low", -1, ""),
        (User, "b", 5, "^q"),
        (User, "c", 5, "^q"),
        (User, "a", 5, "^q"),
        (User, "high", 9, "^q.*special"),
        (Operator, "cap", 0, "^q"),
    ] {
        policies.set(named(kind, name, priority, pattern, limit()));
    }
    let names = |policies: &Policies, name: &str| {
        let applied = policies.applied(queue(name));
        (applied.policy_name().map(str::to_owned), applied.operator_policy_name().map(str::to_owned))
    };
    let expected =
        |policy: &str, operator: Option<&str>| (Some(policy.to_owned()), operator.map(str::to_owned));
    assert_eq!(names(&policies, "other"), expected("low", None));
    assert_eq!(names(&policies, "q"), expected("a", Some("cap")));
    assert_eq!(names(&policies, "q.special"), expected("high", Some("cap")));
    let listed: Vec<&str> = policies.of(User).iter().map(|policy| policy.name()).collect();
    assert_eq!(listed, ["high", "a", "b", "c", "low"]);

    policies.set(named(User, "a", -2, "^q", limit()));
    assert_eq!(names(&policies, "q"), expected("b", Some("cap")));
    assert_eq!(policies.of(User).len(), 5);
    assert!(policies.remove(User, "b") && !policies.remove(User, "b") && !policies.remove(User, "cap"));
    assert_eq!(names(&policies, "q"), expected("c", Some("cap")));
}

fn applied(user: Option<Value>, operator: Option<Value>) -> AppliedPolicies {
    let one =
        |kind, definition: Option<Value>| definition.map(|definition| named(kind, "p", 0, "", definition));
    AppliedPolicies {
        policy: one(PolicyKind::User, user),
        operator_policy: one(PolicyKind::Operator, operator),
    }
}

#[test]
fn the_effective_definition_is_both_with_the_stricter_limits() {
    assert_eq!(applied(None, None).effective_definition(), None);
    let user =
        json!({"max-length": 10, "message-ttl": 5, "overflow": "reject-publish", "delivery-limit": -1});
    let operator = json!({"max-length": 3, "message-ttl": 8, "expires": 7, "delivery-limit": 4});
    let both = applied(Some(user.clone()), Some(operator.clone())).effective_definition().unwrap();
    assert_eq!(
        json!(both),
        json!({"delivery-limit": 4, "expires": 7, "max-length": 3, "message-ttl": 5, "overflow": "reject-publish"})
    );
    assert_eq!(json!(applied(Some(user.clone()), None).effective_definition().unwrap()), user);
    assert_eq!(json!(applied(None, Some(operator.clone())).effective_definition().unwrap()), operator);
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

#[test]
fn of_numbers_the_smaller_holds_whoever_says_it() {
    type Read = fn(&QueueSettings) -> Option<u64>;
    let keys: [(&str, Read); 5] = [
        ("message-ttl", |settings| settings.message_ttl_ms),
        ("expires", |settings| settings.expires_ms),
        ("max-length", |settings| settings.max_length),
        ("max-length-bytes", |settings| settings.max_length_bytes),
        ("delivery-limit", |settings| settings.delivery_limit.map(u64::from)),
    ];
    // Argument, policy, operator policy; and what holds.
    let cases = [
        (None, None, None, None),
        (Some(5), None, None, Some(5)),
        (None, Some(5), None, Some(5)),
        (None, None, Some(5), Some(5)),
        (Some(4), Some(5), None, Some(4)),
        (Some(6), Some(5), None, Some(5)),
        (Some(4), None, Some(5), Some(4)),
        (Some(6), None, Some(5), Some(5)),
        (None, Some(6), Some(5), Some(5)),
        (None, Some(4), Some(5), Some(4)),
        (Some(7), Some(6), Some(5), Some(5)),
        (Some(3), Some(4), Some(5), Some(3)),
    ];
    for (key, read) in keys {
        for (argument, user, operator, expected) in cases {
            let definition = |number: Option<u64>| number.map(|number| json!({ key: number }));
            let policies = applied(definition(user), definition(operator));
            let name = format!("x-{key}");
            let arguments = match argument {
                Some(number) => table(&[(&name, AMQPValue::LongLongInt(number))]),
                None => FieldTable::default(),
            };
            let settings = policies.queue_settings(QueueKind::Classic, &arguments);
            assert_eq!(
                settings.as_deref().and_then(read),
                expected,
                "{key} {argument:?} {user:?} {operator:?}"
            );
            assert_eq!(settings.is_some(), expected.is_some());
        }
    }
}

#[test]
fn a_delivery_limit_that_is_lifted_gives_way_to_any_other() {
    // Argument, policy; and what holds for classic and quorum queues.
    let cases = [
        (None, None, None, Some(20)),
        (None, Some(-1), None, None),
        (None, Some(30), Some(30), Some(30)),
        (Some(-1), None, None, None),
        (Some(-1), Some(5), Some(5), Some(5)),
        (Some(5), Some(-1), Some(5), Some(5)),
        (Some(-1), Some(-1), None, None),
    ];
    for (argument, policy, classic, quorum) in cases {
        let arguments = match argument {
            Some(limit) => table(&[("x-delivery-limit", AMQPValue::LongLongInt(limit))]),
            None => FieldTable::default(),
        };
        let policies = applied(policy.map(|limit| json!({"delivery-limit": limit})), None);
        let limit =
            |kind| policies.queue_settings(kind, &arguments).and_then(|settings| settings.delivery_limit);
        let found = (limit(QueueKind::Classic), limit(QueueKind::Quorum));
        assert_eq!(found, (classic, quorum), "{argument:?} {policy:?}");
    }
}

#[test]
fn of_anything_else_the_argument_holds() {
    let policies = applied(
        Some(json!({
            "overflow": "reject-publish", "dead-letter-exchange": "by-policy",
            "dead-letter-routing-key": "key-by-policy", "dead-letter-strategy": "at-least-once",
        })),
        None,
    );
    let text = |text: &str| AMQPValue::LongString(text.into());
    let settings = |arguments: &[(&str, AMQPValue)]| {
        let settings = policies.queue_settings(QueueKind::Quorum, &table(arguments)).unwrap();
        (settings.overflow, settings.dead_lettering.as_deref().unwrap().clone())
    };
    let lettering = |exchange: &str, key: &str, strategy| DeadLettering {
        exchange: exchange.into(),
        routing_key: Some(key.into()),
        strategy,
    };
    use DeadLetterStrategy::{AtLeastOnce, AtMostOnce};
    let by_policy = lettering("by-policy", "key-by-policy", AtLeastOnce);
    assert_eq!(settings(&[]), (Overflow::RejectPublish, by_policy));
    let argument = [("x-overflow", text("drop-head")), ("x-dead-letter-exchange", text("own"))];
    assert_eq!(settings(&argument), (Overflow::DropHead, lettering("own", "key-by-policy", AtLeastOnce)));
    let argument = [("x-dead-letter-exchange", text("own")), ("x-dead-letter-routing-key", text("own-key"))];
    assert_eq!(settings(&argument), (Overflow::RejectPublish, lettering("own", "own-key", AtLeastOnce)));
    let argument = [("x-dead-letter-strategy", text("at-most-once"))];
    assert_eq!(
        settings(&argument),
        (Overflow::RejectPublish, lettering("by-policy", "key-by-policy", AtMostOnce))
    );

    let key_only = applied(Some(json!({"dead-letter-routing-key": "k"})), None);
    assert_eq!(key_only.queue_settings(QueueKind::Classic, &FieldTable::default()), None);
}

#[test]
fn times_beyond_all_sense_are_cut_and_a_consumer_timeout_of_0_is_none() {
    let far = applied(Some(json!({"message-ttl": u64::MAX, "expires": u64::MAX})), None);
    let settings = far.queue_settings(QueueKind::Classic, &FieldTable::default()).unwrap();
    assert_eq!(settings.message_ttl_ms, Some(315_360_000_000));
    assert_eq!(settings.expires_ms, settings.message_ttl_ms);
    let timeout = |argument: i64, policy: u64| {
        let arguments = table(&[("x-consumer-timeout", AMQPValue::LongLongInt(argument))]);
        let policies = applied(Some(json!({"consumer-timeout": policy})), None);
        policies.queue_settings(QueueKind::Classic, &arguments)?.consumer_timeout_ms
    };
    assert_eq!(
        (timeout(0, 0), timeout(5, 0), timeout(0, 6), timeout(7, 6)),
        (None, Some(5), Some(6), Some(6))
    );
}
