//! Messages that await acknowledgement, as an operator sees them: who has them, and for how long.

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use serde_json::{Value, json};
use warren_tests::{Broker, eventually};

use crate::client::Client;
use crate::messages::{connect, fill, numbered};

const UNACKED: &str = "/api/queues/%2F/q/unacked";

async fn consume(channel: &Channel, tag: &str, prefetch: u16) -> Consumer {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.expect("it works");
    let options = BasicConsumeOptions::default();
    channel.basic_consume("q".into(), tag.into(), options, FieldTable::default()).await.expect("it works")
}

/// The list, once there are so many.
fn list(api: &Client, query: &str, count: usize) -> Vec<Value> {
    eventually("as many messages as expected", || {
        let seen = api.get(&format!("{UNACKED}{query}"));
        let messages = seen["messages"].as_array().expect("messages").clone();
        (messages.len() == count).then_some(messages)
    })
}

/// What stands in one column of the list.
fn column(messages: &[Value], pointer: &str) -> Vec<Value> {
    messages.iter().map(|message| message.pointer(pointer).cloned().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unacknowledged_is_listed_with_its_consumer_and_its_age_the_oldest_first() {
    let mut broker = Broker::warren(&[]);
    let (first, second) = (connect(&broker).await, connect(&broker).await);
    fill(&first, "q", 6).await;
    let api = Client::new(&mut broker);
    assert_eq!(api.get(UNACKED), json!({"messages": [], "next": null}));
    let _slow = consume(&first, "slow", 2).await;
    list(&api, "", 2);
    let _quick = consume(&second, "quick", 1).await;
    list(&api, "", 3);
    let got = second.basic_get("q".into(), BasicGetOptions::default()).await.expect("it works");
    let messages = list(&api, "", 4);
    assert_eq!(column(&messages, "/payload"), numbered(0..4));
    assert_eq!(column(&messages, "/holder"), ["consumer", "consumer", "consumer", "get"]);
    let tags = [json!("slow"), json!("slow"), json!("quick"), Value::Null];
    assert_eq!(column(&messages, "/consumer/consumer_tag"), tags);
    let connections: Vec<_> = column(&messages, "/consumer/channel_details/connection_name");
    assert!(connections[0] == connections[1] && connections[1] != connections[2], "{connections:?}");
    let ages: Vec<u64> = messages.iter().filter_map(|message| message["age_ms"].as_u64()).collect();
    assert!(ages.len() == 4 && ages.is_sorted_by(|older, younger| older >= younger), "{ages:?}");
    let first_message = &messages[0];
    assert_eq!(
        (&first_message["id"], &first_message["redelivered"], &first_message["payload_bytes"]),
        (&json!("0"), &json!(false), &json!(9))
    );

    // One comes back and is delivered again, one is acknowledged, and the consumer of another one leaves.
    let got = got.expect("a message").delivery;
    got.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await.expect("it works");
    list(&api, "", 3);
    first.basic_cancel("slow".into(), BasicCancelOptions::default()).await.expect("it works");
    second.basic_ack(1, BasicAckOptions::default()).await.expect("it works");
    let messages = eventually("the one that came back is out again", || {
        let messages = list(&api, "", 3);
        (messages[2]["payload"] == "number 3.").then_some(messages)
    });
    assert_eq!(column(&messages, "/holder"), ["cancelled_consumer", "cancelled_consumer", "consumer"]);
    assert_eq!(column(&messages, "/consumer/consumer_tag"), [Value::Null, Value::Null, json!("quick")]);
    assert_eq!(column(&messages, "/delivery_count"), [0, 0, 1]);
    assert_eq!(column(&messages, "/redelivered"), [false, false, true]);

    let short = list(&api, "?max_body_bytes=3&encoding=base64", 3);
    assert_eq!((&short[0]["payload"], &short[0]["truncated"]), (&json!("bnVt"), &json!(true)));
    assert_eq!(list(&api, "?min_age=3600", 0), [Value::Null; 0]);
    eventually("a second passes", || {
        let seen = api.get(&format!("{UNACKED}?min_age=1"));
        seen["messages"].as_array().filter(|messages| messages.len() == 3).map(drop)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_comes_in_parts() {
    const COUNT: u32 = 9_000;
    let mut broker = Broker::warren(&[]);
    let channel = connect(&broker).await;
    fill(&channel, "q", COUNT).await;
    let api = Client::new(&mut broker);
    let _consumer = consume(&channel, "all", 0).await;
    eventually("all are out", || {
        (api.get("/api/queues/%2F/q")["messages_unacknowledged"] == COUNT).then_some(())
    });
    let (mut ids, mut times, mut after, mut parts) = (Vec::new(), Vec::new(), String::new(), 0);
    loop {
        let seen = api.get(&format!("{UNACKED}?count=1000{after}"));
        let messages = seen["messages"].as_array().expect("messages");
        let number = |name: &'static str| {
            move |message: &Value| match &message[name] {
                Value::String(text) => text.parse::<u64>().expect("a number"),
                other => other.as_u64().expect("a number"),
            }
        };
        ids.extend(messages.iter().map(number("id")));
        times.extend(messages.iter().map(number("delivered_at")));
        parts += 1;
        match seen["next"].as_str() {
            Some(place) => after = format!("&after={place}"),
            None => break,
        }
    }
    assert_eq!(parts, 9);
    assert!(times.is_sorted());
    ids.sort_unstable();
    assert_eq!(ids, (0..u64::from(COUNT)).collect::<Vec<_>>());
}

#[test]
fn only_who_may_read_the_queue_sees_the_list() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    assert_eq!(api.call("PUT", "/api/queues/%2F/q", Some(&json!({}))).status, 201);
    let user = json!({"password": "x", "tags": "monitoring"});
    assert_eq!(api.call("PUT", "/api/users/mallory", Some(&user)).status, 201);
    let permissions = json!({"configure": ".*", "write": ".*", "read": "^other"});
    assert_eq!(api.call("PUT", "/api/permissions/%2F/mallory", Some(&permissions)).status, 201);
    let mallory = api.as_user(Some("mallory:x"));
    assert_eq!(mallory.call("GET", UNACKED, None).status, 401);
    assert_eq!(api.as_user(None).call("GET", UNACKED, None).status, 401);
    assert_eq!(api.call("GET", "/api/queues/%2F/nowhere/unacked", None).status, 404);
    for query in ["count=0", "count=1001", "count=x", "min_age=-1", "after=7", "after=7-x", "encoding=x"] {
        assert_eq!(api.call("GET", &format!("{UNACKED}?{query}"), None).status, 400, "{query}");
    }
    assert_eq!(
        api.call("GET", &format!("{UNACKED}?after=0-0&min_age=18446744073709551615"), None).status,
        200
    );
}
