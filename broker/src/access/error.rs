//! [`AccessError`]: why a change to users, virtual hosts or permissions is refused.

/// Why a change is refused. The texts are for operators; programs tell the variants apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The user is not there.
    #[error("user '{0}' does not exist")]
    NoSuchUser(String),
    /// The user is there already.
    #[error("user '{0}' already exists")]
    UserExists(String),
    /// The virtual host is not there.
    #[error("virtual host '{0}' does not exist")]
    NoSuchVHost(String),
    /// The virtual host is there already.
    #[error("virtual host '{0}' already exists")]
    VHostExists(String),
    /// The virtual host is protected from deletion.
    #[error("virtual host '{0}' is protected from deletion; remove the protection first")]
    Protected(String),
    /// A name that cannot be one.
    #[error("a {what} needs a name of 1 to {max} bytes without control characters")]
    BadName {
        /// What was to be named.
        what: &'static str,
        /// The longest name, in bytes.
        max: usize,
    },
    /// A permission is no regular expression, or too large a one.
    #[error("'{pattern}' is no valid regular expression: {reason}")]
    BadPattern {
        /// The expression as given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A password that would never let anybody in, or is too long.
    #[error("a password needs 1 to {0} bytes")]
    BadPassword(usize),
    /// A password's hash that cannot be read.
    #[error("this is no password hash of {algorithm}: {reason}")]
    BadHash {
        /// What it was said to be.
        algorithm: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A parameter that is too long.
    #[error("the value of a parameter has to be at most {0} bytes of JSON")]
    LongParameter(usize),
    /// There is no such way to hash passwords here.
    #[error(
        "unknown hashing algorithm '{0}'; known are argon2id, rabbit_password_hashing_sha256 and rabbit_password_hashing_sha512"
    )]
    UnknownAlgorithm(String),
    /// More than is kept.
    #[error("there are {0} already, which is as many as there may be")]
    TooMany(usize),
    /// A queue type that does not exist.
    #[error("unknown queue type '{0}'; known are classic and quorum")]
    UnknownQueueType(String),
}
