//! What queues with limits, deadlines, priorities and dead letters remember over restarts and crashes.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use warren_tests::{Broker, DEADLINE};

const DEAD_MESSAGES: u32 = 2000;

async fn connect(broker: &Broker) -> Channel {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Declares a durable queue, and tells how many messages are ready in it.
async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) -> u32 {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, table).await.unwrap().message_count()
}

/// Publishes a persistent message and waits for its confirm.
async fn publish(channel: &Channel, queue: &str, properties: BasicProperties, body: &[u8]) {
    let properties = properties.with_delivery_mode(2);
    let confirm = channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties)
        .await
        .unwrap();
    assert!(confirm.await.unwrap().is_ack());
}

/// Takes all that is ready in a queue.
async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap() {
        channel.basic_ack(got.delivery.delivery_tag, BasicAckOptions::default()).await.unwrap();
        bodies.push(String::from_utf8(got.delivery.data.to_vec()).unwrap());
    }
    bodies
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[tokio::test]
async fn a_message_that_expires_by_itself_has_no_more_time_after_a_restart() {
    const EXPIRATION: Duration = Duration::from_secs(2);
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    declare(&channel, "q", &[]).await;
    let published = Instant::now();
    let expiring = |after: &str| BasicProperties::default().with_expiration(after.into());
    publish(&channel, "q", expiring("60000"), b"stays").await;
    publish(&channel, "q", expiring("2000"), b"goes").await;
    broker.shut_down();
    tokio::time::sleep(EXPIRATION.saturating_sub(published.elapsed())).await;
    broker.start_again();
    let channel = connect(&broker).await;
    assert_eq!(drain(&channel, "q").await, ["stays"]);
}

#[tokio::test]
async fn what_is_left_of_a_time_to_live_passes_after_a_restart_without_anybody_looking() {
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    let to_dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    declare(&channel, "dead", &[]).await;
    declare(&channel, "own", &to_dead).await;
    let uniform = [&to_dead[..], &[("x-message-ttl", AMQPValue::LongInt(3000))]].concat();
    declare(&channel, "uniform", &uniform).await;
    // Behind one that stays, so that only a look at every message can find it.
    publish(&channel, "own", BasicProperties::default(), b"stays").await;
    publish(&channel, "own", BasicProperties::default().with_expiration("3000".into()), b"own").await;
    publish(&channel, "uniform", BasicProperties::default(), b"uniform").await;
    broker.restart();
    let channel = connect(&broker).await;
    let deadline = Instant::now() + DEADLINE;
    while declare(&channel, "dead", &[]).await < 2 {
        assert!(Instant::now() < deadline, "not everything has expired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found: BTreeSet<String> = drain(&channel, "dead").await.into_iter().collect();
    assert_eq!(found, BTreeSet::from(["own".to_owned(), "uniform".to_owned()]));
    assert_eq!(drain(&channel, "own").await, ["stays"]);
}

#[tokio::test]
async fn priorities_survive_a_restart_and_so_do_settled_messages() {
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    let priorities = [("x-max-priority", AMQPValue::LongInt(5))];
    declare(&channel, "q", &priorities).await;
    declare(&channel, "neighbour", &[]).await;
    for priority in [1, 5, 3, 0, 9, 5] {
        let properties = BasicProperties::default().with_priority(priority);
        publish(&channel, "q", properties, priority.to_string().as_bytes()).await;
    }
    publish(&channel, "neighbour", BasicProperties::default(), b"n").await;
    broker.restart();
    let channel = connect(&broker).await;
    assert_eq!(declare(&channel, "q", &priorities).await, 6);
    assert_eq!(drain(&channel, "q").await, ["5", "9", "5", "3", "1", "0"]);
    broker.restart();
    let channel = connect(&broker).await;
    assert_eq!(declare(&channel, "q", &priorities).await, 0);
    assert_eq!(drain(&channel, "neighbour").await, ["n"]);
}

#[tokio::test]
async fn no_dead_letter_is_lost_when_the_broker_is_killed() {
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
        ("x-message-ttl", AMQPValue::LongInt(1000)),
    ];
    declare(&channel, "dead", &[]).await;
    declare(&channel, "q", &arguments).await;
    let mut confirms = Vec::new();
    for number in 0..DEAD_MESSAGES {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = number.to_string();
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), properties);
        confirms.push(sent.await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
    // In the middle of it, if this machine is not too fast.
    let deadline = Instant::now() + DEADLINE;
    while declare(&channel, "dead", &[]).await == 0 {
        assert!(Instant::now() < deadline, "nothing expires");
    }
    broker.crash();
    broker.start_again();
    let channel = connect(&broker).await;
    let mut found = BTreeSet::new();
    let deadline = Instant::now() + DEADLINE;
    while found.len() < DEAD_MESSAGES as usize {
        assert!(Instant::now() < deadline, "{} of {DEAD_MESSAGES} dead letters arrived", found.len());
        found.extend(drain(&channel, "dead").await);
    }
    assert_eq!(declare(&channel, "q", &arguments).await, 0);
}

#[tokio::test]
async fn a_message_that_comes_back_too_often_is_given_up_and_says_how_often_it_came_back() {
    let broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    declare(&channel, "q", &[("x-delivery-limit", AMQPValue::LongInt(2))]).await;
    publish(&channel, "q", BasicProperties::default(), b"poison").await;
    let mut counts = Vec::new();
    while let Some(got) = channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap() {
        let headers = got.delivery.properties.headers().clone().unwrap_or_default();
        counts.push(headers.inner().get("x-delivery-count").cloned());
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        channel.basic_nack(got.delivery.delivery_tag, requeue).await.unwrap();
    }
    assert_eq!(counts, [None, Some(AMQPValue::LongLongInt(1)), Some(AMQPValue::LongLongInt(2))]);
}
