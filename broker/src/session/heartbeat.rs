//! [`Heartbeat`]: when to send a heartbeat and when to give the peer up.
//!
//! RabbitMQ's rules: the sender looks every half interval whether anything was sent, the receiver every interval whether
//! anything came; two silent intervals in a row are the end. It reads no clock; called by the connection.

use std::time::{Duration, Instant};

/// What a look at the clock asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Rest,
    /// Send a heartbeat frame.
    Send,
    /// The peer is gone.
    Dead,
}

/// Intervals without a byte from the peer after which it is given up.
const SILENT_INTERVALS_MAX: u8 = 2;

/// The heartbeat of one connection.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    next_send: Instant,
    next_check: Instant,
    silent_intervals: u8,
    sent: bool,
    received: bool,
}

impl Heartbeat {
    /// Starts to count at `now`; none if the peers agreed on 0.
    pub(super) fn start(interval_s: u16, now: Instant) -> Option<Self> {
        if interval_s == 0 {
            return None;
        }
        let interval = Duration::from_secs(u64::from(interval_s));
        Some(Self {
            interval,
            next_send: now + interval / 2,
            next_check: now + interval,
            silent_intervals: 0,
            sent: false,
            received: false,
        })
    }

    /// Bytes went to the peer.
    pub(super) fn handle_sent(&mut self) {
        self.sent = true;
    }

    /// Bytes came from the peer.
    pub(super) fn handle_received(&mut self) {
        self.received = true;
    }

    /// The peer cannot be heard because its socket is not read: it is not silent.
    pub(super) fn pause(&mut self) {
        self.received = true;
    }

    /// When to call [`Self::handle_timeout`] next.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.next_send.min(self.next_check)
    }

    /// Looks at the clock.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Beat {
        if now >= self.next_check {
            self.next_check = now + self.interval;
            self.silent_intervals = if self.received { 0 } else { self.silent_intervals + 1 };
            self.received = false;
            if self.silent_intervals >= SILENT_INTERVALS_MAX {
                return Beat::Dead;
            }
        }
        if now >= self.next_send {
            self.next_send = now + self.interval / 2;
            if !std::mem::take(&mut self.sent) {
                return Beat::Send;
            }
        }
        Beat::Rest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_interval_of_zero_means_none() {
        assert!(Heartbeat::start(0, Instant::now()).is_none());
    }

    #[test]
    fn a_heartbeat_is_sent_every_half_interval_in_which_nothing_else_was() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(10, start).unwrap();
        heartbeat.handle_received();
        assert_eq!(heartbeat.handle_timeout(start + seconds(4)), Beat::Rest);
        assert_eq!(heartbeat.handle_timeout(start + seconds(5)), Beat::Send);
        heartbeat.handle_sent();
        assert_eq!(heartbeat.handle_timeout(start + seconds(10)), Beat::Rest);
        assert_eq!(heartbeat.handle_timeout(start + seconds(15)), Beat::Send);
    }

    #[test]
    fn two_silent_intervals_in_a_row_end_it() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(10, start).unwrap();
        heartbeat.handle_sent();
        let mut verdicts = Vec::new();
        for check in 1..=5 {
            if check == 2 {
                heartbeat.handle_received();
            }
            heartbeat.handle_sent();
            verdicts.push(heartbeat.handle_timeout(start + seconds(10 * check)));
        }
        // Silent, heard, silent, silent.
        assert_eq!(verdicts, [Beat::Rest, Beat::Rest, Beat::Rest, Beat::Dead, Beat::Dead]);
    }

    #[test]
    fn a_peer_that_is_not_read_is_not_given_up() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(10, start).unwrap();
        for check in 1..=10 {
            heartbeat.pause();
            assert_ne!(heartbeat.handle_timeout(start + seconds(10 * check)), Beat::Dead);
        }
    }

    #[test]
    fn the_next_look_is_never_in_the_past_after_one() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(1, start).unwrap();
        for step in 1..100 {
            let now = start + Duration::from_millis(130 * step);
            heartbeat.handle_received();
            heartbeat.handle_timeout(now);
            assert!(heartbeat.poll_timeout() > now);
        }
    }
}
