//! Random numbers for delays and identifiers. They need not be secret, only different.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A random number. Without the system's source it is the keys of the standard library's hash maps that make it random.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0))
}

/// An identifier that no other message has: 128 random bits as 32 hexadecimal digits.
pub(crate) fn identifier() -> String {
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_one_length_and_differ() {
        let ids: Vec<String> = (0..100).map(|_| identifier()).collect();
        assert!(ids.iter().all(|id| id.len() == 32));
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), 100);
    }
}
