//! [`ExchangeOptions`]: what an exchange was declared as, parsed once where the request comes in.

use std::fmt;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::error::AmqpError;

/// The argument that names the exchange for messages that match no binding.
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// Key equals key.
    Direct,
    /// Every binding.
    Fanout,
    /// Patterns with `*` and `#`.
    Topic,
    /// The header table.
    Headers,
}

impl ExchangeKind {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers].into_iter().find(|kind| kind.name() == name)
    }
}

/// An exchange as declared.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeOptions {
    /// Its name in its vhost.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// Whether it refuses publishes by clients.
    pub internal: bool,
    /// Where messages go that reach no queue.
    pub alternate_exchange: Option<String>,
    /// The arguments as received, for listings.
    pub arguments: FieldTable,
}

impl ExchangeOptions {
    /// Reads `exchange.declare`. The vhost is only named in errors.
    pub fn from_declare(
        vhost: &str,
        name: &str,
        kind: &str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: &FieldTable,
    ) -> Result<Self, AmqpError> {
        // RabbitMQ 4 closes the channel with 406 here; RabbitMQ 3 closed the connection with 503.
        let kind = ExchangeKind::from_name(kind)
            .ok_or_else(|| AmqpError::precondition_failed(format!("unknown exchange type '{kind}'")))?;
        let alternate_exchange = match arguments.inner().get(ALTERNATE_EXCHANGE) {
            None => None,
            Some(AMQPValue::LongString(alternate)) => {
                Some(String::from_utf8_lossy(alternate.as_bytes()).into_owned())
            }
            Some(other) => {
                let (kind, _) = value_text(other);
                return Err(AmqpError::precondition_failed(format!(
                    "invalid type '{kind}' for arg '{ALTERNATE_EXCHANGE}' in exchange '{name}' in vhost '{vhost}'"
                )));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
            durable,
            auto_delete,
            internal,
            alternate_exchange,
            arguments: arguments.clone(),
        })
    }

    /// One of the exchanges that every vhost has from the start.
    pub(crate) fn predeclared(name: &str, kind: ExchangeKind, internal: bool) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            durable: true,
            auto_delete: false,
            internal,
            alternate_exchange: None,
            arguments: FieldTable::default(),
        }
    }

    /// Whether `requested` may stand for this exchange. Of the arguments only the alternate exchange counts, as in
    /// RabbitMQ.
    pub(crate) fn check_equivalent(&self, requested: &Self, vhost: &str) -> Result<(), AmqpError> {
        let fail = |key: &str, received: &dyn fmt::Display, current: &dyn fmt::Display| {
            Err(AmqpError::precondition_failed(format!(
                "inequivalent arg '{key}' for exchange '{}' in vhost '{vhost}': received {received} but current is {current}",
                self.name
            )))
        };
        if self.kind != requested.kind {
            return fail("type", &Quoted(requested.kind.name()), &Quoted(self.kind.name()));
        }
        for (key, received, current) in [
            ("durable", requested.durable, self.durable),
            ("auto_delete", requested.auto_delete, self.auto_delete),
            ("internal", requested.internal, self.internal),
        ] {
            if received != current {
                return fail(key, &Quoted(received), &Quoted(current));
            }
        }
        match (&requested.alternate_exchange, &self.alternate_exchange) {
            (received, current) if received == current => Ok(()),
            // Values of one type are printed bare, a value against none with its type.
            (Some(received), Some(current)) => fail(ALTERNATE_EXCHANGE, &Quoted(received), &Quoted(current)),
            (received, current) => {
                fail(ALTERNATE_EXCHANGE, &Optional(received.as_deref()), &Optional(current.as_deref()))
            }
        }
    }
}

struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0)
    }
}

struct Optional<'a>(Option<&'a str>);

impl fmt::Display for Optional<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "the value '{value}' of type 'longstr'"),
            None => f.write_str("none"),
        }
    }
}

/// A value's type and content as RabbitMQ prints them in errors. Clients rarely send anything but numbers and strings
/// here, so that compound values appear by Rust's rules, not Erlang's.
pub(super) fn value_text(value: &AMQPValue) -> (&'static str, String) {
    match value {
        AMQPValue::Boolean(value) => ("bool", value.to_string()),
        AMQPValue::ShortShortInt(value) => ("byte", value.to_string()),
        AMQPValue::ShortShortUInt(value) => ("unsignedbyte", value.to_string()),
        AMQPValue::ShortInt(value) => ("short", value.to_string()),
        AMQPValue::ShortUInt(value) => ("unsignedshort", value.to_string()),
        AMQPValue::LongInt(value) => ("signedint", value.to_string()),
        AMQPValue::LongUInt(value) => ("unsignedint", value.to_string()),
        AMQPValue::LongLongInt(value) => ("long", value.to_string()),
        AMQPValue::Float(value) => ("float", value.to_string()),
        AMQPValue::Double(value) => ("double", value.to_string()),
        AMQPValue::Timestamp(value) => ("timestamp", value.to_string()),
        AMQPValue::DecimalValue(value) => ("decimal", format!("{{{},{}}}", value.scale, value.value)),
        AMQPValue::ShortString(value) => ("longstr", format!("<<\"{value}\">>")),
        AMQPValue::LongString(value) => ("longstr", format!("<<\"{value}\">>")),
        AMQPValue::ByteArray(value) => ("binary", format!("{:?}", value.as_slice())),
        AMQPValue::FieldArray(value) => ("array", format!("{:?}", value.as_slice())),
        AMQPValue::FieldTable(value) => ("table", format!("{:?}", value.inner())),
        AMQPValue::Void => ("void", "undefined".to_owned()),
    }
}
