//! [`ConsistentHash`]: each key belongs to one destination, in proportion to the destinations' weights.
//!
//! Weighted rendezvous hashing: a key goes to the destination that wins a race whose times are drawn from the hash of key and
//! destination, at a speed that is its weight. So a destination that comes or goes, or whose weight changes, moves its own share
//! and nothing else; shares are exact whatever the weights are; and the outcome depends on names only, not on the order in which
//! bindings were made, so that a restart moves nothing. RabbitMQ's jump hash moves more when a binding in the middle goes, and
//! holds a bucket for each unit of weight. A look costs time in the number of destinations: some nanoseconds each.

use std::collections::HashMap;

use amq_protocol::types::{AMQPValue, FieldTable};
use foldhash::fast::FixedState;

use super::options::{erlang_binary, value_text};
use super::stable_hash::{StableHash, mix};
use super::{Matched, MessageView, Target};
use crate::error::AmqpError;
use crate::wire::table::encode_table;

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

/// What of a message is hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The routing key, without those of CC and BCC.
    #[default]
    RoutingKey,
    /// A header of this name. Messages that lack it all go to one destination.
    Header(Box<str>),
    /// The property message-id.
    MessageId,
    /// The property correlation-id.
    CorrelationId,
    /// The property timestamp.
    Timestamp,
}

impl HashOn {
    /// Reads the arguments of an exchange.
    pub(super) fn parse(arguments: &FieldTable) -> Result<Self, AmqpError> {
        let header = text_argument(arguments, HASH_HEADER)?;
        let property = text_argument(arguments, HASH_PROPERTY)?;
        match (header, property) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header.into())),
            (None, Some(property)) => match property.as_str() {
                "message_id" => Ok(Self::MessageId),
                "correlation_id" => Ok(Self::CorrelationId),
                "timestamp" => Ok(Self::Timestamp),
                other => Err(AmqpError::precondition_failed(format!("Unsupported property: {other}"))),
            },
            (Some(_), Some(_)) => {
                Err(AmqpError::precondition_failed("hash-header and hash-property are mutually exclusive"))
            }
        }
    }

    /// The hash of a message. What lacks the header or property has a hash of its own.
    fn hash(&self, routing_keys: &[&str], message: &MessageView<'_>) -> u64 {
        let empty = StableHash::new();
        let with = |bytes: Option<&[u8]>| bytes.map_or(empty, |bytes| empty.with(bytes));
        let properties = || message.properties();
        let hash = match self {
            Self::RoutingKey => with(routing_keys.first().map(|key| key.as_bytes())),
            Self::Header(name) => match message.headers().inner().get(&**name) {
                Some(AMQPValue::LongString(text)) => empty.with(text.as_bytes()),
                Some(value) => {
                    let mut table = FieldTable::default();
                    table.insert("".into(), value.clone());
                    empty.with(&encode_table(&table))
                }
                None => empty,
            },
            Self::MessageId => with(properties().and_then(|properties| properties.message_id())),
            Self::CorrelationId => with(properties().and_then(|properties| properties.correlation_id())),
            Self::Timestamp => {
                let seconds = properties().and_then(|properties| properties.timestamp());
                seconds.map_or(empty, |seconds| empty.with(seconds.to_string().as_bytes()))
            }
        };
        hash.finish()
    }
}

/// RabbitMQ fails with an internal error where such an argument is no text.
fn text_argument(arguments: &FieldTable, name: &str) -> Result<Option<String>, AmqpError> {
    match arguments.inner().get(name) {
        None => Ok(None),
        Some(AMQPValue::LongString(text)) => Ok(Some(String::from_utf8_lossy(text.as_bytes()).into_owned())),
        Some(other) => {
            let (kind, _) = value_text(other);
            Err(AmqpError::precondition_failed(format!(
                "invalid type '{kind}' for arg '{name}': expected longstr"
            )))
        }
    }
}

/// The weight that a binding key is: a positive integer as Erlang reads it. What is beyond 32 bits counts as the largest.
pub(crate) fn parse_weight(routing_key: &str) -> Result<u32, AmqpError> {
    let (negative, digits) = match routing_key.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, routing_key.strip_prefix('+').unwrap_or(routing_key)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let key = erlang_binary(routing_key);
        return Err(AmqpError::precondition_failed(format!("The binding key must be an integer: {key}")));
    }
    // All digits: only a number that is too large fails.
    match digits.parse().unwrap_or(u32::MAX) {
        weight @ 1.. if !negative => Ok(weight),
        _ => Err(AmqpError::precondition_failed("The binding key must be greater than 0")),
    }
}

/// The bindings of an `x-consistent-hash` exchange, by destination: several to one destination add up.
#[derive(Debug)]
pub(crate) struct ConsistentHash {
    hash_on: HashOn,
    racers: Vec<Racer>,
    index: HashMap<Target, usize, FixedState>,
}

#[derive(Debug)]
struct Racer {
    target: Target,
    /// The hash of its name.
    place: u64,
    /// The sum of its bindings' weights: exact, because that of 2^21 of the largest is.
    weight: f64,
    bindings: u32,
}

impl ConsistentHash {
    pub(super) fn new(hash_on: HashOn) -> Self {
        Self { hash_on, racers: Vec::new(), index: HashMap::default() }
    }

    /// Adds a binding; `place` is the hash of its destination's name.
    pub(super) fn insert(&mut self, weight: u32, place: u64, target: Target) {
        let at = *self.index.entry(target).or_insert(self.racers.len());
        if at == self.racers.len() {
            self.racers.push(Racer { target, place, weight: 0.0, bindings: 0 });
        }
        let racer = &mut self.racers[at];
        racer.weight += f64::from(weight);
        racer.bindings += 1;
    }

    pub(super) fn remove(&mut self, weight: u32, target: Target) {
        let Some(&at) = self.index.get(&target) else { return };
        let racer = &mut self.racers[at];
        racer.weight -= f64::from(weight);
        racer.bindings -= 1;
        if racer.bindings == 0 {
            self.index.remove(&target);
            self.racers.swap_remove(at);
            if let Some(moved) = self.racers.get(at) {
                self.index.insert(moved.target, at);
            }
        }
    }

    pub(super) fn collect(&self, routing_keys: &[&str], message: &MessageView<'_>, matched: &mut Matched) {
        // Without a choice nothing of the message needs to be looked at.
        if let [only] = self.racers.as_slice() {
            matched.push(only.target);
            return;
        }
        if self.racers.is_empty() {
            return;
        }
        let hash = self.hash_on.hash(routing_keys, message);
        let mut best: Option<(f64, &Racer)> = None;
        for racer in &self.racers {
            let time = -unit(mix(hash ^ racer.place)).ln() / racer.weight;
            // Equal times, should that ever happen, are decided by name, too.
            if best.is_none_or(|(least, first)| time < least || (time == least && racer.place < first.place))
            {
                best = Some((time, racer));
            }
        }
        if let Some((_, winner)) = best {
            matched.push(winner.target);
        }
    }
}

/// A number above 0 and up to 1 from the bits of a hash.
fn unit(bits: u64) -> f64 {
    let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    const RANGE: f64 = 4_294_967_296.0;
    (f64::from(high) + (f64::from(low) + 0.5) / RANGE) / RANGE
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
