//! How long to wait before the next attempt: doubling, with full jitter, and bounded. Pure: the randomness comes in.

use std::time::Duration;

/// Waiting times between attempts. The bound doubles with each attempt up to `longest`, and the wait is a random part of
/// it, so that a thousand clients of a broker that restarted do not come back in the same moment.
///
/// ```
/// use std::time::Duration;
/// use warren_client::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// assert_eq!(backoff.bound(0), Duration::from_millis(100));
/// assert_eq!(backoff.bound(3), Duration::from_millis(800));
/// assert_eq!(backoff.bound(60), Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits of up to `first` at first, and never longer than `longest`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use warren_client::Backoff;
    ///
    /// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    /// assert_eq!(backoff.bound(0), Duration::from_secs(1));
    /// ```
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first: first.min(longest), longest }
    }

    /// The longest wait before attempt `attempt`, counted from 0.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use warren_client::Backoff;
    /// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
    /// let bounds: Vec<u64> = (0..4).map(|attempt| backoff.bound(attempt).as_secs()).collect();
    /// assert_eq!(bounds, [1, 2, 4, 5]);
    /// ```
    pub fn bound(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// A wait between nothing and the bound, chosen by a random number.
    pub(crate) fn wait(&self, attempt: u32, random: u64) -> Duration {
        let bound = u64::try_from(self.bound(attempt).as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(random % (bound + 1))
    }
}

/// From 200 milliseconds to 30 seconds.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_within_the_bound_and_use_all_of_it() {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
        for attempt in 0..100 {
            for random in [0, 1, 777, u64::MAX - 1, u64::MAX] {
                assert!(backoff.wait(attempt, random) <= backoff.bound(attempt));
            }
        }
        assert_eq!(backoff.wait(0, 1_000), Duration::from_millis(1));
        assert_eq!(backoff.wait(0, 1_001), Duration::ZERO);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_millis(50));
    }

    #[test]
    fn the_longest_wait_bounds_the_first_too() {
        let backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(2));
        assert_eq!(backoff.bound(0), Duration::from_secs(2));
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).wait(5, 99), Duration::ZERO);
    }
}
