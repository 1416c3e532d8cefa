//! Messages that are looked at, moved and deleted by an operator, and paused queues: over restarts, kills and active consumers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use warren_tests::{Broker, eventually};

use crate::client::Client;

const QUEUE: &str = "/api/queues/%2F/q";

pub(crate) async fn connect(broker: &Broker) -> Channel {
    let connection =
        Connection::connect(broker.url(), ConnectionProperties::default()).await.expect("it works");
    let channel = connection.create_channel().await.expect("it works");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("it works");
    channel
}

/// A durable queue with persistent messages whose bodies are their numbers, all confirmed.
pub(crate) async fn fill(channel: &Channel, queue: &str, count: u32) {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, FieldTable::default()).await.expect("it works");
    for number in 0..count {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = format!("number {number}.");
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties)
            .await
            .expect("it works");
    }
    assert!(channel.wait_for_confirms().await.expect("it works").is_empty());
}

fn bodies(seen: &Value) -> Vec<String> {
    let messages = seen["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["payload"].as_str().expect("a text").to_owned()).collect()
}

/// The bodies of all ready messages, in order.
fn all(api: &Client, queue: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let seen = api.get(&format!("/api/queues/%2F/{queue}/messages?count=1000{after}"));
        found.extend(bodies(&seen));
        match seen["next"].as_str() {
            Some(id) => after = format!("&after={id}"),
            None => return found,
        }
    }
}

pub(crate) fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("number {number}.")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_on_the_disk_are_browsed_where_they_are_and_keep_their_ids() {
    const COUNT: u32 = 3000;
    let mut broker = Broker::warren(&[]);
    fill(&connect(&broker).await, "q", COUNT).await;
    let api = Client::new(&mut broker);
    let before = api.get(&format!("{QUEUE}/messages?from=1234&count=2"));
    assert_eq!(bodies(&before), numbered([1234, 1235]));
    let ids: Vec<&str> =
        before["messages"].as_array().expect("two").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(
        api.call("POST", &format!("{QUEUE}/messages/delete"), Some(&json!({"ids": [ids[0]]}))).status,
        200
    );

    broker.restart();
    let api = Client::new(&mut broker);
    assert_eq!(
        bodies(&api.get(&format!("{QUEUE}/messages?from=1233&count=3"))),
        numbered([1233, 1235, 1236])
    );
    assert_eq!(api.get(&format!("{QUEUE}/messages?from=1234&count=1"))["messages"][0]["id"], json!(ids[1]));
    assert_eq!(bodies(&api.get(&format!("{QUEUE}/messages?text=r%202999."))), numbered([2999]));
    assert_eq!(api.get(&format!("{QUEUE}/messages?from=2998"))["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get(QUEUE)["memory"], json!(0), "what was on the disk stays there");
    // Some from the middle, by their ids.
    let chosen = json!({"ids": [ids[1], ids[0], "2000", "9999"], "destination_queue": "other"});
    assert_eq!(api.call("PUT", "/api/queues/%2F/other", Some(&json!({"durable": true}))).status, 201);
    let moved = api.call("POST", &format!("{QUEUE}/messages/move"), Some(&chosen)).json();
    assert_eq!((&moved["moved"], &moved["not_found"]), (&json!(2), &json!([ids[0], "9999"])));

    broker.restart();
    let api = Client::new(&mut broker);
    assert_eq!(all(&api, "other"), numbered([1235, 2000]));
    let left = numbered((0..COUNT).filter(|number| ![1234, 1235, 2000].contains(number)));
    assert_eq!(all(&api, "q"), left);
    assert_eq!(api.get(QUEUE)["messages_ready"], json!(left.len()));
    let channel = connect(&broker).await;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer =
        channel.basic_consume("q".into(), "".into(), options, FieldTable::default()).await.expect("it works");
    for expected in left {
        let delivery = consumer.next().await.expect("it works").expect("it works");
        assert_eq!((delivery.data, delivery.redelivered), (expected.into_bytes(), false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_cut_short_by_a_kill_loses_nothing() {
    const COUNT: u32 = 4000;
    let mut broker = Broker::warren(&[]);
    fill(&connect(&broker).await, "q", COUNT).await;
    fill(&connect(&broker).await, "other", 0).await;
    let everything: BTreeSet<String> = numbered(0..COUNT).into_iter().collect();
    for round in 0..4 {
        let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let api = Client::new(&mut broker);
        let (from, to) = if round % 2 == 0 { ("q", "other") } else { ("other", "q") };
        thread::scope(|scope| {
            scope.spawn(|| {
                let path = format!("/api/queues/%2F/{from}/messages/move");
                let body = json!({"filter": {}, "count": 300, "destination_queue": to});
                // Until the broker is gone.
                while !ended.load(Ordering::Acquire) {
                    if api.try_call("POST", &path, &body).is_none() {
                        return;
                    }
                    begun.store(true, Ordering::Release);
                }
            });
            eventually("some are moved", || begun.load(Ordering::Acquire).then_some(()));
            broker.crash();
            ended.store(true, Ordering::Release);
        });
        broker.start_again();
        let api = Client::new(&mut broker);
        let found: BTreeSet<String> = all(&api, "q").into_iter().chain(all(&api, "other")).collect();
        assert_eq!(found, everything, "in round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_while_consumers_are_active_is_consumed_or_moved_but_not_both() {
    const COUNT: u32 = 3000;
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    fill(&channel, "q", COUNT).await;
    fill(&channel, "other", 0).await;
    let api = Client::new(&mut broker);
    let mut consumer = channel
        .basic_consume("q".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .expect("it works");
    let mover = tokio::task::spawn_blocking({
        let api = api.clone();
        move || {
            let path = format!("{QUEUE}/messages/move");
            let mut moved = 0;
            loop {
                let body = json!({"filter": {"text": "7."}, "destination_queue": "other"});
                let answer = api.call("POST", &path, Some(&body)).json();
                moved += answer["moved"].as_u64().expect("a number");
                if api.get(QUEUE)["messages_ready"] == 0 {
                    return moved;
                }
            }
        }
    });
    let mut consumed = Vec::new();
    loop {
        match tokio::time::timeout(std::time::Duration::from_millis(500), consumer.next()).await {
            Ok(delivery) => {
                let delivery = delivery.expect("it works").expect("it works");
                delivery.ack(BasicAckOptions::default()).await.expect("it works");
                consumed.push(String::from_utf8(delivery.data).expect("a text"));
            }
            Err(_) if mover.is_finished() => break,
            Err(_) => {}
        }
    }
    let moved = all(&api, "other");
    assert_eq!(mover.await.expect("it works"), moved.len() as u64);
    let mut found = [consumed, moved].concat();
    found.sort_unstable();
    let mut expected = numbered(0..COUNT);
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_stays_so_over_restarts_and_delivers_when_it_is_resumed() {
    let mut broker = Broker::warren(&[]);
    fill(&connect(&broker).await, "q", 3).await;
    let api = Client::new(&mut broker);
    let act = |api: &Client, action: &str| {
        assert_eq!(
            api.call("POST", &format!("{QUEUE}/actions"), Some(&json!({"action": action}))).status,
            204
        );
    };
    act(&api, "pause");
    broker.crash();
    broker.start_again();
    let api = Client::new(&mut broker);
    assert_eq!(api.get(QUEUE)["paused"], json!(true));
    let channel = connect(&broker).await;
    let mut consumer = channel
        .basic_consume("q".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .expect("it works");
    // The consumer is there, and a message that it could have comes after it.
    fill(&channel, "q", 1).await;
    let queue = api.get(QUEUE);
    assert_eq!((&queue["messages_ready"], &queue["messages_unacknowledged"]), (&json!(4), &json!(0)));
    act(&api, "resume");
    for expected in [0, 1, 2, 0] {
        let delivery = consumer.next().await.expect("it works").expect("it works");
        assert_eq!(
            (delivery.data, delivery.redelivered),
            (format!("number {expected}.").into_bytes(), false)
        );
    }
    broker.restart();
    let api = Client::new(&mut broker);
    assert_eq!(api.get(QUEUE)["paused"], json!(false));
}
