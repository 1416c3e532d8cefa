//! A queue's settings from its arguments and policies.
//!
//! As in RabbitMQ (`rabbit_amqqueue_process:process_args_policy/1`, `rabbit_quorum_queue:ra_machine_config/1`): of two numbers the
//! smaller one holds, of all else the argument.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::applied::{AppliedPolicies, DELIVERY_LIMIT, stricter_delivery_limit};
use crate::engine::queue::{DeadLetterStrategy, DeadLettering, Overflow, QueueKind, QueueSettings};

/// The longest time that a policy can ask for, in milliseconds: ten years, which is all that arguments can.
const TIME_MS_MAX: u64 = 10 * 365 * 24 * 3600 * 1000;

impl AppliedPolicies {
    /// What a queue with these arguments, which have passed the checks of a declare, is to do; none if nothing is set.
    #[must_use]
    pub fn queue_settings(&self, kind: QueueKind, arguments: &FieldTable) -> Option<Arc<QueueSettings>> {
        let own = QueueSettings::from_arguments(kind, arguments);
        if self.is_empty() {
            return own.shared();
        }
        let has = |argument: &str| arguments.inner().contains_key(argument);
        let limit = |key: &str| self.number(key).and_then(|number| u64::try_from(number).ok());
        let time = |key: &str| limit(key).map(|time| time.min(TIME_MS_MAX));
        let merged = QueueSettings {
            message_ttl_ms: smaller(own.message_ttl_ms, time("message-ttl")),
            expires_ms: smaller(own.expires_ms, time("expires")),
            max_length: smaller(own.max_length, limit("max-length")),
            max_length_bytes: smaller(own.max_length_bytes, limit("max-length-bytes")),
            overflow: match self.text("overflow") {
                Some(word) if !has("x-overflow") => overflow(word),
                _ => own.overflow,
            },
            dead_lettering: self.dead_lettering(&own, arguments),
            delivery_limit: self.delivery_limit(&own, has("x-delivery-limit")),
            // 0 is none, with arguments, too.
            consumer_timeout_ms: smaller(
                own.consumer_timeout_ms,
                time("consumer-timeout").filter(|&timeout| timeout > 0),
            ),
        };
        merged.shared()
    }

    /// Each of the three settings may come from the arguments or from a policy.
    fn dead_lettering(&self, own: &QueueSettings, arguments: &FieldTable) -> Option<Arc<DeadLettering>> {
        let mut merged = match (&own.dead_lettering, self.text("dead-letter-exchange")) {
            (Some(own), _) => (**own).clone(),
            (None, Some(exchange)) => DeadLettering {
                exchange: exchange.to_owned(),
                routing_key: None,
                strategy: argument_strategy(arguments).unwrap_or_default(),
            },
            (None, None) => return None,
        };
        if merged.routing_key.is_none() {
            merged.routing_key = self.text("dead-letter-routing-key").map(str::to_owned);
        }
        if let Some(word) = self.text("dead-letter-strategy")
            && argument_strategy(arguments).is_none()
        {
            merged.strategy = strategy(word);
        }
        Some(Arc::new(merged))
    }

    fn delivery_limit(&self, own: &QueueSettings, by_argument: bool) -> Option<u32> {
        // Without a policy it stays what the arguments, or the kind of queue, make it.
        let Some(asked) = self.number(DELIVERY_LIMIT) else { return own.delivery_limit };
        let limit = match (by_argument, own.delivery_limit) {
            (true, Some(limit)) => stricter_delivery_limit(asked, limit.into()),
            (true, None) => stricter_delivery_limit(asked, -1),
            (false, _) => asked,
        };
        (limit >= 0).then(|| u32::try_from(limit).unwrap_or(u32::MAX))
    }
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn overflow(word: &str) -> Overflow {
    match word {
        "reject-publish" => Overflow::RejectPublish,
        "reject-publish-dlx" => Overflow::RejectPublishDlx,
        _ => Overflow::DropHead,
    }
}

fn strategy(word: &str) -> DeadLetterStrategy {
    match word {
        "at-least-once" => DeadLetterStrategy::AtLeastOnce,
        _ => DeadLetterStrategy::AtMostOnce,
    }
}

fn argument_strategy(arguments: &FieldTable) -> Option<DeadLetterStrategy> {
    match arguments.inner().get("x-dead-letter-strategy")? {
        AMQPValue::LongString(word) => Some(strategy(&String::from_utf8_lossy(word.as_bytes()))),
        AMQPValue::ShortString(word) => Some(strategy(word.as_str())),
        _ => None,
    }
}
