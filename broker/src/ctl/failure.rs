//! [`Failure`]: why a command did not work, and the exit code that scripts look at.
//!
//! The codes are those of `sysexits.h`, as `rabbitmqctl` uses them.

use std::fmt;

/// The command line cannot be understood.
pub(super) const USAGE: u8 = 64;
/// What was given is wrong: a file, a password, a definition.
pub(super) const DATA: u8 = 65;
/// There is no such user.
pub(super) const NO_USER: u8 = 67;
/// There is no such host.
pub(super) const NO_HOST: u8 = 68;
/// Nobody answers, or what was asked for is not there.
pub(super) const UNAVAILABLE: u8 = 69;
/// The broker could not do it.
pub(super) const SOFTWARE: u8 = 70;
/// A file of this machine cannot be read or written.
pub(super) const IO: u8 = 74;
/// It took too long; later it may work.
pub(super) const TEMPORARY: u8 = 75;
/// Ctrl-C, as shells report it.
pub(super) const INTERRUPTED: u8 = 130;
/// The user may not do this.
pub(super) const NO_PERMISSION: u8 = 77;

/// Why a command did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) code: u8,
    /// What to tell, and what to do.
    pub(super) text: String,
    /// How the API answered, if it did.
    pub(super) status: Option<u16>,
}

impl Failure {
    /// A failure that the API has no part in.
    pub(super) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), status: None }
    }

    /// What an answer of the API means that is no success.
    pub(super) fn answered(status: u16, reason: String) -> Self {
        let (code, text) = match status {
            401 => (NO_PERMISSION, format!("not authorised: {reason}")),
            403 => (NO_PERMISSION, format!("forbidden: {reason}")),
            // rabbitmqctl's code for whatever the broker says no to.
            400 => (UNAVAILABLE, reason),
            404 => (UNAVAILABLE, format!("the broker has no such thing: {reason}")),
            408 | 429 | 503 | 504 => (TEMPORARY, reason),
            _ => (SOFTWARE, reason),
        };
        Self { code, text, status: Some(status) }
    }

    /// Whether the API said that there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }

    /// The same failure with another exit code and text, if there is no such thing; otherwise itself.
    pub(super) fn if_not_found(self, code: u8, text: impl Into<String>) -> Self {
        if self.is_not_found() { Self { code, text: text.into(), ..self } } else { self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The failure for a virtual host that does not exist, with the exit code that rabbitmqctl has for the command.
pub(super) fn no_vhost(code: u8, name: &str) -> Failure {
    Failure::new(code, format!("Virtual host '{name}' does not exist"))
}

/// The failure for a user that does not exist.
pub(super) fn no_user(name: &str) -> Failure {
    Failure::new(NO_USER, format!("User \"{name}\" does not exist"))
}
