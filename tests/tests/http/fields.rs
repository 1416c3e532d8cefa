//! Every field that RabbitMQ 3.10.8 answers is answered with the same type, or stands in the table of docs/http.md.
//!
//! `rabbitmq-3.10.8-fields.json` holds names and types of what it answered of a connection with a consumer on a durable queue bound
//! to a topic exchange.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use warren_tests::{Broker, workspace};

use crate::client::{Client, quoted};
use crate::resources::consume_with_five_unacked;

const FIELDS: &str = include_str!("rabbitmq-3.10.8-fields.json");

/// What the table lists, by resource.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(workspace().join("docs/http.md")).expect("docs/http.md is there");
    let (_, table) = text.split_once("## Fields that are missing").expect("the section is there");
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = row.trim_matches('|').split('|');
        let (resource, names) = (cells.next().unwrap_or_default().trim(), cells.next().unwrap_or_default());
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned);
        documented.entry(resource.to_owned()).or_default().extend(names);
    }
    documented
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The paths of what is in `theirs` and missing in `ours`, and those of another type.
fn missing(theirs: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    let Value::Object(fields) = theirs else { return };
    for (name, value) in fields {
        let path = format!("{path}{name}");
        let Some(own) = ours.get(name) else {
            found.push(path);
            continue;
        };
        match (value, own) {
            (Value::Object(_), Value::Object(_)) => missing(value, own, &format!("{path}."), found),
            (Value::Array(value), Value::Array(own)) => {
                if let (Some(value), Some(own)) = (value.first(), own.first()) {
                    missing(value, own, &format!("{path}."), found);
                }
            }
            // What RabbitMQ or Warren does not know at the moment.
            (_, Value::Null) => {}
            (Value::String(kind_of_theirs), own)
                if matches!(kind_of_theirs.as_str(), "null") || kind_of_theirs == kind(own) => {}
            (value, own) => found.push(format!("{path} is {own} instead of {value}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rabbitmq_tells_is_told_too_or_said_to_be_missing() {
    let mut broker = Broker::warren(&[]);
    let api = Client::new(&mut broker);
    let (_connection, _channel, _consumer) = consume_with_five_unacked(&broker).await;
    let connection = api.get("/api/connections")[0]["name"].as_str().expect("a name").to_owned();
    let ours = |resource: &str| match resource {
        "overview" => api.get("/api/overview"),
        "node" => api.get("/api/nodes")[0].clone(),
        "connection" => api.get(&format!("/api/connections/{}", quoted(&connection))),
        "channel" => api.get(&format!("/api/channels/{}", quoted(&format!("{connection} (1)")))),
        "consumer" => api.get("/api/consumers")[0].clone(),
        "queue" => api.get("/api/queues/%2F/q"),
        "exchange" => api.get("/api/exchanges/%2F/amq.default"),
        "vhost" => api.get("/api/vhosts/%2F"),
        other => panic!("{other} is not known here"),
    };
    let theirs: BTreeMap<String, Value> = serde_json::from_str(FIELDS).expect("JSON");
    let documented = documented();
    let everywhere = documented.get("all").cloned().unwrap_or_default();
    let mut wrong = Vec::new();
    for (resource, fields) in &theirs {
        let mut found = Vec::new();
        missing(fields, &ours(resource), "", &mut found);
        let listed = documented.get(resource).cloned().unwrap_or_default();
        wrong.extend(
            found
                .iter()
                .filter(|path| !listed.contains(*path) && !everywhere.contains(*path))
                .map(|path| format!("{resource}: {path} is missing")),
        );
        let there = listed.iter().filter(|path| !found.contains(path));
        wrong.extend(
            there.map(|path| format!("{resource}: {path} is there, and docs/http.md says it is not")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
