//! [`Clock`]: the time of day, as all of one broker see it. Pure: the moment is a parameter.

use std::time::Instant;

/// The time of day when the broker started, going on evenly from there: what is due stays in order although somebody sets
/// the system's clock. A restart takes the new time over.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    /// A clock that shows `start_ms`, in milliseconds since 1970, at `start`.
    #[must_use]
    pub fn new(start: Instant, start_ms: u64) -> Self {
        Self { start, start_ms }
    }

    /// What it shows at this moment, in milliseconds since 1970; its start for moments before that.
    #[must_use]
    pub fn at(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.start).as_millis();
        self.start_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_on_evenly_from_its_start() {
        let start = Instant::now();
        let clock = Clock::new(start, 1000);
        assert_eq!(clock.at(start + Duration::from_millis(250)), 1250);
        assert_eq!(clock.at(start), 1000);
        assert_eq!(Clock::new(start + Duration::from_secs(1), 5).at(start), 5);
    }
}
