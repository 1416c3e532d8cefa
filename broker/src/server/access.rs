//! Who may connect, and what they may do: the one place where permission is asked.
//!
//! Users and permissions are settings in this version: one user with all rights. Every action passes through
//! [`check`], so that rights by regular expression change this file and no other.

use std::net::IpAddr;

use subtle::ConstantTimeEq;

use crate::error::AmqpError;
use crate::session::action::Credentials;

/// A user who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// May set any `user_id` on messages.
    pub impersonator: bool,
}

/// The users that exist.
#[derive(Debug, Clone)]
pub struct Users {
    name: String,
    password: Vec<u8>,
    loopback_only: bool,
}

/// Why a login was refused.
///
/// For the log only. The peer is told the same in every case, as by RabbitMQ: it might be guessing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown user or wrong password.
    #[error("wrong user name or password")]
    BadCredentials,
    /// The default user came from another machine.
    #[error(
        "user {user:?} can only connect via localhost; to let it in from elsewhere, give it a password of its own and set \
         auth.loopback_only to false"
    )]
    NotLoopback {
        /// Who.
        user: String,
    },
}

impl Users {
    /// One user, who may do everything.
    #[must_use]
    pub fn single(name: &str, password: &str, loopback_only: bool) -> Self {
        Self { name: name.to_owned(), password: password.as_bytes().to_vec(), loopback_only }
    }

    /// Checks credentials that came from `peer`.
    ///
    /// # Errors
    ///
    /// [`LoginRefused`]; the session turns it into RabbitMQ's text for the mechanism.
    pub fn login(&self, credentials: &Credentials, peer: IpAddr) -> Result<User, LoginRefused> {
        // Both compared in full, so that the time taken tells nothing of where the difference is.
        let known = credentials.username.as_bytes().ct_eq(self.name.as_bytes());
        let right = credentials.password.ct_eq(&self.password);
        if !bool::from(known & right) {
            return Err(LoginRefused::BadCredentials);
        }
        // An IPv4 peer of a socket bound to [::] arrives as ::ffff:127.0.0.1.
        if self.loopback_only && !peer.to_canonical().is_loopback() {
            return Err(LoginRefused::NotLoopback { user: credentials.username.clone() });
        }
        Ok(User { name: credentials.username.clone(), impersonator: false })
    }
}

/// RabbitMQ's three kinds of permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Create and delete.
    Configure,
    /// Publish, bind to.
    Write,
    /// Consume, get, purge, bind from.
    Read,
}

/// What a permission is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A queue by name.
    Queue(&'a str),
    /// An exchange by name; the default exchange is asked for as `amq.default`.
    Exchange(&'a str),
}

/// Whether `user` may do this in `vhost`.
///
/// # Errors
///
/// 403 `ACCESS_REFUSED` with RabbitMQ's text, once there are users with fewer rights than all.
pub fn check(
    _user: &User,
    _vhost: &str,
    _permission: Permission,
    _resource: Resource<'_>,
) -> Result<(), AmqpError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::action::Mechanism;

    fn login(users: &Users, name: &str, password: &str, peer: &str) -> Result<User, LoginRefused> {
        let credentials = Credentials {
            mechanism: Mechanism::Plain,
            username: name.to_owned(),
            password: password.as_bytes().to_vec(),
        };
        users.login(&credentials, peer.parse().expect("an address"))
    }

    #[test]
    fn guest_logs_in_from_loopback_only() {
        let users = Users::single("guest", "guest", true);
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(login(&users, "guest", "guest", peer).is_ok(), "{peer}");
        }
        let refused = Err(LoginRefused::NotLoopback { user: "guest".to_owned() });
        for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1"] {
            assert_eq!(login(&users, "guest", "guest", peer), refused, "{peer}");
        }
        assert!(login(&Users::single("guest", "guest", false), "guest", "guest", "10.0.0.1").is_ok());
    }

    #[test]
    fn wrong_credentials_are_refused_alike() {
        let users = Users::single("guest", "guest", true);
        for (name, password) in
            [("guest", "gues"), ("guest", "guestt"), ("guest", ""), ("Guest", "guest"), ("", "")]
        {
            assert_eq!(
                login(&users, name, password, "127.0.0.1"),
                Err(LoginRefused::BadCredentials),
                "{name}:{password}"
            );
        }
    }
}
