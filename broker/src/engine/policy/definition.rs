//! The rules for the settings in a policy's definition, as one table.
//!
//! Names, ranges and texts are RabbitMQ's (`rabbit_policies` and the queue types' lists of unsupported policies), as far as 4.x
//! has them. Called by [`super`] only.

use serde_json::Value;

use super::{PolicyDefinition, PolicyKind, erlang};
use crate::engine::queue::QueueKind;

/// What is demanded of a setting's value.
enum Check {
    /// A text that fits a short string: names of exchanges and routing keys have to.
    Text,
    /// An integer that is not smaller.
    AtLeast(i64),
    Integer,
    Between(i64, i64),
    Word(&'static [&'static str]),
    MaxAge,
    /// Anything: the setting means nothing here.
    Any,
}

/// Which kinds of policy know a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Policies,
    /// In operator policies, too, which bound what others ask for.
    Both,
}

/// Queues for which a setting is not meant: a policy that has it does not apply to them at all, as in RabbitMQ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotFor {
    Nobody,
    Quorum,
    /// Only streams know it.
    AnyQueue,
}

struct Rule {
    name: &'static str,
    known: In,
    not_for: NotFor,
    check: Check,
    /// What the text calls a value: "... is not a valid message TTL".
    noun: &'static str,
}

const fn rule(name: &'static str, known: In, not_for: NotFor, check: Check, noun: &'static str) -> Rule {
    Rule { name, known, not_for, check, noun }
}

const TEXT_BYTES_MAX: usize = 255;

/// Sorted by name. `delivery-limit` and `dead-letter-strategy` are for quorum queues only in RabbitMQ, for all queues here.
static RULES: &[Rule] = &[
    rule("alternate-exchange", In::Policies, NotFor::Nobody, Check::Text, "alternate exchange name"),
    rule("consumer-timeout", In::Policies, NotFor::Nobody, Check::AtLeast(0), "consumer timeout"),
    rule("dead-letter-exchange", In::Policies, NotFor::Nobody, Check::Text, "dead letter exchange name"),
    rule("dead-letter-routing-key", In::Policies, NotFor::Nobody, Check::Text, "dead letter routing key"),
    rule(
        "dead-letter-strategy",
        In::Policies,
        NotFor::Nobody,
        Check::Word(&["at-most-once", "at-least-once"]),
        "dead letter strategy",
    ),
    rule("delivery-limit", In::Both, NotFor::Nobody, Check::Integer, "delivery limit"),
    rule("expires", In::Both, NotFor::Nobody, Check::AtLeast(1), "queue expiry"),
    // RabbitMQ 4 has no mirrored queues any more. What asks for them may stay in the definitions that programs bring along.
    rule("ha-mode", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("ha-params", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("ha-promote-on-failure", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("ha-promote-on-shutdown", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("ha-sync-batch-size", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("ha-sync-mode", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("initial-cluster-size", In::Policies, NotFor::AnyQueue, Check::AtLeast(0), "cluster size"),
    rule("max-age", In::Policies, NotFor::AnyQueue, Check::MaxAge, "max age"),
    rule("max-in-memory-bytes", In::Both, NotFor::Nobody, Check::AtLeast(0), "maximum memory in bytes"),
    rule("max-in-memory-length", In::Both, NotFor::Nobody, Check::AtLeast(0), "maximum memory in bytes"),
    rule("max-length", In::Both, NotFor::Nobody, Check::AtLeast(0), "maximum length"),
    rule("max-length-bytes", In::Both, NotFor::Nobody, Check::AtLeast(0), "maximum length in bytes"),
    rule("message-ttl", In::Both, NotFor::Nobody, Check::AtLeast(0), "message TTL"),
    rule(
        "overflow",
        In::Policies,
        NotFor::Nobody,
        Check::Word(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "overflow value",
    ),
    rule(
        "queue-leader-locator",
        In::Policies,
        NotFor::Nobody,
        Check::Word(&["client-local", "balanced", "random", "least-leaders"]),
        "queue leader locator value",
    ),
    rule("queue-master-locator", In::Policies, NotFor::Quorum, Check::Any, ""),
    rule("queue-mode", In::Policies, NotFor::Quorum, Check::Word(&["default", "lazy"]), "queue-mode value"),
    rule("queue-version", In::Policies, NotFor::Nobody, Check::Between(1, 2), "queue-version value"),
    rule("stream-filter-size-bytes", In::Policies, NotFor::AnyQueue, Check::Between(16, 255), "filter size"),
    rule("stream-max-segment-size-bytes", In::Policies, NotFor::AnyQueue, Check::AtLeast(0), "segment size"),
    rule("target-group-size", In::Both, NotFor::Nobody, Check::AtLeast(0), "target group size"),
];

/// What is to be known of a definition's settings to see whether it is for a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    for_classic: bool,
    for_quorum: bool,
}

impl Keys {
    pub(super) fn of(definition: &PolicyDefinition) -> Self {
        let none = |not_for: &[NotFor]| {
            !definition.keys().filter_map(|key| find(key)).any(|rule| not_for.contains(&rule.not_for))
        };
        Self { for_classic: none(&[NotFor::AnyQueue]), for_quorum: none(&[NotFor::AnyQueue, NotFor::Quorum]) }
    }

    pub(super) fn are_for(self, kind: QueueKind) -> bool {
        match kind {
            QueueKind::Classic => self.for_classic,
            QueueKind::Quorum => self.for_quorum,
        }
    }
}

/// Takes a definition in, or refuses with the text for [`super::InvalidPolicy`].
pub(super) fn check(kind: PolicyKind, definition: Value) -> Result<PolicyDefinition, String> {
    let fields = match definition {
        Value::Object(fields) => fields,
        Value::Array(values) if !values.is_empty() => {
            let values = erlang::term(&Value::Array(values));
            return Err(format!("definition must be a dictionary: {values}"));
        }
        Value::Array(_) => return Err(NOTHING.to_owned()),
        other => {
            let (term, validator) = (erlang::term(&other), kind.name());
            return Err(format!(
                "parse error while reading policy definition: {term}. Validator: {validator}_validator."
            ));
        }
    };
    if fields.is_empty() {
        return Err(NOTHING.to_owned());
    }
    let definition: PolicyDefinition = fields.into_iter().collect();
    let known = |key: &str| find(key).filter(|rule| kind == PolicyKind::User || rule.known == In::Both);
    for (key, value) in &definition {
        if let Some(rule) = known(key)
            && !rule.check.allows(value)
        {
            return Err(format!("{} is not a valid {}", erlang::term(value), rule.noun));
        }
    }
    let mut unknown = definition.iter().filter(|(key, _)| known(key).is_none()).peekable();
    if unknown.peek().is_some() {
        let pairs = erlang::pairs(unknown.map(|(key, value)| (key.as_str(), value)));
        return Err(format!("{pairs} are not recognised policy settings"));
    }
    Ok(definition)
}

const NOTHING: &str = "no policy provided";

fn find(name: &str) -> Option<&'static Rule> {
    RULES.binary_search_by(|rule| rule.name.cmp(name)).ok().map(|at| &RULES[at])
}

impl Check {
    fn allows(&self, value: &Value) -> bool {
        // Beyond the range of 64 bits a number is read as a float, and refused.
        let number = value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX));
        match self {
            Self::Any => true,
            Self::Text => value.as_str().is_some_and(|text| text.len() <= TEXT_BYTES_MAX),
            Self::Integer => number.is_some(),
            Self::AtLeast(least) => number.is_some_and(|number| number >= *least),
            Self::Between(least, most) => number.is_some_and(|number| (*least..=*most).contains(&number)),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::MaxAge => value.as_str().is_some_and(is_max_age),
        }
    }
}

/// A number and a unit, such as `7D`.
fn is_max_age(text: &str) -> bool {
    let digits = text.trim_end_matches(['Y', 'M', 'D', 'h', 'm', 's']);
    text.len() == digits.len() + 1 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_so_that_they_are_found() {
        assert!(RULES.is_sorted_by(|one, next| one.name < next.name));
    }
}
