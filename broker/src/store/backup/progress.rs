//! [`Progress`]: how far long work has come, and whether it is still wanted. Shared by who works and who watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far long work has come.
#[derive(Debug)]
pub struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    cancelled: AtomicBool,
    started: Instant,
    /// How long it goes on without being looked at.
    patience: Option<Duration>,
    /// When somebody looked last, in milliseconds since the start.
    seen_ms: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self::watched(None)
    }
}

impl Progress {
    /// For work that is cancelled when nobody has called [`Progress::see`] for as long as `patience` says.
    #[must_use]
    pub fn watched(patience: Option<Duration>) -> Self {
        Self {
            done_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            started: Instant::now(),
            patience,
            seen_ms: AtomicU64::new(0),
        }
    }

    /// Bytes that are done, and all there are. Both are 0 until that is known.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.done_bytes.load(Ordering::Relaxed), self.total_bytes.load(Ordering::Relaxed))
    }

    /// How long ago it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says that somebody still wants it.
    pub fn see(&self) {
        self.seen_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Says that nobody wants it any more. It ends soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether nobody wants it any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let unseen = self.elapsed_ms().saturating_sub(self.seen_ms.load(Ordering::Relaxed));
        let is_forgotten = self.patience.is_some_and(|patience| u128::from(unseen) > patience.as_millis());
        is_forgotten || self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn set_total(&self, bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
