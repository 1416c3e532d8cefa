//! [`Policy`]: settings for all queues and exchanges whose names match a pattern, and the rules by which they apply.
//!
//! An operator sets policies while the broker runs. Each queue and exchange has at most one policy and one operator policy, those
//! of the highest priority that match; what they say is merged with the object's own arguments. Refuses what RabbitMQ refuses,
//! with its texts. Knows the names and kinds of objects only: [`super::topology`] holds the policies and asks which apply.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::queue::QueueKind;
use crate::limits::POLICY_NAME_BYTES_MAX;

mod applied;
mod definition;
mod erlang;
mod pattern;
mod policies;
mod settings;

pub use self::applied::AppliedPolicies;
pub(crate) use self::policies::Policies;
use self::{definition::Keys, pattern::Pattern};

/// What a policy says: settings by their names, as in `{"max-length": 10}`.
pub type PolicyDefinition = BTreeMap<String, Value>;

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// A policy as users set it: arguments of queues and exchanges win over most of it.
    User,
    /// An operator policy: few settings, all of them upper bounds, which neither arguments nor users' policies can exceed.
    Operator,
}

/// Which objects a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplyTo {
    /// Queues of every kind, and exchanges.
    All,
    /// Queues of every kind.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams, of which this broker has none: accepted, and without effect.
    Streams,
    /// Exchanges.
    Exchanges,
}

/// A policy as it is asked for, to be checked by [`Policy::from_declare`].
///
/// ```
/// use warren::engine::policy::PolicyDeclare;
///
/// let definition = serde_json::json!({"max-length": 1000, "overflow": "reject-publish"});
/// let limit = PolicyDeclare { apply_to: "queues".into(), priority: 1, ..PolicyDeclare::new("^tasks", definition) };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyDeclare {
    /// A regular expression, as in Perl, that is looked for anywhere in the names of objects.
    pub pattern: String,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    pub apply_to: String,
    /// Of several policies that match, the one with the highest priority applies.
    pub priority: i64,
    /// A JSON object of settings.
    pub definition: Value,
}

impl PolicyDeclare {
    /// For queues and exchanges, with priority 0.
    #[must_use]
    pub fn new(pattern: impl Into<String>, definition: Value) -> Self {
        Self { pattern: pattern.into(), apply_to: ApplyTo::All.name().to_owned(), priority: 0, definition }
    }
}

/// Why something is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPolicy {
    /// Everything that is wrong with it, in RabbitMQ's words and order; never empty.
    pub problems: Vec<String>,
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validation failed\n")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for InvalidPolicy {}

/// A policy or operator policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    vhost: String,
    name: String,
    kind: PolicyKind,
    pattern: Pattern,
    apply_to: ApplyTo,
    priority: i64,
    definition: PolicyDefinition,
    /// For which queues its settings are meant.
    keys: Keys,
}

/// Something that a policy may apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyTarget<'a> {
    /// A queue, exclusive ones among them.
    Queue {
        /// Its name.
        name: &'a str,
        /// What it was declared as.
        kind: QueueKind,
    },
    /// An exchange, those that every vhost has among them.
    Exchange {
        /// Its name.
        name: &'a str,
    },
}

impl Policy {
    /// Checks what was asked for.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] with all that is wrong: a setting that is not known or not for this kind of policy, a value of the wrong
    /// type or out of range, an empty definition, no regular expression, a name or pattern that is too long.
    pub fn from_declare(
        kind: PolicyKind,
        vhost: impl Into<String>,
        name: impl Into<String>,
        declare: PolicyDeclare,
    ) -> Result<Self, InvalidPolicy> {
        let (vhost, name) = (vhost.into(), name.into());
        let PolicyDeclare { pattern, apply_to, priority, definition } = declare;
        let name_fits = if name.len() <= POLICY_NAME_BYTES_MAX {
            Ok(())
        } else {
            Err(format!("name should be at most {POLICY_NAME_BYTES_MAX} bytes, actually was {}", name.len()))
        };
        // The last that RabbitMQ checks is the first that it tells.
        match (
            definition::check(kind, definition),
            ApplyTo::parse(&apply_to),
            Pattern::compile(pattern),
            name_fits,
        ) {
            (Ok(definition), Ok(apply_to), Ok(pattern), Ok(())) => {
                let keys = Keys::of(&definition);
                Ok(Self { vhost, name, kind, pattern, apply_to, priority, definition, keys })
            }
            (definition, apply_to, pattern, name) => {
                let problems = [definition.err(), apply_to.err(), pattern.err(), name.err()];
                Err(InvalidPolicy { problems: problems.into_iter().flatten().collect() })
            }
        }
    }

    /// What to ask for to get the same.
    #[must_use]
    pub fn to_declare(&self) -> PolicyDeclare {
        PolicyDeclare {
            pattern: self.pattern.as_str().to_owned(),
            apply_to: self.apply_to.name().to_owned(),
            priority: self.priority,
            definition: Value::Object(
                self.definition.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            ),
        }
    }

    /// The vhost it is for.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Its name, unique among the policies of its kind in its vhost.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// The regular expression.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// Which objects it is for.
    #[must_use]
    pub fn apply_to(&self) -> ApplyTo {
        self.apply_to
    }

    /// Its priority.
    #[must_use]
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// What it says.
    #[must_use]
    pub fn definition(&self) -> &PolicyDefinition {
        &self.definition
    }

    /// Whether it is for this object, whatever other policies are.
    #[must_use]
    pub fn matches(&self, target: PolicyTarget<'_>) -> bool {
        let (name, applies) = match target {
            PolicyTarget::Queue { name, kind } => {
                (name, self.apply_to.covers_queue(kind) && self.keys.are_for(kind))
            }
            PolicyTarget::Exchange { name } => {
                (name, matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges))
            }
        };
        applies && self.pattern.is_in(name)
    }
}

impl PolicyKind {
    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator_policy",
        }
    }
}

impl fmt::Display for PolicyKind {
    /// In plain words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "policy",
            Self::Operator => "operator policy",
        })
    }
}

impl ApplyTo {
    const ALL: [Self; 6] =
        [Self::All, Self::Queues, Self::ClassicQueues, Self::QuorumQueues, Self::Streams, Self::Exchanges];

    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| {
            // The two spaces are RabbitMQ's.
            format!(
                "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
                 'exchanges', or 'all'"
            )
        })
    }

    fn covers_queue(self, kind: QueueKind) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => kind == QueueKind::Classic,
            Self::QuorumQueues => kind == QueueKind::Quorum,
            Self::Streams | Self::Exchanges => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
