//! The description against the router, and against itself.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Method, Request, header};

use super::*;
use crate::http::caller::Peer;
use crate::http::router;
use crate::http::tests::World;

/// The methods of each path that is described.
fn rows() -> BTreeMap<String, BTreeSet<String>> {
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations::all() {
        let methods = rows.entry(format!("/api{}", operation.path)).or_default();
        let is_new = methods.insert(operation.verb.name().to_uppercase());
        assert!(is_new, "{} {} has two rows", operation.verb.name(), operation.path);
    }
    rows
}

/// What a router answers to a method that no route has.
async fn allowed(router: &Router, path: &str) -> BTreeSet<String> {
    let request = Request::builder().method(Method::TRACE).uri(path.replace(['{', '}'], ""));
    let request = request.extension(Peer::Local).body(Body::empty()).unwrap();
    let response = router::answer(router.clone(), request).await.unwrap();
    let allow = response.headers().get(header::ALLOW);
    let allow = allow.map(|allow| allow.to_str().unwrap().to_owned()).unwrap_or_default();
    allow.split(',').filter(|method| !matches!(*method, "" | "HEAD")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else_is() {
    let world = World::new().await;
    let router = world.router();
    // A router tells its paths to those who debug it only.
    let text = format!("{router:?}");
    let quoted = text.split('"').filter(|text| text.starts_with("/api/"));
    let paths: BTreeSet<String> = quoted.map(str::to_owned).collect();
    let rows = rows();
    let described: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(paths, described, "left: the router; right: http/openapi/operations.rs");
    for (path, methods) in rows {
        assert_eq!(allowed(router, &path).await, methods, "{path}; left: the router; right: operations.rs");
    }
}

/// All texts behind `$ref`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for kind in ["schemas", "parameters", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "nothing uses {kind} {name}");
        }
    }
}

#[test]
fn what_is_sent_has_an_example() {
    let document = document();
    for schema in operations::all().filter_map(|operation| operation.body) {
        let examples = &document["components"]["schemas"][schema]["examples"];
        assert!(examples[0].is_object(), "{schema} needs an example in schemas.json");
    }
}

#[test]
fn nothing_is_required_that_columns_can_leave_out() {
    let document = document();
    for operation in operations::all().filter(|operation| operation.verb == operation::Verb::Get) {
        let schema = match operation.success {
            Success::List(schema) | Success::Pages(schema) => schema,
            Success::One(schema) if operation.parameters.contains(&"columns") => schema,
            _ => continue,
        };
        let required = &document["components"]["schemas"][schema]["required"];
        assert!(required.is_null(), "{} requires {required}", operation.path);
    }
}

#[tokio::test]
async fn it_is_served_to_who_may_use_the_api() {
    let world = World::new().await;
    assert_eq!(world.get("/api/openapi.json").await, document());
    let let_in = world.let_in(Method::GET, "/api/openapi.json", Value::Null).await;
    assert_eq!(let_in, ["monitoring", "policymaker", "management"]);
}
