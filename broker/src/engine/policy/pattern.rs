//! [`Pattern`]: the regular expression of a policy.
//!
//! RabbitMQ takes Perl's expressions, so this does, too: those that look ahead or refer back are tried by turning back, a bounded
//! number of times. All others take time in proportion to the name. Called by [`super`] only.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

use super::erlang;
use crate::limits::{
    POLICY_PATTERN_BACKTRACKS_MAX, POLICY_PATTERN_BYTES_MAX, POLICY_PATTERN_COMPILED_BYTES_MAX,
};

/// How many steps an expression that looks around may compile to. What one step delegates is bounded apart.
const STEPS_MAX: usize = 10_000;

/// A compiled regular expression with its text.
#[derive(Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Refuses with the text for [`super::InvalidPolicy`].
    pub(super) fn compile(text: String) -> Result<Self, String> {
        if text.len() > POLICY_PATTERN_BYTES_MAX {
            return Err(format!(
                "pattern should be at most {POLICY_PATTERN_BYTES_MAX} bytes, actually was {}",
                text.len()
            ));
        }
        let compiled = RegexBuilder::new(&text)
            .backtrack_limit(POLICY_PATTERN_BACKTRACKS_MAX)
            .delegate_size_limit(POLICY_PATTERN_COMPILED_BYTES_MAX)
            .delegate_dfa_size_limit(POLICY_PATTERN_COMPILED_BYTES_MAX)
            .max_prog_size(STEPS_MAX)
            .build();
        // The words are not those of Perl's library, the place of the fault is there if it is known.
        compiled.map(Self).map_err(|error| {
            let (reason, place) = match &error {
                fancy_regex::Error::ParseError(place, reason) => (reason.to_string(), *place),
                other => (other.to_string(), 0),
            };
            let reason = erlang::string(&reason);
            format!("pattern should be regular expression but is invalid: {{{reason},{place}}}")
        })
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches any part of the name. One that turns back too often does not, as in RabbitMQ.
    pub(super) fn is_in(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
