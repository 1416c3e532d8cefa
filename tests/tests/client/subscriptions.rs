//! Subscriptions to queues, topics and fanouts.

use std::time::Duration;

use futures::StreamExt;
use warren_client::{
    Connection, Delivery, Error, Message, Pattern, Queue, State, SubscribeOptions, Subscription,
};
use warren_tests::Broker;

use crate::proxy::Proxy;
use crate::{connect, options, purge, soon, until_state};

async fn next<T>(subscription: &mut Subscription<T>) -> Delivery<T> {
    soon("a message", subscription.next()).await.expect("an open subscription").unwrap()
}

#[tokio::test]
async fn deliveries_need_a_verdict() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("verdicts");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    let message = Message::json(&1).unwrap().id("one").unwrap().header("colour", "green").unwrap();
    publisher.send("", &queue, message).await.unwrap();
    publisher.send_json("", &queue, "no number").await.unwrap();
    publisher.send_json("", &queue, &2).await.unwrap();

    let mut numbers = connection
        .subscribe_with::<i32>(queue.as_str(), SubscribeOptions::default().prefetch(1))
        .await
        .unwrap();
    let first = next(&mut numbers).await;
    assert_eq!((*first.value(), first.message_id(), first.is_redelivered()), (1, Some("one"), false));
    assert_eq!(first.header("colour").unwrap().as_text(), Some("green"));
    assert_eq!((first.exchange(), first.routing_key(), first.body()), ("", queue.as_str(), &b"1"[..]));
    first.requeue().await.unwrap();
    let again = next(&mut numbers).await;
    assert!(again.is_redelivered());
    again.discard().await.unwrap();
    let error = soon("the text", numbers.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error}");
    next(&mut numbers).await.ack().await.unwrap();
    drop(numbers);
    assert_eq!(purge(&connection, &queue).await, 0, "what cannot be read was discarded");
    let error = connection.subscribe::<i32>("no such queue").await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    connection.close().await;
}

#[tokio::test]
async fn every_subscriber_of_a_fanout_gets_every_event() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let news = connection.fanout::<String>(&broker.exchange("news")).await.unwrap();
    news.publish(&"nobody hears it".to_owned()).await.unwrap();
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(news.subscribe().await.unwrap());
    }
    for number in 0..10 {
        news.publish(&number.to_string()).await.unwrap();
    }
    for listener in &mut listeners {
        for number in 0..10 {
            assert_eq!(next(listener).await.into_value(), number.to_string());
        }
    }
    connection.close().await;
}

#[tokio::test]
async fn a_topic_delivers_what_fits_and_keeps_it_for_those_with_a_queue() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let events = connection.topic::<u32>(&broker.exchange("events")).await.unwrap();
    let audit = broker.queue("audit");
    let lasting =
        events.subscribe_with(Queue::new(&audit), [Pattern::everything()], SubscribeOptions::default());
    drop(lasting.await.unwrap());
    let mut errors = events.subscribe(["*.error", "disk.#"]).await.unwrap();
    for (number, key) in (0..).zip(["kernel.error", "kernel.info", "disk", "disk.full.error"]) {
        events.publish(key, &number).await.unwrap();
    }
    for (key, number) in [("kernel.error", 0), ("disk", 2), ("disk.full.error", 3)] {
        let event = next(&mut errors).await;
        assert_eq!((event.routing_key(), *event.value()), (key, number));
        event.ack().await.unwrap();
    }
    assert_eq!(purge(&connection, &audit).await, 4);
    let error = events.subscribe(["a*"]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    connection.close().await;
}

#[tokio::test]
async fn a_subscription_goes_on_when_the_network_was_cut() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.port()).await;
    let connection = Connection::open(options(&proxy.url())).await.unwrap();
    let events = connection.topic::<u32>(&broker.exchange("cut")).await.unwrap();
    let mut mine = events.subscribe(["#"]).await.unwrap();
    events.publish("k", &1).await.unwrap();
    let unfinished = next(&mut mine).await;
    proxy.cut_once();
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;
    until_state(&connection, "the return", State::is_connected).await;
    let error = unfinished.ack().await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    events.publish("k", &2).await.unwrap();
    assert_eq!(next(&mut mine).await.into_value(), 2, "the queue was the connection's, and is new");

    let queue = broker.queue("lasting");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    publisher.send_json("", &queue, &3).await.unwrap();
    let mut lasting = connection.subscribe::<u32>(queue.as_str()).await.unwrap();
    let unfinished = next(&mut lasting).await;
    proxy.cut_once();
    until_state(&connection, "the loss", |state| matches!(state, State::Reconnecting { .. })).await;
    let again = next(&mut lasting).await;
    assert_eq!((*again.value(), again.is_redelivered()), (3, true));
    again.ack().await.unwrap();
    drop(unfinished);
    connection.close().await;
}

#[tokio::test]
async fn a_subscription_ends_when_its_queue_is_gone_or_the_connection_is_closed() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let queue = broker.queue("gone");
    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let mut bytes =
        connection.subscribe_bytes(queue.as_str(), SubscribeOptions::default().auto_ack()).await.unwrap();
    connection.publisher().await.unwrap().send("", &queue, Message::bytes([1, 2])).await.unwrap();
    assert_eq!(next(&mut bytes).await.into_value(), [1, 2]);
    let channel = connection.lapin_channel().await.unwrap();
    channel.queue_delete(queue.as_str().into(), Default::default()).await.unwrap();
    let end = soon("the end", bytes.next()).await.unwrap().unwrap_err();
    assert!(matches!(end, Error::Cancelled { .. }), "{end}");
    assert!(soon("nothing", bytes.next()).await.is_none());

    connection.declare_queue(Queue::new(&queue)).await.unwrap();
    let mut open = connection.subscribe::<u32>(queue.as_str()).await.unwrap();
    let closing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        connection.close().await;
    });
    let end = soon("the end", open.next()).await.unwrap().unwrap_err();
    assert!(matches!(end, Error::Closed), "{end}");
    closing.await.unwrap();
}
