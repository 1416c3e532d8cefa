//! What the threads of a phase share: counters going up, and two flags.
//!
//! No locks; each thread writes its own counters, once per batch. Called by `producer`, `consumer` and `phase`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Set by the main thread, looked at by all others at least every 100 ms.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Everything has arrived, or will never.
    pub(crate) stop_consuming: AtomicBool,
    /// Another thread has failed.
    pub(crate) abort: AtomicBool,
}

impl Signals {
    pub(crate) fn aborted(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }
}

/// A count and when it last grew.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    count: AtomicU64,
    last_ns: AtomicU64,
}

impl Meter {
    /// Only the owning thread writes, so no read-modify-write is needed.
    #[inline]
    pub(crate) fn set(&self, count: u64, now: u64) {
        self.count.store(count, Ordering::Relaxed);
        self.last_ns.store(now, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns.load(Ordering::Relaxed)
    }
}

/// One thread's counts, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) published: Meter,
    pub(crate) confirmed: Meter,
    pub(crate) consumed: Meter,
}

/// When a phase starts and which part of it counts.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    pub(crate) start: u64,
    /// Figures are taken here; messages outside are checked but not measured.
    pub(crate) figures: Range<u64>,
}
