//! [`Peer`]: who is at the other end and what was agreed with it.
//!
//! Filled by the handshake, read by the connection and, for logs and listings, by the server. Keeps little of what the
//! client says about itself, and that cut short: a stranger chooses it.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::limits::{CLIENT_PROPERTY_BYTES_MAX, FRAME_BEFORE_TUNE_BYTES_MAX};

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// What the client says about itself.
    pub client: ClientProperties,
    /// The user that its certificate names, if it has shown one.
    pub certificate_user: Option<String>,
    /// The user, once it has given a name.
    pub username: String,
    /// The vhost, once it is open.
    pub vhost: String,
    /// The negotiated number of channels; 0 is no limit.
    pub channel_max: u16,
    /// What a frame may measure now; 0 is no limit.
    pub frame_max: u32,
    /// The negotiated heartbeat interval in seconds; 0 is none.
    pub heartbeat_s: u16,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            client: ClientProperties::default(),
            certificate_user: None,
            username: String::new(),
            vhost: String::new(),
            channel_max: 0,
            frame_max: FRAME_BEFORE_TUNE_BYTES_MAX,
            heartbeat_s: 0,
        }
    }
}

/// The client properties that the broker or its operator has a use for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientProperties {
    /// `connection_name`: what the program calls this connection.
    pub connection_name: Option<Box<str>>,
    /// `product`: the client library.
    pub product: Option<Box<str>>,
    /// `version`: of the library.
    pub version: Option<Box<str>>,
    /// `platform`: language and runtime.
    pub platform: Option<Box<str>>,
    /// `capabilities`.
    pub capabilities: ClientCapabilities,
}

/// What the client can take beyond the plain specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    /// A `connection.close` when its credentials are wrong.
    pub authentication_failure_close: bool,
    /// A `basic.cancel` when a consumer's queue goes.
    pub consumer_cancel_notify: bool,
    /// `connection.blocked` and `connection.unblocked`.
    pub connection_blocked: bool,
}

impl ClientProperties {
    /// Picks them from the table of `connection.start-ok`.
    #[must_use]
    pub fn from_table(table: &FieldTable) -> Self {
        let text = |key: &str| match table.inner().get(key) {
            Some(AMQPValue::LongString(value)) => Some(cut(value.as_bytes())),
            _ => None,
        };
        let capabilities = match table.inner().get("capabilities") {
            Some(AMQPValue::FieldTable(capabilities)) => ClientCapabilities::from_table(capabilities),
            _ => ClientCapabilities::default(),
        };
        Self {
            connection_name: text("connection_name"),
            product: text("product"),
            version: text("version"),
            platform: text("platform"),
            capabilities,
        }
    }
}

impl ClientCapabilities {
    fn from_table(table: &FieldTable) -> Self {
        let has = |key: &str| matches!(table.inner().get(key), Some(AMQPValue::Boolean(true)));
        Self {
            authentication_failure_close: has("authentication_failure_close"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
        }
    }
}

fn cut(bytes: &[u8]) -> Box<str> {
    let bytes = &bytes[..bytes.len().min(CLIENT_PROPERTY_BYTES_MAX)];
    String::from_utf8_lossy(bytes).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_kept_short_and_odd_ones_passed_over() {
        let mut capabilities = FieldTable::default();
        capabilities.insert("connection.blocked".into(), AMQPValue::Boolean(true));
        capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(false));
        let mut table = FieldTable::default();
        table.insert("product".into(), AMQPValue::LongString("x".repeat(10_000).into()));
        table.insert("version".into(), AMQPValue::LongInt(3));
        table.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let client = ClientProperties::from_table(&table);
        assert_eq!(client.product.unwrap().len(), CLIENT_PROPERTY_BYTES_MAX);
        assert_eq!(client.version, None);
        assert!(client.capabilities.connection_blocked);
        assert!(!client.capabilities.consumer_cancel_notify);
    }
}
