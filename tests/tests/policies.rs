//! Policies set through the library, seen by clients: a Warren in this process, and lapin.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tempfile::TempDir;
use warren::engine::policy::PolicyDeclare;
use warren::{Broker, Config, PolicyError};
use warren_tests::{Program, clients, eventually_async, python};

async fn start() -> (Broker, Channel) {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let channel = connect(&broker).await;
    (broker, channel)
}

async fn start_on(folder: &Path) -> (Broker, Channel) {
    let mut config = Config::in_process();
    config.data.folder = Some(folder.to_owned());
    let broker = Broker::start(config).await.unwrap();
    let channel = connect(&broker).await;
    (broker, channel)
}

async fn connect(broker: &Broker) -> Channel {
    let url = format!("amqp://guest:guest@{}/%2F", broker.local_addrs()[0]);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

fn policy(pattern: &str, definition: Value) -> PolicyDeclare {
    PolicyDeclare::new(pattern, definition)
}

async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await.unwrap();
}

/// How many messages are ready; none if there is no such queue, which costs the channel.
async fn ready(channel: &Channel, queue: &str) -> Option<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
    declared.ok().map(|queue| queue.message_count())
}

/// Publishes and awaits the confirm: whether all queues took the message.
async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) -> bool {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let published = channel
        .basic_publish(
            exchange.into(),
            key.into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            persistent,
        )
        .await;
    matches!(published.unwrap().await.unwrap(), Confirmation::Ack(_))
}

async fn bodies(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let get = || channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
    while let Some(message) = get().await.unwrap() {
        bodies.push(String::from_utf8(message.delivery.data).unwrap());
    }
    bodies
}

#[tokio::test]
async fn limits_apply_at_once_to_queues_that_are_there_and_go_with_their_policy() {
    let (broker, channel) = start().await;
    declare(&channel, "q", FieldTable::default()).await;
    for body in ["1", "2", "3", "4"] {
        assert!(publish(&channel, "", "q", body).await);
    }
    broker.set_policy("/", "short", policy("^q$", json!({"max-length": 3}))).unwrap();
    assert_eq!(ready(&channel, "q").await, Some(3));
    broker.set_operator_policy("/", "cap", policy("", json!({"max-length": 2}))).unwrap();
    assert_eq!(ready(&channel, "q").await, Some(2));
    assert!(publish(&channel, "", "q", "5").await);
    assert_eq!(bodies(&channel, "q").await, ["4", "5"]);

    let applied = broker.queue_policies("/", "q").unwrap();
    assert_eq!((applied.policy_name(), applied.operator_policy_name()), (Some("short"), Some("cap")));
    assert_eq!(json!(applied.effective_definition().unwrap()), json!({"max-length": 2}));
    broker.delete_operator_policy("/", "cap").unwrap();
    broker.delete_policy("/", "short").unwrap();
    for body in ["1", "2", "3", "4"] {
        assert!(publish(&channel, "", "q", body).await);
    }
    assert_eq!(bodies(&channel, "q").await.len(), 4);
    assert!(broker.queue_policies("/", "q").unwrap().is_empty());
    broker.shutdown().await;
}

#[tokio::test]
async fn the_smaller_of_argument_and_policy_holds() {
    let (broker, channel) = start().await;
    broker.set_policy("/", "five", policy("", json!({"max-length": 5}))).unwrap();
    for (queue, argument, expected) in [("low", 2, 2), ("high", 9, 5)] {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(argument));
        declare(&channel, queue, arguments).await;
        for body in 0..10 {
            assert!(publish(&channel, "", queue, &body.to_string()).await);
        }
        assert_eq!(ready(&channel, queue).await, Some(expected));
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn publishers_are_refused_from_the_policy_on_and_not_after_it() {
    let (broker, channel) = start().await;
    declare(&channel, "q", FieldTable::default()).await;
    // The connection knows the route already when the policy comes.
    assert!(publish(&channel, "", "q", "1").await);
    let full = json!({"max-length": 1, "overflow": "reject-publish"});
    broker.set_policy("/", "full", policy("q", full)).unwrap();
    assert!(!publish(&channel, "", "q", "2").await);
    broker.delete_policy("/", "full").unwrap();
    assert!(publish(&channel, "", "q", "3").await);
    assert_eq!(bodies(&channel, "q").await, ["1", "3"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn messages_that_are_there_expire_and_are_dead_lettered_by_policy() {
    let (broker, channel) = start().await;
    declare(&channel, "work", FieldTable::default()).await;
    declare(&channel, "dead", FieldTable::default()).await;
    assert!(publish(&channel, "", "work", "late").await);
    let give_up = json!({"message-ttl": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"});
    broker.set_policy("/", "give-up", policy("^work$", give_up)).unwrap();
    let dead = eventually_async("the message is dead-lettered", async || {
        channel.basic_get("dead".into(), BasicGetOptions { no_ack: true }).await.unwrap()
    })
    .await;
    assert_eq!(dead.delivery.data, b"late");
    let headers = dead.delivery.properties.headers().clone().unwrap();
    let reason = headers.inner().get("x-first-death-reason").and_then(AMQPValue::as_long_string).unwrap();
    assert_eq!(reason.to_string(), "expired");
    assert_eq!(ready(&channel, "work").await, Some(0));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_queue_that_nobody_uses_goes_by_policy() {
    let (broker, channel) = start().await;
    declare(&channel, "q", FieldTable::default()).await;
    broker.set_policy("/", "unused", policy("q", json!({"expires": 1}))).unwrap();
    eventually_async("the queue is deleted", async || {
        broker.queue_policies("/", "q").is_none().then_some(())
    })
    .await;
    broker.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_routed_takes_the_alternate_exchange_of_a_policy() {
    let (broker, channel) = start().await;
    channel
        .exchange_declare(
            "orders".into(),
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    declare(&channel, "unrouted", FieldTable::default()).await;
    channel
        .queue_bind(
            "unrouted".into(),
            "amq.fanout".into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    assert!(publish(&channel, "orders", "x", "lost").await);
    let mut alternate = policy("^(orders|amq\\.topic)$", json!({"alternate-exchange": "amq.fanout"}));
    alternate.apply_to = "exchanges".into();
    broker.set_policy("/", "alternate", alternate).unwrap();
    for exchange in ["orders", "amq.topic", "amq.direct"] {
        assert!(publish(&channel, exchange, "x", exchange).await);
    }
    assert_eq!(bodies(&channel, "unrouted").await, ["orders", "amq.topic"]);
    assert_eq!(broker.exchange_policies("/", "orders").unwrap().policy_name(), Some("alternate"));
    broker.shutdown().await;
}

#[tokio::test]
async fn policies_survive_a_restart_and_deleted_ones_do_not_come_back() {
    let data = TempDir::new().unwrap();
    let (broker, channel) = start_on(data.path()).await;
    declare(&channel, "q", FieldTable::default()).await;
    let declared = PolicyDeclare {
        priority: 7,
        apply_to: "classic_queues".into(),
        ..policy(r"^(?!amq\.)", json!({"max-length": 2, "overflow": "reject-publish"}))
    };
    broker.set_policy("/", "kept", declared.clone()).unwrap();
    broker.set_policy("/", "gone", policy("", json!({"max-length": 1}))).unwrap();
    broker.delete_policy("/", "gone").unwrap();
    broker.set_operator_policy("/", "cap", policy("", json!({"message-ttl": 3_600_000}))).unwrap();
    for body in ["1", "2"] {
        assert!(publish(&channel, "", "q", body).await);
    }
    broker.shutdown().await;

    let (broker, channel) = start_on(data.path()).await;
    let policies = broker.policies();
    assert_eq!(policies.len(), 1);
    assert_eq!((policies[0].name(), policies[0].to_declare()), ("kept", declared));
    assert_eq!(broker.operator_policies()[0].name(), "cap");
    let applied = broker.queue_policies("/", "q").unwrap();
    assert_eq!(
        json!(applied.effective_definition().unwrap()),
        json!({"max-length": 2, "message-ttl": 3_600_000, "overflow": "reject-publish"})
    );
    assert!(!publish(&channel, "", "q", "3").await, "the queue is full");
    broker.delete_policy("/", "kept").unwrap();
    assert!(publish(&channel, "", "q", "4").await);
    assert_eq!(bodies(&channel, "q").await, ["1", "2", "4"]);
    broker.shutdown().await;

    let (broker, _channel) = start_on(data.path()).await;
    assert!(broker.policies().is_empty());
    assert_eq!(broker.operator_policies().len(), 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_policy_is_told() {
    let (broker, _channel) = start().await;
    let invalid = broker.set_policy("/", "p", policy("(", json!({"max-length": -1}))).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "Validation failed\n\n-1 is not a valid maximum length\npattern should be regular expression but is invalid: \
         {\"Opening parenthesis without closing parenthesis\",1}"
    );
    let operator = broker.set_operator_policy("/", "p", policy("", json!({"overflow": "drop-head"})));
    assert_eq!(
        operator.unwrap_err().to_string(),
        "Validation failed\n\n[{<<\"overflow\">>,<<\"drop-head\">>}] are not recognised policy settings"
    );
    let elsewhere = broker.set_policy("x", "p", policy("", json!({"max-length": 1}))).unwrap_err();
    assert_eq!(elsewhere, PolicyError::NoVhost("x".to_owned()));
    let missing = broker.delete_operator_policy("/", "p").unwrap_err().to_string();
    assert_eq!(missing, "there is no operator policy 'p' in vhost '/'");
    assert!(broker.policies().is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_sees_what_policies_ask_for() {
    let broker = Broker::start(Config::in_process()).await.unwrap();
    let retry = json!({
        "dead-letter-exchange": "", "dead-letter-routing-key": "retried", "message-ttl": 50
    });
    for (name, pattern, definition) in [
        ("small", "^small", json!({"max-length": 3})),
        ("retry", "^retry", retry),
        ("strict", "^strict", json!({"max-length": 1, "overflow": "reject-publish"})),
        ("spare", "^spare", json!({"alternate-exchange": "amq.fanout"})),
    ] {
        broker.set_policy("/", name, policy(pattern, definition)).unwrap();
    }
    let mut script = Command::new(python());
    script.arg(clients().join("pika_policies.py"));
    script.env("AMQP_URL", format!("amqp://guest:guest@{}/%2F", broker.local_addrs()[0]));
    let lines = tokio::task::spawn_blocking(move || Program::start("pika", &mut script).succeed()).await;
    assert_eq!(lines.unwrap().iter().filter(|line| line.starts_with("PASS ")).count(), 5);
    broker.shutdown().await;
}
