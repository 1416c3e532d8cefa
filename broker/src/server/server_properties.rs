//! What `connection.start` says of the broker.

use amq_protocol::types::{AMQPValue, FieldTable};

/// RabbitMQ's nine capabilities. Clients refuse features, or to work at all, when one is missing: aiormq and amqprs
/// read the table without asking whether it is there, pika refuses confirms without `publisher_confirms`.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The server-properties table. All texts are long strings: amqprs takes no others.
pub(super) fn table(product: &str, cluster_name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in CAPABILITIES {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut table = FieldTable::default();
    table.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, text) in [
        ("cluster_name", cluster_name),
        ("copyright", "The Warren authors"),
        ("information", "Licensed under MIT or Apache-2.0"),
        ("platform", concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"))),
        ("product", product),
        // Digits and dots: PerfTest and kombu take the version apart.
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        table.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_true_and_the_names_clients_read_are_long_strings() {
        let table = table("Warren", "warren");
        let Some(AMQPValue::FieldTable(capabilities)) = table.inner().get("capabilities") else {
            panic!("capabilities are a table")
        };
        assert_eq!(capabilities.inner().len(), 9);
        assert!(capabilities.inner().values().all(|value| *value == AMQPValue::Boolean(true)));
        for name in ["product", "version", "cluster_name"] {
            assert!(matches!(table.inner().get(name), Some(AMQPValue::LongString(_))), "{name}");
        }
    }
}
