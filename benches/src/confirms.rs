//! The window of unconfirmed publishes of one channel, and how long each confirm took.
//!
//! Confirms may come in any order and cover many messages. It refuses to know messages: it counts delivery tags from 1
//! as the broker does. Called by `producer`.

use crate::stats::Latency;

/// Marks a tag in the ring that is confirmed already.
const CONFIRMED: u64 = u64::MAX;

/// What the broker said about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ack,
    Nack,
}

/// Publishes that wait for their confirm.
pub(crate) struct ConfirmWindow {
    window: u64,
    /// Send times by tag. Twice the window, so that one slow confirm does not stop those after it at once.
    ring: Vec<u64>,
    mask: u64,
    next_tag: u64,
    lowest_open: u64,
    open: u64,
    pub(crate) acked: u64,
    pub(crate) nacked: u64,
    /// Confirms for tags never used or confirmed before. A correct broker sends none.
    pub(crate) unfounded: u64,
    pub(crate) latency: Latency,
}

impl ConfirmWindow {
    pub(crate) fn new(window: u32, latency: Latency) -> Self {
        let slots = (u64::from(window) * 2).next_power_of_two();
        Self {
            window: u64::from(window),
            ring: vec![CONFIRMED; usize::try_from(slots).unwrap_or(usize::MAX)],
            mask: slots - 1,
            next_tag: 1,
            lowest_open: 1,
            open: 0,
            acked: 0,
            nacked: 0,
            unfounded: 0,
            latency,
        }
    }

    /// How many messages may be published now.
    pub(crate) fn credit(&self) -> u64 {
        let ring_room = self.mask + 1 - (self.next_tag - self.lowest_open);
        (self.window - self.open).min(ring_room)
    }

    /// How many are published and not confirmed.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }

    /// Notes a publish; the caller has asked for `credit` before.
    #[inline]
    pub(crate) fn published(&mut self, sent_ns: u64) {
        let slot = self.slot(self.next_tag);
        self.ring[slot] = sent_ns.min(CONFIRMED - 1);
        self.next_tag += 1;
        self.open += 1;
    }

    /// Notes a confirm that arrived at `now`; tag 0 with `multiple` means all that are open.
    pub(crate) fn confirmed(&mut self, tag: u64, multiple: bool, verdict: Verdict, now: u64) {
        let last = if multiple && tag == 0 { self.next_tag - 1 } else { tag };
        if last >= self.next_tag || last < self.lowest_open {
            self.unfounded += u64::from(tag != 0);
            return;
        }
        let first = if multiple { self.lowest_open } else { last };
        for tag in first..=last {
            let slot = self.slot(tag);
            let sent = std::mem::replace(&mut self.ring[slot], CONFIRMED);
            if sent == CONFIRMED {
                self.unfounded += u64::from(!multiple);
                continue;
            }
            self.open -= 1;
            match verdict {
                Verdict::Ack => self.acked += 1,
                Verdict::Nack => self.nacked += 1,
            }
            self.latency.record(sent, now);
        }
        while self.lowest_open < self.next_tag && self.ring[self.slot(self.lowest_open)] == CONFIRMED {
            self.lowest_open += 1;
        }
    }

    #[inline]
    fn slot(&self, tag: u64) -> usize {
        usize::try_from(tag & self.mask).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: u32, published: u64) -> ConfirmWindow {
        let mut window = ConfirmWindow::new(size, Latency::new(0..u64::MAX));
        for tag in 0..published {
            window.published(tag);
        }
        window
    }

    #[test]
    fn a_multiple_ack_returns_the_credit_of_all_before_it() {
        let mut window = window(10, 10);
        assert_eq!(window.credit(), 0);
        window.confirmed(4, true, Verdict::Ack, 100);
        assert_eq!((window.credit(), window.open(), window.acked), (4, 6, 4));
        window.confirmed(0, true, Verdict::Nack, 100);
        assert_eq!((window.credit(), window.open(), window.nacked), (10, 0, 6));
    }

    #[test]
    fn confirms_out_of_order_count_once() {
        let mut window = window(4, 4);
        window.confirmed(3, false, Verdict::Ack, 9);
        window.confirmed(4, true, Verdict::Ack, 9);
        assert_eq!((window.acked, window.open(), window.unfounded), (4, 0, 0));
    }

    #[test]
    fn one_late_confirm_stops_publishing_only_at_the_end_of_the_ring() {
        let mut window = window(4, 4);
        for tag in 2..=4 {
            window.confirmed(tag, false, Verdict::Ack, 9);
        }
        assert_eq!(window.credit(), 3);
        for tag in 5..=8 {
            window.published(0);
            window.confirmed(tag, false, Verdict::Ack, 9);
        }
        assert_eq!((window.open(), window.credit()), (1, 0));
        window.confirmed(1, false, Verdict::Ack, 9);
        assert_eq!(window.credit(), 4);
    }

    #[test]
    fn confirms_without_a_publish_are_unfounded() {
        let mut window = window(4, 2);
        window.confirmed(3, false, Verdict::Ack, 9);
        window.confirmed(1, false, Verdict::Ack, 9);
        window.confirmed(1, false, Verdict::Ack, 9);
        assert_eq!((window.unfounded, window.acked), (2, 1));
    }
}
