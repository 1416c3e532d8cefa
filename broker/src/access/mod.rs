//! Who exists and what they may do: users, virtual hosts, permissions, passwords, and how all that is kept.
//!
//! Pure like the engine: no locks, clock, threads or chance; salts and times come in as parameters. It decides, and hands out
//! what is to be kept; `server::access` guards it, asks it, and acts on changes.

pub mod directory;
mod error;
mod parameters;
pub mod password;
mod pattern;
mod permissions;
mod record;
pub mod required;
mod scopes;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod user;
mod vhost;

pub use directory::{Directory, Rights};
pub use error::AccessError;
pub use parameters::{CLUSTER_NAME, Parameter};
pub use pattern::Pattern;
pub use permissions::{Grant, Permission, Permissions, TopicContext, TopicPermissions};
pub use record::{Change, Record, is_key};
pub use scopes::Scopes;
pub use user::{Tag, Tags, User, UserLimits};
pub use vhost::{VHostLimits, VHostSettings};
