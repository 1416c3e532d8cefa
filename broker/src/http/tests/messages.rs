//! Looking at messages without touching them, moving and deleting chosen ones, and pauses.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;
use crate::access::Permissions;

const MESSAGES: &str = "/api/queues/%2F/q/messages";

/// A queue `q` with messages of which each says its number, with a header for odd and even ones.
async fn filled(count: u32) -> World {
    let world = World::new().await;
    world.put("/api/queues/%2F/q", json!({"durable": true, "arguments": {"x-max-priority": 2}})).await;
    for number in 0..count {
        publish(&world, json!({"headers": {"odd": number % 2 == 1, "n": number}}), &format!("body {number}"))
            .await;
    }
    world
}

async fn publish(world: &World, properties: Value, payload: &str) {
    let body = json!({"routing_key": "q", "payload": payload, "payload_encoding": "string", "properties": properties});
    let answer = world.call(Method::POST, "/api/exchanges/%2F/amq.default/publish", body).await;
    assert_eq!(answer.json, json!({"routed": true}));
}

async fn post(world: &World, path: &str, body: Value) -> Value {
    let answer = world.call(Method::POST, path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    answer.json
}

fn payloads(seen: &Value) -> Vec<&str> {
    seen["messages"].as_array().unwrap().iter().map(|message| message["payload"].as_str().unwrap()).collect()
}

async fn bodies_of(world: &World, queue: &str) -> Vec<String> {
    let seen = world.get(&format!("/api/queues/%2F/{queue}/messages?count=1000")).await;
    payloads(&seen).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_browsed_and_stay_as_they_are() {
    let world = filled(5).await;
    publish(&world, json!({"priority": 2, "message_id": "m"}), "urgent").await;
    let seen = world.get(&format!("{MESSAGES}?count=2")).await;
    let first = json!({"id": "2-0", "position": 0, "exchange": "", "routing_key": "q", "payload": "urgent", "payload_bytes": 6,
        "payload_encoding": "string", "truncated": false, "redelivered": false, "delivery_count": 0,
        "properties": {"priority": 2, "message_id": "m"}});
    assert_eq!(seen["messages"][0], first);
    assert_eq!(
        (&seen["scanned"], &seen["next"], &seen["next_position"]),
        (&json!(2), &json!("0"), &json!(2))
    );
    let seen = world.get(&format!("{MESSAGES}?from=4")).await;
    assert_eq!((payloads(&seen), &seen["next"]), (vec!["body 3", "body 4"], &Value::Null));
    let seen = world.get(&format!("{MESSAGES}?after=2&max_body_bytes=3")).await;
    assert_eq!(payloads(&seen), ["bod", "bod"]);
    assert_eq!(
        (&seen["messages"][0]["truncated"], &seen["messages"][0]["position"]),
        (&json!(true), &Value::Null)
    );
    for (query, expected) in [
        ("header=odd%3Dtrue", vec!["body 1", "body 3"]),
        ("header=n&header=odd%3Dfalse&from=3", vec!["body 2", "body 4"]),
        ("header=n%3D4", vec!["body 4"]),
        ("text=dy%203", vec!["body 3"]),
        ("message_id=m", vec!["urgent"]),
        ("routing_key=q&exchange=amq.default&count=1", vec!["urgent"]),
        ("exchange=other", vec![]),
    ] {
        assert_eq!(payloads(&world.get(&format!("{MESSAGES}?{query}")).await), expected, "{query}");
    }
    let queue = world.get("/api/queues/%2F/q").await;
    assert_eq!((&queue["messages_ready"], &queue["messages_unacknowledged"]), (&json!(6), &json!(0)));
    assert_eq!(queue["message_stats"]["get"], json!(0), "nothing was got");
    let got = world.call(
        Method::POST,
        "/api/queues/%2F/q/get",
        json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}),
    );
    assert_eq!(got.await.json[0]["redelivered"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_cut_within_a_letter_stays_a_text() {
    let world = filled(0).await;
    publish(&world, json!({}), "aä€").await;
    let cut = async |bytes: u32| {
        let seen = world.get(&format!("{MESSAGES}?max_body_bytes={bytes}")).await;
        let text = |name: &str| seen["messages"][0][name].as_str().unwrap().to_owned();
        (text("payload"), text("payload_encoding"))
    };
    for (bytes, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aä"), (5, "aä"), (6, "aä€"), (7, "aä€")]
    {
        assert_eq!(cut(bytes).await, (expected.to_owned(), "string".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_messages_are_deleted() {
    let world = filled(8).await;
    let delete = async |body: Value| post(&world, &format!("{MESSAGES}/delete"), body).await;
    let done = delete(json!({"ids": ["1", 3, "77"]})).await;
    assert_eq!(done, json!({"deleted": 2, "gone": 0, "not_found": ["77"], "scanned": 2, "next": null}));
    assert_eq!(bodies_of(&world, "q").await, ["body 0", "body 2", "body 4", "body 5", "body 6", "body 7"]);
    let done = delete(json!({"filter": {"headers": {"odd": false}}, "count": 2})).await;
    assert_eq!((&done["deleted"], &done["next"]), (&json!(2), &json!("2")));
    let done = delete(json!({"filter": {"headers": {"odd": null}, "text": "6"}, "after": "2"})).await;
    assert_eq!((&done["deleted"], &done["next"]), (&json!(1), &Value::Null));
    assert_eq!(bodies_of(&world, "q").await, ["body 4", "body 5", "body 7"]);
    assert_eq!(delete(json!({"filter": {}})).await["deleted"], 3);
    assert_eq!(world.get("/api/queues/%2F/q").await["message_bytes"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_say_clearly_what_is_meant_are_refused() {
    let world = filled(1).await;
    world.put("/api/queues/%2F/other", json!({})).await;
    let many = json!({"ids": (0..1001).collect::<Vec<_>>()});
    for (path, body) in [
        ("delete", json!({})),
        ("delete", json!({"ids": "1"})),
        ("delete", json!({"ids": ["x"]})),
        ("delete", json!({"ids": [1], "filter": {}})),
        ("delete", many),
        ("delete", json!({"filter": {"header": {"a": 1}}})),
        ("delete", json!({"filter": {}, "count": 0})),
        ("move", json!({"ids": [0]})),
        ("move", json!({"ids": [0], "destination_queue": "q"})),
        ("move", json!({"ids": [0], "destination_queue": "other", "destination_exchange": "amq.direct"})),
    ] {
        let answer = world.call(Method::POST, &format!("{MESSAGES}/{path}"), body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.json);
    }
    for query in ["count=0", "count=1001", "from=x", "after=x", "from=1&after=1", "encoding=x"] {
        let answer = world.call(Method::GET, &format!("{MESSAGES}?{query}"), Value::Null).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.json);
    }
    let missing = json!({"ids": [0], "destination_queue": "nowhere"});
    assert_eq!(
        world.call(Method::POST, &format!("{MESSAGES}/move"), missing).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(bodies_of(&world, "q").await, ["body 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_moved_with_their_properties_to_the_end_of_another_queue() {
    let world = filled(4).await;
    world.put("/api/queues/%2F/other", json!({"durable": true})).await;
    let done =
        post(&world, &format!("{MESSAGES}/move"), json!({"ids": ["2"], "destination_queue": "other"})).await;
    assert_eq!(
        done,
        json!({"moved": 1, "unroutable": 0, "refused": 0, "gone": 0, "not_found": [], "scanned": 1, "next": null})
    );
    let done =
        post(&world, &format!("{MESSAGES}/move"), json!({"filter": {}, "destination_queue": "other"})).await;
    assert_eq!((&done["moved"], &done["scanned"]), (&json!(3), &json!(3)));
    assert_eq!(bodies_of(&world, "other").await, ["body 2", "body 0", "body 1", "body 3"]);
    assert_eq!(bodies_of(&world, "q").await, [""; 0]);
    let seen = world.get("/api/queues/%2F/other/messages?count=1").await;
    assert_eq!(seen["messages"][0]["properties"], json!({"headers": {"odd": false, "n": 2}}));
    assert_eq!(seen["messages"][0]["routing_key"], "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_stays_where_it_is() {
    let world = filled(4).await;
    let short = json!({"arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}});
    world.put("/api/queues/%2F/short", short).await;
    let move_all = async |target: Value| {
        let mut body = json!({"filter": {}});
        body.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        post(&world, &format!("{MESSAGES}/move"), body).await
    };
    let done = move_all(json!({"destination_queue": "short"})).await;
    assert_eq!((&done["moved"], &done["refused"]), (&json!(1), &json!(3)));
    let left = ["body 1", "body 2", "body 3"];
    assert_eq!(bodies_of(&world, "q").await, left);
    let done = move_all(json!({"destination_exchange": "amq.direct", "routing_key": "nobody"})).await;
    assert_eq!((&done["moved"], &done["unroutable"]), (&json!(0), &json!(3)));
    // An exchange that leads back to where they are.
    let done = move_all(json!({"destination_exchange": "amq.default"})).await;
    assert_eq!((&done["moved"], &done["unroutable"]), (&json!(0), &json!(3)));
    assert_eq!(bodies_of(&world, "q").await, left);
    let bind = world.call(Method::POST, "/api/bindings/%2F/e/amq.fanout/q/short", json!({})).await;
    assert_eq!(bind.status, StatusCode::CREATED);
    world.delete("/api/queues/%2F/short/contents").await;
    let done = move_all(json!({"destination_exchange": "amq.fanout"})).await;
    assert_eq!((&done["moved"], &done["refused"]), (&json!(1), &json!(2)));
    assert_eq!(bodies_of(&world, "short").await, ["body 1"]);
    let seen = world.get("/api/queues/%2F/short/messages").await;
    assert_eq!(
        (&seen["messages"][0]["exchange"], &seen["messages"][0]["routing_key"]),
        (&json!("amq.fanout"), &json!("q"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_needs_the_permission_of_what_it_does() {
    let world = filled(3).await;
    world.put("/api/queues/%2F/other", json!({})).await;
    let permit = |configure: &str, write: &str, read: &str| {
        let permissions = Permissions::new(configure, write, read).unwrap();
        world.admin().set_permissions("management", "/", permissions).unwrap();
    };
    let status = async |method: Method, path: &str, body: Value| {
        world.call_as("management:x", method, path, body).await.status
    };
    let (delete, move_to) = (format!("{MESSAGES}/delete"), format!("{MESSAGES}/move"));
    let ids = json!({"ids": [0]});
    let to_other = json!({"ids": [1], "destination_queue": "other"});
    let pause = json!({"action": "pause"});
    let actions = "/api/queues/%2F/q/actions";
    let refused = StatusCode::UNAUTHORIZED;
    permit(".*", ".*", "other");
    assert_eq!(status(Method::GET, MESSAGES, Value::Null).await, refused);
    assert_eq!(status(Method::POST, &delete, ids.clone()).await, refused);
    assert_eq!(status(Method::POST, &move_to, to_other.clone()).await, refused);
    permit("other", "other", "q");
    assert_eq!(status(Method::POST, &move_to, to_other.clone()).await, refused, "the default exchange");
    assert_eq!(status(Method::POST, actions, pause.clone()).await, refused);
    assert_eq!(status(Method::GET, MESSAGES, Value::Null).await, StatusCode::OK);
    assert_eq!(status(Method::POST, &delete, ids).await, StatusCode::OK);
    permit("q", "amq.default", "q");
    assert_eq!(status(Method::POST, &move_to, to_other).await, StatusCode::OK);
    assert_eq!(status(Method::POST, actions, pause).await, StatusCode::NO_CONTENT);
    let let_in = world.let_in(Method::GET, MESSAGES, Value::Null).await;
    assert_eq!(let_in, ["management"], "monitors see counts, not messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_is_shown_as_such_and_gives_nothing() {
    let world = filled(2).await;
    let act = async |action: &str| {
        world.call(Method::POST, "/api/queues/%2F/q/actions", json!({"action": action})).await.status
    };
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    assert_eq!(world.get("/api/queues/%2F/q").await["paused"], json!(false));
    assert_eq!(act("pause").await, StatusCode::NO_CONTENT);
    assert_eq!(act("pause").await, StatusCode::NO_CONTENT);
    let queue = world.get("/api/queues/%2F/q").await;
    assert_eq!((&queue["paused"], &queue["state"]), (&json!(true), &json!("running")));
    assert_eq!(post(&world, "/api/queues/%2F/q/get", get.clone()).await, json!([]));
    assert_eq!(bodies_of(&world, "q").await, ["body 0", "body 1"]);
    assert_eq!(act("resume").await, StatusCode::NO_CONTENT);
    assert_eq!(post(&world, "/api/queues/%2F/q/get", get).await[0]["payload"], "body 0");
    assert_eq!(act("other").await, StatusCode::BAD_REQUEST);
}
