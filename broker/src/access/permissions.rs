//! What one user may do in one virtual host: [`Permissions`] by name of queue or exchange, [`TopicPermissions`] by routing key.

use std::collections::BTreeMap;
use std::fmt;

use super::{AccessError, Pattern};

/// RabbitMQ's three kinds of permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Create and delete.
    Configure,
    /// Publish, bind to.
    Write,
    /// Consume, get, purge, bind from.
    Read,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// A pattern for each kind of permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// What may be created and deleted.
    pub configure: Pattern,
    /// What may be written to.
    pub write: Pattern,
    /// What may be read from.
    pub read: Pattern,
}

impl Permissions {
    /// Reads the three patterns.
    ///
    /// # Errors
    ///
    /// [`AccessError::BadPattern`].
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, AccessError> {
        Ok(Self {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// All permissions on everything.
    #[must_use]
    pub fn all() -> Self {
        let everything = Pattern::everything;
        Self { configure: everything(), write: everything(), read: everything() }
    }

    /// Whether this is permitted on what is called `name`.
    #[must_use]
    pub fn allow(&self, permission: Permission, name: &str) -> bool {
        let pattern = match permission {
            Permission::Configure => &self.configure,
            Permission::Write => &self.write,
            Permission::Read => &self.read,
        };
        pattern.matches(name)
    }
}

/// Patterns for routing keys of one topic exchange, in which `{username}`, `{vhost}` and `{client_id}` stand for those of whom they
/// are applied to. What is put in is quoted, so that a user's name is never read as an expression; RabbitMQ puts it in as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPermissions {
    write: String,
    read: String,
}

/// What the variables of topic permissions stand for.
#[derive(Debug, Clone, Copy)]
pub struct TopicContext<'a> {
    /// `{username}`
    pub username: &'a str,
    /// `{vhost}`
    pub vhost: &'a str,
    /// `{client_id}`, which AMQP 0-9-1 clients do not have: then the variable stands for itself, as in RabbitMQ.
    pub client_id: Option<&'a str>,
}

impl TopicPermissions {
    /// Reads the two patterns.
    ///
    /// # Errors
    ///
    /// [`AccessError::BadPattern`] if one of them is no regular expression once its variables are filled in.
    pub fn new(write: &str, read: &str) -> Result<Self, AccessError> {
        let anybody = TopicContext { username: "u", vhost: "v", client_id: Some("c") };
        for text in [write, read] {
            Pattern::new(&filled_in(text, anybody)).map_err(|error| match error {
                AccessError::BadPattern { reason, .. } => {
                    AccessError::BadPattern { pattern: text.to_owned(), reason }
                }
                other => other,
            })?;
        }
        Ok(Self { write: write.to_owned(), read: read.to_owned() })
    }

    /// The pattern for publishing, as it was given.
    #[must_use]
    pub fn write(&self) -> &str {
        &self.write
    }

    /// The pattern for binding from the exchange, as it was given.
    #[must_use]
    pub fn read(&self) -> &str {
        &self.read
    }

    /// The pattern for this kind of permission, with the variables filled in. There is none for configuring: topics are not
    /// configured.
    ///
    /// # Errors
    ///
    /// [`AccessError::BadPattern`] if the names that are filled in make it too large.
    pub fn pattern(&self, permission: Permission, context: TopicContext<'_>) -> Result<Pattern, AccessError> {
        match permission {
            Permission::Configure => Ok(Pattern::everything()),
            Permission::Write => Pattern::new(&filled_in(&self.write, context)),
            Permission::Read => Pattern::new(&filled_in(&self.read, context)),
        }
    }
}

fn filled_in(text: &str, context: TopicContext<'_>) -> String {
    let client_id = context.client_id.unwrap_or("{client_id}");
    let variables =
        [("{username}", context.username), ("{vhost}", context.vhost), ("{client_id}", client_id)];
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    // From left to right, so that a name that looks like a variable is not filled in again.
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((variable, value)) = variables.iter().find(|(variable, _)| rest.starts_with(variable)) {
            filled.push_str(&fancy_regex::escape(value));
            rest = &rest[variable.len()..];
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled + rest
}

/// Everything that one user is permitted in one virtual host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// By name of queue or exchange. Without them the virtual host may not be entered.
    pub permissions: Option<Permissions>,
    /// By name of topic exchange. An exchange that is not here lets every routing key pass.
    pub topics: BTreeMap<String, TopicPermissions>,
}

impl Grant {
    /// Whether it permits nothing that has to be remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.permissions.is_none() && self.topics.is_empty()
    }
}
