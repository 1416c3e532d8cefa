//! [`Admission`]: how many connections there may be: in all, from one address, and new ones in a second.
//!
//! Asked before anything is read of a connection. Who comes over a limit is still served until it has logged in and opens its
//! virtual host, because only then it can be told why it must go; of these there are few at a time, and all others are hung up on.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Limits;
use crate::error::AmqpError;
use crate::limits::REFUSED_CONNECTIONS_MAX;

/// A provider gives each customer a network of this many bits at least.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

const SECOND: Duration = Duration::from_secs(1);

/// Who is there, and how many may be.
#[derive(Debug)]
pub(super) struct Admission(Mutex<State>);

#[derive(Debug)]
struct State {
    limits: AdmissionLimits,
    admitted: u32,
    /// Over a limit and not gone yet.
    refused: usize,
    by_address: HashMap<IpAddr, u32>,
    /// The second that is counted, and how many came in it.
    second: (Instant, u32),
}

/// The limits; `None` is without.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdmissionLimits {
    connections_max: u32,
    per_address_max: Option<u32>,
    per_second_max: Option<u32>,
}

impl From<&Limits> for AdmissionLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            per_second_max: limits.connections_per_second_max,
        }
    }
}

/// The place of one connection among the others, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
    refusal: Option<AmqpError>,
}

impl Place {
    /// Why the connection must go, if it must.
    pub(super) fn refusal(&self) -> Option<&AmqpError> {
        self.refusal.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = &mut *self.admission.0.lock();
        if self.refusal.is_some() {
            state.refused -= 1;
            return;
        }
        state.admitted -= 1;
        if let Some(count) = state.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&self.address);
            }
        }
        if state.by_address.len() * 4 < state.by_address.capacity() {
            state.by_address.shrink_to_fit();
        }
    }
}

impl Admission {
    /// Nobody is there yet.
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        let second = (Instant::now(), 0);
        Self(Mutex::new(State { limits, admitted: 0, refused: 0, by_address: HashMap::new(), second }))
    }

    /// Other limits, for those who come from now on.
    pub(super) fn set_limits(&self, limits: AdmissionLimits) {
        self.0.lock().limits = limits;
    }

    /// A place for a connection from here, perhaps only until it has been told why not; `None` if it is to be hung up on.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<Place> {
        let address = network_of(peer);
        let state = &mut *self.0.lock();
        let refusal = state.refusal(address, peer, now);
        if refusal.is_some() {
            if state.refused >= REFUSED_CONNECTIONS_MAX {
                return None;
            }
            state.refused += 1;
        } else {
            state.admitted += 1;
            *state.by_address.entry(address).or_default() += 1;
        }
        Some(Place { admission: self.clone(), address, refusal })
    }
}

impl State {
    /// Why another connection from here may not be.
    fn refusal(&mut self, address: IpAddr, peer: IpAddr, now: Instant) -> Option<AmqpError> {
        let AdmissionLimits { connections_max, per_address_max, per_second_max } = self.limits;
        if self.admitted >= connections_max {
            return Some(AmqpError::not_allowed(format!(
                "connection refused: node connection limit ({connections_max}) is reached"
            )));
        }
        let from_here = self.by_address.get(&address).copied().unwrap_or(0);
        if let Some(max) = per_address_max.filter(|max| from_here >= *max) {
            let peer = peer.to_canonical();
            return Some(AmqpError::not_allowed(format!(
                "connection refused: connection limit ({max}) of address {peer} is reached"
            )));
        }
        let max = per_second_max?;
        if now.saturating_duration_since(self.second.0) >= SECOND {
            self.second = (now, 0);
        }
        if self.second.1 >= max {
            return Some(AmqpError::not_allowed(format!(
                "connection refused: limit of new connections per second ({max}) is reached"
            )));
        }
        self.second.1 += 1;
        None
    }
}

/// The address, or for IPv6 the network that its owner can choose addresses in.
pub(super) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK)),
        address => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FREE: AdmissionLimits =
        AdmissionLimits { connections_max: 1000, per_address_max: None, per_second_max: None };

    fn enter(admission: &Arc<Admission>, peer: &str, now: Instant) -> Place {
        admission.enter(peer.parse().unwrap(), now).unwrap()
    }

    fn refusal(place: &Place) -> String {
        place.refusal().unwrap().reply_text()
    }

    #[test]
    fn connections_in_all_are_limited_and_who_leaves_makes_room() {
        let admission = Arc::new(Admission::new(AdmissionLimits { connections_max: 2, ..FREE }));
        let now = Instant::now();
        let first = enter(&admission, "127.0.0.1", now);
        let second = enter(&admission, "127.0.0.1", now);
        let third = enter(&admission, "127.0.0.1", now);
        assert!(first.refusal().is_none() && second.refusal().is_none());
        assert_eq!(refusal(&third), "NOT_ALLOWED - connection refused: node connection limit (2) is reached");
        drop(third);
        assert!(enter(&admission, "127.0.0.1", now).refusal().is_some());
        drop(first);
        assert!(enter(&admission, "127.0.0.1", now).refusal().is_none());
    }

    #[test]
    fn connections_of_one_address_are_limited_and_ipv6_counts_by_network() {
        let admission = Arc::new(Admission::new(AdmissionLimits { per_address_max: Some(1), ..FREE }));
        let now = Instant::now();
        let kept = [enter(&admission, "10.0.0.1", now), enter(&admission, "2001:db8:1:2::1", now)];
        assert!(kept.iter().all(|place| place.refusal().is_none()));
        assert_eq!(
            refusal(&enter(&admission, "::ffff:10.0.0.1", now)),
            "NOT_ALLOWED - connection refused: connection limit (1) of address 10.0.0.1 is reached"
        );
        assert!(enter(&admission, "2001:db8:1:2:ffff::9", now).refusal().is_some());
        assert!(enter(&admission, "2001:db8:1:3::1", now).refusal().is_none());
        drop(kept);
        assert!(admission.0.lock().by_address.is_empty());
    }

    #[test]
    fn new_connections_are_limited_by_the_second() {
        let admission = Arc::new(Admission::new(AdmissionLimits { per_second_max: Some(2), ..FREE }));
        let now = Instant::now() + SECOND;
        for _ in 0..2 {
            assert!(enter(&admission, "10.0.0.1", now).refusal().is_none());
        }
        let late = now + SECOND - Duration::from_millis(1);
        assert_eq!(
            refusal(&enter(&admission, "10.0.0.2", late)),
            "NOT_ALLOWED - connection refused: limit of new connections per second (2) is reached"
        );
        assert!(enter(&admission, "10.0.0.2", now + SECOND).refusal().is_none());
    }

    #[test]
    fn only_so_many_are_told_why_at_a_time() {
        let admission = Arc::new(Admission::new(AdmissionLimits { connections_max: 0, ..FREE }));
        let (now, peer) = (Instant::now(), IpAddr::from([10, 0, 0, 1]));
        let mut told: Vec<Place> =
            (0..REFUSED_CONNECTIONS_MAX).map(|_| admission.enter(peer, now).unwrap()).collect();
        assert!(admission.enter(peer, now).is_none());
        told.pop();
        assert!(admission.enter(peer, now).is_some());
    }
}
