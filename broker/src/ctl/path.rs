//! Paths of the HTTP API.

use std::fmt::Write as _;

/// A path of these segments below `/api`, each percent-encoded: a virtual host is called `/`.
pub(super) fn api_path(segments: &[&str]) -> String {
    let mut path = "/api".to_owned();
    for segment in segments {
        path.push('/');
        path.push_str(&encoded(segment));
    }
    path
}

/// Text as it may stand in a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_in_paths() {
        assert_eq!(api_path(&["queues", "/", "a b/ü"]), "/api/queues/%2F/a%20b%2F%C3%BC");
    }
}
