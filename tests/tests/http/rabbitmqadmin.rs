//! `rabbitmqadmin`, the Python script that comes with RabbitMQ and that nobody here wrote: the one of this machine's package if there is
//! one, and the one that a package of PyPI carries.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use warren_tests::{Broker, Program, python};

use crate::client::Client;

/// Where Debian's rabbitmq-server puts it; `RABBITMQADMIN` names another.
const PLACE: &str = "/usr/bin/rabbitmqadmin";

/// Prints where PyPI's package has it.
const ON_PYPI: &str =
    "import rabbitmqadmin; print(rabbitmqadmin.__path__[0] + '/upstream/rabbitmqadmin_original.py')";

struct Script {
    path: PathBuf,
    port: u16,
}

impl Script {
    /// All that are here; at least one.
    fn all(api: &Client) -> Vec<Self> {
        let packaged = std::env::var_os("RABBITMQADMIN").map_or(PathBuf::from(PLACE), PathBuf::from);
        let on_pypi = Program::start("python", Command::new(python()).args(["-c", ON_PYPI])).succeed();
        let paths = [packaged, PathBuf::from(on_pypi.concat())];
        paths.into_iter().filter(|path| path.exists()).map(|path| Self { path, port: api.port() }).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(python());
        command.arg(&self.path).args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(arguments).env_remove("HOME");
        command
    }

    /// What it prints.
    fn run(&self, arguments: &[&str]) -> String {
        Program::start("rabbitmqadmin", &mut self.command(arguments)).succeed().join("\n")
    }

    /// The same of words that have no spaces in them.
    fn words(&self, line: &str) -> String {
        self.run(&line.split(' ').collect::<Vec<_>>())
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
    for script in Script::all(&api) {
        declare_publish_get_and_delete(&script, &api);
    }
}

fn declare_publish_get_and_delete(script: &Script, api: &Client) {
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
    assert_eq!(script.list(&["list", "bindings"]).as_array().expect("a list").len(), 2);
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

#[test]
fn rabbitmqadmin_manages_access_policies_and_definitions() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let folder = TempDir::new().unwrap();
    for script in Script::all(&api) {
        manage_access_policies_and_definitions(&script, &api, folder.path());
    }
}

fn manage_access_policies_and_definitions(script: &Script, api: &Client, folder: &Path) {
    script.words("declare vhost name=shop tracing=true");
    script.words("declare user name=alex password=123 tags=administrator,monitoring");
    script.words("declare permission vhost=shop user=alex configure=.* write=.* read=.*");
    script.words("declare vhost_limit vhost=shop name=max-queues value=100");
    script.words("-V shop declare queue name=q durable=true queue_type=quorum");
    script.words("-V shop declare exchange name=e type=fanout");
    script.words("-V shop declare binding source=e destination=q routing_key=a.#");
    let policy = "name=p pattern=^q definition={\"max-length\":5} priority=3 apply-to=queues";
    script.words(&format!("-V shop declare policy {policy}"));
    script.words(&format!("-V shop declare operator_policy {policy}"));
    let queues = script.list(&["-V", "shop", "list", "queues", "name", "policy", "type"]);
    assert_eq!(queues, json!([{"name": "q", "policy": "p", "type": "quorum"}]));
    assert_eq!(
        script.list(&["list", "vhost_limits"]),
        json!([{"vhost": "shop", "value": {"max-queues": 100}}])
    );
    let as_alex = script.list(&["-u", "alex", "-p", "123", "-S", "name", "list", "users", "name", "tags"]);
    assert_eq!(as_alex[0], json!({"name": "alex", "tags": ["administrator", "monitoring"]}));
    let lists = ["queues", "policies", "operator_policies", "permissions", "vhosts", "bindings"];
    for (format, what) in ["table", "tsv", "long", "kvp", "bash", "pretty_json"].into_iter().zip(lists) {
        script.words(&format!("--format {format} list {what}"));
    }
    let payload = folder.join("payload");
    script.words("-V shop publish exchange=e routing_key=a payload=hello properties={\"delivery_mode\":2}");
    script.words(&format!("-V shop get queue=q payload_file={}", payload.display()));
    assert_eq!(std::fs::read_to_string(payload).expect("it was written"), "hello");

    let (all, shop) = (folder.join("all.json"), folder.join("shop.json"));
    script.words(&format!("export {}", all.display()));
    script.words(&format!("-V shop export {}", shop.display()));
    let before = api.get("/api/definitions");
    script.words("delete vhost name=shop");
    script.words("delete user name=alex");
    script.words(&format!("import {}", all.display()));
    assert_eq!(api.get("/api/definitions"), before);
    script.words(&format!("-V shop import {}", shop.display()));
    assert_eq!(api.get("/api/definitions"), before);

    script.words("-V shop delete policy name=p");
    script.words("-V shop delete operator_policy name=p");
    script.words("delete vhost_limit vhost=shop name=max-queues");
    script.words("delete permission vhost=shop user=alex");
    script.words("delete user name=alex");
    script.words("delete vhost name=shop");
}
