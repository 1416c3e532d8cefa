//! [`BindingRule`]: what a binding says beside its key, read once when it is made and checked for the type of its source.

use amq_protocol::types::FieldTable;

use super::consistent_hash::parse_weight;
use super::headers::HeadersRule;
use super::stable_hash::StableHash;
use super::{ExchangeKind, Target};
use crate::error::AmqpError;
use crate::wire::table::encode_table;

/// What a source needs to know of a binding, by the source's kind.
#[derive(Debug)]
pub(crate) enum BindingRule {
    /// Its key is all.
    Plain,
    /// What it asks of headers.
    Headers(HeadersRule),
    /// Its weight, and the hash of its destination's name.
    Weighted { weight: u32, place: u64 },
    /// The hash of all that it is.
    Placed(u64),
}

impl BindingRule {
    /// Reads a binding from an exchange of this kind to the destination of this name.
    ///
    /// # Errors
    ///
    /// 406 if the kind cannot have such a binding.
    pub(crate) fn parse(
        kind: ExchangeKind,
        (target, name): (Target, &str),
        routing_key: &str,
        arguments: &FieldTable,
    ) -> Result<Self, AmqpError> {
        let destination = || {
            let what: &[u8] = match target {
                Target::Queue(_) => b"queue",
                Target::Exchange(_) => b"exchange",
            };
            StableHash::new().with(what).with(name.as_bytes())
        };
        match kind {
            ExchangeKind::Headers => HeadersRule::parse(arguments).map(Self::Headers),
            ExchangeKind::ConsistentHash => {
                let weight = parse_weight(routing_key)?;
                Ok(Self::Weighted { weight, place: destination().finish() })
            }
            ExchangeKind::ModulusHash => {
                let place = destination().with(routing_key.as_bytes()).with(&encode_table(arguments));
                Ok(Self::Placed(place.finish()))
            }
            ExchangeKind::LocalRandom if !routing_key.is_empty() => Err(AmqpError::precondition_failed(
                format!("Non empty binding '{routing_key}' key not permitted"),
            )),
            _ => Ok(Self::Plain),
        }
    }

    pub(super) fn into_headers(self) -> HeadersRule {
        match self {
            Self::Headers(rule) => rule,
            _ => HeadersRule::default(),
        }
    }

    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Weighted { weight, .. } => *weight,
            _ => 0,
        }
    }

    pub(super) fn place(&self) -> u64 {
        match self {
            Self::Weighted { place, .. } | Self::Placed(place) => *place,
            Self::Plain | Self::Headers(_) => 0,
        }
    }
}
