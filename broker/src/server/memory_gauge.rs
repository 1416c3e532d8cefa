//! [`MemoryGauge`]: how much the queues hold in memory, and whether that is too much.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The sum over all queues, and the alarm that it raises above its limit.
#[derive(Debug)]
pub struct MemoryGauge {
    held_bytes: AtomicUsize,
    limit_bytes: AtomicUsize,
    alarmed: AtomicBool,
}

/// When bodies leave memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// Above so many bytes.
    pub from_bytes: usize,
    /// Until so many are left.
    pub until_bytes: usize,
}

/// What a reading of the gauge asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmChange {
    /// Nothing new.
    None,
    /// The limit was just passed: hold publishers back.
    Raised,
    /// There is room again.
    Cleared,
}

impl MemoryGauge {
    /// An empty gauge that alarms above `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            held_bytes: AtomicUsize::new(0),
            limit_bytes: limit_bytes.into(),
            alarmed: AtomicBool::new(false),
        }
    }

    /// Accounts for a queue that went from `before` to `after` bytes.
    pub fn change(&self, before: usize, after: usize) {
        if after > before {
            self.held_bytes.fetch_add(after - before, Ordering::SeqCst);
        } else if before > after {
            self.held_bytes.fetch_sub(before - after, Ordering::SeqCst);
        }
    }

    /// Bytes held by all queues.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::SeqCst)
    }

    /// The limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Another limit, in bytes. Call [`MemoryGauge::check`] after it.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        self.limit_bytes.store(usize::try_from(limit_bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// When bodies leave memory: well below the limit, because what is being written, read and sent needs room too.
    pub fn paging(&self) -> Paging {
        let limit_bytes = self.limit_bytes();
        Paging { from_bytes: limit_bytes / 2, until_bytes: limit_bytes / 8 * 3 }
    }

    /// Whether publishers are to be held back.
    pub fn is_alarmed(&self) -> bool {
        self.alarmed.load(Ordering::SeqCst)
    }

    /// Compares the sum with the limit; says `Raised` or `Cleared` to exactly one caller per change.
    ///
    /// Cleared at three quarters of the limit, so that a broker at its limit does not flap between the two.
    pub fn check(&self) -> AlarmChange {
        let alarmed = self.is_alarmed();
        if !self.is_due()
            || self.alarmed.compare_exchange(alarmed, !alarmed, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            return AlarmChange::None;
        }
        if alarmed { AlarmChange::Cleared } else { AlarmChange::Raised }
    }

    /// Whether [`MemoryGauge::check`] would change the alarm.
    pub fn is_due(&self) -> bool {
        let (held, limit) = (self.held_bytes(), self.limit_bytes());
        if self.is_alarmed() { held <= limit / 4 * 3 } else { held > limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_rises_above_the_limit_and_clears_at_three_quarters_of_it() {
        let gauge = MemoryGauge::new(1000);
        gauge.change(0, 1000);
        assert_eq!(gauge.check(), AlarmChange::None);
        gauge.change(1000, 1001);
        assert_eq!(gauge.check(), AlarmChange::Raised);
        assert_eq!(gauge.check(), AlarmChange::None);
        gauge.change(1001, 751);
        assert_eq!(gauge.check(), AlarmChange::None);
        gauge.change(751, 750);
        assert_eq!(gauge.check(), AlarmChange::Cleared);
        assert_eq!(gauge.held_bytes(), 750);
    }
}
