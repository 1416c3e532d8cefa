//! [`KnownLogins`]: whose password was right before, so that clients that come back need not wait until it is hashed again.
//!
//! Neither passwords nor anything they could be found from quickly is kept: a digest with a key that only this process has. What the
//! user's stored hash was is part of it, so that another password or another user of the name never fits.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::User;
use crate::limits::USERS_MAX;

type Fingerprint = [u8; 32];

/// The last good login of each user.
#[derive(Debug)]
pub(super) struct KnownLogins {
    key: Fingerprint,
    by_user: Mutex<HashMap<String, Fingerprint>>,
}

impl KnownLogins {
    /// None yet. `key` is random and told to nobody.
    pub(super) fn new(key: Fingerprint) -> Self {
        Self { key, by_user: Mutex::default() }
    }

    /// Whether this was the password when the user logged in last.
    pub(super) fn is(&self, user: &User, password: &[u8]) -> bool {
        let Some(known) = self.by_user.lock().get(&user.name).copied() else { return false };
        known.ct_eq(&self.fingerprint(user, password)).into()
    }

    /// It is.
    pub(super) fn note(&self, user: &User, password: &[u8]) {
        let fingerprint = self.fingerprint(user, password);
        let mut by_user = self.by_user.lock();
        if by_user.len() >= USERS_MAX {
            by_user.clear();
        }
        by_user.insert(user.name.clone(), fingerprint);
    }

    /// It is no longer.
    pub(super) fn forget(&self, user: &str) {
        self.by_user.lock().remove(user);
    }

    fn fingerprint(&self, user: &User, password: &[u8]) -> Fingerprint {
        let (name, hash) = (user.name.as_bytes(), user.password.text());
        let mut digest = Sha256::new_with_prefix(self.key);
        for part in [name, hash.as_bytes(), password] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}
