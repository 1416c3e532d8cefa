//! Permissions, virtual hosts, limits and policies.

use super::*;

#[tokio::test]
async fn permissions_are_set_listed_and_cleared_with_rabbitmqs_json() {
    let world = World::new().await;
    let body = json!({"configure": "^a", "write": ".*", "read": ""});
    assert_eq!(world.put("/api/permissions/%2F/none", body.clone()).await, StatusCode::CREATED);
    assert_eq!(world.put("/api/permissions/%2F/none", body).await, StatusCode::NO_CONTENT);
    let permissions = json!({"user": "none", "vhost": "/", "configure": "^a", "write": ".*", "read": ""});
    assert_eq!(world.get("/api/permissions/%2F/none").await, permissions);
    assert_eq!(world.get("/api/users/none/permissions").await, json!([permissions]));
    let of_vhost = world.get("/api/vhosts/%2F/permissions?columns=user").await;
    assert_eq!(of_vhost, json!([{"user": "guest"}, {"user": "management"}, {"user": "none"}]));
    assert_eq!(world.get("/api/permissions").await.as_array().unwrap().len(), 3);
    assert_eq!(world.delete("/api/permissions/%2F/none").await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/permissions/%2F/none").await, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/api/users/none/permissions").await, json!([]));
}

#[tokio::test]
async fn wrong_permissions_are_refused() {
    let world = World::new().await;
    let refused = async |path: &str, body: Value| {
        let answer = world.call(Method::PUT, path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        answer.json["reason"].as_str().unwrap().to_owned()
    };
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    assert_eq!(refused("/api/permissions/%2F/nope", all.clone()).await, "vhost_or_user_not_found");
    assert_eq!(refused("/api/permissions/nope/guest", all).await, "vhost_or_user_not_found");
    let incomplete = json!({"configure": ".*", "write": ".*"});
    assert_eq!(refused("/api/permissions/%2F/guest", incomplete).await, "[{key_missing,read}]");
    let wrong = json!({"configure": "(", "write": ".*", "read": ".*"});
    assert!(refused("/api/permissions/%2F/guest", wrong).await.contains("regular expression"));
}

#[tokio::test]
async fn topic_permissions_are_kept_for_each_exchange() {
    let world = World::new().await;
    let set = async |exchange: &str| {
        let body = json!({"exchange": exchange, "write": "a", "read": "b"});
        world.put("/api/topic-permissions/%2F/guest", body).await
    };
    assert_eq!(set("amq.topic").await, StatusCode::CREATED);
    assert_eq!(set("x").await, StatusCode::NO_CONTENT);
    let one = json!({"user": "guest", "vhost": "/", "exchange": "x", "write": "a", "read": "b"});
    assert_eq!(world.get("/api/topic-permissions/%2F/guest").await[1], one);
    assert_eq!(world.delete("/api/topic-permissions/%2F/guest/amq.topic").await, StatusCode::NO_CONTENT);
    for path in ["topic-permissions", "users/guest/topic-permissions", "vhosts/%2F/topic-permissions"] {
        assert_eq!(world.get(&format!("/api/{path}")).await, json!([one]), "{path}");
    }
    assert_eq!(world.delete("/api/topic-permissions/%2F/guest").await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/topic-permissions/%2F/guest").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_makes_a_vhost_may_use_it() {
    let world = World::new().await;
    assert_eq!(world.put("/api/vhosts/v", Value::Null).await, StatusCode::CREATED);
    let body = json!({"description": "d", "tags": "a,b", "default_queue_type": "quorum", "tracing": true});
    assert_eq!(world.put("/api/vhosts/v", body).await, StatusCode::NO_CONTENT);
    let metadata = json!({"description": "d", "tags": ["a", "b"], "default_queue_type": "quorum"});
    let expected = json!({"name": "v", "description": "d", "tags": ["a", "b"], "default_queue_type": "quorum",
        "protected_from_deletion": false, "metadata": metadata, "tracing": true,
        "cluster_state": {world.admin().node_name(): "running"}});
    assert_eq!(world.get("/api/vhosts/v").await, expected);
    assert!(world.admin().may_enter("guest", "v"));
    assert_eq!(world.get("/api/vhosts?columns=name").await, json!([{"name": "/"}, {"name": "v"}]));
    let theirs = world.call_as("management:x", Method::GET, "/api/vhosts?columns=name", Value::Null).await;
    assert_eq!(theirs.json, json!([{"name": "/"}]));
    let page = world.get("/api/vhosts?page=2&page_size=1&columns=name").await;
    assert_eq!(page["items"], json!([{"name": "v"}]));
    let protection = "/api/vhosts/v/deletion/protection";
    assert_eq!(world.call(Method::POST, protection, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/vhosts/v").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(world.delete(protection).await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/vhosts/v").await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/vhosts/v").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn limits_are_set_one_by_one_and_below_zero_is_none() {
    let world = World::new().await;
    for (set, list, key) in [
        ("/api/vhost-limits/%2F/max-connections", "/api/vhost-limits", "vhost"),
        ("/api/user-limits/guest/max-connections", "/api/user-limits", "user"),
    ] {
        assert_eq!(world.get(list).await, json!([]));
        assert_eq!(world.put(set, json!({"value": 5})).await, StatusCode::NO_CONTENT);
        let name = if key == "vhost" { "/" } else { "guest" };
        assert_eq!(world.get(list).await, json!([{key: name, "value": {"max-connections": 5}}]));
        assert_eq!(world.put(set, json!({"value": "x"})).await, StatusCode::BAD_REQUEST);
        assert_eq!(world.put(set, json!({"value": -1})).await, StatusCode::NO_CONTENT);
        assert_eq!(world.get(list).await, json!([]));
        assert_eq!(world.delete(set).await, StatusCode::NO_CONTENT);
        let unknown = set.replace("max-connections", "foo");
        assert_eq!(world.put(&unknown, json!({"value": 5})).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(
        world.put("/api/vhost-limits/nope/max-queues", json!({"value": 5})).await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn policies_are_set_listed_and_deleted_with_rabbitmqs_json_and_texts() {
    let world = World::new().await;
    for path in ["/api/policies", "/api/operator-policies"] {
        let one = format!("{path}/%2F/p");
        let body =
            json!({"pattern": "^a", "definition": {"max-length": 5}, "priority": "1", "apply-to": "queues"});
        assert_eq!(world.put(&one, body.clone()).await, StatusCode::CREATED);
        assert_eq!(world.put(&one, body).await, StatusCode::NO_CONTENT);
        let policy = json!({"vhost": "/", "name": "p", "pattern": "^a", "apply-to": "queues",
            "definition": {"max-length": 5}, "priority": 1});
        assert_eq!(world.get(&one).await, policy);
        assert_eq!(world.get(path).await, json!([policy]));
        assert_eq!(world.get(&format!("{path}/%2F")).await, json!([policy]));
        assert_eq!(world.delete(&one).await, StatusCode::NO_CONTENT);
        assert_eq!(world.delete(&one).await, StatusCode::NOT_FOUND);
        let wrong = json!({"pattern": "a", "definition": {"max-length": "x"}});
        let answer = world.call(Method::PUT, &one, wrong).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json["reason"].as_str().unwrap().starts_with("Validation failed\n\n"));
        let nowhere = format!("{path}/nope/p");
        let body = json!({"pattern": "a", "definition": {"max-length": 1}});
        assert_eq!(world.put(&nowhere, body).await, StatusCode::NOT_FOUND);
    }
}

/// Which of `monitoring`, `policymaker`, `management` (who alone has permissions in `/`) and `none` each route lets in; RabbitMQ 3.10.8
/// lets in the same.
#[tokio::test]
async fn every_route_is_open_to_those_whose_tags_and_permissions_open_it() {
    let world = World::new().await;
    let all: &[&str] = &["monitoring", "policymaker", "management"];
    let table: &[(Method, &str, &[&str])] = &[
        (Method::GET, "vhosts", all),
        (Method::GET, "vhosts/%2F", &[]),
        (Method::PUT, "vhosts/zz", &[]),
        (Method::DELETE, "vhosts/%2F", &[]),
        (Method::POST, "vhosts/%2F/deletion/protection", &[]),
        (Method::DELETE, "vhosts/%2F/deletion/protection", &[]),
        (Method::GET, "vhosts/%2F/permissions", &[]),
        (Method::GET, "vhosts/%2F/topic-permissions", &[]),
        (Method::GET, "permissions", &[]),
        (Method::GET, "permissions/%2F/guest", &[]),
        (Method::PUT, "permissions/%2F/none", &[]),
        (Method::DELETE, "permissions/%2F/guest", &[]),
        (Method::GET, "topic-permissions", &[]),
        (Method::GET, "topic-permissions/%2F/guest", &[]),
        (Method::PUT, "topic-permissions/%2F/none", &[]),
        (Method::DELETE, "topic-permissions/%2F/guest", &[]),
        (Method::GET, "users/guest/permissions", &[]),
        (Method::GET, "users/guest/topic-permissions", &[]),
        (Method::GET, "vhost-limits", all),
        (Method::GET, "vhost-limits/%2F", &["monitoring", "management"]),
        (Method::PUT, "vhost-limits/%2F/max-queues", &[]),
        (Method::DELETE, "vhost-limits/%2F/max-queues", &[]),
        (Method::GET, "user-limits", all),
        (Method::GET, "user-limits/guest", all),
        (Method::PUT, "user-limits/guest/max-channels", &[]),
        (Method::DELETE, "user-limits/guest/max-channels", &[]),
        (Method::GET, "policies", all),
        (Method::GET, "policies/%2F/p", &[]),
        (Method::PUT, "policies/%2F/p", &[]),
        (Method::DELETE, "policies/%2F/p", &[]),
        (Method::GET, "operator-policies", all),
        (Method::GET, "operator-policies/%2F/p", &[]),
        (Method::PUT, "operator-policies/%2F/p", &[]),
        (Method::DELETE, "operator-policies/%2F/p", &[]),
        (Method::GET, "cluster-name", all),
        (Method::GET, "extensions", all),
        (Method::GET, "feature-flags", &[]),
        (Method::GET, "health/checks/alarms", all),
        (Method::GET, "health/checks/is-in-service", all),
        (Method::GET, "aliveness-test/%2F", &["management"]),
    ];
    for (method, path, let_in) in table {
        let found = world.let_in(method.clone(), &format!("/api/{path}"), json!({})).await;
        assert_eq!(found, *let_in, "{method} {path}");
    }
    world.admin().set_permissions("policymaker", "/", Permissions::all()).unwrap();
    for (method, path, let_in) in [
        (Method::GET, "policies/%2F/p", ["policymaker"].as_slice()),
        (Method::PUT, "policies/%2F/p", &["policymaker"]),
        (Method::PUT, "operator-policies/%2F/p", &[]),
    ] {
        let found = world.let_in(method.clone(), &format!("/api/{path}"), json!({})).await;
        assert_eq!(found, let_in, "{method} {path}");
    }
}

#[tokio::test]
async fn health_is_answered_with_rabbitmqs_json() {
    let world = World::new().await;
    let port = world.broker.local_addrs()[0].port();
    let check = async |name: &str| {
        let answer = world.call(Method::GET, &format!("/api/health/checks/{name}"), Value::Null).await;
        (answer.status.as_u16(), answer.json)
    };
    for name in ["alarms", "local-alarms", "virtual-hosts", "is-in-service", "ready-to-serve-clients"] {
        assert_eq!(check(name).await, (200, json!({"status": "ok"})), "{name}");
    }
    assert_eq!(check(&format!("port-listener/{port}")).await, (200, json!({"status": "ok", "port": port})));
    let missing = json!({"status": "failed", "reason": "No active listener", "missing": 1, "ports": [port]});
    assert_eq!(check("port-listener/1").await, (503, missing));
    assert_eq!(check("port-listener/x").await.0, 400);
    assert_eq!(check("protocol-listener/amqp091").await.1, json!({"status": "ok", "protocol": "amqp"}));
    let missing =
        json!({"status": "failed", "reason": "No active listener", "missing": "mqtt", "protocols": ["amqp"]});
    assert_eq!(check("protocol-listener/mqtt").await, (503, missing));
    assert_eq!(world.get("/api/aliveness-test/%2F").await, json!({"status": "ok"}));
    assert_eq!(world.get("/api/cluster-name").await, json!({"name": "warren"}));
}
