//! From credentials to an open vhost.
//!
//! A password takes some 20 ms to check, and a thread of the runtime serves thousands of connections: it is checked on another
//! thread, few at a time, while the connection waits. Without a runtime, in tests, it is checked at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::access::{UserLimits, VHostLimits};
use crate::error::AmqpError;
use crate::server::access::{LoginRefused, User};
use crate::server::admission::Place;
use crate::server::census::count;
use crate::server::executor::{Answer, Executor};
use crate::server::oauth::TokenRefused;
use crate::session::action::{ChannelId, Credentials, Mechanism, Reply};
use crate::session::login_refused;
use crate::stats::tally::SharedTally;

/// Whether a login is being checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginState {
    /// None is.
    Done,
    /// With this mechanism, for this user.
    Checking(Mechanism, String),
}

impl Executor {
    /// Whether a login is being checked: nothing of the peer is to be looked at until it is.
    pub(in crate::server) fn awaits_login(&self) -> bool {
        self.login != LoginState::Done
    }

    /// Checks credentials: answers at once, or later through the outbox.
    pub(super) fn authenticate(&mut self, credentials: Credentials) -> Answer {
        let Credentials { mechanism, username, password } = credentials;
        self.login = LoginState::Checking(mechanism, username.clone());
        let (shared, peer) = (self.shared.clone(), self.peer);
        if mechanism == Mechanism::External {
            let result = shared.access.login_with_certificate(&username, peer);
            return Some(self.end_login(result));
        }
        let now = Instant::now();
        let moment = (now, shared.clock.at(now));
        if let Some(result) = shared.access.login_with_token(&password, peer, moment) {
            return Some(self.end_login(result));
        }
        let at_once = shared.access.login_at_once(&username, &password, peer, Instant::now());
        let result = match (at_once, Handle::try_current()) {
            (Some(result), _) => result,
            (None, Err(_)) => shared.access.login(&username, &password, peer, Instant::now()),
            (None, Ok(runtime)) => {
                let outbox = Arc::downgrade(&self.outbox);
                runtime.spawn(async move {
                    let Ok(_slot) = shared.access.hashing_slots().acquire_owned().await else { return };
                    // Who has left meanwhile need not be checked.
                    if outbox.strong_count() == 0 {
                        return;
                    }
                    let check = move || shared.access.login(&username, &password, peer, Instant::now());
                    let checked = tokio::task::spawn_blocking(check).await;
                    if let Some(outbox) = outbox.upgrade() {
                        // The error says that the check has failed for a fault of ours.
                        outbox.push_login(checked.unwrap_or(Err(LoginRefused::BadCredentials)));
                    }
                });
                return None;
            }
        };
        Some(self.end_login(result))
    }

    /// Takes the result of a check.
    pub(in crate::server) fn end_login(
        &mut self,
        result: Result<User, LoginRefused>,
    ) -> Result<Reply, AmqpError> {
        let state = std::mem::replace(&mut self.login, LoginState::Done);
        let LoginState::Checking(mechanism, username) = state else {
            return Err(AmqpError::internal_error("no login is being checked"));
        };
        match result {
            Ok(user) => {
                self.tell_login(mechanism, &user.name, None);
                self.token_deadline = self.deadline_of(&user);
                self.user = Some(user);
                self.mechanism = mechanism.name();
                Ok(Reply::Authenticated)
            }
            Err(reason) => {
                self.tell_login(mechanism, &username, Some(&reason.to_string()));
                let mechanism = mechanism.name();
                tracing::warn!(peer = %self.peer, user = ?username, mechanism, %reason, "login refused");
                Err(login_refused(mechanism))
            }
        }
    }

    /// When the token of this user is no longer good.
    fn deadline_of(&self, user: &User) -> Option<Instant> {
        let expires_ms = user.token.as_ref()?.expires_s.saturating_mul(1000);
        let now = Instant::now();
        let left = Duration::from_millis(expires_ms.saturating_sub(self.shared.clock.at(now)));
        // One that is good for longer than time can be told is good for as long as the connection.
        now.checked_add(left)
    }

    /// When the connection has to end because its token does.
    pub(in crate::server) fn token_deadline(&self) -> Option<Instant> {
        self.token_deadline
    }

    /// Says that the token has expired, once, when it has.
    pub(in crate::server) fn end_token(&mut self, now: Instant) -> Option<AmqpError> {
        self.token_deadline.take_if(|deadline| *deadline <= now)?;
        let expires_s = self.user.as_ref()?.token.as_ref()?.expires_s;
        Some(AmqpError::access_refused(TokenRefused::Expired(expires_s).to_string()))
    }

    /// Another token for the same user. Who has logged in with a password has nothing to refresh, and is told ok as by RabbitMQ.
    pub(super) fn update_secret(&mut self, secret: &[u8]) -> Result<Reply, AmqpError> {
        let Some(User { name, token: Some(_), .. }) = &self.user else { return Ok(Reply::SecretUpdated) };
        let now = Instant::now();
        let moment = (now, self.shared.clock.at(now));
        let reason = match self.shared.access.login_with_token(secret, self.peer, moment) {
            Some(Ok(user)) if user.name == *name => {
                self.token_deadline = self.deadline_of(&user);
                self.user = Some(user);
                self.look_up_rights();
                return Ok(Reply::SecretUpdated);
            }
            Some(Ok(_)) => "it is a token of another user".to_owned(),
            Some(Err(reason)) => reason.to_string(),
            None => TokenRefused::Malformed.to_string(),
        };
        tracing::warn!(peer = %self.peer, user = name, reason, "a new token was refused");
        Err(AmqpError::not_allowed("New secret was refused by one of the backends"))
    }

    /// Opens a vhost, if the user may enter it and neither has too many connections.
    pub(super) fn open_vhost(&mut self, name: &str) -> Result<Reply, AmqpError> {
        if let Some(refusal) = self.place.as_ref().and_then(Place::refusal) {
            return Err(refusal.clone());
        }
        let (Some(vhost), Some(user)) = (self.shared.vhost(name), self.user.clone()) else {
            return Err(AmqpError::not_allowed(format!("vhost {name} not found")));
        };
        let limits = self.limits_of(&user, name);
        // Entered before the rights are looked up: who takes them away first changes them and then looks for connections.
        self.shared.sessions.enter(self.connection, (&user.name, name), limits, &self.outbox)?;
        // One of the same name may have taken its place.
        let is_current = self.shared.vhost(name).is_some_and(|current| Arc::ptr_eq(&current, &vhost));
        self.vhost = Some(vhost);
        self.look_up_rights();
        if !is_current || !self.rights.open_vhost() {
            self.vhost = None;
            self.shared.sessions.leave(self.connection);
            let user = &user.name;
            return Err(AmqpError::not_allowed(format!(
                "access to vhost '{name}' refused for user '{user}'"
            )));
        }
        Ok(Reply::VhostOpened)
    }

    /// Counts a channel, and lets it be opened if the user may have one more.
    pub(super) fn open_channel(
        &self,
        channel: ChannelId,
        tally: Arc<SharedTally>,
    ) -> Result<Reply, AmqpError> {
        self.shared.sessions.open_channel(self.connection, self.rights.limits())?;
        count(&self.shared.census.churn.channels_created);
        self.traffic.channels.open(channel, tally);
        self.tell_channel_opened(channel);
        Ok(Reply::ChannelOpened)
    }

    fn limits_of(&self, user: &User, vhost: &str) -> (UserLimits, VHostLimits) {
        self.shared.access.read(|directory| {
            let known = directory.user(&user.name).filter(|_| user.token.is_none());
            let user = known.map(|user| user.limits);
            let vhost = directory.vhost(vhost).map(|settings| settings.limits);
            (user.unwrap_or_default(), vhost.unwrap_or_default())
        })
    }
}
