//! Exchanges: what they are declared as ([`ExchangeOptions`]) and how each kind finds the bindings that match.
//!
//! One file per kind. A kind maps routing keys (or headers) to `Entry`s and knows nothing of names, queues or other
//! exchanges: following a binding to a further exchange and removing duplicates is [`super::topology`]'s, the only caller.

use std::cell::LazyCell;

use amq_protocol::types::FieldTable;
use smallvec::SmallVec;

mod bucket;
mod direct;
mod headers;
mod options;
mod topic;

pub use self::options::{ExchangeKind, ExchangeOptions};
pub(crate) use self::{bucket::Bucket, headers::HeadersRule};
use self::{direct::Direct, headers::Headers, topic::Topic};

/// Where a binding leads, by the topology's dense numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A queue's number.
    Queue(u32),
    /// An exchange's number.
    Exchange(u32),
}

/// One binding as its source's route table holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Where it leads.
    pub(crate) target: Target,
    /// Its number, so that the topology can tell it where it has moved.
    pub(crate) binding: u32,
}

/// What one exchange's bindings lead to. May hold a target several times: the caller removes duplicates once, at the end.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// Queues by number.
    pub(crate) queues: SmallVec<[u32; 16]>,
    /// Exchanges by number.
    pub(crate) exchanges: SmallVec<[u32; 4]>,
}

impl Matched {
    fn push(&mut self, target: Target) {
        match target {
            Target::Queue(queue) => self.queues.push(queue),
            Target::Exchange(exchange) => self.exchanges.push(exchange),
        }
    }
}

/// The bindings of one exchange, arranged for its kind.
#[derive(Debug)]
pub(crate) enum RouteTable {
    /// By the whole routing key.
    Direct(Direct),
    /// All of them, always.
    Fanout(Bucket),
    /// By patterns over the words of the routing key.
    Topic(Topic),
    /// By the message's header table.
    Headers(Headers),
}

impl RouteTable {
    pub(crate) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Direct::default()),
            ExchangeKind::Fanout => Self::Fanout(Bucket::default()),
            ExchangeKind::Topic => Self::Topic(Topic::default()),
            ExchangeKind::Headers => Self::Headers(Headers::default()),
        }
    }

    /// Adds a binding; the slot it gets is to be remembered for [`Self::remove`].
    pub(crate) fn insert(&mut self, routing_key: &str, rule: HeadersRule, entry: Entry) -> u32 {
        match self {
            Self::Direct(direct) => direct.insert(routing_key, entry),
            Self::Fanout(bucket) => bucket.insert(entry),
            Self::Topic(topic) => topic.insert(routing_key, entry),
            Self::Headers(headers) => headers.insert(rule, entry),
        }
    }

    /// Removes a binding by its slot, in constant time. The binding returned, if any, now sits in that slot.
    pub(crate) fn remove(&mut self, routing_key: &str, slot: u32) -> Option<u32> {
        match self {
            Self::Direct(direct) => direct.remove(routing_key, slot),
            Self::Fanout(bucket) => bucket.remove(slot),
            Self::Topic(topic) => topic.remove(routing_key, slot),
            Self::Headers(headers) => headers.remove(slot),
        }
    }

    /// Adds the targets of all bindings that match any of the keys, or the headers where the kind asks for them.
    pub(crate) fn collect<F: FnOnce() -> FieldTable>(
        &self,
        routing_keys: &[&str],
        headers: &LazyCell<FieldTable, F>,
        matched: &mut Matched,
    ) {
        match self {
            Self::Direct(direct) => {
                for key in routing_keys {
                    direct.collect(key, matched);
                }
            }
            Self::Fanout(bucket) => bucket.collect(matched),
            Self::Topic(topic) => {
                for key in routing_keys {
                    topic.collect(key, matched);
                }
            }
            // An exchange without bindings must not cost the decoding of a header table.
            Self::Headers(bindings) if bindings.is_empty() => {}
            Self::Headers(bindings) => bindings.collect(headers, matched),
        }
    }
}
