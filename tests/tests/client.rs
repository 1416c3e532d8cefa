//! The client library against a real broker.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use futures::StreamExt;
use futures::future::try_join_all;
use lapin::BasicProperties;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use warren_client::{Client, Error, Task, WorkQueue};
use warren_tests::{Broker, ClosedPort, DEADLINE};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

async fn connect(broker: &Broker) -> Client {
    warren_client::connect(broker.url(), "warren-client test").await.unwrap()
}

async fn next(queue: &mut WorkQueue) -> Task {
    timeout(DEADLINE, queue.next())
        .await
        .expect("a task within the deadline")
        .expect("an open queue")
        .unwrap()
}

#[tokio::test]
async fn json_arrives_and_is_forgotten_when_done() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let queue = broker.queue("orders");
    let mut orders = client.work_queue(&queue, 1).await.unwrap();
    let order = Order { item: "tea".to_owned(), count: 2 };
    client.publisher().await.unwrap().publish_json("", &queue, &order).await.unwrap();
    let task = next(&mut orders).await;
    assert_eq!(task.json::<Order>().unwrap(), order);
    assert!(!task.is_redelivered());
    let properties = &task.delivery().properties;
    assert_eq!(properties.content_type().as_ref().map(|kind| kind.as_str()), Some("application/json"));
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
    task.done().await.unwrap();
    client.close().await.unwrap();

    let client = connect(&broker).await;
    let channel = client.connection().create_channel().await.unwrap();
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(deleted, 0, "nothing came back when the connection ended");
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_task_is_retried_discarded_or_left_to_somebody_else() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let queue = broker.queue("verdicts");
    let mut tasks = client.work_queue(&queue, 2).await.unwrap();
    let publisher = client.publisher().await.unwrap();
    publisher.publish_bytes("", &queue, b"1").await.unwrap();
    let task = next(&mut tasks).await;
    assert_eq!(task.body(), b"1");
    assert!(matches!(task.json::<Order>(), Err(Error::Decode(_))));
    task.retry().await.unwrap();
    let task = next(&mut tasks).await;
    assert!(task.is_redelivered());
    task.discard().await.unwrap();

    publisher.publish_bytes("", &queue, b"2").await.unwrap();
    let undecided = next(&mut tasks).await;
    assert_eq!(undecided.body(), b"2", "what was discarded does not come back");
    client.close().await.unwrap();
    drop(undecided);
    let client = connect(&broker).await;
    let mut tasks = client.work_queue(&queue, 1).await.unwrap();
    let task = next(&mut tasks).await;
    assert_eq!((task.body(), task.is_redelivered()), (&b"2"[..], true));
    task.done().await.unwrap();
    client.close().await.unwrap();
}

#[tokio::test]
async fn many_messages_are_confirmed_together() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let queue = broker.queue("many");
    let mut tasks = client.work_queue(&queue, 0).await.unwrap();
    let publisher = client.publisher().await.unwrap();
    let bodies: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    try_join_all(bodies.iter().map(|body| publisher.publish_bytes("", &queue, body.as_bytes())))
        .await
        .unwrap();
    for body in &bodies {
        let task = next(&mut tasks).await;
        assert_eq!(task.body(), body.as_bytes());
        task.done().await.unwrap();
    }
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_message_that_no_queue_takes_is_an_error_and_the_publisher_lives_on() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let publisher = client.publisher().await.unwrap();
    let nowhere = broker.queue("nowhere");
    let error = publisher.publish_bytes("", &nowhere, b"lost").await.unwrap_err();
    assert!(
        matches!(&error, Error::Returned { routing_key, text, .. } if *routing_key == nowhere && text == "NO_ROUTE")
    );
    assert!(error.to_string().ends_with("declare and bind a queue first"), "{error}");
    let queue = broker.queue("somewhere");
    let _tasks = client.work_queue(&queue, 1).await.unwrap();
    publisher.publish_bytes("", &queue, b"found").await.unwrap();
    client.close().await.unwrap();
}

#[tokio::test]
#[ignore = "Warren has no queue length limits yet; passes against RabbitMQ with --include-ignored"]
async fn a_message_that_a_full_queue_rejects_is_an_error() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let channel = client.connection().create_channel().await.unwrap();
    let queue = broker.queue("full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let publisher = client.publisher().await.unwrap();
    publisher.publish("", &queue, b"fits", BasicProperties::default()).await.unwrap();
    let error = publisher.publish("", &queue, b"too much", BasicProperties::default()).await.unwrap_err();
    assert!(matches!(error, Error::Nacked { .. }), "{error}");
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_exchange_closes_the_publisher_and_only_that() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let publisher = client.publisher().await.unwrap();
    let exchange = broker.exchange("missing");
    let error = publisher.publish_bytes(&exchange, "", b"lost").await.unwrap_err();
    let wanted = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    assert!(matches!(&error, Error::Closed { code: 404, text } if *text == wanted), "{error}");
    client.publisher().await.unwrap();
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_queue_with_other_properties_is_an_error() {
    let broker = Broker::start();
    let client = connect(&broker).await;
    let channel = client.connection().create_channel().await.unwrap();
    let queue = broker.queue("transient");
    let transient = QueueDeclareOptions::default();
    channel.queue_declare(queue.as_str().into(), transient, FieldTable::default()).await.unwrap();
    let error = client.work_queue(&queue, 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Closed { code: 406, text } if text.contains("inequivalent arg 'durable'")),
        "{error}"
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_client_can_be_closed_right_after_its_publisher_is_dropped() {
    let broker = Broker::start();
    for _ in 0..20 {
        let client = connect(&broker).await;
        drop(client.publisher().await.unwrap());
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn connecting_fails_with_advice() {
    let error = warren_client::connect("localhost", "test").await.unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");

    let port = ClosedPort::take();
    let closed = port.address().to_string();
    let error = warren_client::connect(&format!("amqp://{closed}"), "test").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { address, .. } if *address == closed), "{error}");

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", mute.local_addr().unwrap());
    let error = warren_client::connect(&url, "test").await.unwrap_err();
    assert!(matches!(&error, Error::Silent { .. }), "{error}");

    let broker = Broker::start();
    let url = broker.url().replacen("guest:guest@", "guest:sesame@", 1);
    let error = warren_client::connect(&url, "test").await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code: 403, .. }), "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
}
