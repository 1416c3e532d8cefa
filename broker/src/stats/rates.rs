//! [`Rates`]: how a number changes, as RabbitMQ's `*_details` say it.

/// The most samples that one answer may hold of a number.
const SAMPLES_MAX: u64 = 1_000;

/// What is asked for: samples up to this age, that far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    age_ms: u64,
    increment_ms: u64,
}

impl Window {
    /// From seconds; `None` if there is no step, or there would be more than 1000 samples.
    #[must_use]
    pub fn new(age_s: u64, increment_s: u64) -> Option<Self> {
        let fits = increment_s > 0 && age_s / increment_s < SAMPLES_MAX;
        let ms = |seconds: u64| seconds.checked_mul(1000);
        match (ms(age_s), ms(increment_s)) {
            (Some(age_ms), Some(increment_ms)) if fits => Some(Self { age_ms, increment_ms }),
            _ => None,
        }
    }

    /// How far back it goes, in milliseconds.
    #[must_use]
    pub fn age_ms(self) -> u64 {
        self.age_ms
    }

    /// The moments of the samples, newest first. They are multiples of the step, so that who asks again finds the same ones.
    pub(super) fn moments(self, now_ms: u64) -> impl Iterator<Item = u64> {
        let newest = now_ms - now_ms % self.increment_ms;
        (0..=self.age_ms / self.increment_ms)
            .map_while(move |step| newest.checked_sub(step * self.increment_ms))
    }
}

/// How a number changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// Now, per second.
    pub rate: f64,
    /// Before, if that was asked for.
    pub history: Option<History>,
}

/// How a number was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Moments in milliseconds since 1970 with the number at each, newest first.
    pub samples: Vec<(u64, u64)>,
    /// The mean of the samples.
    pub average: f64,
    /// The change from the oldest sample to the newest, per second.
    pub average_rate: f64,
}

impl Rates {
    pub(super) fn new(rate: f64, samples: Option<Vec<(u64, u64)>>) -> Self {
        Self { rate, history: samples.map(History::of) }
    }

    /// The change from one number to another per second.
    pub(super) fn per_second(before: u64, now: u64, elapsed_ms: u64) -> f64 {
        if elapsed_ms == 0 { 0.0 } else { (float(now) - float(before)) * 1000.0 / float(elapsed_ms) }
    }
}

impl History {
    fn of(samples: Vec<(u64, u64)>) -> Self {
        let (Some(newest), Some(oldest)) = (samples.first(), samples.last()) else { return Self::default() };
        let sum: f64 = samples.iter().map(|(_, value)| float(*value)).sum();
        let count = u32::try_from(samples.len()).map_or(f64::MAX, f64::from);
        let average_rate = Rates::per_second(oldest.1, newest.1, newest.0 - oldest.0);
        Self { average: sum / count, average_rate, samples }
    }
}

/// Exact up to 2^53: enough for any count of messages or bytes that is to be drawn.
fn float(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).map_or(0.0, f64::from);
    let low = u32::try_from(number & u64::from(u32::MAX)).map_or(0.0, f64::from);
    high * 4_294_967_296.0 + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_step_and_a_bound() {
        assert_eq!(Window::new(60, 0), None);
        assert_eq!(Window::new(5_000, 5), None);
        assert_eq!(Window::new(u64::MAX, u64::MAX), None);
        let window = Window::new(10, 5).expect("fits");
        assert_eq!(window.moments(12_345).collect::<Vec<_>>(), [10_000, 5_000, 0]);
    }

    #[test]
    fn numbers_beyond_32_bits_stay_what_they_are() {
        assert_eq!(float((1 << 40) + 3), 1_099_511_627_779.0);
    }
}
