//! [`User`]: a name, what it proves itself with, tags and limits.

use super::AccessError;
use super::password::PasswordHash;
use crate::limits::ACCESS_NAME_BYTES_MAX;

/// A tag that has a meaning here. All others are kept and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    /// May do everything in administration.
    Administrator,
    /// May see everything that runs, of all users.
    Monitoring,
    /// May set policies in the virtual hosts it has permissions in.
    Policymaker,
    /// May use administration for what it can do over AMQP.
    Management,
    /// May set any `user_id` on messages.
    Impersonator,
}

impl Tag {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Monitoring => "monitoring",
            Self::Policymaker => "policymaker",
            Self::Management => "management",
            Self::Impersonator => "impersonator",
        }
    }

    /// The tags that include this one: an administrator may monitor, and who monitors may use administration.
    const fn included_in(self) -> &'static [Self] {
        match self {
            Self::Administrator | Self::Impersonator => &[],
            Self::Monitoring | Self::Policymaker => &[Self::Administrator],
            Self::Management => &[Self::Administrator, Self::Monitoring, Self::Policymaker],
        }
    }
}

/// The tags of a user or a virtual host, each once, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// Tags by name. Empty ones and repetitions are left out.
    pub fn new<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Self {
        let mut tags = Vec::new();
        for name in names {
            let name = name.as_ref().trim();
            if !name.is_empty() && !tags.iter().any(|tag| tag == name) {
                tags.push(name.to_owned());
            }
        }
        Self(tags)
    }

    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the tag itself is among them.
    #[must_use]
    pub fn has(&self, tag: Tag) -> bool {
        self.iter().any(|name| name == tag.name())
    }

    /// Whether the tag, or one that includes it, is among them.
    #[must_use]
    pub fn permit(&self, tag: Tag) -> bool {
        self.has(tag) || tag.included_in().iter().any(|tag| self.has(*tag))
    }
}

/// How much of the broker one user may use; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections at a time.
    pub connections_max: Option<u32>,
    /// Channels at a time, in all connections.
    pub channels_max: Option<u32>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, case-sensitive.
    pub name: String,
    /// What a password is compared with.
    pub password: PasswordHash,
    /// What it may administrate.
    pub tags: Tags,
    /// How much it may use.
    pub limits: UserLimits,
}

/// Whether this can be the name of something.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), AccessError> {
    if name.is_empty() || name.len() > ACCESS_NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(AccessError::BadName { what, max: ACCESS_NAME_BYTES_MAX });
    }
    Ok(())
}
