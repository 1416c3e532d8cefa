//! Exchanges: what they are declared as ([`ExchangeOptions`]) and how each kind finds the bindings that match.
//!
//! One file per kind. A kind maps routing keys (or headers) to `Entry`s and knows nothing of names, queues or other
//! exchanges: following a binding to a further exchange and removing duplicates is [`super::topology`]'s, the only caller.

use smallvec::SmallVec;

mod bucket;
mod consistent_hash;
mod direct;
mod headers;
mod message_view;
mod modulus_hash;
mod options;
mod recent_history;
mod rule;
mod stable_hash;
mod topic;

pub use self::consistent_hash::HashOn;
pub use self::message_view::MessageView;
pub use self::options::{ExchangeKind, ExchangeOptions};
pub use self::recent_history::RecentHistory;
pub(crate) use self::{bucket::Bucket, rule::BindingRule};
use self::{
    consistent_hash::ConsistentHash, direct::Direct, headers::Headers, modulus_hash::ModulusHash,
    topic::Topic,
};

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
    /// Recent history exchanges that the message has passed, by number. Each exchange is asked once, so each is here once.
    pub(crate) histories: SmallVec<[u32; 2]>,
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
    /// By a hash and weights.
    ConsistentHash(Box<ConsistentHash>),
    /// By chance.
    Random(Bucket),
    /// By a hash and the number of bindings.
    ModulusHash(ModulusHash),
}

impl RouteTable {
    pub(crate) fn new(options: &ExchangeOptions) -> Self {
        match options.kind {
            ExchangeKind::Direct => Self::Direct(Direct::default()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory => Self::Fanout(Bucket::default()),
            ExchangeKind::Topic => Self::Topic(Topic::default()),
            ExchangeKind::Headers => Self::Headers(Headers::default()),
            ExchangeKind::ConsistentHash => {
                Self::ConsistentHash(Box::new(ConsistentHash::new(options.hash_on.clone())))
            }
            ExchangeKind::Random | ExchangeKind::LocalRandom => Self::Random(Bucket::default()),
            ExchangeKind::ModulusHash => Self::ModulusHash(ModulusHash::default()),
        }
    }

    /// Adds a binding; the slot it gets is to be remembered for [`Self::remove`].
    pub(crate) fn insert(&mut self, routing_key: &str, rule: BindingRule, entry: Entry) -> u32 {
        match (self, rule) {
            (Self::Direct(direct), _) => direct.insert(routing_key, entry),
            (Self::Fanout(bucket) | Self::Random(bucket), _) => bucket.insert(entry),
            (Self::Topic(topic), _) => topic.insert(routing_key, entry),
            (Self::Headers(headers), rule) => headers.insert(rule.into_headers(), entry),
            (Self::ConsistentHash(hash), rule) => {
                hash.insert(rule.weight(), rule.place(), entry.target);
                0
            }
            (Self::ModulusHash(modulus), rule) => {
                modulus.insert(rule.place(), entry);
                0
            }
        }
    }

    /// Removes a binding by its slot, in constant time but for [`ModulusHash`]. The binding returned, if any, now sits in that
    /// slot.
    pub(crate) fn remove(&mut self, routing_key: &str, entry: Entry, slot: u32) -> Option<u32> {
        match self {
            Self::Direct(direct) => direct.remove(routing_key, slot),
            Self::Fanout(bucket) | Self::Random(bucket) => bucket.remove(slot),
            Self::Topic(topic) => topic.remove(routing_key, slot),
            Self::Headers(headers) => headers.remove(slot),
            Self::ConsistentHash(hash) => {
                // It was one when the binding was made.
                hash.remove(consistent_hash::parse_weight(routing_key).unwrap_or(0), entry.target);
                None
            }
            Self::ModulusHash(modulus) => {
                modulus.remove(entry.binding);
                None
            }
        }
    }

    /// Adds the targets of all bindings that match any of the keys, or the message where the kind asks for more. `exchange` is
    /// this exchange's number.
    pub(crate) fn collect(
        &self,
        exchange: u32,
        routing_keys: &[&str],
        message: &MessageView<'_>,
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
            Self::Headers(bindings) => bindings.collect(message, matched),
            Self::ConsistentHash(hash) => hash.collect(routing_keys, message, matched),
            Self::Random(bucket) => bucket.collect_one(message.random_bits(exchange), matched),
            Self::ModulusHash(modulus) => modulus.collect(routing_keys, matched),
        }
    }
}
