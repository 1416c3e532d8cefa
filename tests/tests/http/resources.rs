//! What is seen of clients while they are connected.

use futures::StreamExt as _;
use lapin::options::QueueDeclareOptions;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};
use warren_tests::{Broker, eventually};

use crate::client::{Client, quoted};

/// A connection whose one consumer holds five of nine messages of five bytes, with confirms.
pub(crate) async fn consume_with_five_unacked(broker: &Broker) -> (Connection, Channel, Consumer) {
    let properties = ConnectionProperties::default().with_connection_name("the-test".into());
    let connection = Connection::connect(broker.url(), properties).await.expect("it works");
    let channel = connection.create_channel().await.expect("it works");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("it works");
    channel.basic_qos(5, BasicQosOptions::default()).await.expect("it works");
    channel
        .queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .expect("it works");
    for _ in 0..9 {
        let publish = channel.basic_publish(
            "".into(),
            "q".into(),
            BasicPublishOptions::default(),
            b"12345",
            BasicProperties::default(),
        );
        publish.await.expect("it works").await.expect("it works");
    }
    let mut consumer = channel
        .basic_consume("q".into(), "tag".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .expect("it works");
    for _ in 0..5 {
        consumer.next().await.expect("it works").expect("it works");
    }
    (connection, channel, consumer)
}

/// Whether fields have these values.
fn check(seen: &Value, wanted: &[(&str, Value)]) {
    for (name, value) in wanted {
        assert_eq!(seen[*name], *value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_channels_and_consumers_are_seen_at_once_and_can_be_closed() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let (connection, _channel, _consumer) = consume_with_five_unacked(&broker).await;
    let connections = api.get("/api/connections");
    let seen = &connections[0];
    assert_eq!(connections.as_array().unwrap().len(), 1);
    let wanted = [
        ("user", json!("guest")),
        ("vhost", json!("/")),
        ("state", json!("running")),
        ("channels", json!(1)),
        ("protocol", json!("AMQP 0-9-1")),
        ("auth_mechanism", json!("PLAIN")),
        ("ssl", json!(false)),
        ("user_provided_name", json!("the-test")),
        ("port", json!(broker.port())),
    ];
    check(seen, &wanted);
    assert!(seen["recv_oct"].as_u64().unwrap() > 100 && seen["send_oct"].as_u64().unwrap() > 100, "{seen}");
    let name = seen["name"].as_str().unwrap().to_owned();

    assert_eq!(api.get("/api/connections/username/guest?columns=name"), json!([{"name": name}]));
    assert_eq!(api.get("/api/connections/username/nobody"), json!([]));
    assert_eq!(api.call("DELETE", "/api/connections/username/nobody", None).status, 204);

    let channels = api.get(&format!("/api/connections/{}/channels", quoted(&name)));
    let wanted = [
        ("number", json!(1)),
        ("prefetch_count", json!(5)),
        ("messages_unacknowledged", json!(5)),
        ("messages_unconfirmed", json!(0)),
        ("consumer_count", json!(1)),
        ("confirm", json!(true)),
        ("transactional", json!(false)),
    ];
    check(&channels[0], &wanted);
    let one = api.get(&format!("/api/channels/{}", quoted(channels[0]["name"].as_str().unwrap())));
    assert_eq!(one["consumer_details"][0]["consumer_tag"], "tag");
    check_traffic(&api, &one);
    let consumers = api.get("/api/consumers");
    assert_eq!((&consumers[0]["queue"]["name"], &consumers[0]["prefetch_count"]), (&json!("q"), &json!(5)));
    let queue = api.get("/api/queues/%2F/q");
    assert_eq!(
        (&queue["messages_ready"], &queue["messages_unacknowledged"], &queue["message_bytes"]),
        (&json!(4), &json!(5), &json!(45))
    );
    assert_eq!((&queue["message_stats"]["deliver"], &queue["consumers"]), (&json!(5), &json!(1)));
    assert_eq!(queue["consumer_details"][0]["channel_details"]["connection_name"], json!(name));
    let overview = api.get("/api/overview");
    assert_eq!(
        (&overview["message_stats"]["publish"], &overview["message_stats"]["confirm"]),
        (&json!(9), &json!(9))
    );
    assert_eq!(
        (&overview["object_totals"]["connections"], &overview["object_totals"]["channels"]),
        (&json!(1), &json!(1))
    );

    close(&api, &name, &connection);
}

/// Nine messages were published on the channel, and five delivered.
fn check_traffic(api: &Client, channel: &Value) {
    let stats = &channel["message_stats"];
    check(
        stats,
        &[("publish", json!(9)), ("confirm", json!(9)), ("deliver", json!(5)), ("deliver_get", json!(5))],
    );
    assert!(stats["publish_details"]["rate"].is_number(), "{stats}");
    assert!(channel["idle_since"].as_str().expect("a text").ends_with("+00:00"), "{channel}");
    let exchange = api.get("/api/exchanges/%2F/amq.default");
    check(&exchange["message_stats"], &[("publish_in", json!(9)), ("publish_out", json!(9))]);
    assert_eq!(api.get("/api/exchanges/%2F/amq.topic").get("message_stats"), None, "nothing happened there");
}

#[test]
fn rates_follow_what_happens() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    assert_eq!(api.call("PUT", "/api/queues/%2F/q", Some(&json!({}))).status, 201);
    let body = json!({"routing_key": "q", "payload": "x", "payload_encoding": "string", "properties": {}});
    let rate = eventually("there is a rate", || {
        let answer = api.call("POST", "/api/exchanges/%2F/amq.default/publish", Some(&body));
        assert_eq!(answer.json(), json!({"routed": true}));
        let queue =
            api.get("/api/queues/%2F/q?msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5");
        let rate = queue["message_stats"]["publish_details"]["rate"].as_f64().unwrap();
        (rate > 0.0).then_some((rate, queue))
    });
    let samples = &rate.1["messages_details"]["samples"];
    assert!(samples[0]["sample"].as_u64().unwrap() > 0, "{samples}");
    assert_eq!(samples[0]["timestamp"].as_u64().unwrap() % 5_000, 0);
    let exchange = api.get("/api/exchanges/%2F/amq.default?msg_rates_age=60&msg_rates_incr=5");
    let published = &exchange["message_stats"]["publish_in_details"];
    assert!(published["rate"].as_f64().unwrap() > 0.0, "{published}");
    assert!(published["samples"][0]["sample"].as_u64().unwrap() > 0, "{published}");
    assert!(api.get("/api/overview")["message_stats"]["publish_details"]["rate"].as_f64().unwrap() > 0.0);
}

fn close(api: &Client, name: &str, connection: &Connection) {
    let closed = api.call("DELETE", &format!("/api/connections/{}", quoted(name)), None);
    assert_eq!(closed.status, 204);
    eventually("the client is told to go", || (!connection.status().connected()).then_some(()));
    eventually("the connection is gone", || (api.get("/api/connections") == json!([])).then_some(()));
    let churn: Value = api.get("/api/overview")["churn_rates"].clone();
    assert_eq!((&churn["connection_created"], &churn["connection_closed"]), (&json!(1), &json!(1)));
}
