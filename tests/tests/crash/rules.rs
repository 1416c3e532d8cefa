//! [`Rules`]: what a queue does by itself with its messages, for the model and as arguments for the broker.

use crate::wire::short;

/// An hour, in milliseconds: longer than any test.
const LONG_MS: u32 = 3_600_000;

/// What a queue does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How many ready messages there may be; the oldest of the lowest priority go.
    pub(crate) max_length: Option<u32>,
    /// The highest priority that is one of its own.
    pub(crate) max_priority: u8,
    /// How long messages live, in milliseconds. So short that it is over before anybody looks, or longer than the test.
    pub(crate) ttl_ms: Option<u32>,
    /// The queue that gets its dead letters, and nothing else.
    pub(crate) grave: Option<&'static str>,
}

impl Rules {
    /// None at all.
    pub(crate) const NONE: Self = Self { max_length: None, max_priority: 0, ttl_ms: None, grave: None };

    /// Whether messages are gone before anybody looks.
    pub(crate) fn is_fleeting(self) -> bool {
        self.ttl_ms.is_some_and(|ttl_ms| ttl_ms < LONG_MS)
    }

    /// Whether messages are dropped because there are too many.
    pub(crate) fn has_limit(self) -> bool {
        self.max_length.is_some()
    }

    /// As arguments of a declare: a table on the wire.
    pub(crate) fn arguments(self) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut number = |name: &str, value: u32| {
            fields.extend_from_slice(&short(name));
            fields.push(b'l');
            fields.extend_from_slice(&u64::from(value).to_be_bytes());
        };
        if let Some(max_length) = self.max_length {
            number("x-max-length", max_length);
        }
        if self.max_priority > 0 {
            number("x-max-priority", self.max_priority.into());
        }
        if let Some(ttl_ms) = self.ttl_ms {
            number("x-message-ttl", ttl_ms);
        }
        if let Some(grave) = self.grave {
            for (name, value) in [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", grave)] {
                fields.extend_from_slice(&short(name));
                fields.push(b'S');
                fields.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                fields.extend_from_slice(value.as_bytes());
            }
        }
        let mut table = u32::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        table.extend(fields);
        table
    }
}

/// Keeps so many, and each for an hour.
pub(crate) const LIMITED: Rules = Rules { max_length: Some(5), ttl_ms: Some(LONG_MS), ..Rules::NONE };
/// The same with dead letters.
pub(crate) const MOURNED: Rules = Rules { grave: Some(GRAVES[0]), max_length: Some(4), ..LIMITED };
/// Priorities, a limit, and dead letters.
pub(crate) const LEVELS: Rules =
    Rules { max_length: Some(6), max_priority: 3, ttl_ms: None, grave: Some(GRAVES[1]) };
/// Messages expire at once.
pub(crate) const FLEETING: Rules = Rules { ttl_ms: Some(0), grave: Some(GRAVES[2]), ..Rules::NONE };
/// Messages expire after a moment, in which the broker may die.
pub(crate) const BRIEF: Rules = Rules { ttl_ms: Some(20), grave: Some(GRAVES[3]), ..Rules::NONE };

/// Queues that are always there, one for the dead letters of each that has some, so that their order is known.
pub(crate) const GRAVES: [&str; 4] = ["mourned.grave", "levels.grave", "fleeting.grave", "brief.grave"];
