//! `/api/users`.

use super::*;

#[tokio::test]
async fn users_are_made_changed_and_deleted() {
    let world = World::new().await;
    let body = json!({"password": "123", "tags": "administrator"});
    assert_eq!(world.put("/api/users/alex", body.clone()).await, StatusCode::CREATED);
    assert_eq!(world.put("/api/users/alex/", body).await, StatusCode::NO_CONTENT);
    let alex = world.get("/api/users/alex").await;
    assert_eq!(alex["tags"], json!(["administrator"]));
    assert_eq!(alex["limits"], json!({}));
    assert_eq!(alex["name"], "alex");
    let as_alex = world.call_as("alex:123", Method::GET, "/api/users", Value::Null).await;
    assert_eq!(as_alex.status, StatusCode::OK);
    let names: Vec<_> = as_alex.json.as_array().unwrap().iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, ["alex", "guest", "management", "monitoring", "none", "policymaker"]);
    assert_eq!(world.delete("/api/users/alex").await, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("/api/users/alex").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_exported_hash_makes_the_same_user() {
    let world = World::new().await;
    let hash = "ZpmIOOfDK2Tbl7FQr3OLEyergbUv0MROv0p5KFQ4C8OdsqNg";
    let body = json!({"password_hash": hash, "tags": ["management"]});
    assert_eq!(world.put("/api/users/b", body).await, StatusCode::CREATED);
    let user = world.get("/api/users/b").await;
    assert_eq!(user["password_hash"], hash);
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let answer = world.call_as("b:guest", Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(answer.json["name"], "b");
}

#[tokio::test]
async fn wrong_bodies_are_refused_with_reasons() {
    let world = World::new().await;
    let reason = async |body: &str| {
        let request = request(Method::PUT, "/api/users/a", body).extension(Peer::Local);
        let answer = world.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json["error"], "bad_request", "{body}");
        answer.json["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(r#"{"password": "x"}"#).await, "tags_not_present");
    assert_eq!(reason("").await, "tags_not_present");
    assert_eq!(reason("{bad").await, "not_json");
    assert_eq!(reason("[]").await, "not_json");
    assert!(reason("\"\"").await.contains("doubly-JSON-encoded"));
    assert!(reason(r#"{"password": "x", "tags": 7}"#).await.contains("tags"));
    assert!(reason(r#"{"password_hash": "xx", "tags": ""}"#).await.contains("hash"));
}

#[tokio::test]
async fn several_are_deleted_at_once_or_none() {
    let world = World::new().await;
    let delete = async |users: Value| {
        world.call(Method::POST, "/api/users/bulk-delete", json!({"users": users})).await.status
    };
    assert_eq!(delete(json!(["none", "nope"])).await, StatusCode::BAD_REQUEST);
    assert!(world.admin().user("none").is_some());
    assert_eq!(delete(json!(["none", "monitoring"])).await, StatusCode::NO_CONTENT);
    assert!(world.admin().user("none").is_none() && world.admin().user("monitoring").is_none());
    assert_eq!(delete(json!("x")).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn those_without_permissions_have_a_list() {
    let world = World::new().await;
    let names = world.get("/api/users/without-permissions?columns=name").await;
    assert_eq!(names, json!([{"name": "monitoring"}, {"name": "none"}, {"name": "policymaker"}]));
}

#[tokio::test]
async fn users_are_for_administrators_only() {
    let world = World::new().await;
    let body = json!({"password": "x", "tags": "administrator"});
    for (method, path) in [
        (Method::GET, "/api/users"),
        (Method::GET, "/api/users/guest"),
        (Method::GET, "/api/users/without-permissions"),
        (Method::PUT, "/api/users/none"),
        (Method::DELETE, "/api/users/guest"),
        (Method::POST, "/api/users/bulk-delete"),
    ] {
        assert!(world.let_in(method.clone(), path, body.clone()).await.is_empty(), "{method} {path}");
    }
}
