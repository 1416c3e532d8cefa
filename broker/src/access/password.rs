//! [`PasswordHash`]: what is kept of a password.
//!
//! New ones are hashed with Argon2id, which is slow and needs memory on purpose. RabbitMQ's salted SHA-256 and SHA-512 are read and
//! compared, so that users can be imported; who logs in with one is to be given a new hash ([`PasswordHash::is_outdated`]).

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::AccessError;
use crate::limits::PASSWORD_BYTES_MAX;

/// The name of RabbitMQ's default algorithm.
pub const SHA256: &str = "rabbit_password_hashing_sha256";

/// The name of RabbitMQ's other algorithm.
pub const SHA512: &str = "rabbit_password_hashing_sha512";

/// The name of what new passwords are hashed with.
pub const ARGON2ID: &str = "argon2id";

/// Memory in KiB, passes and lanes: of the equivalent ones in OWASP's password storage advice for Argon2id those with the least
/// memory, 7 MiB, 5, 1. About 20 ms. The C library keeps the memory, and 19 MiB were three times what an idle broker has.
const COST: (u32, u32, u32) = (7 * 1024, 5, 1);

/// The most that an imported hash may ask for: who can import one must not stop the broker with it.
const COST_MAX: (u32, u32, u32) = (256 * 1024, 16, 16);

/// RabbitMQ's salts, in bytes.
const RABBIT_SALT_BYTES: usize = 4;

const ARGON2_HASH_BYTES: usize = 32;

/// What a password is compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// There is no password: nobody logs in with one.
    None,
    /// Salt and digest in one, as RabbitMQ keeps them.
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
    Argon2id {
        cost: (u32, u32, u32),
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

/// How a new password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// Argon2id: for what is kept on disk or exported.
    Slow,
    /// Salted SHA-512: for a broker that keeps nothing, whose memory holds the password of its configuration anyway.
    Fast,
}

impl PasswordHash {
    /// Hashes a password. Takes about 20 ms and 7 MiB if `hashing` is slow: not to be called where others wait.
    ///
    /// # Errors
    ///
    /// [`AccessError::BadPassword`] if it is empty, which would never let anybody in, or longer than [`PASSWORD_BYTES_MAX`].
    pub fn new(password: &[u8], hashing: Hashing, salt: [u8; 16]) -> Result<Self, AccessError> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(AccessError::BadPassword(PASSWORD_BYTES_MAX));
        }
        Ok(Self(match hashing {
            Hashing::Slow => Kind::Argon2id {
                cost: COST,
                salt: salt.to_vec(),
                hash: argon2id(COST, &salt, password, ARGON2_HASH_BYTES),
            },
            Hashing::Fast => Kind::Sha512(salted::<Sha512>(&salt[..RABBIT_SALT_BYTES], password)),
        }))
    }

    /// The hash of a user without a password.
    #[must_use]
    pub const fn none() -> Self {
        Self(Kind::None)
    }

    /// A hash that no password is known for, and that takes as long to compare with as others.
    #[must_use]
    pub fn unmatched(hashing: Hashing) -> Self {
        Self(match hashing {
            Hashing::Slow => {
                Kind::Argon2id { cost: COST, salt: vec![0; 16], hash: vec![0; ARGON2_HASH_BYTES] }
            }
            Hashing::Fast => Kind::Sha512(vec![0; RABBIT_SALT_BYTES + 64]),
        })
    }

    /// Reads a hash as RabbitMQ's definitions have it: the algorithm's name, and the hash in base64. With [`ARGON2ID`] the hash is
    /// in PHC form, `$argon2id$v=19$m=7168,t=5,p=1$salt$hash`. An empty hash is a user without a password.
    ///
    /// # Errors
    ///
    /// [`AccessError::UnknownAlgorithm`] or [`AccessError::BadHash`].
    pub fn parse(algorithm: &str, text: &str) -> Result<Self, AccessError> {
        let failed = |reason| AccessError::BadHash { algorithm: algorithm.to_owned(), reason };
        let salted = |digest_bytes| {
            let bytes = STANDARD.decode(text).map_err(|_| failed("it is not base64"))?;
            if bytes.len() == RABBIT_SALT_BYTES + digest_bytes {
                Ok(bytes)
            } else {
                Err(failed("it has not the length of a salt and a digest"))
            }
        };
        match algorithm {
            SHA256 | SHA512 | ARGON2ID if text.is_empty() => Ok(Self::none()),
            SHA256 => salted(32).map(|bytes| Self(Kind::Sha256(bytes))),
            SHA512 => salted(64).map(|bytes| Self(Kind::Sha512(bytes))),
            ARGON2ID => parse_argon2id(text).map(Self).map_err(failed),
            unknown => Err(AccessError::UnknownAlgorithm(unknown.to_owned())),
        }
    }

    /// The algorithm's name, as [`PasswordHash::parse`] takes it.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match &self.0 {
            Kind::None | Kind::Argon2id { .. } => ARGON2ID,
            Kind::Sha256(_) => SHA256,
            Kind::Sha512(_) => SHA512,
        }
    }

    /// The hash as text, as [`PasswordHash::parse`] takes it; empty for no password.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.0 {
            Kind::None => String::new(),
            Kind::Sha256(bytes) | Kind::Sha512(bytes) => STANDARD.encode(bytes),
            Kind::Argon2id { cost: (memory, passes, lanes), salt, hash } => format!(
                "$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
                STANDARD_NO_PAD.encode(salt),
                STANDARD_NO_PAD.encode(hash)
            ),
        }
    }

    /// Whether this is the password. An empty one never is. Compares in constant time, and takes as long as hashing does.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        match &self.0 {
            Kind::None => false,
            Kind::Sha256(known) => same(&salted::<Sha256>(&known[..RABBIT_SALT_BYTES], password), known),
            Kind::Sha512(known) => same(&salted::<Sha512>(&known[..RABBIT_SALT_BYTES], password), known),
            Kind::Argon2id { cost, salt, hash } => same(&argon2id(*cost, salt, password, hash.len()), hash),
        }
    }

    /// Whether a new password would be hashed in another way.
    #[must_use]
    pub fn is_outdated(&self, hashing: Hashing) -> bool {
        match (&self.0, hashing) {
            (Kind::None, _) | (Kind::Sha512(_), Hashing::Fast) => false,
            (Kind::Argon2id { cost, .. }, _) => *cost != COST,
            (Kind::Sha256(_) | Kind::Sha512(_), _) => true,
        }
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// RabbitMQ's form: the salt, and the digest of salt and password.
fn salted<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
    let digest = D::new().chain_update(salt).chain_update(password).finalize();
    [salt, &digest].concat()
}

fn argon2id((memory, passes, lanes): (u32, u32, u32), salt: &[u8], password: &[u8], bytes: usize) -> Vec<u8> {
    let mut hash = vec![0; bytes];
    let params =
        Params::new(memory, passes, lanes, Some(bytes)).expect("costs are checked where they are read");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .expect("lengths are checked where they are read");
    hash
}

/// Reads `$argon2id$v=19$m=7168,t=5,p=1$salt$hash`.
fn parse_argon2id(text: &str) -> Result<Kind, &'static str> {
    let mut parts = text.split('$');
    let (Some(""), Some("argon2id"), Some("v=19"), Some(cost), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it is not of the form $argon2id$v=19$m=..,t=..,p=..$salt$hash");
    };
    let mut costs =
        cost.split(',').zip(["m=", "t=", "p="]).map(|(part, name)| part.strip_prefix(name)?.parse().ok());
    let (Some(Some(memory)), Some(Some(passes)), Some(Some(lanes)), 3) =
        (costs.next(), costs.next(), costs.next(), cost.split(',').count())
    else {
        return Err("its cost is not of the form m=..,t=..,p=..");
    };
    let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| "its salt is not base64 without padding")?;
    let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| "its hash is not base64 without padding")?;
    if memory > COST_MAX.0 || passes > COST_MAX.1 || lanes > COST_MAX.2 {
        return Err("it costs more than 256 MiB, 16 passes or 16 lanes");
    }
    if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
        return Err("its salt has not 8 to 64 bytes, or its hash not 16 to 64");
    }
    if Params::new(memory, passes, lanes, Some(hash.len())).is_err() {
        return Err("its cost is too low for Argon2");
    }
    Ok(Kind::Argon2id { cost: (memory, passes, lanes), salt, hash })
}

impl std::fmt::Debug for PasswordHash {
    /// The algorithm only: hashes end up in logs otherwise.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordHash({})", self.algorithm())
    }
}
