//! [`CheckReport`]: what a check found, in words.

use std::fmt;

use super::live::{Numbers, count_all};
use super::words::{QueueNames, counted, size};

/// What a check of a data folder found. Its text has one line per finding, after one that sums up.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    damage: Vec<String>,
    notes: Vec<String>,
    /// Messages that a start would lose.
    lost: u64,
    pub(super) totals: Totals,
}

/// What is whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) queues: u64,
    pub(super) messages: u64,
    pub(super) segments: u64,
    pub(super) log_bytes: u64,
}

impl CheckReport {
    /// Whether everything is as it was written. The end of a write that was cut off and never confirmed is no damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// One line for each thing that is damaged: where, what, and what a start would do about it.
    #[must_use]
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// What is worth knowing and no damage.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Enters damage that costs no message.
    pub(super) fn harmless(&mut self, text: String) {
        self.damage.push(text);
    }

    /// Enters damage, and what it costs: `action` says what a start would do with it.
    pub(super) fn damaged(&mut self, what: &str, action: &str, lost: &Numbers, names: &QueueNames) {
        self.lost += count_all(lost);
        let loses =
            names.messages(lost).map_or("loses no message by it".to_owned(), |all| format!("loses {all}"));
        self.damage.push(format!("{what}; a start {action}{loses}"));
    }

    /// Enters messages that a start would forget.
    pub(super) fn forgotten(&mut self, text: String, messages: u64) {
        self.lost += messages;
        self.damage.push(text);
    }

    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { queues, messages, segments, log_bytes } = self.totals.clone();
        let (queues, messages) = (counted(queues, "queue"), counted(messages, "message"));
        if self.is_sound() {
            let (bytes, segments) = (size(log_bytes), counted(segments, "segment"));
            writeln!(f, "sound: {queues}, {messages}, {bytes} in {segments}; every checksum was verified")?;
        } else {
            let findings = counted(self.damage.len() as u64, "finding");
            let lost = counted(self.lost, "message");
            writeln!(f, "damaged: {findings}; a start would lose {lost}. Whole: {queues}, {messages}")?;
        }
        self.damage.iter().try_for_each(|text| writeln!(f, "- {text}"))?;
        self.notes.iter().try_for_each(|text| writeln!(f, "note: {text}"))
    }
}
