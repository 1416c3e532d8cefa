//! [`OAuth`]: tokens (JWT, RFC 7519) in place of passwords, as RabbitMQ's OAuth 2 backend takes them.
//!
//! Who has a token is in no directory: its name, its tags and what it may do are in the token, for as long as that lasts. A token is
//! believed if a key of the settings' file has signed it; which algorithm belongs to a key is the key's to say, never the token's.

mod fetched;
mod keys;
mod token;

use std::sync::mpsc::SyncSender;

use parking_lot::{Mutex, RwLock};

use crate::config;
use crate::limits::TOKEN_BYTES_MAX;

use fetched::Source;
use keys::Keys;
pub(super) use token::Token;

pub use keys::KeysError;

/// Why a token is not accepted. For the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not three parts of base64 with JSON in them, or too long.
    #[error("this is no JSON web token")]
    Malformed,
    /// Signed by nobody that is known, or in a way that is not allowed.
    #[error("the token is not signed with a key in oauth.keys by an algorithm in oauth.algorithms")]
    NotSigned,
    /// It is for others.
    #[error("the token is not for this broker: its audience does not have oauth.resource_server_id")]
    Audience,
    /// Somebody else has issued it.
    #[error("the token was not issued by oauth.issuer")]
    Issuer,
    /// It says nothing of its end, which would let it be good for ever.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// It has expired.
    #[error("Provided JWT token has expired at timestamp {0}")]
    Expired(u64),
    /// It is for later.
    #[error("the token is not valid yet")]
    NotYet,
    /// None of the claims that may name a user is there.
    #[error("the token names no user: none of oauth.username_claims is in it")]
    NoName,
}

/// What tokens are judged by.
#[derive(Debug)]
pub(super) struct OAuth {
    loaded: RwLock<Option<Loaded>>,
    /// Wakes who fetches keys.
    wake: Mutex<Option<SyncSender<()>>>,
}

#[derive(Debug)]
pub(super) struct Loaded {
    settings: config::OAuth,
    /// Those of the file.
    keys: Keys,
    /// Where others are fetched from.
    source: Option<Source>,
    /// The last ones that were.
    fetched: Keys,
}

impl Loaded {
    /// Reads the keys; none if tokens are switched off.
    ///
    /// # Errors
    ///
    /// If there are none, or they cannot be read.
    pub(super) fn read(settings: &config::OAuth) -> Result<Option<Self>, KeysError> {
        if settings.resource_server_id.is_empty() {
            return Ok(None);
        }
        let source = Source::of(settings)?;
        let keys = match (&settings.keys, &source) {
            (None, Some(_)) => Keys::default(),
            (path, _) => Keys::read(path.as_deref(), &settings.algorithms)?,
        };
        Ok(Some(Self { settings: settings.clone(), keys, source, fetched: Keys::default() }))
    }
}

impl OAuth {
    pub(super) fn new(loaded: Option<Loaded>) -> Self {
        Self { loaded: RwLock::new(loaded), wake: Mutex::new(None) }
    }

    /// Other settings and keys, for what comes from now on. What was fetched from the same place stays.
    pub(super) fn replace(&self, loaded: Option<Loaded>) {
        let mut current = self.loaded.write();
        let before = current.take();
        *current = loaded;
        if let (Some(before), Some(now)) = (before, current.as_mut())
            && before.source == now.source
        {
            now.fetched = before.fetched;
        }
        drop(current);
        self.fetch_soon();
    }

    fn fetch_soon(&self) {
        if let Some(wake) = &*self.wake.lock() {
            // The error says that it was told already.
            let _ = wake.try_send(());
        }
    }

    /// What a token in place of a password says; nothing if it is a password, or tokens are switched off.
    pub(super) fn judge(&self, password: &[u8], now_ms: u64) -> Option<Result<Token, TokenRefused>> {
        let guard = self.loaded.read();
        let loaded = guard.as_ref()?;
        let text = std::str::from_utf8(password).ok()?;
        let parts = token::Parts::of(text)?;
        if text.len() > TOKEN_BYTES_MAX {
            return Some(Err(TokenRefused::Malformed));
        }
        let judged = loaded.judge(&parts, now_ms / 1000);
        if judged == Err(TokenRefused::NotSigned) && loaded.source.is_some() {
            self.fetch_soon();
        }
        Some(judged)
    }
}

impl Loaded {
    fn judge(&self, parts: &token::Parts<'_>, now_s: u64) -> Result<Token, TokenRefused> {
        if !self.keys.have_signed(parts) && !self.fetched.have_signed(parts) {
            return Err(TokenRefused::NotSigned);
        }
        Token::read(parts, &self.settings, now_s)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
