//! [`Failures`]: how many logins were refused lately, by address.
//!
//! Guessing is slow by itself, because a refused login has to wait for its answer; this is against those who guess over many
//! connections at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::server::admission::network_of;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered. Who has more of them is not stopped by counting each.
const ADDRESSES_MAX: usize = 10_000;

/// Refused logins of the last minute or so.
#[derive(Debug)]
pub(super) struct Failures {
    max: u32,
    by_address: HashMap<IpAddr, Counted>,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    failures: u32,
}

impl Failures {
    /// Lets `max` failures of one address pass within a minute.
    pub(super) fn new(max: u32) -> Self {
        Self { max, by_address: HashMap::new() }
    }

    /// Lets another number pass from now on.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max;
    }

    /// A login from here was refused.
    pub(super) fn note(&mut self, peer: IpAddr, now: Instant) {
        let network = network_of(peer);
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&network) {
            self.by_address.retain(|_, counted| is_recent(counted, now));
            if self.by_address.len() >= ADDRESSES_MAX {
                self.by_address.clear();
            }
        }
        let counted = self.by_address.entry(network).or_insert(Counted { since: now, failures: 0 });
        if !is_recent(counted, now) {
            *counted = Counted { since: now, failures: 0 };
        }
        counted.failures = counted.failures.saturating_add(1);
        if counted.failures == self.max {
            tracing::warn!(%peer, failures = self.max, "too many refused logins within a minute: further ones from there are refused");
        }
    }

    /// Whether no more guesses are taken from here.
    pub(super) fn are_too_many(&self, peer: IpAddr, now: Instant) -> bool {
        self.by_address
            .get(&network_of(peer))
            .is_some_and(|counted| counted.failures >= self.max && is_recent(counted, now))
    }
}

fn is_recent(counted: &Counted, now: Instant) -> bool {
    now.saturating_duration_since(counted.since) < WINDOW
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_address_for_a_minute() {
        let (mut failures, start) = (Failures::new(2), Instant::now());
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        failures.note(a, start);
        assert!(!failures.are_too_many(a, start));
        failures.note(a, start);
        assert!(failures.are_too_many(a, start) && !failures.are_too_many(b, start));
        assert!(failures.are_too_many("::ffff:10.0.0.1".parse().unwrap(), start));
        let later = start + WINDOW;
        assert!(
            failures.are_too_many(a, later - Duration::from_millis(1)) && !failures.are_too_many(a, later)
        );
        failures.note(a, later);
        assert!(!failures.are_too_many(a, later));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let (mut failures, now) = (Failures::new(1), Instant::now());
        failures.note("2001:db8:1:2::1".parse().unwrap(), now);
        assert!(failures.are_too_many("2001:db8:1:2:ffff::9".parse().unwrap(), now));
        assert!(!failures.are_too_many("2001:db8:1:3::1".parse().unwrap(), now));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_be() {
        let (mut failures, now) = (Failures::new(1), Instant::now());
        for number in 0..=u32::try_from(ADDRESSES_MAX).unwrap() {
            failures.note(IpAddr::from(std::net::Ipv4Addr::from_bits(number)), now);
        }
        assert_eq!(failures.by_address.len(), 1);
    }
}
