//! The `[oauth]` section: tokens in place of passwords.

use std::path::PathBuf;
use std::time::Duration;

/// The `[oauth]` section. Tokens are accepted once [`OAuth::resource_server_id`] is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// What tokens for this broker have in their audience. Default empty: no tokens are accepted.
    pub resource_server_id: String,
    /// A file with the keys that tokens are signed with, as a JWK set. Default none.
    pub keys: Option<PathBuf>,
    /// Where to fetch further keys from, as a JWK set: https, or http on this machine. Default empty: nowhere.
    pub keys_url: String,
    /// Authorities, in PEM, one of which has to vouch for the server of [`OAuth::keys_url`]. Default none: the system's.
    pub keys_ca: Option<PathBuf>,
    /// How often the keys are fetched. Default five minutes.
    pub keys_refresh: Duration,
    /// How tokens may be signed. Default RS256 and ES256.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Who must have issued them (`iss`); anybody who has the key if it is empty, which is the default.
    pub issuer: String,
    /// What the scopes that are meant for the broker begin with. Default empty: the resource server's id and a dot.
    pub scope_prefix: String,
    /// A claim with further scopes, its names separated by dots. Default empty: none.
    pub additional_scopes: String,
    /// The claims that may name the user; the first that is there counts. Default `sub`, then `client_id`.
    pub username_claims: Vec<String>,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// RSA, 2048 to 8192 bits, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// HMAC with SHA-256: whoever can check a token can make one.
    Hs256,
}

impl TokenAlgorithm {
    /// All there are. "none" is none.
    pub(super) const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::Hs256];

    /// Its name in tokens and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

impl Default for OAuth {
    fn default() -> Self {
        Self {
            resource_server_id: String::new(),
            keys: None,
            keys_url: String::new(),
            keys_ca: None,
            keys_refresh: Duration::from_mins(5),
            algorithms: vec![TokenAlgorithm::Rs256, TokenAlgorithm::Es256],
            issuer: String::new(),
            scope_prefix: String::new(),
            additional_scopes: String::new(),
            username_claims: vec!["sub".to_owned(), "client_id".to_owned()],
        }
    }
}
