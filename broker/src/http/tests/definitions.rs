//! `/api/definitions`.

use super::*;

/// An export of RabbitMQ 3.10.8: users of all tags, two virtual hosts, topic permissions, limits, both kinds of policies, exchanges,
/// classic and quorum queues with arguments, bindings of both kinds.
const RABBITMQ: &str = include_str!("rabbitmq-3.10.8.json");

async fn import(world: &World, path: &str, definitions: &Value) -> Answer {
    world.call(Method::POST, path, definitions.clone()).await
}

/// The lists of an export, each in an order of its own, to be compared whatever order they came in.
fn sorted(definitions: &Value, list: &str) -> Vec<String> {
    let mut entries: Vec<String> =
        definitions[list].as_array().unwrap().iter().map(Value::to_string).collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn an_export_of_rabbitmq_is_imported_with_nothing_lost_and_comes_out_again() {
    let world = World::new().await;
    let theirs: Value = serde_json::from_str(RABBITMQ).unwrap();
    assert_eq!(import(&world, "/api/definitions", &theirs).await.status, StatusCode::NO_CONTENT);
    // Not through the API: a login would renew the hash.
    let ours = crate::http::definitions::export(&world.admin());
    for list in [
        "topic_permissions",
        "parameters",
        "global_parameters",
        "policies",
        "queues",
        "exchanges",
        "bindings",
    ] {
        assert_eq!(sorted(&ours, list), sorted(&theirs, list), "{list}");
    }
    let users = sorted(&ours, "users");
    for user in sorted(&theirs, "users") {
        assert!(users.contains(&user), "{user} is not among {users:?}");
    }
    for permission in sorted(&theirs, "permissions") {
        assert!(sorted(&ours, "permissions").contains(&permission), "{permission}");
    }
    let monitor = world.call_as("mon:x", Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(monitor.json, json!({"name": "mon", "tags": ["monitoring", "foo"]}));
    assert_eq!(
        world.get("/api/vhost-limits").await,
        json!([{"vhost": "v2", "value": {"max-connections": 5}}])
    );
}

#[tokio::test]
async fn definitions_that_name_what_is_not_there_change_nothing() {
    let world = World::new().await;
    let before = world.get("/api/definitions").await;
    let refused = async |section: &str, entry: Value| {
        let queue = json!({"name": "q", "vhost": "/"});
        let definitions = json!({"queues": [queue], "vhosts": [{"name": "new"}], section: [entry]});
        let answer = import(&world, "/api/definitions", &definitions).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        answer.json["reason"].as_str().unwrap().to_owned()
    };
    let grant = json!({"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""});
    let missing = "here or in the definitions";
    assert_eq!(
        refused("permissions", grant).await,
        format!("permissions[0]: there is no user 'nobody', {missing}")
    );
    let exchange = json!({"name": "e", "type": "direct", "vhost": "nowhere"});
    assert_eq!(
        refused("exchanges", exchange).await,
        format!("exchanges[0]: there is no vhost 'nowhere', {missing}")
    );
    let bind = |source: &str, vhost: &str, destination: &str| {
        json!({"source": source, "vhost": vhost, "destination": destination, "destination_type": "queue",
            "routing_key": "", "arguments": {}})
    };
    assert_eq!(
        refused("bindings", bind("e", "/", "q")).await,
        format!("bindings[0]: there is no exchange 'e' in vhost '/', {missing}")
    );
    assert_eq!(
        refused("bindings", bind("amq.topic", "new", "q")).await,
        format!("bindings[0]: there is no queue 'q' in vhost 'new', {missing}")
    );
    assert_eq!(world.get("/api/definitions").await, before);
}

/// Each of them was found out only when what stands before it had been done.
#[tokio::test]
#[allow(clippy::too_many_lines)] // A table.
async fn definitions_of_which_something_would_be_refused_change_nothing() {
    let world = World::new().await;
    world.put("/api/queues/%2F/there", json!({"durable": true})).await;
    world.put("/api/exchanges/%2F/hash", json!({"type": "x-consistent-hash", "durable": true})).await;
    let before = world.get("/api/definitions").await;
    let named = |name: &str, more: Value| {
        let mut entry = json!({"name": name, "vhost": "new"});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let bind = |vhost: &str, source: &str, key: &str, arguments: Value| {
        json!({"vhost": vhost, "source": source, "destination": "there", "destination_type": "queue",
            "routing_key": key, "arguments": arguments})
    };
    let limits = |value: Value| named("limits", json!({"component": "vhost-limits", "value": value}));
    let long = "n".repeat(300);
    for (wrong, reason) in [
        (
            json!({"exchanges": [named("e", json!({"type": "x-unheard-of"}))]}),
            "exchange 'e' in vhost 'new': PRECONDITION",
        ),
        (json!({"exchanges": [named("amq.mine", json!({"type": "fanout"}))]}), "exchange 'amq.mine' in"),
        (
            json!({"exchanges": [named("e", json!({"type": "fanout", "arguments": {"alternate-exchange": 7}}))]}),
            "exchange 'e' in vhost 'new': PRECONDITION_FAILED - invalid type",
        ),
        (
            json!({"queues": [named("a", json!({})), named("q", json!({"arguments": {"x-max-length": "many"}}))]}),
            "queue 'q' in vhost 'new': PRECONDITION_FAILED - invalid arg 'x-max-length'",
        ),
        (
            json!({"queues": [named("q", json!({"arguments": {"x-queue-type": "stream"}}))]}),
            "queue 'q' in vhost 'new': ",
        ),
        (
            json!({"parameters": [limits(json!({"max-queues": 1}))], "queues": [named("a", json!({})), named("b", json!({}))]}),
            "queue 'b' in vhost 'new': PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost 'new' (1)",
        ),
        (
            json!({"bindings": [bind("/", "hash", "heavy", json!({}))]}),
            "binding from 'hash' to 'there' in vhost '/': PRECONDITION_FAILED",
        ),
        (
            json!({"bindings": [bind("/", "amq.headers", "", json!({"x-match": "some"}))]}),
            "binding from 'amq.headers' to 'there' in vhost '/': PRECONDITION_FAILED",
        ),
        (
            json!({"bindings": [bind("/", "amq.other", "", json!({}))]}),
            "binding from 'amq.other' to 'there' in vhost '/': NOT_FOUND",
        ),
        (
            json!({"policies": [named("p", json!({"pattern": "(", "definition": {"max-length": 1}}))]}),
            "policy 'p' in vhost 'new': Validation failed",
        ),
        (
            json!({"policies": [named("p", json!({"pattern": "", "definition": {"max-length": "many"}}))]}),
            "policy 'p' in vhost 'new': Validation failed",
        ),
        (
            json!({"global_parameters": [{"name": "cluster_name", "value": 7}]}),
            "global parameter 'cluster_name': ",
        ),
        (json!({"users": [{"name": long, "password": "x"}]}), "user 'nnn"),
    ] {
        let mut definitions = json!({"vhosts": [{"name": "new"}, {"name": "other"}]});
        definitions.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = import(&world, "/api/definitions", &definitions).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        let found = answer.json["reason"].as_str().unwrap();
        assert!(found.starts_with(reason), "{found}");
        assert_eq!(world.get("/api/definitions").await, before, "{wrong}");
    }
}

/// RabbitMQ exports those that are durable, and imports them.
#[tokio::test]
async fn queues_whose_names_another_broker_made_up_are_imported() {
    let world = World::new().await;
    let queue = |name: &str| json!({"queues": [{"name": name, "vhost": "/", "durable": true}]});
    let generated = queue("amq.gen-made-up-elsewhere");
    assert_eq!(import(&world, "/api/definitions", &generated).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/queues/%2F/amq.gen-made-up-elsewhere").await["durable"], true);
    for reserved in ["amq.other", "amq.rabbitmq.reply-to"] {
        let refused = import(&world, "/api/definitions", &queue(reserved)).await;
        let reason = refused.json["reason"].as_str().unwrap();
        assert!(reason.contains("contains reserved prefix 'amq.*'"), "{reason}");
    }
}

#[tokio::test]
async fn definitions_are_taken_from_the_file_of_a_form() {
    let world = World::new().await;
    let send = async |body: &str, path: &str| {
        let request = request(Method::POST, path, body).extension(Peer::Local);
        let request = request.header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
        world.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d\"\r\n\r\n\
        {\"queues\": [{\"name\": \"of-a-form\", \"vhost\": \"/\"}]}\r\n--b--\r\n";
    assert_eq!(send(form, "/api/definitions").await.status, StatusCode::NO_CONTENT);
    assert_eq!(send(form, "/api/definitions/%2F").await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/queues/%2F/of-a-form").await["durable"], true);
    let refused = send("--b\r\n\r\n\r\n--b--", "/api/definitions").await;
    assert_eq!(refused.json["reason"], "the form has no part called file");
}

#[tokio::test]
async fn what_was_exported_makes_the_same_broker_once_more() {
    let (one, other) = (World::new().await, World::new().await);
    let theirs: Value = serde_json::from_str(RABBITMQ).unwrap();
    import(&one, "/api/definitions", &theirs).await;
    let vhost = json!({"description": "d", "tags": ["t"], "default_queue_type": "quorum"});
    one.put("/api/vhosts/q", vhost).await;
    let exported = one.get("/api/definitions").await;
    assert_eq!(import(&other, "/api/definitions", &exported).await.status, StatusCode::NO_CONTENT);
    assert_eq!(other.get("/api/definitions").await, exported);
    // And twice is as good as once.
    assert_eq!(import(&other, "/api/definitions", &exported).await.status, StatusCode::NO_CONTENT);
    assert_eq!(other.get("/api/definitions").await, exported);
}

#[tokio::test]
async fn the_definitions_of_one_vhost_can_be_read_into_another() {
    let world = World::new().await;
    let theirs: Value = serde_json::from_str(RABBITMQ).unwrap();
    import(&world, "/api/definitions", &theirs).await;
    let of_one = world.get("/api/definitions/%2F").await;
    assert!(of_one["queues"].as_array().unwrap().iter().all(|queue| queue.get("vhost").is_none()));
    assert!(of_one.get("users").is_none());
    world.put("/api/vhosts/copy", Value::Null).await;
    assert_eq!(import(&world, "/api/definitions/copy", &of_one).await.status, StatusCode::NO_CONTENT);
    let copy = world.get("/api/definitions/copy").await;
    for list in ["queues", "exchanges", "bindings"] {
        assert_eq!(sorted(&copy, list), sorted(&of_one, list), "{list}");
    }
    assert_eq!(copy["policies"][0]["vhost"], "copy");
    assert_eq!(import(&world, "/api/definitions/nope", &of_one).await.status, StatusCode::NOT_FOUND);
    let nope = world.call(Method::GET, "/api/definitions/nope", Value::Null).await;
    assert_eq!(
        (nope.status, nope.json["reason"].as_str()),
        (StatusCode::BAD_REQUEST, Some("vhost_not_found"))
    );
}

#[tokio::test]
async fn thousands_of_queues_are_imported() {
    let world = World::new().await;
    let queue = |at: usize| {
        json!({"name": format!("q{at}"), "vhost": "/", "durable": true, "auto_delete": false,
            "arguments": {"x-max-length": at}})
    };
    let binding = |at: usize| {
        json!({"source": "amq.topic", "vhost": "/", "destination": format!("q{at}"), "destination_type": "queue",
            "routing_key": format!("k.{at}"), "arguments": {}})
    };
    let queues: Vec<Value> = (0..1000).map(queue).collect();
    let bindings: Vec<Value> = (0..1000).map(binding).collect();
    let definitions = json!({"queues": queues, "bindings": bindings});
    assert_eq!(import(&world, "/api/definitions", &definitions).await.status, StatusCode::NO_CONTENT);
    let ours = world.get("/api/definitions").await;
    assert_eq!(sorted(&ours, "queues"), sorted(&definitions, "queues"));
    assert_eq!(sorted(&ours, "bindings"), sorted(&definitions, "bindings"));
}

#[tokio::test]
async fn what_is_malformed_changes_nothing_and_says_where() {
    let world = World::new().await;
    let before = world.get("/api/definitions").await;
    let good = json!({"name": "good", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}});
    for (wrong, reason) in [
        (json!({"queues": [good, {"name": "x"}]}), "queues[1]: [{key_missing,vhost}]"),
        (json!({"queues": [good, 7]}), "queues[1] has to be an object"),
        (json!({"queues": 7}), "queues has to be an array"),
        (json!({"queues": [good], "bindings": [{"vhost": "/"}]}), "bindings[0]: [{key_missing,source}]"),
        (json!({"queues": [good], "users": [{"name": "u", "password_hash": "x"}]}), "users[0]: "),
    ] {
        let answer = import(&world, "/api/definitions", &wrong).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        let found = answer.json["reason"].as_str().unwrap();
        assert!(found.starts_with(reason), "{found}");
        assert_eq!(world.get("/api/definitions").await, before);
    }
    let request = request(Method::POST, "/api/definitions", "[]").extension(Peer::Local);
    let answer = world.send(request.body(Body::from("[]")).unwrap()).await;
    assert_eq!(answer.json["reason"], "failed_to_parse_json");
}

#[tokio::test]
async fn definitions_are_for_administrators_only() {
    let world = World::new().await;
    for (method, path) in [
        (Method::GET, "/api/definitions"),
        (Method::POST, "/api/definitions"),
        (Method::GET, "/api/definitions/%2F"),
        (Method::POST, "/api/definitions/%2F"),
    ] {
        assert!(world.let_in(method.clone(), path, json!({})).await.is_empty(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_vhost_that_is_there_takes_what_definitions_say_of_it_and_keeps_the_rest() {
    let world = World::new().await;
    world.put("/api/vhosts/v", json!({"description": "old", "default_queue_type": "quorum"})).await;
    let definitions = json!({"vhosts": [{"name": "v", "metadata": {"description": "new", "tags": ["a"]}}]});
    let answer = world.call(Method::POST, "/api/definitions", definitions).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json);
    let vhost = world.get("/api/vhosts/v?columns=description,tags,default_queue_type").await;
    assert_eq!(vhost, json!({"description": "new", "tags": ["a"], "default_queue_type": "quorum"}));
}
