//! [`Pattern`]: the regular expression of a permission.
//!
//! RabbitMQ's rules: it matches anywhere in a name unless it is anchored, and an empty one matches nothing but the empty name.
//! RabbitMQ takes Perl's expressions, so this does, too; those that look around are tried a bounded number of times.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

use super::AccessError;
use crate::limits::{PERMISSION_BACKTRACKS_MAX, PERMISSION_BYTES_MAX, PERMISSION_COMPILED_BYTES_MAX};

/// A compiled permission with its text.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// The empty pattern, which RabbitMQ reads as `^$`.
    EmptyNameOnly,
    /// `.*`, which most permissions are: not worth an engine.
    Everything,
    Expression(Box<Regex>),
}

impl Pattern {
    /// Reads a permission.
    ///
    /// # Errors
    ///
    /// [`AccessError::BadPattern`] if it is no regular expression, or larger than [`PERMISSION_BYTES_MAX`] as text or than
    /// [`PERMISSION_COMPILED_BYTES_MAX`] when compiled.
    pub fn new(text: &str) -> Result<Self, AccessError> {
        let matcher = match text {
            "" => Matcher::EmptyNameOnly,
            ".*" | "^.*" => Matcher::Everything,
            _ => Matcher::Expression(Box::new(compile(text)?)),
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// The pattern that lets everything pass.
    #[must_use]
    pub fn everything() -> Self {
        Self { text: ".*".into(), matcher: Matcher::Everything }
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches part of the name. One that turns back too often does not.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::EmptyNameOnly => name.is_empty(),
            Matcher::Everything => true,
            Matcher::Expression(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// How many steps an expression that looks around may compile to.
const STEPS_MAX: usize = 10_000;

fn compile(text: &str) -> Result<Regex, AccessError> {
    let failed = |reason: String| AccessError::BadPattern { pattern: text.to_owned(), reason };
    if text.len() > PERMISSION_BYTES_MAX {
        return Err(failed(format!("it is longer than {PERMISSION_BYTES_MAX} bytes")));
    }
    RegexBuilder::new(text)
        .backtrack_limit(PERMISSION_BACKTRACKS_MAX)
        .delegate_size_limit(PERMISSION_COMPILED_BYTES_MAX)
        .delegate_dfa_size_limit(PERMISSION_COMPILED_BYTES_MAX)
        .max_prog_size(STEPS_MAX)
        .build()
        .map_err(|error| failed(error.to_string()))
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
