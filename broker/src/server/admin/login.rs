//! [`Login`]: who asks something of the API, by a password or by a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Admin;
use crate::access::{self, Tag, Tags};
use crate::server::access::{LoginRefused, User};

/// Somebody who has proved who they are.
#[derive(Debug, Clone)]
pub struct Login {
    pub(super) user: User,
    tags: Tags,
}

impl Login {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.user.name
    }

    /// Which parts of the API are open to it.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// How long its token is still good; nothing if it has none.
    #[must_use]
    pub fn ends_in(&self, admin: &Admin) -> Option<Duration> {
        let expires_ms = self.user.token.as_ref()?.expires_s.saturating_mul(1000);
        Some(Duration::from_millis(expires_ms.saturating_sub(admin.now_ms())))
    }

    /// Whether it would have a tag if it logged in now: until its token ends, or by what its user has.
    #[must_use]
    pub fn still_has(&self, admin: &Admin, tag: Tag) -> bool {
        match self.ends_in(admin) {
            Some(left) => !left.is_zero() && self.tags.permit(tag),
            None => admin.user(&self.user.name).is_some_and(|user| user.tags.permit(tag)),
        }
    }

    /// Whether it has permissions in a virtual host.
    #[must_use]
    pub fn may_enter(&self, admin: &Admin, vhost: &str) -> bool {
        match &self.user.token {
            Some(token) => token.scopes.enter(vhost),
            None => admin.may_enter(&self.user.name, vhost),
        }
    }
}

impl From<Arc<access::User>> for Login {
    fn from(user: Arc<access::User>) -> Self {
        Self { user: User::of(&user), tags: user.tags.clone() }
    }
}

impl Admin {
    /// Lets in who shows a token, from `peer`; nothing if it is a password, or tokens are switched off.
    ///
    /// # Errors
    ///
    /// Why not, for the log; whoever asked is only to be told that it was refused.
    pub(crate) fn authenticate_with_token(
        &self,
        token: &[u8],
        peer: IpAddr,
    ) -> Option<Result<Login, LoginRefused>> {
        let now = Instant::now();
        let judged = self.shared.access.login_with_token(token, peer, (now, self.shared.clock.at(now)))?;
        Some(judged.map(|user| {
            let tags = user.token.as_ref().map(|token| token.scopes.tags().clone()).unwrap_or_default();
            Login { user, tags }
        }))
    }
}
