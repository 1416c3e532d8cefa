//! `AccessControl`: who may connect and what they may do, shared by all connections of a broker.
//!
//! What there is to decide is in [`crate::access`]; here are the locks, the store and the clock around it. Connections keep the
//! rights they have looked up and compare one number, `AccessControl::generation`, to notice that there may be others.

mod failures;
mod known;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use crate::access::password::{Hashing, PasswordHash};
use crate::access::{self, AccessError, Change, Directory, Rights, Tag, VHostSettings};
use crate::config::Auth;
use crate::server::oauth::{OAuth, Token, TokenRefused};
use crate::server::random::random_bytes;
use crate::store::Store;

use failures::Failures;
use known::KnownLogins;

/// Passwords that are hashed at a time: each needs a core and 7 MiB, and brokers have other work.
const HASHED_AT_A_TIME: usize = 2;

/// What of the configuration concerns access.
#[derive(Debug)]
struct AccessSettings {
    /// Users who may log in over loopback only.
    loopback_only: Vec<String>,
    /// How long a refused login is kept waiting for its answer.
    failure_delay: Duration,
}

impl From<&Auth> for AccessSettings {
    fn from(auth: &Auth) -> Self {
        Self { loopback_only: auth.loopback_only.clone(), failure_delay: auth.failure_delay }
    }
}

/// A user who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// May set any `user_id` on messages.
    pub impersonator: bool,
    /// What it has shown in place of a password: then it is in no directory.
    pub(super) token: Option<Arc<Token>>,
}

impl User {
    pub(super) fn of(user: &access::User) -> Self {
        Self { name: user.name.clone(), impersonator: user.tags.has(Tag::Impersonator), token: None }
    }
}

/// Why a login was refused.
///
/// For the log only. The peer is told the same in every case, as by RabbitMQ: it might be guessing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown user or wrong password.
    #[error("wrong user name or password")]
    BadCredentials,
    /// A user who may not came from another machine.
    #[error(
        "user {user:?} can only connect via localhost; to let it in from elsewhere, give it a password of its own and take it out \
         of auth.loopback_only"
    )]
    NotLoopback {
        /// Who.
        user: String,
    },
    /// A token that is not accepted.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// There is no user of the name that the certificate has.
    #[error(
        "there is no user of the name that the client's certificate has; add one, or let tls.login_from say where the name is"
    )]
    UnknownCertificate,
    /// There were too many refused logins from this address.
    #[error(
        "too many refused logins from this address within a minute (auth.failures_per_minute_max); only who has logged in before is \
         let in until it is over"
    )]
    TooManyFailures,
}

/// The users, virtual hosts and permissions of a running broker.
#[derive(Debug)]
pub(super) struct AccessControl {
    directory: RwLock<Directory>,
    /// Mirrors the directory's, to be read without its lock.
    generation: AtomicU64,
    store: Arc<dyn Store>,
    settings: RwLock<AccessSettings>,
    /// How new passwords are hashed.
    hashing: Hashing,
    oauth: OAuth,
    known: KnownLogins,
    failures: Mutex<Failures>,
    /// Compared with when there is no such user, so that the answer takes as long.
    nobody: PasswordHash,
    /// Room for those who hash passwords.
    hashing_slots: Arc<Semaphore>,
}

impl AccessControl {
    /// Access by what is in `directory`, which keeps in `store` what changes, and what has changed already.
    pub(super) fn new(directory: Directory, store: Arc<dyn Store>, auth: &Auth, hashing: Hashing) -> Self {
        let failures = Mutex::new(Failures::new(auth.failures_per_minute_max));
        let nobody = PasswordHash::unmatched(hashing);
        let access = Self {
            directory: RwLock::new(directory),
            generation: AtomicU64::new(0),
            store,
            settings: RwLock::new(AccessSettings::from(auth)),
            hashing,
            oauth: OAuth::new(None),
            known: KnownLogins::new(random_bytes()),
            failures,
            nobody,
            hashing_slots: Arc::new(Semaphore::new(HASHED_AT_A_TIME)),
        };
        access.change(|_| ());
        access
    }

    /// Other settings, for logins from now on.
    pub(super) fn set_settings(&self, auth: &Auth) {
        *self.settings.write() = AccessSettings::from(auth);
        self.failures.lock().set_max(auth.failures_per_minute_max);
    }

    /// How long a refused login is kept waiting for its answer.
    pub(super) fn failure_delay(&self) -> Duration {
        self.settings.read().failure_delay
    }

    /// Changes whenever anybody's rights may have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks, without changing anything.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.directory.read())
    }

    /// Changes something. What of it is kept is in the store's hands, in one commit, before anybody else can see it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let _round = self.store.round();
        let mut directory = self.directory.write();
        let result = change(&mut directory);
        for Change { key, value } in directory.take_changes() {
            self.store.define(key, value);
        }
        self.generation.store(directory.generation(), Ordering::Release);
        result
    }

    /// What the cluster is to be called, if that was said.
    pub(super) fn cluster_name(&self) -> Option<String> {
        self.read(|directory| directory.cluster_name().map(str::to_owned))
    }

    /// Writes a change that was held back, see [`Directory::delete_vhost`].
    pub(super) fn write_late(&self, Change { key, value }: Change) {
        let _round = self.store.round();
        self.store.define(key, value);
    }

    /// What a user may do in a virtual host, with the generation that it belongs to or is newer than.
    pub(super) fn rights(&self, user: &str, vhost: &str) -> (u64, Option<Rights>) {
        let generation = self.generation();
        (generation, self.read(|directory| directory.rights(user, vhost)))
    }

    /// The settings of a virtual host.
    pub(super) fn vhost(&self, name: &str) -> Option<Arc<VHostSettings>> {
        self.read(|directory| directory.vhost(name).cloned())
    }

    /// Hashes a new password. Slow: see [`PasswordHash::new`].
    pub(super) fn hash(&self, password: &[u8]) -> Result<PasswordHash, AccessError> {
        PasswordHash::new(password, self.hashing, random_bytes())
    }

    /// Waits until a password may be hashed, and makes others wait while what is returned lives.
    pub(super) fn hashing_slots(&self) -> Arc<Semaphore> {
        self.hashing_slots.clone()
    }

    /// Forgets that a user has logged in, when its password is no longer good.
    pub(super) fn forget_login(&self, user: &str) {
        self.known.forget(user);
    }

    /// What can be said of a login without hashing the password: who has logged in before is let in again, and who comes from where
    /// too many were refused is not.
    pub(super) fn login_at_once(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
        now: Instant,
    ) -> Option<Result<User, LoginRefused>> {
        let user = self.read(|directory| directory.user(name).cloned());
        if let Some(user) = &user
            && self.known.is(user, password)
        {
            return Some(self.admit(user, peer));
        }
        self.failures.lock().are_too_many(peer, now).then_some(Err(LoginRefused::TooManyFailures))
    }

    /// Checks a password that came from `peer`. Slow, see [`PasswordHash::verify`]: not to be called where others wait.
    pub(super) fn login(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
        now: Instant,
    ) -> Result<User, LoginRefused> {
        if let Some(result) = self.login_at_once(name, password, peer, now) {
            return result;
        }
        let user = self.read(|directory| directory.user(name).cloned());
        let is_right = user.as_ref().map_or(&self.nobody, |user| &user.password).verify(password);
        let Some(user) = user.filter(|_| is_right) else {
            self.failures.lock().note(peer, now);
            return Err(LoginRefused::BadCredentials);
        };
        let admitted = self.admit(&user, peer)?;
        if user.password.is_outdated(self.hashing) {
            self.renew_hash(&user, password);
        } else {
            self.known.note(&user, password);
        }
        Ok(admitted)
    }

    /// What tokens are judged by.
    pub(super) fn oauth(&self) -> &OAuth {
        &self.oauth
    }

    /// Lets in who shows a token in place of a password; nothing if it is a password. `now_ms` is since 1970.
    pub(super) fn login_with_token(
        &self,
        password: &[u8],
        peer: IpAddr,
        (now, now_ms): (Instant, u64),
    ) -> Option<Result<User, LoginRefused>> {
        let judged = self.oauth.judge(password, now_ms)?;
        if self.failures.lock().are_too_many(peer, now) {
            return Some(Err(LoginRefused::TooManyFailures));
        }
        let Token { name, scopes, .. } = match &judged {
            Ok(token) => token,
            Err(reason) => {
                self.failures.lock().note(peer, now);
                return Some(Err(LoginRefused::Token(reason.clone())));
            }
        };
        let (name, impersonator) = (name.clone(), scopes.tags().has(Tag::Impersonator));
        let allowed = self.check_address(&name, peer);
        let token = judged.ok().map(Arc::new);
        Some(allowed.map(|()| User { name, impersonator, token }))
    }

    /// Lets in whom a verified certificate names, from `peer`.
    pub(super) fn login_with_certificate(&self, name: &str, peer: IpAddr) -> Result<User, LoginRefused> {
        let user = self.read(|directory| directory.user(name).cloned());
        user.map_or(Err(LoginRefused::UnknownCertificate), |user| self.admit(&user, peer))
    }

    /// A user with the right password; from here?
    fn admit(&self, user: &access::User, peer: IpAddr) -> Result<User, LoginRefused> {
        self.check_address(&user.name, peer)?;
        Ok(User::of(user))
    }

    fn check_address(&self, user: &str, peer: IpAddr) -> Result<(), LoginRefused> {
        // An IPv4 peer of a socket bound to [::] arrives as ::ffff:127.0.0.1.
        let is_local = peer.to_canonical().is_loopback();
        if !is_local && self.settings.read().loopback_only.iter().any(|one| one == user) {
            return Err(LoginRefused::NotLoopback { user: user.to_owned() });
        }
        Ok(())
    }

    /// Hashes a password as new ones are, unless it was changed meanwhile.
    fn renew_hash(&self, user: &access::User, password: &[u8]) {
        let Ok(hash) = self.hash(password) else { return };
        let renewed = self.change(|directory| {
            let is_unchanged = directory.user(&user.name).is_some_and(|now| now.password == user.password);
            is_unchanged && directory.set_password(&user.name, hash).is_ok()
        });
        if renewed {
            tracing::info!(
                user = user.name,
                "the password's hash was renewed with {}",
                access::password::ARGON2ID
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
