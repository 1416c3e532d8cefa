//! [`Admin`]: what an operator does to a running broker, as a library. The command line and the HTTP API call it.
//!
//! Every change is in the store's hands when a method returns, and holds for connections that are already open: what a user is
//! permitted is judged anew from the next method on, and who is deleted is disconnected.

mod actor;
mod browse;
mod chosen;
mod connections;
mod definitions;
mod filter;
mod login;
mod measures;
mod node;
mod overview;
mod parameters;
mod policies;
mod queues;
mod stage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod topology;
mod unacked;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::access::password::PasswordHash;
use crate::access::{
    AccessError, Grant, Permissions, Tags, TopicPermissions, User, UserLimits, VHostLimits, VHostSettings,
};
use crate::server::Broker;
use crate::server::shared::Shared;

pub use crate::engine::queue::{MessageId, NoMessageId};
pub use crate::server::access::LoginRefused;
pub use crate::server::backups::{BackupOrder, BackupState, BackupView};
pub(crate) use crate::server::events::NODE;
pub use crate::server::events::listeners::{EventListener, Heard, ToldEvent};
pub use crate::server::sessions::Used;
pub use crate::server::tls::{CertificateFile, PeerCertificate, TlsDetails};
pub use actor::{Actor, GotMessage, NewMessage, Published, Requeue};
pub use browse::{BROWSE_COUNT_MAX, Browse, BrowseFrom, BrowsedMessage, BrowsedMessages};
pub use chosen::{CHOSEN_COUNT_MAX, CHOSEN_IDS_MAX, Choice, ChosenDone, MoveTarget};
pub use connections::{ChannelView, ConnectionView, ConsumerView};
pub use definitions::{DefinedBinding, VHostDefinitions};
pub use filter::MessageFilter;
pub use login::Login;
pub use measures::{Measure, Windows};
pub(super) use overview::Facts;
pub use overview::{ListenerView, NodeView, OverviewView};
pub use queues::QueueView;
pub use stage::{Rehearsal, Stage};
pub use topology::{BindingView, EndKind, ExchangeView};
pub use unacked::{HeldSince, HolderView, UNACKED_COUNT_MAX, UnackedMessage, UnackedMessages, UnackedWanted};

/// A handle to a running broker. Cheap to clone; does not keep the broker from stopping.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use warren::access::{Permissions, Tags};
/// use warren::{Broker, Config};
///
/// let broker = Broker::start(Config::in_process()).await?;
/// let admin = broker.admin();
/// admin.add_user("alex", b"123", Tags::new(["administrator"]))?;
/// admin.set_permissions("alex", "/", Permissions::new(".*", ".*", ".*")?)?;
/// # broker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

/// What one user is permitted in one virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantView {
    /// Who.
    pub user: String,
    /// Where.
    pub vhost: String,
    /// What.
    pub grant: Arc<Grant>,
}

/// What a user proves itself with from now on.
#[derive(Clone)]
pub enum NewPassword {
    /// A password, to be hashed: takes about 20 ms.
    Plain(Vec<u8>),
    /// The hash of one, from somewhere else.
    Hash(PasswordHash),
    /// None: it cannot log in with a password.
    None,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(hidden)")
    }
}

impl Broker {
    /// A handle for administration.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.shared.clone())
    }
}

impl Admin {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Admin {
    /// The broker, to be kept by a thread of its own.
    pub(super) fn shared_arc(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The broker.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Users.
impl Admin {
    /// Adds a user, who is permitted nothing yet. Hashes the password: not to be called on a thread that others wait for.
    ///
    /// # Errors
    ///
    /// If there is one of this name, name or password are none, or there are too many.
    pub fn add_user(&self, name: &str, password: &[u8], tags: Tags) -> Result<(), AccessError> {
        if self.user(name).is_some() {
            return Err(AccessError::UserExists(name.to_owned()));
        }
        let password = self.shared.access.hash(password)?;
        let user = User { name: name.to_owned(), password, tags, limits: UserLimits::default() };
        self.shared.access.change(|directory| directory.add_user(user))
    }

    /// Adds a user, or gives the one of this name another password and other tags. Its permissions and limits stay.
    ///
    /// # Errors
    ///
    /// If name or password are none, or there are too many.
    pub fn put_user(&self, name: &str, password: NewPassword, tags: Tags) -> Result<(), AccessError> {
        let password = self.hash(password)?;
        self.shared.access.forget_login(name);
        self.shared.access.change(|directory| {
            let limits = directory.user(name).map(|user| user.limits).unwrap_or_default();
            directory.put_user(User { name: name.to_owned(), password, tags, limits })
        })
    }

    /// Gives a user another password. Its connections stay.
    ///
    /// # Errors
    ///
    /// If there is no such user, or the password is none.
    pub fn change_password(&self, name: &str, password: NewPassword) -> Result<(), AccessError> {
        let password = self.hash(password)?;
        self.shared.access.change(|directory| directory.set_password(name, password))?;
        self.shared.access.forget_login(name);
        Ok(())
    }

    fn hash(&self, password: NewPassword) -> Result<PasswordHash, AccessError> {
        match password {
            NewPassword::Plain(password) => self.shared.access.hash(&password),
            NewPassword::Hash(hash) => Ok(hash),
            NewPassword::None => Ok(PasswordHash::none()),
        }
    }

    /// Deletes a user with all its permissions, and closes its connections (320 `user 'x' was deleted`).
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.delete_user(name))?;
        self.shared.access.forget_login(name);
        let connections = self.shared.sessions.close_user(name, &format!("user '{name}' was deleted"));
        tracing::info!(user = name, connections, "user deleted");
        Ok(())
    }

    /// Gives a user other tags.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn set_user_tags(&self, name: &str, tags: Tags) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.set_user_tags(name, tags))
    }

    /// Gives a user other limits. They hold for what is opened from now on.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn set_user_limits(&self, name: &str, limits: UserLimits) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.set_user_limits(name, limits))
    }

    /// A user by name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.shared.access.read(|directory| directory.user(name).cloned())
    }

    /// All users, by name.
    #[must_use]
    pub fn users(&self) -> Vec<Arc<User>> {
        self.shared.access.read(|directory| directory.users().cloned().collect())
    }

    /// The users who have no permissions in any virtual host, by name.
    #[must_use]
    pub fn users_without_permissions(&self) -> Vec<Arc<User>> {
        self.shared.access.read(|directory| {
            let permitted: HashSet<&str> = directory
                .grants()
                .filter(|(_, _, grant)| grant.permissions.is_some())
                .map(|(user, _, _)| user)
                .collect();
            directory.users().filter(|user| !permitted.contains(user.name.as_str())).cloned().collect()
        })
    }

    /// What a user uses.
    #[must_use]
    pub fn user_usage(&self, name: &str) -> Used {
        self.shared.sessions.of_user(name)
    }

    /// Checks a password that came from `peer`, with all that holds for logins over AMQP. May hash the password: not to be called on a
    /// thread that others wait for.
    ///
    /// # Errors
    ///
    /// Why not, for the log; whoever asked is only to be told that it was refused.
    pub fn authenticate(&self, name: &str, password: &[u8], peer: IpAddr) -> Result<Arc<User>, LoginRefused> {
        let user = self.shared.access.login(name, password, peer, Instant::now())?;
        self.user(&user.name).ok_or(LoginRefused::BadCredentials)
    }

    /// What can be said of a login without hashing the password, if anything can: of who has logged in before, and of those who come
    /// from where too many were refused.
    pub(crate) fn authenticate_at_once(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Option<Result<Arc<User>, LoginRefused>> {
        let result = self.shared.access.login_at_once(name, password, peer, Instant::now())?;
        Some(result.and_then(|user| self.user(&user.name).ok_or(LoginRefused::BadCredentials)))
    }

    /// Room for those who hash passwords, to be held while [`Admin::authenticate`] is called.
    pub(crate) fn hashing_slots(&self) -> Arc<Semaphore> {
        self.shared.access.hashing_slots()
    }

    /// How long a refused login is to be kept waiting for its answer.
    pub(crate) fn login_failure_delay(&self) -> Duration {
        self.shared.access.failure_delay()
    }
}

/// Permissions.
impl Admin {
    /// Sets what a user may do in a virtual host.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.set_permissions(user, vhost, permissions))
    }

    /// Takes a user's permissions in a virtual host away. Its connections stay, and may do nothing there any more.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn clear_permissions(&self, user: &str, vhost: &str) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.clear_permissions(user, vhost))
    }

    /// Sets which routing keys of a topic exchange a user may use.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permissions: TopicPermissions,
    ) -> Result<(), AccessError> {
        self.shared
            .access
            .change(|directory| directory.set_topic_permissions(user, vhost, exchange, permissions))
    }

    /// Takes a user's topic permissions in a virtual host away: for one exchange, or for all.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.clear_topic_permissions(user, vhost, exchange))
    }

    /// Whether a user has permissions in a virtual host.
    #[must_use]
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        self.grant(user, vhost).is_some_and(|grant| grant.permissions.is_some())
    }

    /// What a user is granted in a virtual host, if anything.
    #[must_use]
    pub fn grant(&self, user: &str, vhost: &str) -> Option<Arc<Grant>> {
        self.shared.access.read(|directory| directory.rights(user, vhost)).and_then(|rights| rights.grant)
    }

    /// What all users are permitted, by user, then by virtual host.
    #[must_use]
    pub fn grants(&self) -> Vec<GrantView> {
        self.shared.access.read(|directory| {
            let view = |(user, vhost, grant): (&str, &str, &Arc<Grant>)| GrantView {
                user: user.to_owned(),
                vhost: vhost.to_owned(),
                grant: grant.clone(),
            };
            directory.grants().map(view).collect()
        })
    }
}

/// Virtual hosts.
impl Admin {
    /// Adds a virtual host, which nobody may enter yet.
    ///
    /// # Errors
    ///
    /// If there is one of this name, the name is none, the settings are wrong, or there are too many.
    pub fn add_vhost(&self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        let _one_at_a_time = self.shared.vhost_changes.lock();
        self.shared.access.change(|directory| directory.add_vhost(name, settings))?;
        self.shared.add_vhost(name);
        Ok(())
    }

    /// Deletes a virtual host with everything in it, and closes its connections (320 `vhost 'x' is deleted`). Takes time with the
    /// number of its queues: not to be called on a thread that others wait for.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, or it is protected from deletion.
    pub fn delete_vhost(&self, name: &str) -> Result<(), AccessError> {
        let _one_at_a_time = self.shared.vhost_changes.lock();
        // Nobody can enter it from here on. What was kept of the vhost itself goes last.
        let last = self.shared.access.change(|directory| directory.delete_vhost(name))?;
        let vhost = self.shared.remove_vhost(name);
        let connections = self.shared.sessions.close_vhost(name, &format!("vhost '{name}' is deleted"));
        if let Some(vhost) = vhost {
            vhost.delete();
        }
        self.shared.access.write_late(last);
        self.shared.check_memory();
        tracing::info!(vhost = name, connections, "vhost deleted");
        Ok(())
    }

    /// Gives a virtual host other settings.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, or the settings are wrong.
    pub fn set_vhost(&self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.set_vhost(name, settings))
    }

    /// Gives a virtual host other limits. They hold for what is opened or declared from now on.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host.
    pub fn set_vhost_limits(&self, name: &str, limits: VHostLimits) -> Result<(), AccessError> {
        self.shared.access.change(|directory| directory.set_vhost_limits(name, limits))
    }

    /// A virtual host's settings.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<Arc<VHostSettings>> {
        self.shared.access.vhost(name)
    }

    /// All virtual hosts with their settings, by name.
    #[must_use]
    pub fn vhosts(&self) -> Vec<(String, Arc<VHostSettings>)> {
        self.shared.access.read(|directory| {
            directory.vhosts().map(|(name, settings)| (name.to_owned(), settings.clone())).collect()
        })
    }

    /// What is used of a virtual host.
    #[must_use]
    pub fn vhost_usage(&self, name: &str) -> Used {
        self.shared.sessions.of_vhost(name)
    }
}
