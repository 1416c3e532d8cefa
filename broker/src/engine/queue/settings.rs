//! [`QueueSettings`]: what limits a queue and its messages, and where messages go that it gives up.
//!
//! Parsed once from the declare's arguments, which were checked before, and merged with policies by `engine::policy`. Plain
//! data: the queue reads it, and can be given another one while it lives.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::QueueKind;

/// RabbitMQ 4 gives quorum queues this limit unless told otherwise.
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// A queue's settings, all of them optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// `x-message-ttl`: how long a message may wait, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`: how long the queue may be unused, in milliseconds; never 0.
    pub expires_ms: Option<u64>,
    /// `x-max-length`: how many ready messages there may be.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: how many bytes the bodies of ready messages may have.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`: what becomes of messages beyond these limits.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange` and what belongs to it: where messages go that the queue gives up.
    pub dead_lettering: Option<Arc<DeadLettering>>,
    /// `x-delivery-limit`: how often a message may return before it is given up.
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout`: how long a delivery may be unacknowledged, in milliseconds; none for ever.
    pub consumer_timeout_ms: Option<u64>,
}

/// `x-overflow`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest messages go; they are dead-lettered if the queue does that.
    #[default]
    DropHead,
    /// New messages are refused; publishers that asked for confirms get `basic.nack`.
    RejectPublish,
    /// The same, and what is refused is dead-lettered.
    RejectPublishDlx,
}

/// Where messages go that a queue gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettering {
    /// The exchange; it need not exist.
    pub exchange: String,
    /// The routing key; none keeps those of the message.
    pub routing_key: Option<String>,
    /// How much it matters that they arrive.
    pub strategy: DeadLetterStrategy,
}

/// `x-dead-letter-strategy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DeadLetterStrategy {
    /// A message for which there is no queue, or whose queue refuses it, is gone.
    #[default]
    AtMostOnce,
    /// It stays until every queue that it is for has confirmed it.
    AtLeastOnce,
}

/// Why a queue gave a message up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// Its time was over.
    Expired,
    /// A consumer rejected it without requeue.
    Rejected,
    /// The queue was too long.
    MaxLength,
    /// It came back too often.
    DeliveryLimit,
}

impl DeathReason {
    /// RabbitMQ's word for it, in `x-death` and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

impl QueueSettings {
    /// Reads arguments that have passed the checks of [`QueueOptions`](super::QueueOptions).
    #[must_use]
    pub fn from_arguments(kind: QueueKind, arguments: &FieldTable) -> Self {
        let number = |name: &str| u64::try_from(integer(arguments, name)?).ok();
        let delivery_limit = match (integer(arguments, "x-delivery-limit"), kind) {
            (Some(limit), _) => u32::try_from(limit).ok(),
            (None, QueueKind::Quorum) => Some(QUORUM_DELIVERY_LIMIT),
            (None, QueueKind::Classic) => None,
        };
        Self {
            message_ttl_ms: number("x-message-ttl"),
            expires_ms: number("x-expires"),
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow: match text(arguments, "x-overflow").as_deref() {
                Some("reject-publish") => Overflow::RejectPublish,
                Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
                _ => Overflow::DropHead,
            },
            dead_lettering: text(arguments, "x-dead-letter-exchange").map(|exchange| {
                let strategy = match text(arguments, "x-dead-letter-strategy").as_deref() {
                    Some("at-least-once") => DeadLetterStrategy::AtLeastOnce,
                    _ => DeadLetterStrategy::AtMostOnce,
                };
                let routing_key = text(arguments, "x-dead-letter-routing-key");
                Arc::new(DeadLettering { exchange, routing_key, strategy })
            }),
            delivery_limit,
            consumer_timeout_ms: number("x-consumer-timeout").filter(|&timeout| timeout > 0),
        }
    }

    /// To be shared; none if nothing is set.
    #[must_use]
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }

    /// Whether dead letters are to arrive for certain, and cannot: a queue that drops its head may not wait for them.
    #[must_use]
    pub fn cannot_wait(&self) -> bool {
        let strategy = self.dead_lettering.as_ref().map(|dead_lettering| dead_lettering.strategy);
        strategy == Some(DeadLetterStrategy::AtLeastOnce) && self.overflow != Overflow::RejectPublish
    }

    /// Whether a publish may be refused.
    #[must_use]
    pub fn may_reject(&self) -> bool {
        self.overflow != Overflow::DropHead && (self.max_length.is_some() || self.max_length_bytes.is_some())
    }
}

fn text(arguments: &FieldTable, name: &str) -> Option<String> {
    match arguments.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// An integer argument, of whatever width it was sent.
pub(super) fn integer(arguments: &FieldTable, name: &str) -> Option<i64> {
    super::options::integer(arguments.inner().get(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: QueueKind, arguments: &[(&str, AMQPValue)]) -> QueueSettings {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        QueueSettings::from_arguments(kind, &table)
    }

    #[test]
    fn every_argument_is_read_and_nothing_is_set_without_any() {
        assert_eq!(settings(QueueKind::Classic, &[]), QueueSettings::default());
        let text = |text: &str| AMQPValue::LongString(text.into());
        let all = settings(
            QueueKind::Classic,
            &[
                ("x-message-ttl", AMQPValue::ShortShortInt(0)),
                ("x-expires", AMQPValue::LongLongInt(10)),
                ("x-max-length", AMQPValue::LongUInt(3)),
                ("x-max-length-bytes", AMQPValue::ShortInt(4)),
                ("x-overflow", text("reject-publish-dlx")),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text("dead")),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-delivery-limit", AMQPValue::LongInt(5)),
                ("x-consumer-timeout", AMQPValue::LongInt(60_000)),
            ],
        );
        let dead_lettering = DeadLettering {
            exchange: String::new(),
            routing_key: Some("dead".to_owned()),
            strategy: DeadLetterStrategy::AtLeastOnce,
        };
        assert_eq!(
            all,
            QueueSettings {
                message_ttl_ms: Some(0),
                expires_ms: Some(10),
                max_length: Some(3),
                max_length_bytes: Some(4),
                overflow: Overflow::RejectPublishDlx,
                dead_lettering: Some(Arc::new(dead_lettering)),
                delivery_limit: Some(5),
                consumer_timeout_ms: Some(60_000),
            }
        );
        assert!(all.may_reject() && all.cannot_wait());
        let waits = QueueSettings { overflow: Overflow::RejectPublish, ..all };
        assert!(!waits.cannot_wait() && !QueueSettings::default().cannot_wait());
    }

    #[test]
    fn quorum_queues_have_a_delivery_limit_unless_it_is_lifted() {
        assert_eq!(settings(QueueKind::Quorum, &[]).delivery_limit, Some(20));
        let lifted = [("x-delivery-limit", AMQPValue::LongInt(-1))];
        assert_eq!(settings(QueueKind::Quorum, &lifted).delivery_limit, None);
    }
}
