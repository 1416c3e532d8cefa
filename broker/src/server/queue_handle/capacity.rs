//! [`Capacity`]: in what share of the time consumers could take at once what a queue had for them; what RabbitMQ calls the capacity of
//! consumers. The clock is asked when that changes, and not for each message.

/// All of the time, in millionths.
pub(super) const WHOLE: u32 = 1_000_000;

/// See the module's documentation. Times are in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Capacity {
    /// Since when messages wait for a consumer that can take one; 0 if none does.
    waiting_since_ms: u64,
    /// For how long they did since the last look.
    waited_ms: u64,
    looked_ms: u64,
    share: u32,
}

impl Capacity {
    /// Of a queue that begins now.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { waiting_since_ms: 0, waited_ms: 0, looked_ms: now_ms, share: WHOLE }
    }

    /// Notes whether messages wait for a consumer.
    #[inline]
    pub(super) fn note(&mut self, waits: bool, now_ms: impl FnOnce() -> u64) {
        if waits != (self.waiting_since_ms != 0) {
            self.change(waits, now_ms());
        }
    }

    fn change(&mut self, waits: bool, now_ms: u64) {
        if waits {
            self.waiting_since_ms = now_ms.max(1);
        } else {
            self.waited_ms += now_ms.saturating_sub(self.waiting_since_ms);
            self.waiting_since_ms = 0;
        }
    }

    /// Ends a stretch of time, of which [`Capacity::share`] tells from now on.
    pub(super) fn look(&mut self, now_ms: u64) {
        if self.waiting_since_ms != 0 {
            self.change(false, now_ms);
            self.change(true, now_ms);
        }
        let passed_ms = now_ms.saturating_sub(self.looked_ms);
        if passed_ms == 0 {
            return;
        }
        let free_ms = passed_ms.saturating_sub(self.waited_ms);
        self.share =
            u32::try_from(u128::from(free_ms) * u128::from(WHOLE) / u128::from(passed_ms)).unwrap_or(WHOLE);
        self.looked_ms = now_ms;
        self.waited_ms = 0;
    }

    /// The share of the time between the last two looks, in millionths.
    pub(super) fn share(&self) -> u32 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_share_of_the_time_between_looks_in_which_nothing_waited() {
        let mut capacity = Capacity::new(1_000);
        assert_eq!(capacity.share(), WHOLE);
        capacity.note(true, || 2_000);
        capacity.note(true, || unreachable!("nothing has changed"));
        capacity.note(false, || 4_000);
        assert_eq!(capacity.share(), WHOLE, "nobody has looked");
        capacity.look(5_000);
        assert_eq!(capacity.share(), WHOLE / 2);
        capacity.note(true, || 6_000);
        capacity.look(9_000);
        assert_eq!(capacity.share(), WHOLE / 4);
        capacity.look(9_000);
        assert_eq!(capacity.share(), WHOLE / 4, "no time has passed");
        capacity.look(10_000);
        assert_eq!(capacity.share(), 0, "it waits all the time");
        capacity.note(false, || 10_000);
        capacity.look(11_000);
        assert_eq!(capacity.share(), WHOLE);
    }
}
