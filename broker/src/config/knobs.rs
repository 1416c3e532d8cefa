//! The table of settings: for each its key, variable, flag, valid values, meaning and the reason for its default.
//!
//! Loading, error messages, `warren config` and its reference all read this table, so they cannot disagree. It holds
//! no values: defaults are those of [`Config`]. A row stands with the other rows of its section.

mod access;
mod limits;
mod listening;
mod serving;

use std::time::Duration;

use super::Config;
use super::value::Input;

/// One setting.
#[derive(Debug)]
pub(super) struct Knob {
    /// `section.name`, as in the file.
    pub(super) key: &'static str,
    /// The environment variable.
    pub(super) env: &'static str,
    /// The flag of `warren`, where there is one.
    pub(super) flag: Option<&'static str>,
    /// What a valid value is, with its unit. Completes "expected ...".
    pub(super) expects: &'static str,
    /// What it does and why the default is what it is; lines of at most 100 characters.
    pub(super) about: &'static [&'static str],
    /// Takes a value into the configuration; `None` when the value is not valid.
    pub(super) set: fn(&mut Config, &Input) -> Option<()>,
    /// The value in TOML.
    pub(super) show: fn(&Config) -> String,
    /// Whether the value is kept out of what `warren config` prints.
    pub(super) secret: bool,
}

impl Knob {
    pub(super) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    pub(super) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

/// The longest time a setting takes; more than a day is a slip of the unit.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All settings, in the order in which they are printed, sections together.
pub(super) fn knobs() -> impl Iterator<Item = &'static Knob> {
    [listening::KNOBS, serving::KNOBS, access::KNOBS, limits::KNOBS].into_iter().flatten()
}
