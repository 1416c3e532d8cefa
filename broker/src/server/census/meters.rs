//! [`ExchangeMeter`] and [`ChannelMeter`]: what is counted of one exchange or channel, and what that was over time.
//!
//! There may be a hundred thousand of either. What was seen therefore lies with what it is of, goes with it, and takes no memory before
//! the first message; and only so many of them keep all that RabbitMQ keeps ([`Room`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{INTERVAL_MS, begun};
use crate::session::action::ChannelId;
use crate::stats::series::{BASIC, Retention, Series};
use crate::stats::tally::{COUNTS, Count, SharedTally, Tally};

/// Channels that keep all their samples: 12 KiB each if they are always busy.
pub(super) const FULL_CHANNELS_MAX: usize = 2_000;

/// Exchanges that keep all their samples: 3 KiB each if they are always busy.
pub(super) const FULL_EXCHANGES_MAX: usize = 5_000;

/// What those keep for which there is no room: enough for the rate of the moment.
const BRIEF: Retention = Retention { age_ms: INTERVAL_MS, interval_ms: INTERVAL_MS };

/// How many more may keep all their samples. Made anew for each look.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    /// How many do.
    pub(super) full: usize,
}

impl Room {
    /// When so many did at the last look.
    pub(super) fn new(max: usize, full: usize) -> Self {
        Self { left: max.saturating_sub(full), full: 0 }
    }

    fn retention(&mut self) -> Retention {
        if self.left == 0 {
            return BRIEF;
        }
        self.left -= 1;
        BASIC
    }
}

/// Numbers over time. Nobody who passes messages on asks for its lock.
#[derive(Debug, Default)]
struct Watched<const N: usize>(Mutex<Option<Box<Series<N>>>>);

impl<const N: usize> Watched<N> {
    fn look(&self, at_ms: u64, numbers: [u64; N], room: &mut Room) {
        let watched = &mut *self.0.lock();
        if watched.is_none() && numbers == [0; N] {
            return;
        }
        let series = watched.get_or_insert_with(|| Box::new(begun(room.retention(), at_ms)));
        series.push(at_ms, numbers);
        room.full += usize::from(series.retention() == BASIC);
    }

    fn seen<T>(&self, look: impl FnOnce(Option<&Series<N>>) -> T) -> T {
        look(self.0.lock().as_deref())
    }
}

/// Of an exchange: messages that clients published to it, and how many of them went to queues, each counted as often as there were
/// queues. What comes from other exchanges and what the broker publishes itself is not counted, as in RabbitMQ.
#[derive(Debug, Default)]
pub struct ExchangeMeter {
    published: AtomicU64,
    routed: AtomicU64,
    watched: Watched<2>,
}

impl ExchangeMeter {
    /// Counts on. Many do so: not for each message, but for all of a round.
    pub(in crate::server) fn count(&self, published: u64, routed: u64) {
        self.published.fetch_add(published, Ordering::Relaxed);
        self.routed.fetch_add(routed, Ordering::Relaxed);
    }

    /// Published, and routed.
    pub(in crate::server) fn numbers(&self) -> [u64; 2] {
        [self.published.load(Ordering::Relaxed), self.routed.load(Ordering::Relaxed)]
    }

    /// What was seen of the numbers, if there was anything.
    pub(in crate::server) fn seen<T>(&self, look: impl FnOnce(Option<&Series<2>>) -> T) -> T {
        self.watched.seen(look)
    }

    pub(super) fn look(&self, at_ms: u64, room: &mut Room) {
        self.watched.look(at_ms, self.numbers(), room);
    }
}

/// Of a channel: what its session counts.
#[derive(Debug)]
pub(in crate::server) struct ChannelMeter {
    tally: Arc<SharedTally>,
    watched: Watched<COUNTS>,
}

impl ChannelMeter {
    /// How its numbers stand.
    pub(in crate::server) fn tally(&self) -> Tally {
        self.tally.load()
    }

    /// A message was dropped: its session does not hear of that.
    pub(in crate::server) fn count_dropped(&self) {
        self.tally.count(Count::DropUnroutable, 1);
    }

    /// What was seen of the numbers, if there was anything.
    pub(in crate::server) fn seen<T>(&self, look: impl FnOnce(Option<&Series<COUNTS>>) -> T) -> T {
        self.watched.seen(look)
    }

    pub(super) fn look(&self, at_ms: u64, room: &mut Room) {
        self.watched.look(at_ms, self.tally().to_array(), room);
    }
}

/// The open channels of a connection. Asked for when one opens or closes, when somebody looks, and never for a message.
#[derive(Debug, Default)]
pub(in crate::server) struct ChannelMeters(Mutex<BTreeMap<ChannelId, Arc<ChannelMeter>>>);

impl ChannelMeters {
    pub(in crate::server) fn open(&self, channel: ChannelId, tally: Arc<SharedTally>) {
        self.0.lock().insert(channel, Arc::new(ChannelMeter { tally, watched: Watched::default() }));
    }

    pub(in crate::server) fn close(&self, channel: ChannelId) {
        self.0.lock().remove(&channel);
    }

    pub(in crate::server) fn of(&self, channel: ChannelId) -> Option<Arc<ChannelMeter>> {
        self.0.lock().get(&channel).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<ChannelMeter>> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn samples(meter: &ExchangeMeter) -> usize {
        meter.seen(|series| series.map_or(0, Series::len))
    }

    #[test]
    fn nothing_is_kept_of_what_never_counted() {
        let (meter, mut room) = (ExchangeMeter::default(), Room::new(1, 0));
        meter.look(100_000, &mut room);
        assert_eq!((samples(&meter), room.full, room.left), (0, 0, 1));
    }

    #[test]
    fn beyond_the_bound_the_rate_of_the_moment_is_known_and_no_more() {
        let meters = [ExchangeMeter::default(), ExchangeMeter::default()];
        let mut full = 0;
        for round in 1..=50 {
            let mut room = Room::new(1, full);
            for meter in &meters {
                meter.count(10, 20);
                meter.look(100_000 + round * INTERVAL_MS, &mut room);
            }
            full = room.full;
            assert_eq!(full, 1);
        }
        assert_eq!((samples(&meters[0]), samples(&meters[1])), (51, 2));
        for meter in &meters {
            let rates = [0, 1].map(|place| meter.seen(|series| series.unwrap().rates(place, None).rate));
            assert_eq!((rates, meter.numbers()), ([2.0, 4.0], [500, 1_000]));
        }
        // One that goes leaves its room to the next.
        let (next, mut room) = (ExchangeMeter::default(), Room::new(1, 0));
        next.count(1, 0);
        next.look(100_000, &mut room);
        assert_eq!(room.full, 1);
    }
}
