//! Definitions: all that is defined in a broker, or in one virtual host, as one JSON object in RabbitMQ's form.
//!
//! `import` reads one, whoever wrote it; this file writes them. Messages are no part of them.

mod import;
mod references;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::routes::{parameters, permissions, policies, users, vhosts};
use super::table;
use crate::access::VHostSettings;
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::PolicyKind;
use crate::engine::queue::QueueOptions;
use crate::server::admin::{Admin, DefinedBinding, EndKind, VHostDefinitions};

pub(super) use import::import;

/// All definitions of the broker, with the hashes of passwords.
pub(super) fn export(admin: &Admin) -> Value {
    let mut all = product();
    let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    let known = admin.vhosts();
    for (name, _) in &known {
        // One that was deleted meanwhile has nothing any more.
        let VHostDefinitions { exchanges: e, queues: q, bindings: b } =
            admin.definitions(name).unwrap_or_default();
        exchanges.extend(e.iter().map(|options| in_vhost(name, exchange_json(options))));
        queues.extend(q.iter().map(|options| in_vhost(name, queue_json(options))));
        bindings.extend(b.iter().map(|binding| in_vhost(name, binding_json(binding))));
    }
    let grants = admin.grants();
    let globals = admin.global_parameters().iter().map(parameters::global_json_of).collect();
    let lists = [
        ("users", admin.users().iter().map(|user| users::json_of(user)).collect()),
        ("vhosts", known.iter().map(|(name, settings)| vhost_json(name, settings)).collect()),
        ("permissions", grants.iter().filter_map(permissions::json_of).collect()),
        ("topic_permissions", grants.iter().flat_map(permissions::topics_json_of).collect()),
        ("parameters", parameters(admin, |_| true)),
        ("global_parameters", globals),
        ("policies", policies_of(admin, |_| true)),
        ("queues", queues),
        ("exchanges", exchanges),
        ("bindings", bindings),
    ];
    all.extend(lists.map(|(name, list): (_, Vec<Value>)| (name.to_owned(), list.into())));
    Value::Object(all)
}

/// The definitions of one virtual host, without its name, so that they can be read into another; `None` if there is none of this name.
pub(super) fn export_vhost(admin: &Admin, vhost: &str) -> Option<Value> {
    let VHostDefinitions { exchanges, queues, bindings } = admin.definitions(vhost)?;
    let mut all = product();
    let lists: [(_, Vec<Value>); 5] = [
        ("parameters", parameters(admin, |name| name == vhost)),
        ("policies", policies_of(admin, |name| name == vhost)),
        ("queues", queues.iter().map(queue_json).collect()),
        ("exchanges", exchanges.iter().map(exchange_json).collect()),
        ("bindings", bindings.iter().map(binding_json).collect()),
    ];
    all.extend(lists.map(|(name, list)| (name.to_owned(), list.into())));
    Some(Value::Object(all))
}

fn product() -> Map<String, Value> {
    let version = env!("CARGO_PKG_VERSION");
    let fields = [
        ("rabbit_version", version),
        ("rabbitmq_version", version),
        ("product_name", "Warren"),
        ("product_version", version),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn in_vhost(vhost: &str, mut object: Value) -> Value {
    object["vhost"] = vhost.into();
    object
}

fn vhost_json(name: &str, settings: &VHostSettings) -> Value {
    let mut vhost = vhosts::metadata_of(settings);
    vhost.insert("metadata".to_owned(), Value::Object(vhost.clone()));
    vhost.insert("name".to_owned(), name.into());
    Value::Object(vhost)
}

fn parameters(admin: &Admin, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    parameters::all(admin, wanted).iter().map(parameters::json_of).collect()
}

fn policies_of(admin: &Admin, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let policies = admin.policies(PolicyKind::User);
    policies.iter().filter(|policy| wanted(policy.vhost())).map(|policy| policies::json_of(policy)).collect()
}

fn queue_json(options: &QueueOptions) -> Value {
    json!({
        "name": options.name,
        "durable": options.durable,
        "auto_delete": options.auto_delete,
        "arguments": table::to_json(&options.arguments),
    })
}

fn exchange_json(options: &ExchangeOptions) -> Value {
    json!({
        "name": options.name,
        "type": options.kind.name(),
        "durable": options.durable,
        "auto_delete": options.auto_delete,
        "internal": options.internal,
        "arguments": table::to_json(&options.arguments),
    })
}

fn binding_json(binding: &DefinedBinding) -> Value {
    let kind = match binding.kind {
        EndKind::Queue => "queue",
        EndKind::Exchange => "exchange",
    };
    json!({
        "source": binding.source,
        "destination": binding.destination,
        "destination_type": kind,
        "routing_key": binding.routing_key,
        "arguments": table::to_json(&binding.arguments),
    })
}

/// Reads the definitions in a file into a broker that has just started. What is there already stays.
///
/// # Errors
///
/// What is wrong with the file.
pub(crate) fn load_file(admin: &Admin, path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let Value::Object(fields) = value else { return Err("it is no JSON object".to_owned()) };
    import(admin, None, fields).map_err(|error| error.to_string())
}
