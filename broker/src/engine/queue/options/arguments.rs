//! The rules for `queue.declare` arguments, as one table.
//!
//! Types, ranges and texts are RabbitMQ's (`rabbit_amqqueue:declare_args/0`, the queue types' capabilities and
//! `rabbit_misc:assert_args_equivalence/4`). Arguments outside of the table are kept and ignored, as there.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::QueueKind;
use crate::error::AmqpError;

/// Ten years: the longest time to live, in milliseconds.
const EXPIRY_MS_MAX: i64 = 10 * 365 * 24 * 3600 * 1000;

/// The longest short string, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// RabbitMQ's bound of `x-max-priority`.
const PRIORITY_MAX: i64 = 255;

/// What is demanded of an argument's value.
enum Check {
    Bool,
    /// Text that fits a short string, as names and routing keys have to.
    Name,
    Integer,
    NonNegative,
    Positive,
    /// Milliseconds; whether zero is allowed differs.
    Expiry {
        zero_allowed: bool,
    },
    MaxPriority,
    QueueVersion,
    QueueMode,
    /// One of a few words, else this reason.
    OneOf(&'static [&'static str], &'static str),
    /// Text, and only beside a dead letter exchange.
    DeadLetterRoutingKey,
    /// Anything: RabbitMQ does not look at it either.
    Any,
}

/// Which kinds of queue know an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Everywhere,
    Classic,
    Quorum,
    /// Streams, which this broker does not have.
    Nowhere,
}

/// Whether an accepted argument keeps its promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It does, or promises nothing that a client could observe.
    Kept,
    /// It has no effect yet.
    NotYet,
}

struct Rule {
    name: &'static str,
    known: Known,
    check: Check,
    promise: Promise,
}

const fn rule(name: &'static str, known: Known, check: Check, promise: Promise) -> Rule {
    Rule { name, known, check, promise }
}

/// In the order in which RabbitMQ checks and compares them.
static RULES: &[Rule] = &[
    rule("x-expires", Known::Everywhere, Check::Expiry { zero_allowed: false }, Promise::Kept),
    rule("x-message-ttl", Known::Everywhere, Check::Expiry { zero_allowed: true }, Promise::Kept),
    rule(DEAD_LETTER_EXCHANGE, Known::Everywhere, Check::Name, Promise::Kept),
    rule("x-dead-letter-routing-key", Known::Everywhere, Check::DeadLetterRoutingKey, Promise::Kept),
    rule(
        "x-dead-letter-strategy",
        Known::Everywhere,
        Check::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy"),
        Promise::Kept,
    ),
    rule("x-max-length", Known::Everywhere, Check::NonNegative, Promise::Kept),
    rule("x-max-length-bytes", Known::Everywhere, Check::NonNegative, Promise::Kept),
    rule("x-max-in-memory-length", Known::Quorum, Check::NonNegative, Promise::NotYet),
    rule("x-max-in-memory-bytes", Known::Quorum, Check::NonNegative, Promise::NotYet),
    rule("x-max-priority", Known::Classic, Check::MaxPriority, Promise::Kept),
    rule(
        "x-overflow",
        Known::Everywhere,
        Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow"),
        Promise::Kept,
    ),
    // RabbitMQ 4 ignores mode and version too: they chose between implementations of the same behaviour.
    rule("x-queue-mode", Known::Classic, Check::QueueMode, Promise::Kept),
    rule("x-queue-version", Known::Classic, Check::QueueVersion, Promise::Kept),
    rule("x-single-active-consumer", Known::Everywhere, Check::Bool, Promise::Kept),
    rule(QUEUE_TYPE, Known::Everywhere, Check::Any, Promise::Kept),
    rule("x-quorum-initial-group-size", Known::Quorum, Check::Positive, Promise::NotYet),
    rule("x-quorum-target-group-size", Known::Quorum, Check::Positive, Promise::NotYet),
    rule("x-delivery-limit", Known::Everywhere, Check::Integer, Promise::Kept),
    rule("x-queue-master-locator", Known::Classic, Check::Any, Promise::NotYet),
    rule(
        "x-queue-leader-locator",
        Known::Everywhere,
        Check::OneOf(&["client-local", "balanced", "random", "least-leaders"], "invalid_queue_locator_arg"),
        Promise::NotYet,
    ),
    rule(CONSUMER_TIMEOUT, Known::Everywhere, Check::NonNegative, Promise::Kept),
    rule("x-max-age", Known::Nowhere, Check::Any, Promise::NotYet),
    rule("x-stream-max-segment-size-bytes", Known::Nowhere, Check::Any, Promise::NotYet),
    rule("x-stream-filter-size-bytes", Known::Nowhere, Check::Any, Promise::NotYet),
    rule("x-initial-cluster-size", Known::Nowhere, Check::Any, Promise::NotYet),
];

const QUEUE_TYPE: &str = "x-queue-type";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// The one argument that a second declare may change: RabbitMQ reads it but does not compare it.
const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";

/// Checks every argument and tells the queue's kind.
pub(super) fn check(resource: &str, arguments: &FieldTable) -> Result<QueueKind, AmqpError> {
    // RabbitMQ resolves the dead letter exchange's name before all other checks, hence the text of its own.
    if let Some(value) = lookup(arguments, DEAD_LETTER_EXCHANGE)
        && !is_text(value)
    {
        return Err(AmqpError::precondition_failed(format!(
            "invalid type '{}' for arg '{DEAD_LETTER_EXCHANGE}' in {resource}",
            type_name(value)
        )));
    }
    let invalid = |name: &str, reason: String| {
        AmqpError::precondition_failed(format!("invalid arg '{name}' for {resource}: {reason}"))
    };
    let kind = kind(arguments).map_err(|reason| invalid(QUEUE_TYPE, reason))?;
    for rule in RULES.iter().filter(|rule| rule.is_known_to(kind)) {
        if let Some(value) = lookup(arguments, rule.name) {
            rule.check.apply(value, arguments).map_err(|reason| invalid(rule.name, reason))?;
        }
    }
    for (name, _) in arguments {
        if RULES.iter().any(|rule| rule.name == name.as_str() && !rule.is_known_to(kind)) {
            return Err(AmqpError::precondition_failed(format!(
                "invalid arg '{name}' for {resource} of queue type {}",
                kind.module()
            )));
        }
    }
    Ok(kind)
}

/// The arguments in `arguments` that are accepted without effect.
pub(super) fn ineffective(arguments: &FieldTable) -> impl Iterator<Item = &str> {
    RULES
        .iter()
        .filter(|rule| rule.promise == Promise::NotYet && arguments.contains_key(rule.name))
        .map(|rule| rule.name)
}

/// The first argument in which two declares differ, with both sides as error texts show them.
pub(super) struct Difference {
    pub(super) argument: &'static str,
    pub(super) received: String,
    pub(super) current: String,
}

/// Compares the known arguments of a queue (`current`) with those of a second declare.
pub(super) fn first_difference(
    kind: QueueKind,
    current: &FieldTable,
    received: &FieldTable,
) -> Option<Difference> {
    let compared = RULES.iter().filter(|rule| rule.is_known_to(kind) && rule.name != CONSUMER_TIMEOUT);
    compared.map(|rule| rule.name).find_map(|argument| {
        let (received, current) = match (lookup(received, argument), lookup(current, argument)) {
            (None, None) => return None,
            (Some(received), Some(current)) if same_value(received, current) => return None,
            (Some(received), Some(current)) => {
                (format!("'{}'", bare(received)), format!("'{}'", bare(current)))
            }
            (received, current) => {
                let only = received.or(current);
                if argument == QUEUE_TYPE && only.is_some_and(|value| text(value) == Some(b"classic")) {
                    return None;
                }
                (with_type(received), with_type(current))
            }
        };
        Some(Difference { argument, received, current })
    })
}

impl Rule {
    fn is_known_to(&self, kind: QueueKind) -> bool {
        match self.known {
            Known::Everywhere => true,
            Known::Classic => kind == QueueKind::Classic,
            Known::Quorum => kind == QueueKind::Quorum,
            Known::Nowhere => false,
        }
    }
}

impl Check {
    /// Refuses with the reason as RabbitMQ prints it: an Erlang term.
    fn apply(&self, value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
        let refuse = |reason: &str, number: i64| Err(format!("{{{reason},{number}}}"));
        match self {
            Self::Any => Ok(()),
            Self::Bool if value.as_bool().is_some() => Ok(()),
            Self::Bool => Err(unacceptable_type(value)),
            Self::Name => required_name(value),
            Self::Integer => required_integer(value).map(drop),
            Self::NonNegative => match required_integer(value)? {
                number @ ..0 => refuse("value_negative", number),
                _ => Ok(()),
            },
            Self::Positive => match required_integer(value)? {
                number @ ..0 => refuse("value_negative", number),
                0 => refuse("value_zero", 0),
                _ => Ok(()),
            },
            Self::Expiry { zero_allowed } => match required_integer(value)? {
                number @ ..0 => refuse("value_negative", number),
                0 if !zero_allowed => refuse("value_zero", 0),
                number if number > EXPIRY_MS_MAX => refuse("value_too_large", number),
                _ => Ok(()),
            },
            Self::MaxPriority => match required_integer(value)? {
                number @ ..0 => refuse("value_negative", number),
                0..=PRIORITY_MAX => Ok(()),
                number => refuse("max_value_exceeded", number),
            },
            Self::QueueVersion => match required_integer(value)? {
                1..=2 => Ok(()),
                number if number < 0 => refuse("value_negative", number),
                number => Err(format!("\"unsupported queue version '{number}'\"")),
            },
            Self::QueueMode => match required_text(value)? {
                b"default" | b"lazy" => Ok(()),
                mode => Err(format!("\"unsupported queue mode '{}'\"", String::from_utf8_lossy(mode))),
            },
            Self::OneOf(words, reason) => {
                let word = required_text(value)?;
                if words.iter().any(|known| known.as_bytes() == word) {
                    Ok(())
                } else {
                    Err((*reason).to_owned())
                }
            }
            Self::DeadLetterRoutingKey => {
                required_name(value)?;
                if arguments.contains_key(DEAD_LETTER_EXCHANGE) {
                    Ok(())
                } else {
                    Err("routing_key_but_no_dlx_defined".to_owned())
                }
            }
        }
    }
}

fn kind(arguments: &FieldTable) -> Result<QueueKind, String> {
    let Some(value) = lookup(arguments, QUEUE_TYPE) else {
        return Ok(QueueKind::Classic);
    };
    match required_text(value)? {
        b"classic" => Ok(QueueKind::Classic),
        b"quorum" => Ok(QueueKind::Quorum),
        other => Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other))),
    }
}

fn lookup<'a>(arguments: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    arguments.inner().get(name)
}

fn text(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}

fn is_text(value: &AMQPValue) -> bool {
    text(value).is_some()
}

fn required_text(value: &AMQPValue) -> Result<&[u8], String> {
    text(value).ok_or_else(|| unacceptable_type(value))
}

/// RabbitMQ takes longer ones and fails when it publishes to them.
fn required_name(value: &AMQPValue) -> Result<(), String> {
    match required_text(value)?.len() {
        0..=NAME_BYTES_MAX => Ok(()),
        bytes => Err(format!("{{value_too_long,{bytes}}}")),
    }
}

fn required_integer(value: &AMQPValue) -> Result<i64, String> {
    integer(value).ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

fn unacceptable_type(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

/// The number, of whatever width it was sent.
pub(in crate::engine::queue) fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

fn float(value: &AMQPValue) -> Option<f64> {
    match *value {
        AMQPValue::Float(number) => Some(number.into()),
        AMQPValue::Double(number) => Some(number),
        _ => None,
    }
}

/// Integers of any width are one class, floats another; all else must be the same value.
fn same_value(left: &AMQPValue, right: &AMQPValue) -> bool {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => return left == right,
        (None, None) => {}
        _ => return false,
    }
    match (float(left), float(right)) {
        // Bitwise, so that a NaN equals itself; the two zeros are one number.
        (Some(left), Some(right)) => left.to_bits() == right.to_bits() || left == right,
        _ => left == right || (is_text(left) && text(left) == text(right)),
    }
}

/// The type's name in RabbitMQ's texts.
#[must_use]
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The value without its type, as Erlang prints it. Nested values cannot get here through a checked declare.
fn bare(value: &AMQPValue) -> String {
    if let Some(number) = integer(value) {
        return number.to_string();
    }
    if let Some(text) = text(value) {
        return String::from_utf8_lossy(text).into_owned();
    }
    match value {
        AMQPValue::Boolean(yes) => yes.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        AMQPValue::DecimalValue(decimal) => format!("{{{},{}}}", decimal.scale, decimal.value),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Void => "undefined".to_owned(),
        other => float(other).map_or_else(|| format!("{other:?}"), |number| format!("{number:?}")),
    }
}

fn with_type(value: Option<&AMQPValue>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", bare(value), type_name(value)),
    )
}
