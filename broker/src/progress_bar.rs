//! A bar for long work on a terminal; nothing where nobody watches.

use std::fmt;
use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar of bytes. Shows nothing if standard error is no terminal.
pub(crate) fn of_bytes(what: &'static str) -> ProgressBar {
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    // The template is known to be one.
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target()).with_style(style).with_message(what)
}

/// A count of messages, and how many in a second. Shows nothing if standard error is no terminal.
#[cfg(feature = "messages")]
pub(crate) fn of_messages() -> ProgressBar {
    let style = "{spinner} {human_pos} messages, {rate}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner());
    // Nobody reads fractions of messages.
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    ProgressBar::with_draw_target(None, target()).with_style(style.with_key("rate", rate))
}

fn target() -> ProgressDrawTarget {
    if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
