//! Every route, tried by every kind of user against a real process. Who is to be let in is said in the API's own description
//! (`x-access`), so a new route is tried without a line here.
//!
//! With `RABBITMQ_API=127.0.0.1:15672` and `AMQP_URL` the same is tried against RabbitMQ's management plugin.

use std::env;
use std::fs;

use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use warren_tests::{Broker, eventually};

use crate::client::{Answer, Client, quoted};

/// A kind of user: `name:password`, its tag, and whether it has permissions in `/`.
type Kind = (Option<&'static str>, &'static str, bool);

const KINDS: &[Kind] = &[
    (None, "", false),
    (Some("stranger:x"), "", false),
    (Some("d-management:wrong"), "", false),
    (Some("d-untagged:x"), "", true),
    (Some("d-impersonator:x"), "impersonator", true),
    (Some("d-management:x"), "management", true),
    (Some("d-elsewhere:x"), "management", false),
    (Some("d-policymaker:x"), "policymaker", true),
    (Some("d-monitoring:x"), "monitoring", false),
    (Some("d-administrator:x"), "administrator", true),
    (Some("d-distant:x"), "administrator", false),
];

/// The user of the connection that is looked at and closed.
const OWNER: &str = "d-policymaker";

/// Whether a route with this `x-access` lets in this kind of user.
fn is_let_in(access: &str, (credentials, tag, in_vhost): Kind) -> bool {
    let owns = credentials.is_some_and(|credentials| credentials.starts_with(OWNER));
    let any = matches!(tag, "management" | "policymaker" | "monitoring" | "administrator");
    let monitors = matches!(tag, "monitoring" | "administrator");
    let administers = tag == "administrator";
    match access {
        "anyone" => true,
        "any tag" => any,
        "monitoring" => monitors,
        "administrator" => administers,
        "policymaker" => administers || tag == "policymaker",
        "sees the vhost" => monitors || (any && in_vhost),
        "permissions in the vhost" => any && in_vhost,
        "policymaker with permissions in the vhost, or administrator" => {
            administers || (tag == "policymaker" && in_vhost)
        }
        "its user or monitoring" => owns || monitors,
        "its user or administrator" => owns || administers,
        other => panic!("x-access {other:?} is not known here"),
    }
}

/// What an operation acts on. Made again after each that works.
fn things() -> Value {
    let policy = json!({"vhost": "/", "name": "d-p", "pattern": "^none$", "definition": {"max-length": 10}});
    let grant = json!({"user": "alex", "vhost": "/", "configure": "", "write": "", "read": ""});
    let topic = json!({"user": "alex", "vhost": "/", "exchange": "amq.topic", "write": "a", "read": "b"});
    json!({
        "vhosts": [{"name": "d-doomed"}],
        "users": [{"name": "alex", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}],
        "permissions": [grant],
        "topic_permissions": [topic],
        "policies": [policy],
        "global_parameters": [{"name": "d-g", "value": 1}],
        "queues": [{"name": "d-q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}],
        "exchanges": [{"name": "d-e", "vhost": "/", "type": "direct", "durable": true, "auto_delete": false,
            "internal": false, "arguments": {}}],
        "bindings": [{"source": "d-e", "vhost": "/", "destination": "d-q", "destination_type": "queue",
            "routing_key": "key", "arguments": {}}],
    })
}

/// One operation of the description.
struct Operation {
    method: String,
    path: String,
    access: String,
    body: Option<Value>,
    successes: Vec<u16>,
}

struct World {
    api: Client,
    amqp: String,
    node: String,
    runtime: Runtime,
    is_rabbitmq: bool,
}

impl World {
    fn new(api: Client, amqp: &str, is_rabbitmq: bool) -> Self {
        let node = api.get("/api/nodes")[0]["name"].as_str().expect("a name").to_owned();
        let runtime = Runtime::new().expect("a runtime");
        let world = Self { api, amqp: amqp.to_owned(), node, runtime, is_rabbitmq };
        for (credentials, tag, in_vhost) in KINDS {
            let Some((name, "x")) = credentials.and_then(|credentials| credentials.split_once(':')) else {
                continue;
            };
            if name == "stranger" {
                continue;
            }
            world.put(&format!("/api/users/{name}"), &json!({"password": "x", "tags": tag}));
            if *in_vhost {
                let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
                world.put(&format!("/api/permissions/%2F/{name}"), &all);
            }
        }
        world.restore();
        world
    }

    fn put(&self, path: &str, body: &Value) {
        let answer = self.api.call("PUT", path, Some(body));
        assert!(matches!(answer.status, 201 | 204), "{path}: {answer:?}");
    }

    /// Makes what the last operation may have deleted.
    fn restore(&self) {
        let answer = self.api.call("POST", "/api/definitions", Some(&things()));
        assert_eq!(answer.status, 204, "{answer:?}");
        let operator = json!({"pattern": "^none$", "definition": {"max-length": 10}});
        self.put("/api/operator-policies/%2F/d-p", &operator);
        let message =
            json!({"routing_key": "d-q", "payload": "x", "payload_encoding": "string", "properties": {}});
        let answer = self.api.call("POST", "/api/exchanges/%2F/amq.default/publish", Some(&message));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All that a refused operation must not change.
    fn state(&self) -> Value {
        let mut state = self.api.get("/api/definitions");
        if !self.is_rabbitmq {
            state["messages"] = self.api.get("/api/queues/%2F/d-q")["messages"].clone();
        }
        state
    }

    /// A connection whose name the API knows.
    fn connect(&self) -> (Connection, Channel, String) {
        let url = self.amqp.replace("guest:guest", &format!("{OWNER}:x"));
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        let connection = self.runtime.block_on(connecting).expect("the owner may connect");
        let channel = self.runtime.block_on(connection.create_channel()).expect("a channel opens");
        let name = eventually("the connection is listed with its channel", || {
            let listed = self.api.get("/api/channels");
            let theirs = listed.as_array()?.iter().find(|channel| channel["user"] == OWNER)?;
            theirs["connection_details"]["name"].as_str().map(str::to_owned)
        });
        (connection, channel, name)
    }

    /// Names in the place of parameters.
    fn path(&self, operation: &Operation, connection: &str) -> String {
        let resource = operation.path.split('/').nth(2).expect("below /api");
        let of_vhost = operation.access.contains("vhost");
        let name = match resource {
            "queues" => "d-q",
            "exchanges" => "d-e",
            "policies" | "operator-policies" | "parameters" => "d-p",
            "global-parameters" => "d-g",
            "users" => "alex",
            "vhosts" if of_vhost => "%2F",
            "vhosts" => "d-doomed",
            "user-limits" => "max-channels",
            "vhost-limits" => "max-queues",
            "nodes" => &self.node,
            "connections" => &quoted(connection),
            "channels" => &quoted(&format!("{connection} (1)")),
            _ => "?",
        };
        let path = operation.path.replace("{name}", name).replace("{vhost}", "%2F");
        let user = if resource == "connections" { OWNER } else { "alex" };
        let path = path.replace("{user}", user).replace("{exchange}", "amq.topic");
        let path = path.replace("{source}", "d-e").replace("{kind}", "q").replace("{destination}", "d-q");
        let path = path.replace("{within}", "1").replace("{unit}", "weeks");
        let path = path.replace("{component}", "operator_policy");
        let path = path.replace("{key}", "key").replace("{node}", &self.node);
        path.replace("{port}", &self.api.port().to_string()).replace("{protocol}", "amqp")
    }

    fn try_as(&self, kind: Kind, operation: &Operation) -> Answer {
        let needs_connection = ["/api/connections/{", "/api/channels/{"];
        let connection =
            needs_connection.iter().any(|start| operation.path.starts_with(start)).then(|| self.connect());
        let name = connection.as_ref().map_or("", |(_, _, name)| name);
        let caller = self.api.as_user(kind.0);
        let answer = caller.call(&operation.method, &self.path(operation, name), operation.body.as_ref());
        if let Some((connection, _channel, name)) = connection {
            // It may have been closed, as it should.
            let _ = self.runtime.block_on(connection.close(200, "bye".into()));
            eventually("the connection is gone", || {
                let listed = self.api.get("/api/connections");
                listed.as_array()?.iter().all(|connection| connection["name"] != name.as_str()).then_some(())
            });
        }
        answer
    }

    /// Tries an operation as everybody; what went otherwise than it should.
    fn try_as_all(&self, operation: &Operation) -> Vec<String> {
        let before = self.state();
        let mut wrong = Vec::new();
        let mut complain = |kind: Kind, text: String| {
            wrong.push(format!("{} {} as {kind:?}: {text}", operation.method, operation.path));
        };
        // A password costs time to check, so who has none that is right is tried in one way for each operation.
        let other_login = if operation.method == "GET" { "d-management:wrong" } else { "stranger:x" };
        let kinds = KINDS.iter().filter(|kind| kind.0 != Some(other_login));
        let is_local = operation.access == "local socket";
        let (let_in, refused): (Vec<Kind>, Vec<Kind>) =
            kinds.partition(|kind| !is_local && is_let_in(&operation.access, **kind));
        for kind in refused {
            let answer = self.try_as(kind, operation);
            let expected = if is_local && is_let_in("any tag", kind) { 404 } else { 401 };
            if answer.status != expected {
                complain(kind, format!("{} instead of {expected}: {}", answer.status, answer.body));
            }
        }
        if self.state() != before {
            complain((None, "", false), "somebody refused changed something".to_owned());
        }
        for kind in let_in {
            let answer = self.try_as(kind, operation);
            if !operation.successes.contains(&answer.status) {
                complain(
                    kind,
                    format!("{} instead of {:?}: {}", answer.status, operation.successes, answer.body),
                );
            }
            if operation.method != "GET" {
                self.restore();
            }
        }
        wrong
    }
}

/// All operations, those that connect and delete last.
fn operations(description: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, row) in methods.as_object().expect("methods") {
            let schema = &row["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let schema =
                schema.as_str().and_then(|reference| description.pointer(reference.trim_start_matches('#')));
            let statuses = row["responses"].as_object().expect("responses").keys();
            if path == "/api/events" {
                // It has no end; `events` tries it.
                continue;
            }
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                access: row["x-access"].as_str().expect("every operation has x-access").to_owned(),
                body: schema.map(|schema| schema["examples"][0].clone()),
                successes: statuses
                    .filter_map(|status| status.parse().ok())
                    .filter(|status| *status < 300)
                    .collect(),
            });
        }
    }
    operations
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else_changes_anything() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("warren.toml");
    fs::write(&config, "[auth]\nfailure_delay = \"0s\"\nfailures_per_minute_max = 100000\n").unwrap();
    let mut broker = Broker::warren(&["--config", config.to_str().unwrap()]);
    let api = Client::new(&mut broker);
    let operations = operations(&api.get("/api/openapi.json"));
    assert!(operations.len() > 100, "{}", operations.len());
    let world = match env::var("RABBITMQ_API") {
        Ok(address) => {
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let amqp = env::var("AMQP_URL").expect("AMQP_URL, beside RABBITMQ_API");
            World::new(api.at(port.expect("RABBITMQ_API is host:port")), &amqp, true)
        }
        Err(_) => World::new(api, broker.url(), false),
    };
    let wrong: Vec<String> = operations.iter().flat_map(|operation| world.try_as_all(operation)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
