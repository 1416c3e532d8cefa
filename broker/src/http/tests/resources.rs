//! Queues, exchanges, bindings, messages, and what is seen of them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;
use crate::access::Permissions;

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_declared_listed_and_deleted() {
    let world = World::new().await;
    let body = json!({"durable": true, "arguments": {"x-max-length": 10}});
    assert_eq!(world.put("/api/queues/%2F/a", body.clone()).await, StatusCode::CREATED);
    assert_eq!(world.put("/api/queues/%2F/a", body).await, StatusCode::NO_CONTENT);
    let other = world.call(Method::PUT, "/api/queues/%2F/a", json!({"durable": false})).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        other.json["reason"],
        "inequivalent arg 'durable' for queue 'a' in vhost '/': received 'false' but current is 'true'"
    );
    assert_eq!(world.put("/api/queues/%2F/b", Value::Null).await, StatusCode::CREATED);

    let queue = world.get("/api/queues/%2F/a").await;
    for (name, value) in [
        ("name", json!("a")),
        ("vhost", json!("/")),
        ("durable", json!(true)),
        ("type", json!("classic")),
        ("arguments", json!({"x-max-length": 10})),
        ("messages", json!(0)),
        ("messages_details", json!({"rate": 0.0})),
        ("policy", Value::Null),
        ("consumer_details", json!([])),
        ("state", json!("running")),
    ] {
        assert_eq!(queue[name], value, "{name}");
    }
    let names = world.get("/api/queues?columns=name&sort=name&sort_reverse=true").await;
    assert_eq!(names, json!([{"name": "b"}, {"name": "a"}]));
    let page = world.get("/api/queues/%2F?page=1&page_size=1").await;
    assert_eq!((&page["total_count"], &page["items"][0]["name"]), (&json!(2), &json!("a")));
    assert_eq!(world.delete("/api/queues/%2F/a?if-empty=true").await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/queues/%2F/a").await, StatusCode::NOT_FOUND);
    assert_eq!(world.delete("/api/queues/nowhere/a").await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_published_got_and_purged() {
    let world = World::new().await;
    world.put("/api/queues/%2F/q", json!({"durable": true})).await;
    let publish = async |key: &str, payload: &str, encoding: &str| {
        let body = json!({"routing_key": key, "payload": payload, "payload_encoding": encoding,
            "properties": {"delivery_mode": 2, "headers": {"n": 7}, "type": "t"}});
        world.call(Method::POST, "/api/exchanges/%2F/amq.default/publish", body).await
    };
    assert_eq!(publish("q", "hello", "string").await.json, json!({"routed": true}));
    assert_eq!(publish("q", "/w==", "base64").await.json, json!({"routed": true}));
    assert_eq!(publish("nowhere", "x", "string").await.json, json!({"routed": false}));
    assert_eq!(publish("q", "?", "base64").await.status, StatusCode::BAD_REQUEST);
    let body = json!({"routing_key": "q", "payload": "", "payload_encoding": "string", "properties": {}});
    let missing = world.call(Method::POST, "/api/exchanges/%2F/nope/publish", body).await;
    assert_eq!(missing.json["reason"], "404 NOT_FOUND - no exchange 'nope' in vhost '/'");

    let get = async |body: Value| world.call(Method::POST, "/api/queues/%2F/q/get", body).await.json;
    let looked = get(json!({"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"})).await;
    let first = json!({"payload": "hello", "payload_bytes": 5, "payload_encoding": "string", "redelivered": false,
        "exchange": "", "routing_key": "q", "message_count": 1,
        "properties": {"delivery_mode": 2, "headers": {"n": 7}, "type": "t"}});
    assert_eq!(looked[0], first);
    assert_eq!((&looked[1]["payload"], &looked[1]["payload_encoding"]), (&json!("/w=="), &json!("base64")));
    let taken = get(json!({"count": "1", "requeue": "false", "encoding": "auto", "truncate": 2})).await;
    assert_eq!((&taken[0]["payload"], &taken[0]["redelivered"]), (&json!("he"), &json!(true)));
    let stats = world.get("/api/queues/%2F/q").await;
    assert_eq!((&stats["messages_ready"], &stats["message_bytes"]), (&json!(1), &json!(1)));
    assert_eq!((&stats["message_stats"]["publish"], &stats["message_stats"]["get"]), (&json!(2), &json!(3)));
    assert_eq!(world.delete("/api/queues/%2F/q/contents").await, StatusCode::NO_CONTENT);
    assert_eq!(get(json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})).await, json!([]));
    assert_eq!(world.get("/api/overview").await["queue_totals"]["messages"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_are_made_found_by_their_key_and_removed() {
    let world = World::new().await;
    world.put("/api/queues/%2F/q", Value::Null).await;
    assert_eq!(world.put("/api/exchanges/%2F/e", json!({"type": "topic"})).await, StatusCode::CREATED);
    let bind = async |body: Value| world.call(Method::POST, "/api/bindings/%2F/e/e/q/q", body).await.status;
    assert_eq!(bind(json!({"routing_key": "a.#"})).await, StatusCode::CREATED);
    assert_eq!(bind(json!({"routing_key": "", "arguments": {}})).await, StatusCode::CREATED);
    assert_eq!(bind(json!({"routing_key": "k", "arguments": {"x": 1}})).await, StatusCode::CREATED);
    let to_exchange = world.call(Method::POST, "/api/bindings/%2F/e/e/e/amq.fanout", json!({})).await;
    assert_eq!(to_exchange.status, StatusCode::CREATED);

    let missing = world.call(Method::POST, "/api/bindings/%2F/e/nope/q/q", json!({})).await;
    assert_eq!(missing.json, json!({"error": "not_found", "reason": "no exchange 'nope' in vhost '/'"}));
    let all = world.get("/api/bindings/%2F/e/e/q/q").await;
    let keys: Vec<_> =
        all.as_array().unwrap().iter().map(|binding| binding["properties_key"].clone()).collect();
    assert_eq!((&keys[0], &keys[1]), (&json!("~"), &json!("a.%23")));
    assert_eq!(world.get("/api/queues/%2F/q/bindings").await.as_array().unwrap().len(), 4);
    assert_eq!(world.get("/api/exchanges/%2F/e/bindings/source").await.as_array().unwrap().len(), 4);
    let to = world.get("/api/exchanges/%2F/amq.fanout/bindings/destination").await;
    assert_eq!((&to[0]["source"], &to[0]["destination_type"]), (&json!("e"), &json!("exchange")));
    for key in &keys {
        let path = format!("/api/bindings/%2F/e/e/q/q/{}", key.as_str().unwrap().replace('%', "%25"));
        assert_eq!(world.get(&path).await["properties_key"], *key);
        assert_eq!(world.delete(&path).await, StatusCode::NO_CONTENT);
        assert_eq!(world.delete(&path).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.get("/api/bindings/%2F").await.as_array().unwrap().len(), 2);
    assert_eq!(world.delete("/api/exchanges/%2F/e?if-unused=true").await, StatusCode::BAD_REQUEST);
    assert_eq!(world.delete("/api/exchanges/%2F/e").await, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_does_more_than_their_tags_and_permissions_allow() {
    let world = World::new().await;
    let admin = world.admin();
    admin.add_vhost("secret", crate::access::VHostSettings::default()).unwrap();
    admin.set_permissions("guest", "secret", Permissions::all()).unwrap();
    admin.set_permissions("policymaker", "/", Permissions::new("^p", "", "").unwrap()).unwrap();
    world.put("/api/queues/secret/s", Value::Null).await;
    world.put("/api/queues/%2F/q", Value::Null).await;

    let seen = async |who: &str| {
        let answer = world.call_as(who, Method::GET, "/api/queues", Value::Null).await;
        let names = answer.json.as_array().unwrap().iter().map(|queue| queue["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(seen("management:x").await, [json!("q")]);
    assert_eq!(seen("monitoring:x").await, [json!("q"), json!("s")]);
    let look = world.let_in(Method::GET, "/api/queues/secret/s", Value::Null).await;
    assert_eq!(look, ["monitoring"]);
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    assert_eq!(world.let_in(Method::POST, "/api/queues/%2F/q/get", get).await, ["management"]);
    let declared = world.let_in(Method::PUT, "/api/queues/%2F/pq", json!({})).await;
    assert_eq!(declared, ["policymaker", "management"]);
    assert_eq!(world.let_in(Method::PUT, "/api/queues/%2F/r", json!({})).await, ["management"]);
    assert_eq!(world.let_in(Method::GET, "/api/nodes", Value::Null).await, ["monitoring"]);
    let own = world.call_as("management:x", Method::GET, "/api/overview", Value::Null).await.json;
    assert_eq!((&own["object_totals"]["queues"], own.get("listeners")), (&json!(3), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_and_the_node_say_what_programs_ask_for() {
    let world = World::new().await;
    let overview = world.get("/api/overview").await;
    assert_eq!(overview["object_totals"]["exchanges"], 7);
    assert_eq!(overview["listeners"][0]["protocol"], "amqp");
    assert_eq!(overview["churn_rates"]["connection_created"], 0);
    let name = overview["node"].as_str().unwrap();
    let node = world.get(&format!("/api/nodes/{name}")).await;
    assert_eq!((&node["running"], &node["mem_alarm"]), (&json!(true), &json!(false)));
    assert!(node["mem_used"].as_u64().unwrap() > 0 && node["uptime"].is_u64());
    let aged = world.get("/api/overview?lengths_age=60&lengths_incr=5").await;
    assert!(aged["queue_totals"]["messages_details"]["samples"].is_array());
    for path in ["connections", "channels", "consumers", "vhosts/%2F/connections", "consumers/%2F"] {
        assert_eq!(world.get(&format!("/api/{path}")).await, json!([]), "{path}");
    }
    assert_eq!(world.delete("/api/connections/nobody").await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_found_by_its_key_with_and_without_quotes() {
    let world = World::new().await;
    world.put("/api/queues/%2F/q", Value::Null).await;
    let between = "/api/bindings/%2F/e/amq.topic/q/q";
    for (routing_key, arguments) in [("a.#", json!({"x": 1})), ("a.#", json!({})), ("a b", json!({}))] {
        let body = json!({"routing_key": routing_key, "arguments": arguments});
        assert_eq!(world.call(Method::POST, between, body).await.status, StatusCode::CREATED);
    }
    for binding in world.get(between).await.as_array().unwrap() {
        let key = binding["properties_key"].as_str().unwrap();
        let quoted = key.replace('%', "%25");
        for path in [format!("{between}/{key}"), format!("{between}/{quoted}")] {
            assert_eq!(world.get(&path).await, *binding, "{path}");
        }
    }
    assert_eq!(world.get(&format!("{between}/a%20b")).await["routing_key"], "a b");
}
