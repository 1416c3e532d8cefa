//! The columns of each list: `rabbitmqctl`'s names, and where the API has what belongs there.
//!
//! Columns of `rabbitmqctl` that stand for something Warren has not (processes, mirrors) show what comes nearest, or nothing.

use serde_json::Value;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    from: From,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy)]
enum From {
    /// The field of the same name.
    Same,
    /// A field, or one within it.
    At(&'static str, Option<&'static str>),
    /// Always this.
    Text(&'static str),
}

impl Column {
    /// The column's value in what the API says of one thing.
    pub(super) fn of(&self, entry: &Value) -> Value {
        match self.from {
            From::Same => entry[self.name].clone(),
            From::At(field, None) => entry[field].clone(),
            From::At(field, Some(inner)) => entry[field][inner].clone(),
            From::Text(text) => Value::String(text.to_owned()),
        }
    }

    /// The field that the API has to send for it, if any.
    pub(super) fn field(&self) -> Option<&'static str> {
        match self.from {
            From::Same => Some(self.name),
            From::At(field, _) => Some(field),
            From::Text(_) => None,
        }
    }
}

const fn same(name: &'static str) -> Column {
    Column { name, from: From::Same }
}

const fn at(name: &'static str, field: &'static str) -> Column {
    Column { name, from: From::At(field, None) }
}

const fn within(name: &'static str, field: &'static str, inner: &'static str) -> Column {
    Column { name, from: From::At(field, Some(inner)) }
}

const fn text(name: &'static str, text: &'static str) -> Column {
    Column { name, from: From::Text(text) }
}

pub(super) const QUEUES: &[Column] = &[
    same("name"),
    same("messages"),
    same("arguments"),
    same("auto_delete"),
    same("consumer_capacity"),
    same("consumer_utilisation"),
    same("consumers"),
    same("disk_reads"),
    same("disk_writes"),
    same("durable"),
    same("effective_policy_definition"),
    same("exclusive"),
    within("exclusive_consumer_pid", "owner_pid_details", "name"),
    same("exclusive_consumer_tag"),
    same("head_message_timestamp"),
    at("leader", "node"),
    at("members", "node"),
    same("memory"),
    same("message_bytes"),
    same("message_bytes_persistent"),
    same("message_bytes_ram"),
    same("message_bytes_ready"),
    same("message_bytes_unacknowledged"),
    same("messages_persistent"),
    same("messages_ram"),
    same("messages_ready"),
    same("messages_ready_ram"),
    same("messages_unacknowledged"),
    same("messages_unacknowledged_ram"),
    at("online", "node"),
    same("operator_policy"),
    within("owner_pid", "owner_pid_details", "name"),
    same("paused"),
    at("pid", "node"),
    same("policy"),
    text("slave_pids", ""),
    same("state"),
    text("synchronised_slave_pids", ""),
    same("type"),
    same("vhost"),
];

pub(super) const EXCHANGES: &[Column] = &[
    same("name"),
    same("type"),
    same("arguments"),
    same("auto_delete"),
    same("durable"),
    same("internal"),
    same("policy"),
    same("vhost"),
];

pub(super) const BINDINGS: &[Column] = &[
    at("source_name", "source"),
    text("source_kind", "exchange"),
    at("destination_name", "destination"),
    at("destination_kind", "destination_type"),
    same("routing_key"),
    same("arguments"),
    same("vhost"),
];

pub(super) const CONNECTIONS: &[Column] = &[
    same("user"),
    same("peer_host"),
    same("peer_port"),
    same("state"),
    same("auth_mechanism"),
    same("channel_max"),
    same("channels"),
    same("client_properties"),
    same("connected_at"),
    same("frame_max"),
    same("host"),
    same("name"),
    same("peer_cert_issuer"),
    same("peer_cert_subject"),
    same("peer_cert_validity"),
    at("pid", "name"),
    same("port"),
    same("protocol"),
    same("recv_cnt"),
    same("recv_oct"),
    same("send_cnt"),
    same("send_oct"),
    same("send_pend"),
    same("ssl"),
    same("ssl_cipher"),
    same("ssl_hash"),
    same("ssl_key_exchange"),
    same("ssl_protocol"),
    same("timeout"),
    same("vhost"),
];

pub(super) const CHANNELS: &[Column] = &[
    at("pid", "name"),
    same("user"),
    same("consumer_count"),
    same("messages_unacknowledged"),
    same("acks_uncommitted"),
    same("confirm"),
    within("connection", "connection_details", "name"),
    same("global_prefetch_count"),
    same("messages_uncommitted"),
    same("messages_unconfirmed"),
    same("name"),
    same("number"),
    same("prefetch_count"),
    same("transactional"),
    same("vhost"),
];

pub(super) const CONSUMERS: &[Column] = &[
    within("queue_name", "queue", "name"),
    within("channel_pid", "channel_details", "name"),
    same("consumer_tag"),
    same("ack_required"),
    same("prefetch_count"),
    same("active"),
    same("arguments"),
    same("activity_status"),
    same("exclusive"),
];

pub(super) const VHOSTS: &[Column] = &[
    same("name"),
    same("cluster_state"),
    same("default_queue_type"),
    same("description"),
    same("metadata"),
    same("tags"),
    same("tracing"),
];
