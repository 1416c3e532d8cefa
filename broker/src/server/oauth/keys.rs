//! [`Keys`]: what tokens may be signed with, from a file as RFC 7517 writes them (a JWK set).

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::token::Parts;
use crate::config::TokenAlgorithm;
use crate::limits::{KEYS_FILE_BYTES_MAX, KEYS_MAX};

/// Shorter secrets can be guessed from one token (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// None are named.
    #[error(
        "oauth.resource_server_id is set and there are no keys: set oauth.keys to a file with a JWK set, or oauth.keys_url"
    )]
    NoFile,
    /// They cannot be fetched from there.
    #[error("oauth.keys_url has to be https://host/path, or http://127.0.0.1/path on this machine")]
    Url,
    /// The file cannot be read, or has nothing of use in it.
    #[error("oauth.keys {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The keys of one set.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Secret(hmac::Key),
}

/// Secrets are not shown.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, {})", self.id, self.material.algorithm().name())
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Keys {
    /// Reads the file. Keys for other algorithms or purposes are passed over; there has to be one of use.
    pub(super) fn read(path: Option<&Path>, algorithms: &[TokenAlgorithm]) -> Result<Self, KeysError> {
        let path = path.ok_or(KeysError::NoFile)?;
        let error = |reason: String| KeysError::File { path: path.to_owned(), reason };
        let length = fs::metadata(path).map_err(|problem| error(problem.to_string()))?.len();
        if length > KEYS_FILE_BYTES_MAX {
            return Err(error(format!("it is larger than {KEYS_FILE_BYTES_MAX} bytes")));
        }
        let text = fs::read(path).map_err(|problem| error(problem.to_string()))?;
        Self::parse(&text, algorithms).map_err(error)
    }

    /// The same of what was read already.
    pub(super) fn parse(text: &[u8], algorithms: &[TokenAlgorithm]) -> Result<Self, String> {
        // The text of the error may quote a secret.
        let set: JwkSet = serde_json::from_slice(text)
            .map_err(|problem| format!("no JWK set, see line {}", problem.line()))?;
        let mut keys = Vec::new();
        for jwk in set.keys.iter().take(KEYS_MAX) {
            let Some(material) = jwk.material() else { continue };
            if !algorithms.contains(&material.algorithm()) || !jwk.is_for(material.algorithm()) {
                continue;
            }
            if !material.is_strong() {
                return Err(format!("a secret of HS256 needs at least {SECRET_BYTES_MIN} bytes"));
            }
            keys.push(Key { id: jwk.kid.clone(), material: material.ready() });
        }
        if keys.is_empty() {
            return Err("there is no key in it for an algorithm in oauth.algorithms".to_owned());
        }
        Ok(Self(keys))
    }

    /// Whether one of them has signed this: the one that is named, or any if none is.
    pub(super) fn have_signed(&self, parts: &Parts<'_>) -> bool {
        let Some((algorithm, id)) = parts.algorithm_and_key() else { return false };
        let fits = |key: &&Key| {
            key.material.algorithm().name() == algorithm && (id.is_none() || key.id.is_none() || key.id == id)
        };
        self.0.iter().filter(fits).any(|key| key.material.has_signed(parts.signed(), parts.signature()))
    }
}

/// A key as it was found.
enum Found {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Secret(Vec<u8>),
}

impl Found {
    fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::Rsa { .. } => TokenAlgorithm::Rs256,
            Self::P256(_) => TokenAlgorithm::Es256,
            Self::Secret(_) => TokenAlgorithm::Hs256,
        }
    }

    fn is_strong(&self) -> bool {
        !matches!(self, Self::Secret(secret) if secret.len() < SECRET_BYTES_MIN)
    }

    fn ready(self) -> Material {
        match self {
            Self::Rsa { n, e } => Material::Rsa { n, e },
            Self::P256(point) => Material::P256(point),
            Self::Secret(secret) => Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, &secret)),
        }
    }
}

impl Jwk {
    fn material(&self) -> Option<Found> {
        let bytes =
            |value: &Option<String>| URL_SAFE_NO_PAD.decode(value.as_ref()?.trim_end_matches('=')).ok();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(Found::Rsa { n: bytes(&self.n)?, e: bytes(&self.e)? }),
            ("EC", Some("P-256")) => Some(Found::P256([vec![4], bytes(&self.x)?, bytes(&self.y)?].concat())),
            ("oct", _) => Some(Found::Secret(bytes(&self.k)?)),
            _ => None,
        }
    }

    fn is_for(&self, algorithm: TokenAlgorithm) -> bool {
        self.alg.as_deref().is_none_or(|name| name == algorithm.name())
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
    }
}

impl Material {
    fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::Rsa { .. } => TokenAlgorithm::Rs256,
            Self::P256(_) => TokenAlgorithm::Es256,
            Self::Secret(_) => TokenAlgorithm::Hs256,
        }
    }

    fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok()
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
            }
            // In constant time, says ring.
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}
