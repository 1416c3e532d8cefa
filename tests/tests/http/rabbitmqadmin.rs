//! The `rabbitmqadmin` of RabbitMQ's own package, a Python script that nobody here wrote. Passed over where there is none.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use warren_tests::{Broker, Program};

use crate::client::Client;

/// Where Debian's rabbitmq-server puts it; `RABBITMQADMIN` names another.
const PLACE: &str = "/usr/bin/rabbitmqadmin";

struct Script {
    path: PathBuf,
    port: u16,
}

impl Script {
    fn new(api: &Client) -> Option<Self> {
        let path = std::env::var_os("RABBITMQADMIN").map_or(PathBuf::from(PLACE), PathBuf::from);
        if !path.exists() {
            eprintln!("passed over: there is no {}", path.display());
            return None;
        }
        Some(Self { path, port: api.port() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.arg(&self.path).args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(arguments);
        command
    }

    /// What it prints.
    fn run(&self, arguments: &[&str]) -> String {
        Program::start("rabbitmqadmin", &mut self.command(arguments)).succeed().join("\n")
    }

    /// What it prints as JSON.
    fn list(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[&["--format", "raw_json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let name = |item: &Value| item[field].as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(name).collect()
}

#[test]
fn rabbitmqadmin_declares_publishes_gets_and_deletes() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let Some(script) = Script::new(&api) else { return };
    script.run(&["declare", "exchange", "name=e", "type=topic"]);
    script.run(&["declare", "queue", "name=q", "durable=true", "arguments={\"x-max-length\": 5}"]);
    script.run(&["declare", "binding", "source=e", "destination=q", "routing_key=a.#"]);
    assert_eq!(
        script.run(&["publish", "exchange=e", "routing_key=a.b", "payload=hello"]),
        "Message published"
    );
    assert!(script.run(&["publish", "exchange=e", "routing_key=x", "payload=hello"]).contains("NOT routed"));
    let got = script.list(&["get", "queue=q", "ackmode=ack_requeue_true"]);
    assert_eq!((&got[0]["payload"], &got[0]["routing_key"]), (&json!("hello"), &json!("a.b")));
    script.run(&["publish", "exchange=amq.default", "routing_key=q", "payload=two"]);
    script.run(&["get", "queue=q", "count=5"]);

    assert_eq!(names(&script.list(&["list", "queues"]), "name"), ["q"]);
    assert_eq!(script.list(&["list", "queues", "name", "messages"])[0]["messages"], 2);
    assert!(names(&script.list(&["list", "exchanges"]), "name").contains(&"e".to_owned()));
    assert_eq!(script.list(&["list", "bindings"]).as_array().unwrap().len(), 2);
    for what in ["connections", "channels", "consumers", "nodes", "users"] {
        script.list(&["list", what]);
    }
    // As tables, with the columns that it chooses.
    for what in ["queues", "exchanges", "bindings", "nodes"] {
        script.run(&["list", what]);
    }
    script.list(&["show", "overview"]);

    script.run(&["purge", "queue", "name=q"]);
    assert_eq!(api.get("/api/queues/%2F/q")["messages"], 0);
    script.run(&[
        "delete",
        "binding",
        "source=e",
        "destination_type=queue",
        "destination=q",
        "properties_key=a.%23",
    ]);
    script.run(&["delete", "queue", "name=q"]);
    script.run(&["delete", "exchange", "name=e"]);
    assert_eq!(api.get("/api/queues"), json!([]));
    let failed = Program::start("rabbitmqadmin", &mut script.command(&["delete", "queue", "name=q"])).fail();
    assert!(failed.iter().any(|line| line.contains("Not found")), "{failed:?}");
}
