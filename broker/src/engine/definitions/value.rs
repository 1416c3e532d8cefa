//! The values of definitions: JSON that an operator can read, with the version of its form.
//!
//! A field table is a text with one character for each byte that the table has on the wire, U+0000 to U+00FF: every type
//! that a client can send comes back as it was, and what is text in it stays legible. `AMQPValue::ShortString`, which no
//! client can send, would not. Called by [`super`] only.

use std::borrow::Cow;

use amq_protocol::types::FieldTable;
use serde::{Deserialize, Serialize};

use super::{BindingDefinition, BoundTo, Definition, QueueNotes};
use crate::engine::QueueId;
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::engine::queue::{QueueDeclare, QueueOptions};
use crate::engine::topology::{BindingView, Destination};
use crate::wire::table::{decode_table, encode_table};

/// Changes when a value means something that a reader of the version before would miss.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    stored: Stored<'a>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// What is durable and shared by nature: only such things are kept.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Stored<'a> {
    Exchange {
        vhost: Cow<'a, str>,
        name: Cow<'a, str>,
        r#type: Cow<'a, str>,
        auto_delete: bool,
        internal: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        arguments: String,
    },
    Queue {
        id: u64,
        vhost: Cow<'a, str>,
        name: Cow<'a, str>,
        auto_delete: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        arguments: String,
        #[serde(default, skip_serializing_if = "is_false")]
        has_expirations: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        paused: bool,
    },
    Policy(StoredPolicy<'a>),
    OperatorPolicy(StoredPolicy<'a>),
    Binding {
        vhost: Cow<'a, str>,
        source: Cow<'a, str>,
        destination: StoredDestination<'a>,
        routing_key: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        arguments: String,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredPolicy<'a> {
    vhost: Cow<'a, str>,
    name: Cow<'a, str>,
    pattern: String,
    apply_to: String,
    priority: i64,
    definition: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredDestination<'a> {
    Queue(Cow<'a, str>),
    Exchange(Cow<'a, str>),
}

pub(super) fn policy(policy: &Policy) -> Vec<u8> {
    let PolicyDeclare { pattern, apply_to, priority, definition } = policy.to_declare();
    let (vhost, name) = (policy.vhost().into(), policy.name().into());
    let stored = StoredPolicy { vhost, name, pattern, apply_to, priority, definition };
    encode(match policy.kind() {
        PolicyKind::User => Stored::Policy(stored),
        PolicyKind::Operator => Stored::OperatorPolicy(stored),
    })
}

pub(super) fn exchange(vhost: &str, options: &ExchangeOptions) -> Vec<u8> {
    encode(Stored::Exchange {
        vhost: vhost.into(),
        name: options.name.as_str().into(),
        r#type: options.kind.name().into(),
        auto_delete: options.auto_delete,
        internal: options.internal,
        arguments: table_text(&options.arguments),
    })
}

pub(super) fn queue(id: QueueId, options: &QueueOptions, notes: QueueNotes) -> Vec<u8> {
    let QueueNotes { has_expirations, paused } = notes;
    encode(Stored::Queue {
        id: id.0,
        vhost: (&*options.vhost).into(),
        name: options.name.as_str().into(),
        auto_delete: options.auto_delete,
        arguments: table_text(&options.arguments),
        has_expirations,
        paused,
    })
}

pub(super) fn binding(vhost: &str, binding: &BindingView<'_>) -> Vec<u8> {
    encode(Stored::Binding {
        vhost: vhost.into(),
        source: binding.source.into(),
        destination: match binding.destination {
            Destination::Queue(name) => StoredDestination::Queue(name.into()),
            Destination::Exchange(name) => StoredDestination::Exchange(name.into()),
        },
        routing_key: binding.routing_key.into(),
        arguments: table_text(binding.arguments),
    })
}

/// Reads a value. Options are parsed from their arguments as in a declaration, so that there is one reading of each.
pub(super) fn decode(value: &[u8]) -> Result<Definition, String> {
    let VersionOnly { version } = json(value)?;
    if version != VERSION {
        return Err(format!("version {version} of its form is not known here, only {VERSION}"));
    }
    match json(value)? {
        Stored::Policy(stored) => decode_policy(PolicyKind::User, stored),
        Stored::OperatorPolicy(stored) => decode_policy(PolicyKind::Operator, stored),
        Stored::Exchange { vhost, name, r#type, auto_delete, internal, arguments } => {
            let arguments = table_from(&arguments)?;
            let options = ExchangeOptions::from_declare(
                &vhost,
                &name,
                &r#type,
                true,
                auto_delete,
                internal,
                &arguments,
            )
            .map_err(|error| error.to_string())?;
            Ok(Definition::Exchange { vhost: vhost.into_owned(), options })
        }
        Stored::Queue { id, vhost, name, auto_delete, arguments, has_expirations, paused } => {
            let declare = QueueDeclare {
                name: name.into_owned(),
                durable: true,
                exclusive: false,
                auto_delete,
                arguments: table_from(&arguments)?,
            };
            let options =
                QueueOptions::from_declare(vhost.into_owned(), declare).map_err(|error| error.to_string())?;
            Ok(Definition::Queue { id: QueueId(id), options, notes: QueueNotes { has_expirations, paused } })
        }
        Stored::Binding { vhost, source, destination, routing_key, arguments } => {
            Ok(Definition::Binding(BindingDefinition {
                vhost: vhost.into_owned(),
                source: source.into_owned(),
                destination: match destination {
                    StoredDestination::Queue(name) => BoundTo::Queue(name.into_owned()),
                    StoredDestination::Exchange(name) => BoundTo::Exchange(name.into_owned()),
                },
                routing_key: routing_key.into_owned(),
                arguments: table_from(&arguments)?,
            }))
        }
    }
}

/// Checked as when it was set: what a policy says is read without checks afterwards.
fn decode_policy(kind: PolicyKind, stored: StoredPolicy<'_>) -> Result<Definition, String> {
    let StoredPolicy { vhost, name, pattern, apply_to, priority, definition } = stored;
    let declare = PolicyDeclare { pattern, apply_to, priority, definition };
    let policy = Policy::from_declare(kind, vhost, name, declare);
    policy.map(Definition::Policy).map_err(|error| error.problems.join("; "))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_false(value: &bool) -> bool {
    !value
}

fn encode(stored: Stored<'_>) -> Vec<u8> {
    let versioned = Versioned { version: VERSION, stored };
    serde_json::to_vec(&versioned).expect("texts, numbers and truth values are always JSON")
}

fn json<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

fn table_text(table: &FieldTable) -> String {
    if table.inner().is_empty() {
        return String::new();
    }
    encode_table(table).into_iter().map(char::from).collect()
}

fn table_from(text: &str) -> Result<FieldTable, String> {
    if text.is_empty() {
        return Ok(FieldTable::default());
    }
    let bytes: Vec<u8> = text
        .chars()
        .map(u8::try_from)
        .collect::<Result<_, _>>()
        .map_err(|_| "its arguments contain a character that is no byte".to_owned())?;
    decode_table(&bytes).map_err(|error| format!("its arguments are no field table: {error}"))
}
