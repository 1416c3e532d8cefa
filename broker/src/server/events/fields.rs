//! The headers of events, under the names that RabbitMQ gives them. Arguments are tables here; RabbitMQ writes Erlang terms.

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::engine::ConnectionId;
use crate::engine::definitions::{BindingDefinition, BoundTo};
use crate::engine::policy::Policy;
use crate::engine::topology::News;
use crate::server::events::INTERNAL_USER;
use crate::session::action::ChannelId;

/// Makes headers of names and values.
pub(in crate::server) fn fields<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    add(&mut table, fields);
    table
}

/// Adds names and values to headers.
pub(in crate::server) fn add<const N: usize>(table: &mut FieldTable, fields: [(&str, AMQPValue); N]) {
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
}

pub(in crate::server) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(in crate::server) fn number(value: impl Into<i64>) -> AMQPValue {
    AMQPValue::LongLongInt(value.into())
}

pub(in crate::server) fn flag(value: bool) -> AMQPValue {
    AMQPValue::Boolean(value)
}

pub(in crate::server) fn table(value: &FieldTable) -> AMQPValue {
    AMQPValue::FieldTable(value.clone())
}

/// What stands where RabbitMQ has the Erlang process of a connection: a name that tells it from all others.
pub(in crate::server) fn connection_pid(connection: ConnectionId) -> AMQPValue {
    text(&format!("<warren.{}.0>", connection.0))
}

/// The same for a channel.
pub(in crate::server) fn channel_pid(connection: ConnectionId, channel: ChannelId) -> AMQPValue {
    text(&format!("<warren.{}.{}>", connection.0, channel.0))
}

/// The routing key and headers of what happened to a vhost's topology.
pub(in crate::server) fn of_news(vhost: &str, by: &str, news: &News) -> (&'static str, FieldTable) {
    let named = |name: &str| {
        fields([("name", text(name)), ("vhost", text(vhost)), ("user_who_performed_action", text(by))])
    };
    match news {
        News::ExchangeCreated(options) => {
            let mut headers = named(&options.name);
            add(
                &mut headers,
                [
                    ("type", text(options.kind.name())),
                    ("durable", flag(options.durable)),
                    ("auto_delete", flag(options.auto_delete)),
                    ("internal", flag(options.internal)),
                    ("arguments", table(&options.arguments)),
                ],
            );
            ("exchange.created", headers)
        }
        News::ExchangeDeleted(options) => ("exchange.deleted", named(&options.name)),
        News::QueueCreated { options, owner } => {
            let mut headers = named(&options.name);
            add(
                &mut headers,
                [
                    ("durable", flag(options.durable)),
                    ("auto_delete", flag(options.auto_delete)),
                    ("exclusive", flag(options.exclusive)),
                    ("owner_pid", owner.map_or_else(|| text(""), connection_pid)),
                    ("arguments", table(&options.arguments)),
                ],
            );
            ("queue.created", headers)
        }
        News::QueueDeleted(options) => ("queue.deleted", named(&options.name)),
        News::BindingCreated(binding) => ("binding.created", of_binding(by, binding)),
        News::BindingDeleted(binding) => ("binding.deleted", of_binding(by, binding)),
    }
}

/// The headers of a policy that was set.
pub(in crate::server) fn of_policy(policy: &Policy) -> FieldTable {
    let mut headers = of_no_policy(policy.vhost(), policy.name());
    let declared = policy.to_declare();
    add(
        &mut headers,
        [
            ("pattern", text(&declared.pattern)),
            ("apply-to", text(&declared.apply_to)),
            ("priority", number(declared.priority)),
            ("definition", of_json(&declared.definition)),
        ],
    );
    headers
}

/// The headers of a policy that is gone.
pub(in crate::server) fn of_no_policy(vhost: &str, name: &str) -> FieldTable {
    let by = ("user_who_performed_action", text(INTERNAL_USER));
    fields([("name", text(name)), ("vhost", text(vhost)), by])
}

/// A definition: an object of texts, numbers and booleans. Whatever else it holds is shown as JSON.
fn of_json(value: &Value) -> AMQPValue {
    match value {
        Value::Object(entries) => {
            let mut table = FieldTable::default();
            for (name, value) in entries {
                table.insert(name.as_str().into(), of_json(value));
            }
            AMQPValue::FieldTable(table)
        }
        Value::String(value) => text(value),
        Value::Bool(value) => flag(*value),
        other => other.as_i64().map_or_else(|| text(&other.to_string()), number),
    }
}

fn of_binding(by: &str, binding: &BindingDefinition) -> FieldTable {
    let (kind, destination) = match &binding.destination {
        BoundTo::Queue(name) => ("queue", name),
        BoundTo::Exchange(name) => ("exchange", name),
    };
    fields([
        ("vhost", text(&binding.vhost)),
        ("source_kind", text("exchange")),
        ("source_name", text(&binding.source)),
        ("destination_kind", text(kind)),
        ("destination_name", text(destination)),
        ("routing_key", text(&binding.routing_key)),
        ("arguments", table(&binding.arguments)),
        ("user_who_performed_action", text(by)),
    ])
}
