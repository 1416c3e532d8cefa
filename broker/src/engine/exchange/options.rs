//! [`ExchangeOptions`]: what an exchange was declared as, parsed once where the request comes in.

use std::fmt;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::HashOn;
use crate::error::AmqpError;

/// The argument that names the exchange for messages that match no binding.
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// The argument that says how many messages a recent history exchange keeps.
const HISTORY_LENGTH: &str = "x-recent-history-length";

/// What it keeps without that argument.
const HISTORY_LENGTH_DEFAULT: u32 = 20;

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
    /// By a hash of the routing key, a header or a property, in proportion to weights.
    ConsistentHash,
    /// One at random.
    Random,
    /// One at random; RabbitMQ prefers queues on the node of the publisher, and here is only one node.
    LocalRandom,
    /// By the hash of the routing key, modulo the number of bindings.
    ModulusHash,
    /// Every binding; and new ones get the last messages.
    RecentHistory,
}

impl ExchangeKind {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::Random,
        Self::LocalRandom,
        Self::ModulusHash,
        Self::RecentHistory,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::ModulusHash => "x-modulus-hash",
            Self::RecentHistory => "x-recent-history",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
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
    /// What of a message a consistent hash exchange hashes.
    pub hash_on: HashOn,
    /// How many messages a recent history exchange keeps; 0 for exchanges of other types.
    pub history_messages_max: u32,
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
        let hash_on = match kind {
            ExchangeKind::ConsistentHash => HashOn::parse(arguments)?,
            _ => HashOn::default(),
        };
        let history_messages_max = match kind {
            ExchangeKind::RecentHistory => history_length(arguments)?,
            _ => 0,
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
            durable,
            auto_delete,
            internal,
            alternate_exchange,
            hash_on,
            history_messages_max,
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
            hash_on: HashOn::default(),
            history_messages_max: 0,
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

/// Reads `x-recent-history-length`, of whatever integer type. A number beyond 32 bits is as good as that: memory ends before.
fn history_length(arguments: &FieldTable) -> Result<u32, AmqpError> {
    let Some(value) = arguments.inner().get(HISTORY_LENGTH) else { return Ok(HISTORY_LENGTH_DEFAULT) };
    let length = match *value {
        AMQPValue::ShortShortInt(length) => i64::from(length),
        AMQPValue::ShortShortUInt(length) => i64::from(length),
        AMQPValue::ShortInt(length) => i64::from(length),
        AMQPValue::ShortUInt(length) => i64::from(length),
        AMQPValue::LongInt(length) => i64::from(length),
        AMQPValue::LongUInt(length) => i64::from(length),
        AMQPValue::LongLongInt(length) => length,
        _ => 0,
    };
    if length > 0 {
        return Ok(u32::try_from(length).unwrap_or(u32::MAX));
    }
    let (_, value) = value_text(value);
    Err(AmqpError::precondition_failed(format!(
        "Invalid argument {value}, '{HISTORY_LENGTH}' must be a positive integer"
    )))
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
        AMQPValue::ShortString(value) => ("longstr", erlang_binary(value.as_str())),
        AMQPValue::LongString(value) => ("longstr", erlang_binary(&value.to_string())),
        AMQPValue::ByteArray(value) => ("binary", format!("{:?}", value.as_slice())),
        AMQPValue::FieldArray(value) => ("array", format!("{:?}", value.as_slice())),
        AMQPValue::FieldTable(value) => ("table", format!("{:?}", value.inner())),
        AMQPValue::Void => ("void", "undefined".to_owned()),
    }
}

/// A text as Erlang prints a binary.
pub(super) fn erlang_binary(text: &str) -> String {
    if text.is_empty() { "<<>>".to_owned() } else { format!("<<\"{text}\">>") }
}
