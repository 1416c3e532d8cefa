//! Parameters, of virtual hosts and of the whole broker.

use super::*;

#[tokio::test]
async fn what_rabbitmq_calls_parameters_is_shown_set_and_cleared() {
    let world = World::new().await;
    let policy =
        json!({"pattern": "^a", "definition": {"max-length": 5}, "priority": 0, "apply-to": "queues"});
    let path = "/api/parameters/operator_policy/%2F/cap";
    assert_eq!(world.put(path, json!({"value": policy})).await, StatusCode::CREATED);
    assert_eq!(world.put(path, json!({"value": policy})).await, StatusCode::NO_CONTENT);
    let shown = json!({"component": "operator_policy", "vhost": "/", "name": "cap", "value": policy});
    assert_eq!(world.get(path).await, shown);
    assert_eq!(world.get("/api/operator-policies/%2F/cap").await["definition"], json!({"max-length": 5}));
    let limits = json!({"value": {"max-queues": 9}});
    assert_eq!(world.put("/api/parameters/vhost-limits/%2F/limits", limits).await, StatusCode::CREATED);
    assert_eq!(world.get("/api/parameters").await.as_array().map(Vec::len), Some(2));
    assert_eq!(world.get("/api/parameters/vhost-limits/%2F").await[0]["value"], json!({"max-queues": 9}));
    assert_eq!(world.get("/api/parameters/nope").await, json!([]));
    assert_eq!(world.delete(path).await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(path).await, StatusCode::NOT_FOUND);
    assert_eq!(world.delete("/api/parameters/vhost-limits/%2F/limits").await, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/parameters").await, json!([]));
}

#[tokio::test]
async fn parameters_of_what_is_not_there_are_refused_with_rabbitmqs_texts() {
    let world = World::new().await;
    let refused = async |path: &str, body: Value| {
        let answer = world.call(Method::PUT, path, body).await;
        format!("{} {}", answer.status.as_u16(), answer.json["reason"].as_str().unwrap())
    };
    let value = json!({"value": {"a": 1}});
    assert_eq!(
        refused("/api/parameters/nope/%2F/x", value.clone()).await,
        "400 Validation failed\n\ncomponent nope not found\n"
    );
    assert_eq!(
        refused("/api/parameters/policy/%2F/x", value.clone()).await,
        "400 policies may not be set using this method"
    );
    assert_eq!(refused("/api/parameters/nope/%2F/x", json!({})).await, "400 [{key_missing,value}]");
    assert_eq!(refused("/api/parameters/nope/nowhere/x", value.clone()).await, "404 vhost_not_found");
    assert_eq!(refused("/api/global-parameters/x", json!({})).await, "400 [{key_missing,value}]");
    let long = json!({"value": "x".repeat(crate::limits::PARAMETER_BYTES_MAX)});
    assert!(refused("/api/global-parameters/x", long).await.starts_with("400 the value of a parameter"));
    let let_in = world.let_in(Method::GET, "/api/global-parameters", Value::Null).await;
    assert_eq!(let_in, ["policymaker"]);
    assert!(world.let_in(Method::PUT, "/api/global-parameters/x", value.clone()).await.is_empty());
    assert!(world.let_in(Method::PUT, "/api/parameters/nope/%2F/x", value).await.is_empty());
}

#[tokio::test]
async fn policymakers_change_parameters_where_they_have_permissions_except_those_of_operators() {
    let world = World::new().await;
    world.admin().set_permissions("policymaker", "/", Permissions::all()).unwrap();
    world.put("/api/vhosts/v", json!({})).await;
    let kept = |vhost: &str| json!({"component": "shovel", "vhost": vhost, "name": "s", "value": {"a": 1}});
    let definitions = json!({"parameters": [kept("/"), kept("v")]});
    let imported = world.call(Method::POST, "/api/definitions", definitions).await;
    assert_eq!(imported.status, StatusCode::NO_CONTENT);
    let value = json!({"value": {"a": 2}});
    let here = "/api/parameters/shovel/%2F/s";
    assert_eq!(world.let_in(Method::PUT, here, value.clone()).await, ["policymaker"]);
    assert_eq!(world.get(here).await["value"], json!({"a": 2}));
    assert!(world.let_in(Method::PUT, "/api/parameters/shovel/v/s", value).await.is_empty());
    assert!(world.let_in(Method::DELETE, "/api/parameters/shovel/v/s", Value::Null).await.is_empty());
    for (component, value) in [
        ("vhost-limits", json!({"max-queues": 1})),
        ("operator_policy", json!({"pattern": "", "definition": {"max-length": 1}})),
    ] {
        let path = format!("/api/parameters/{component}/%2F/limits");
        assert_eq!(world.let_in(Method::GET, &path, Value::Null).await, ["policymaker"]);
        assert!(world.let_in(Method::PUT, &path, json!({"value": value})).await.is_empty());
        assert!(world.let_in(Method::DELETE, &path, Value::Null).await.is_empty());
    }
    let gone = world.call_as("policymaker:x", Method::DELETE, here, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn parameters_of_features_that_are_missing_here_are_kept_and_exported() {
    let world = World::new().await;
    let kept =
        json!([{"component": "federation-upstream", "vhost": "/", "name": "u", "value": {"uri": "amqp://"}}]);
    let globals =
        json!([{"name": "cluster_name", "value": "c"}, {"name": "internal_cluster_id", "value": "i"}]);
    let definitions = json!({"parameters": kept, "global_parameters": globals});
    let imported = world.call(Method::POST, "/api/definitions", definitions).await;
    assert_eq!(imported.status, StatusCode::NO_CONTENT);
    let exported = world.get("/api/definitions").await;
    assert_eq!((&exported["parameters"], &exported["global_parameters"]), (&kept, &globals));
    assert_eq!(world.get("/api/definitions/%2F").await["parameters"], kept);
    assert_eq!(world.delete("/api/parameters/federation-upstream/%2F/u").await, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/parameters").await, json!([]));
}

#[tokio::test]
async fn the_cluster_is_named_by_a_global_parameter_or_the_configuration() {
    let world = World::new().await;
    assert_eq!(world.get("/api/cluster-name").await, json!({"name": "warren"}));
    assert_eq!(world.put("/api/cluster-name", json!({"name": "burrow"})).await, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/overview").await["cluster_name"], "burrow");
    assert_eq!(world.get("/api/global-parameters/cluster_name").await["value"], "burrow");
    assert_eq!(world.put("/api/cluster-name", json!({"name": ""})).await, StatusCode::BAD_REQUEST);
    let number = world.put("/api/global-parameters/cluster_name", json!({"value": 5})).await;
    assert_eq!(number, StatusCode::BAD_REQUEST);
    assert_eq!(world.delete("/api/global-parameters/cluster_name").await, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/cluster-name").await, json!({"name": "warren"}));
    assert!(world.let_in(Method::PUT, "/api/cluster-name", json!({"name": "x"})).await.is_empty());
}
