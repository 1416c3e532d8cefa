//! [`Sync`]: what a confirm of a persistent message waits for, and in plain words what that choice can lose.
//!
//! It syncs nothing itself: the store does. `knobs.rs` reads and writes it, the banner tells it to whoever starts the broker.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Less asks for a sync after every write, which `always` does better; more is `never` by another name, since systems
/// write what is old on their own after some half a minute.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// What a confirm of a persistent message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Until the disk has synced the message.
    #[default]
    Always,
    /// Until the operating system has it; all of it is synced at this interval.
    Interval(Duration),
    /// Until the operating system has it, which writes it to the disk when it likes.
    Never,
}

impl Sync {
    /// Reads `always`, `interval=100ms` or `never`. Milliseconds need no unit; `duration` reads what has one.
    pub(super) fn parse(text: &str, duration: impl Fn(&str) -> Option<Duration>) -> Option<Self> {
        match text.trim() {
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            text => {
                let (name, interval) = text.split_once('=')?;
                let interval = interval.trim();
                let bare = interval.parse().ok().map(Duration::from_millis);
                let interval = bare.or_else(|| duration(interval))?;
                (name.trim() == "interval" && INTERVALS.contains(&interval))
                    .then_some(Self::Interval(interval))
            }
        }
    }

    /// What this choice loses of the messages that were confirmed, as a sentence without its full stop.
    #[must_use]
    pub fn loses(self) -> String {
        match self {
            Self::Always => {
                "nothing confirmed is lost when the process is killed or the power fails".to_owned()
            }
            Self::Interval(interval) => format!(
                "nothing confirmed is lost when the process is killed; a power failure takes what was confirmed in the last {}",
                Span(interval)
            ),
            Self::Never => {
                "nothing confirmed is lost when the process is killed; a power failure takes what the system \
                            had not written yet, commonly the last 30 s"
                    .to_owned()
            }
        }
    }
}

/// As it is written in a setting.
impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(interval) => {
                write!(f, "interval={}", Span(*interval).to_string().replace(' ', ""))
            }
            Self::Never => f.write_str("never"),
        }
    }
}

/// A time in words: seconds where they are whole, else milliseconds.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 1_000 == 0 => write!(f, "{} s", ms / 1_000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::parse_duration;
    use super::*;

    #[test]
    fn the_three_choices_are_read_and_written_alike() {
        let interval = |ms| Some(Sync::Interval(Duration::from_millis(ms)));
        let table = [
            ("always", Some(Sync::Always), "always"),
            (" never ", Some(Sync::Never), "never"),
            ("interval=1", interval(1), "interval=1ms"),
            ("interval=100", interval(100), "interval=100ms"),
            ("interval = 1500ms", interval(1_500), "interval=1500ms"),
            ("interval=2000", interval(2_000), "interval=2s"),
            ("interval=60s", interval(60_000), "interval=60s"),
            ("interval=1min", interval(60_000), "interval=60s"),
            ("interval=0", None, ""),
            ("interval=60001", None, ""),
            ("interval=2min", None, ""),
            ("interval=soon", None, ""),
            ("interval=", None, ""),
            ("interval", None, ""),
            ("every=100ms", None, ""),
            ("100ms", None, ""),
            ("Always", None, ""),
            ("", None, ""),
        ];
        for (text, sync, written) in table {
            assert_eq!(Sync::parse(text, parse_duration), sync, "{text:?}");
            if let Some(sync) = sync {
                assert_eq!(sync.to_string(), written);
                assert_eq!(Sync::parse(written, parse_duration), Some(sync), "{written:?}");
            }
        }
    }

    #[test]
    fn each_choice_names_what_a_killed_process_and_a_power_failure_take() {
        for sync in [Sync::Always, Sync::Interval(Duration::from_millis(250)), Sync::Never] {
            let text = sync.loses();
            assert!(text.contains("killed") && text.contains("power"), "{text}");
        }
        assert!(Sync::Interval(Duration::from_millis(250)).loses().ends_with("in the last 250 ms"));
    }
}
