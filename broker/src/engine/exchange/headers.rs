//! [`Headers`]: bindings that match on the message's header table, compiled when they are made.
//!
//! The rules are those of RabbitMQ's `rabbit_exchange_type_headers`: see [`HeadersRule`].

use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use super::{Entry, Matched, MessageView, bucket::slot_number, options::value_text};
use crate::error::AmqpError;

/// The bindings of a headers exchange. Every publish looks at all of them.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    bindings: Vec<(HeadersRule, Entry)>,
}

impl Headers {
    pub(super) fn insert(&mut self, rule: HeadersRule, entry: Entry) -> u32 {
        let slot = slot_number(self.bindings.len());
        self.bindings.push((rule, entry));
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<u32> {
        self.bindings.swap_remove(slot as usize);
        self.bindings.get(slot as usize).map(|(_, moved)| moved.binding)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    pub(super) fn collect(&self, message: &MessageView<'_>, matched: &mut Matched) {
        for (rule, entry) in &self.bindings {
            if rule.matches(message.headers()) {
                matched.push(entry.target);
            }
        }
    }
}

/// What a headers binding asks of a message.
#[derive(Debug, Default)]
pub(crate) struct HeadersRule {
    quantifier: Quantifier,
    conditions: Box<[(ShortString, AMQPValue)]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Quantifier {
    /// Without conditions: matches everything.
    #[default]
    All,
    /// Without conditions: matches nothing.
    Any,
}

impl HeadersRule {
    /// Reads a binding's arguments. `x-match` is `all` where it is missing; other keys that begin with `x-` count as
    /// conditions in the `-with-x` modes only.
    pub(crate) fn parse(arguments: &FieldTable) -> Result<Self, AmqpError> {
        let (quantifier, with_x) = match arguments.inner().get("x-match") {
            None => (Quantifier::All, false),
            Some(AMQPValue::LongString(mode)) => match mode.as_bytes() {
                b"all" => (Quantifier::All, false),
                b"any" => (Quantifier::Any, false),
                b"all-with-x" => (Quantifier::All, true),
                b"any-with-x" => (Quantifier::Any, true),
                // RabbitMQ prints the binary as an Erlang term, hence the brackets.
                _ => {
                    return Err(AmqpError::precondition_failed(format!(
                        "Invalid x-match field value <<\"{mode}\">>; expected all, any, all-with-x, or any-with-x"
                    )));
                }
            },
            Some(other) => {
                let (kind, value) = value_text(other);
                return Err(AmqpError::precondition_failed(format!(
                    "Invalid x-match field type {kind} (value {value}); expected longstr"
                )));
            }
        };
        let conditions = arguments
            .into_iter()
            .filter(|(key, _)| {
                let key = key.as_str();
                key != "x-match" && (with_x || !key.starts_with("x-"))
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Self { quantifier, conditions })
    }

    fn matches(&self, headers: &FieldTable) -> bool {
        let mut holds = self.conditions.iter().map(|(key, wanted)| {
            headers.inner().get(key.as_str()).is_some_and(|found| satisfies(wanted, found))
        });
        match self.quantifier {
            Quantifier::All => holds.all(|held| held),
            Quantifier::Any => holds.any(|held| held),
        }
    }
}

/// A void condition asks only for presence. Otherwise the bare values must be the same, whatever their types are
/// called on the wire: integers of all widths and timestamps are one class, both kinds of float another, all that is a
/// string of bytes a third. An integer never equals a float.
fn satisfies(wanted: &AMQPValue, found: &AMQPValue) -> bool {
    if matches!(wanted, AMQPValue::Void) {
        return true;
    }
    if let (Some(wanted), Some(found)) = (integer(wanted), integer(found)) {
        return wanted == found;
    }
    if let (Some(wanted), Some(found)) = (float(wanted), float(found)) {
        return wanted == found;
    }
    if let (Some(wanted), Some(found)) = (bytes(wanted), bytes(found)) {
        return wanted == found;
    }
    wanted == found
}

fn integer(value: &AMQPValue) -> Option<i128> {
    Some(match *value {
        AMQPValue::ShortShortInt(value) => value.into(),
        AMQPValue::ShortShortUInt(value) => value.into(),
        AMQPValue::ShortInt(value) => value.into(),
        AMQPValue::ShortUInt(value) => value.into(),
        AMQPValue::LongInt(value) => value.into(),
        AMQPValue::LongUInt(value) => value.into(),
        AMQPValue::LongLongInt(value) => value.into(),
        AMQPValue::Timestamp(value) => value.into(),
        _ => return None,
    })
}

fn float(value: &AMQPValue) -> Option<f64> {
    match *value {
        AMQPValue::Float(value) => Some(value.into()),
        AMQPValue::Double(value) => Some(value),
        _ => None,
    }
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
