//! [`Record`]: users, virtual hosts and permissions as the keys and values in which a store keeps them.
//!
//! Keys sort before those of exchanges, queues and bindings, and virtual hosts before what is in them. Values are JSON with the
//! version of its form, which an operator can read.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::password::PasswordHash;
use super::{Parameter, Permissions, Tags, TopicPermissions, User, UserLimits, VHostLimits, VHostSettings};

// Below all keys of `engine::definitions`, which has its own from 0x08 on.
const GLOBAL_PARAMETER: u8 = 0x01;
const VHOST: u8 = 0x02;
const PARAMETER: u8 = 0x03;
const USER: u8 = 0x04;
const PERMISSIONS: u8 = 0x06;
const TOPIC_PERMISSIONS: u8 = 0x07;

/// Changes when a value means something that a reader of the version before would miss.
const VERSION: u32 = 1;

/// Whether a store's key is that of a record here.
#[must_use]
pub fn is_key(key: &[u8]) -> bool {
    let kinds = [GLOBAL_PARAMETER, VHOST, PARAMETER, USER, PERMISSIONS, TOPIC_PERMISSIONS];
    key.first().is_some_and(|kind| kinds.contains(kind))
}

/// One thing to write: the value that now belongs to the key, or none if the key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub key: Vec<u8>,
    /// What it is from now on; `None` if it is no more.
    pub value: Option<Vec<u8>>,
}

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A virtual host.
    VHost(String, VHostSettings),
    /// A user.
    User(User),
    /// What a user may do in a virtual host.
    Permissions {
        /// Where.
        vhost: String,
        /// Who.
        user: String,
        /// What.
        permissions: Permissions,
    },
    /// Which routing keys of an exchange a user may use.
    TopicPermissions {
        /// Where.
        vhost: String,
        /// Who.
        user: String,
        /// Of which exchange.
        exchange: String,
        /// Which keys.
        permissions: TopicPermissions,
    },
    /// A parameter of a virtual host.
    Parameter(Parameter),
    /// A parameter of the whole broker: its name, and what it is.
    GlobalParameter(String, Value),
}

impl Record {
    /// The key under which it is kept.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::VHost(name, _) => vhost_key(name),
            Self::User(user) => user_key(&user.name),
            Self::Permissions { vhost, user, .. } => permissions_key(vhost, user),
            Self::TopicPermissions { vhost, user, exchange, .. } => topic_key(vhost, user, exchange),
            Self::Parameter(Parameter { vhost, component, name, .. }) => {
                parameter_key(vhost, component, name)
            }
            Self::GlobalParameter(name, _) => global_parameter_key(name),
        }
    }

    /// The value that is kept.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let versioned = Versioned { version: VERSION, stored: Stored::of(self) };
        serde_json::to_vec(&versioned).expect("texts, numbers and truth values are always JSON")
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong, if the value is not one that this version writes, or belongs to another key.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let VersionOnly { version } = json(value)?;
        if version != VERSION {
            return Err(format!("version {version} of its form is not known here, only {VERSION}"));
        }
        let record = json::<Stored<'_>>(value)?.into_record()?;
        if record.key() != key {
            return Err(format!("its value is that of {record}"));
        }
        Ok(record)
    }

    /// To be written.
    pub(super) fn change(&self) -> Change {
        Change { key: self.key(), value: Some(self.value()) }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VHost(name, _) => write!(f, "vhost '{name}'"),
            Self::User(user) => write!(f, "user '{}'", user.name),
            Self::Permissions { vhost, user, .. } => {
                write!(f, "the permissions of user '{user}' in vhost '{vhost}'")
            }
            Self::TopicPermissions { vhost, user, exchange, .. } => write!(
                f,
                "the topic permissions of user '{user}' for exchange '{exchange}' in vhost '{vhost}'"
            ),
            Self::Parameter(Parameter { vhost, component, name, .. }) => {
                write!(f, "the parameter '{name}' of {component} in vhost '{vhost}'")
            }
            Self::GlobalParameter(name, _) => write!(f, "the global parameter '{name}'"),
        }
    }
}

pub(super) fn vhost_key(name: &str) -> Vec<u8> {
    key(VHOST, &[name])
}

pub(super) fn user_key(name: &str) -> Vec<u8> {
    key(USER, &[name])
}

pub(super) fn permissions_key(vhost: &str, user: &str) -> Vec<u8> {
    key(PERMISSIONS, &[vhost, user])
}

pub(super) fn topic_key(vhost: &str, user: &str, exchange: &str) -> Vec<u8> {
    key(TOPIC_PERMISSIONS, &[vhost, user, exchange])
}

pub(super) fn parameter_key(vhost: &str, component: &str, name: &str) -> Vec<u8> {
    key(PARAMETER, &[vhost, component, name])
}

pub(super) fn global_parameter_key(name: &str) -> Vec<u8> {
    key(GLOBAL_PARAMETER, &[name])
}

/// Names with their lengths in front: they may contain any character, so none can separate them.
fn key(kind: u8, names: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for name in names {
        let length = u32::try_from(name.len()).expect("names are bounded where they are given");
        key.extend(length.to_be_bytes());
        key.extend(name.as_bytes());
    }
    key
}

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    stored: Stored<'a>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Stored<'a> {
    Vhost {
        name: Cow<'a, str>,
        description: Cow<'a, str>,
        tags: Vec<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_queue_type: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_connections: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_queues: Option<u32>,
        protected_from_deletion: bool,
    },
    User {
        name: Cow<'a, str>,
        hashing_algorithm: Cow<'a, str>,
        password_hash: Cow<'a, str>,
        tags: Vec<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_connections: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_channels: Option<u32>,
    },
    Permissions {
        vhost: Cow<'a, str>,
        user: Cow<'a, str>,
        configure: Cow<'a, str>,
        write: Cow<'a, str>,
        read: Cow<'a, str>,
    },
    TopicPermissions {
        vhost: Cow<'a, str>,
        user: Cow<'a, str>,
        exchange: Cow<'a, str>,
        write: Cow<'a, str>,
        read: Cow<'a, str>,
    },
    Parameter {
        vhost: Cow<'a, str>,
        component: Cow<'a, str>,
        name: Cow<'a, str>,
        value: Cow<'a, Value>,
    },
    GlobalParameter {
        name: Cow<'a, str>,
        value: Cow<'a, Value>,
    },
}

impl<'a> Stored<'a> {
    fn of(record: &'a Record) -> Self {
        match record {
            Record::VHost(name, settings) => Self::Vhost {
                name: name.into(),
                description: (&settings.description).into(),
                tags: settings.tags.iter().map(Cow::from).collect(),
                default_queue_type: settings.default_queue_type.as_deref().map(Cow::from),
                max_connections: settings.limits.connections_max,
                max_queues: settings.limits.queues_max,
                protected_from_deletion: settings.protected_from_deletion,
            },
            Record::User(user) => Self::User {
                name: (&user.name).into(),
                hashing_algorithm: user.password.algorithm().into(),
                password_hash: user.password.text().into(),
                tags: user.tags.iter().map(Cow::from).collect(),
                max_connections: user.limits.connections_max,
                max_channels: user.limits.channels_max,
            },
            Record::Permissions { vhost, user, permissions } => Self::Permissions {
                vhost: vhost.into(),
                user: user.into(),
                configure: permissions.configure.as_str().into(),
                write: permissions.write.as_str().into(),
                read: permissions.read.as_str().into(),
            },
            Record::TopicPermissions { vhost, user, exchange, permissions } => Self::TopicPermissions {
                vhost: vhost.into(),
                user: user.into(),
                exchange: exchange.into(),
                write: permissions.write().into(),
                read: permissions.read().into(),
            },
            Record::Parameter(Parameter { vhost, component, name, value }) => Self::Parameter {
                vhost: vhost.into(),
                component: component.into(),
                name: name.into(),
                value: Cow::Borrowed(value),
            },
            Record::GlobalParameter(name, value) => {
                Self::GlobalParameter { name: name.into(), value: Cow::Borrowed(value) }
            }
        }
    }

    fn into_record(self) -> Result<Record, String> {
        Ok(match self {
            Self::Vhost {
                name,
                description,
                tags,
                default_queue_type,
                max_connections,
                max_queues,
                protected_from_deletion,
            } => Record::VHost(
                name.into_owned(),
                VHostSettings {
                    description: description.into_owned(),
                    tags: Tags::new(tags),
                    default_queue_type: default_queue_type.map(Cow::into_owned),
                    limits: VHostLimits { connections_max: max_connections, queues_max: max_queues },
                    protected_from_deletion,
                },
            ),
            Self::User { name, hashing_algorithm, password_hash, tags, max_connections, max_channels } => {
                Record::User(User {
                    name: name.into_owned(),
                    password: PasswordHash::parse(&hashing_algorithm, &password_hash)
                        .map_err(|error| error.to_string())?,
                    tags: Tags::new(tags),
                    limits: UserLimits { connections_max: max_connections, channels_max: max_channels },
                })
            }
            Self::Permissions { vhost, user, configure, write, read } => Record::Permissions {
                vhost: vhost.into_owned(),
                user: user.into_owned(),
                permissions: Permissions::new(&configure, &write, &read)
                    .map_err(|error| error.to_string())?,
            },
            Self::TopicPermissions { vhost, user, exchange, write, read } => Record::TopicPermissions {
                vhost: vhost.into_owned(),
                user: user.into_owned(),
                exchange: exchange.into_owned(),
                permissions: TopicPermissions::new(&write, &read).map_err(|error| error.to_string())?,
            },
            Self::Parameter { vhost, component, name, value } => Record::Parameter(Parameter {
                vhost: vhost.into_owned(),
                component: component.into_owned(),
                name: name.into_owned(),
                value: value.into_owned(),
            }),
            Self::GlobalParameter { name, value } => {
                Record::GlobalParameter(name.into_owned(), value.into_owned())
            }
        })
    }
}

fn json<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}
