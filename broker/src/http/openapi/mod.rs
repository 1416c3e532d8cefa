//! The description of this API in OpenAPI 3.1: `/api/openapi.json`.
//!
//! `operations` has a row for each method of each path, `schemas.json` the shapes of what is sent and answered. What is common to all,
//! parameters of lists, refusals, is added here. A test compares the rows with the router in both ways.

mod operation;
mod operations;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::LazyLock;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::Api;
use super::caller::Caller;
use operation::{Access, Operation, Success};

/// Shapes by name, with an example for each that is sent.
const SCHEMAS: &str = include_str!("schemas.json");

/// Written once: it does not change while the broker runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/openapi.json", get(answer))
}

async fn answer(_: Caller) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let path = paths.entry(format!("/api{}", operation.path)).or_insert_with(|| json!({}));
        path[operation.verb.name()] = described(operation);
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Warren HTTP API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Paths and JSON are those of RabbitMQ's management plugin.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "paths": paths,
        "security": [{"basic": []}, {"bearer": []}],
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "parameters": parameters(),
            "responses": refusals(),
            "schemas": schemas,
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": id(operation),
        "summary": operation.summary,
        "tags": [operation.path.split('/').nth(1)],
        "x-access": operation.access.name(),
        "responses": responses(operation),
    });
    let lists: &[&str] = match operation.success {
        Success::List(_) => &["sort", "sort_reverse", "columns"],
        Success::Pages(_) => &["sort", "sort_reverse", "columns", "page", "page_size", "name", "use_regex"],
        _ => &[],
    };
    // The answers to a POST are not sorted.
    let lists = if operation.verb == operation::Verb::Get { lists } else { &[] };
    let mut parameters: Vec<Value> = operation.path_parameters().map(path_parameter).collect();
    parameters.extend(lists.iter().chain(operation.parameters).map(|name| reference("parameters", name)));
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if operation.access == Access::Anyone {
        described["security"] = json!([]);
    }
    if let Some(schema) = operation.body {
        described["requestBody"] = json!({"content": content(&reference("schemas", schema))});
    }
    described
}

/// `get_queues_vhost_name`.
fn id(operation: &Operation) -> String {
    let words = operation.path.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(operation.verb.name()).chain(words).collect::<Vec<_>>().join("_")
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn path_parameter(name: &str) -> Value {
    let schema = match name {
        "kind" => json!({"enum": ["q", "e"]}),
        "port" => json!({"type": "integer", "minimum": 0, "maximum": 65535}),
        _ => json!({"type": "string", "minLength": 1}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

/// Parameters that several operations have.
fn parameters() -> Value {
    let query = |name: &str, description: &str, schema: Value| {
        (name.to_owned(), json!({"name": name, "in": "query", "description": description, "schema": schema}))
    };
    let text = || json!({"type": "string"});
    let flag = || json!({"enum": ["true", "false"]});
    let mut all: Map<String, Value> = [
        query("sort", "the column to sort by", text()),
        query("sort_reverse", "the other way round", flag()),
        query("columns", "only these, with commas between them", text()),
        query("page", "only this page, from 1 on", json!({"type": "integer", "minimum": 1})),
        query("page_size", "entries of a page", json!({"type": "integer", "minimum": 1, "maximum": 500})),
        query("name", "with a page: only names that have this in them", text()),
        query("use_regex", "the name is a regular expression", flag()),
        query("download", "what a browser calls the file", text()),
        query("if-unused", "not if it is used", flag()),
        query("if-empty", "not if there are messages in it", flag()),
        query("from", "how many messages to pass over", json!({"type": "integer", "minimum": 0})),
        query("after", "begin behind this one: the next of an answer, or the id of a message", text()),
        query("count", "at most so many", json!({"type": "integer", "minimum": 1, "maximum": 1000})),
        query("min_age", "only outstanding for so many seconds", json!({"type": "integer", "minimum": 0})),
        query("header", "only with this header: NAME or NAME=VALUE; can be repeated", text()),
        query("text", "only with this in the body", text()),
        query("exchange", "only published to this exchange", text()),
        query("routing_key", "only with this routing key", text()),
        query("message_id", "only with this message_id", text()),
        query("max_body_bytes", "bytes of each body to show", json!({"type": "integer", "minimum": 0})),
        query("type", "only these types, with commas between them; queue.* for all that begin so", text()),
        query("encoding", "of bodies", json!({"enum": ["auto", "base64"]})),
    ]
    .into_iter()
    .collect();
    for kind in ["msg_rates", "lengths", "data_rates"] {
        for (end, description) in [("age", "samples of so many seconds"), ("incr", "seconds between samples")]
        {
            all.extend([query(
                &format!("{kind}_{end}"),
                description,
                json!({"type": "integer", "minimum": 0}),
            )]);
        }
    }
    let reason = json!({"name": "X-Reason", "in": "header", "description": "what the client is told",
        "schema": text()});
    all.insert("X-Reason".to_owned(), reason);
    all.into()
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    let mut add =
        |status: StatusCode, response: Value| responses.insert(status.as_str().to_owned(), response);
    let ok = |schema: Value| json!({"description": "what was asked for", "content": content(&schema)});
    let empty = |description: &str| json!({"description": description});
    match operation.success {
        Success::One(schema) => add(StatusCode::OK, ok(reference("schemas", schema))),
        Success::List(schema) => add(StatusCode::OK, ok(list(schema))),
        Success::Pages(schema) => {
            let page = json!({"allOf": [reference("schemas", "Page"),
                {"properties": {"items": list(schema)}}]});
            add(StatusCode::OK, ok(json!({"oneOf": [list(schema), page]})))
        }
        Success::Put => {
            add(StatusCode::CREATED, empty("there was none"));
            add(StatusCode::NO_CONTENT, empty("there was one"))
        }
        Success::Created => {
            let location = json!({"Location": {"description": "where it is", "schema": {"type": "string"}}});
            add(StatusCode::CREATED, json!({"description": "it is there", "headers": location}))
        }
        Success::Stream => {
            let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
            add(StatusCode::OK, json!({"description": "events without end", "content": content}))
        }
        Success::Done => add(StatusCode::NO_CONTENT, empty("done")),
    };
    for status in operation.refused() {
        add(status, reference("responses", status.as_str()));
    }
    responses.into()
}

fn list(schema: &str) -> Value {
    json!({"type": "array", "items": reference("schemas", schema)})
}

/// What is answered when something does not work, by status.
fn refusals() -> Value {
    let refusal = |status: StatusCode, description: &str, schema: &str| {
        let content = content(&reference("schemas", schema));
        (status.as_str().to_owned(), json!({"description": description, "content": content}))
    };
    let mut all: Map<String, Value> = [
        refusal(StatusCode::BAD_REQUEST, "the request is wrong", "Error"),
        refusal(StatusCode::FORBIDDEN, "from a web page of another origin, or nobody may", "Error"),
        refusal(StatusCode::NOT_FOUND, "there is no such thing", "Error"),
        refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time", "Error"),
        refusal(StatusCode::PRECONDITION_FAILED, "something is in the way", "Error"),
        refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long", "Error"),
        refusal(StatusCode::SERVICE_UNAVAILABLE, "it is not well", "Health"),
    ]
    .into_iter()
    .collect();
    // Who sends no password gets no body.
    let unauthorized = json!({"description": "who asks is not known, or may not"});
    all.insert(StatusCode::UNAUTHORIZED.as_str().to_owned(), unauthorized);
    all.into()
}
