//! The one clock: nanoseconds of CLOCK_MONOTONIC.
//!
//! The kernel's reading, not `Instant`, because a timestamp travels in a message body and may be read by another
//! process on the same machine. It refuses to be compared between machines. Called by everything that measures.

use rustix::time::{ClockId, clock_gettime};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Now, in nanoseconds since some moment before the machine's start.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * SECOND + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Nanoseconds as seconds, for showing.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND as f64
}
