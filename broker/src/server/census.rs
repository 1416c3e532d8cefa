//! [`Census`]: who is connected, and what is counted of all that runs.
//!
//! Connections count for themselves and tell the numbers once a round, with plain stores; queues count under the lock that they
//! hold anyway. A thread looks at all of it every five seconds and keeps what it sees, so that rates can be told. Nothing here is
//! asked by those who pass messages on.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::engine::{ConnectionId, QueueId};
use crate::server::admin::Facts;
use crate::server::endpoints::Endpoints;
use crate::server::outbox::Outbox;
use crate::server::shared::Shared;
use crate::server::tls::TlsDetails;
use crate::session::peer::ClientProperties;
use crate::stats::series::{BASIC, GLOBAL, Retention, Series, Tiers};
use crate::stats::tally::{COUNTS, SharedTally, Tally};

mod meters;

pub(super) use meters::{ChannelMeter, ExchangeMeter};
use meters::{ChannelMeters, FULL_CHANNELS_MAX, FULL_EXCHANGES_MAX, Room};

/// How often is looked, in milliseconds: what RabbitMQ calls the statistics interval.
const INTERVAL_MS: u64 = 5_000;

/// Of a queue: ready, unacked, and the tally.
pub(super) type QueueSeries = Series<{ 2 + COUNTS }>;

/// Of a connection: bytes received, bytes sent, and the tally.
pub(super) type ConnectionSeries = Series<{ 2 + COUNTS }>;

/// Of all: ready, unacked, the tally, and the churn.
pub(super) type GlobalSeries = Tiers<{ 2 + COUNTS + CHURNS }>;

/// Where a tally begins in the samples.
pub(super) const TALLY_AT: usize = 2;

/// Where the churn begins in the samples of all.
pub(super) const CHURN_AT: usize = 2 + COUNTS;

/// How many kinds of coming and going there are.
pub(super) const CHURNS: usize = 7;

/// What comes and goes.
#[derive(Debug, Default)]
pub(super) struct Churn {
    pub(super) connections_created: AtomicU64,
    pub(super) connections_closed: AtomicU64,
    pub(super) channels_created: AtomicU64,
    pub(super) channels_closed: AtomicU64,
    pub(super) queues_declared: AtomicU64,
    pub(super) queues_created: AtomicU64,
    pub(super) queues_deleted: AtomicU64,
}

impl Churn {
    /// The numbers, in the order of the fields.
    pub(super) fn to_array(&self) -> [u64; CHURNS] {
        [
            &self.connections_created,
            &self.connections_closed,
            &self.channels_created,
            &self.channels_closed,
            &self.queues_declared,
            &self.queues_created,
            &self.queues_deleted,
        ]
        .map(|count| count.load(Ordering::Relaxed))
    }
}

/// One more.
pub(super) fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

/// What a connection says of its traffic, for others to read.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes received and sent.
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) tally: SharedTally,
    pub(super) channels: ChannelMeters,
}

/// A connection that has opened a virtual host. What of it does not change, and its traffic.
#[derive(Debug)]
pub(super) struct ConnectionRecord {
    pub(super) id: ConnectionId,
    pub(super) name: String,
    pub(super) peer: IpAddr,
    pub(super) endpoints: Option<Endpoints>,
    /// How it is encrypted, if it is.
    pub(super) tls: Option<Arc<TlsDetails>>,
    pub(super) user: String,
    pub(super) vhost: String,
    pub(super) mechanism: &'static str,
    pub(super) client: ClientProperties,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    /// Seconds; 0 is none.
    pub(super) heartbeat_s: u16,
    /// Milliseconds since 1970.
    pub(super) connected_at_ms: u64,
    pub(super) traffic: Arc<Traffic>,
    pub(super) outbox: Arc<Outbox>,
}

/// What was seen over time.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) global: GlobalSeries,
    /// Those that ever held a message.
    pub(super) queues: HashMap<QueueId, QueueSeries>,
    pub(super) connections: HashMap<ConnectionId, ConnectionSeries>,
}

#[derive(Debug, Default)]
struct Connected {
    records: HashMap<ConnectionId, Arc<ConnectionRecord>>,
    /// The tallies of those that have left.
    left: Tally,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Census {
    clock: Clock,
    connected: Mutex<Connected>,
    pub(super) churn: Churn,
    seen: Mutex<Seen>,
    /// How many channels and exchanges kept all their samples at the last look.
    full_channels: AtomicUsize,
    full_exchanges: AtomicUsize,
    facts: OnceLock<Facts>,
    closing: Mutex<bool>,
    changed: Condvar,
}

impl Census {
    /// Nothing is seen before [`Census::start`].
    pub(super) fn new(clock: Clock) -> Self {
        let seen = Seen { global: Tiers::new(&GLOBAL), queues: HashMap::new(), connections: HashMap::new() };
        Self {
            clock,
            connected: Mutex::default(),
            churn: Churn::default(),
            seen: Mutex::new(seen),
            full_channels: AtomicUsize::new(0),
            full_exchanges: AtomicUsize::new(0),
            facts: OnceLock::new(),
            closing: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// Starts the thread that looks. It ends when the broker is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let (census, broker) = (shared.census.clone(), Arc::downgrade(shared));
        thread::Builder::new().name("warren-census".to_owned()).spawn(move || census.run(&broker)).map(drop)
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        *self.closing.lock() = true;
        self.changed.notify_all();
    }

    fn run(&self, broker: &Weak<Shared>) {
        loop {
            let Some(shared) = broker.upgrade() else { return };
            let now_ms = self.now_ms();
            // Always at multiples of the interval, so that rates are those of whole intervals.
            self.look(&shared, now_ms - now_ms % INTERVAL_MS);
            drop(shared);
            let wait_ms = INTERVAL_MS - self.now_ms() % INTERVAL_MS;
            let mut closing = self.closing.lock();
            if !*closing {
                self.changed.wait_for(&mut closing, Duration::from_millis(wait_ms));
            }
            if *closing {
                return;
            }
        }
    }

    /// The time of day, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.at(Instant::now())
    }

    /// Notes what the broker was started with. The first word counts.
    pub(super) fn note(&self, facts: Facts) {
        let _ = self.facts.set(facts);
    }

    /// What the broker was started with, once it has been.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.get()
    }

    /// Takes one sample of everything.
    pub(super) fn look(&self, shared: &Shared, at_ms: u64) {
        let queues = shared.queues();
        let (mut ready, mut unacked) = (0, 0);
        let mut numbers = Vec::with_capacity(queues.len());
        for queue in queues {
            let sample = queue.sample();
            ready += sample[0];
            unacked += sample[1];
            numbers.push((queue.id(), sample));
        }
        let records = self.records();
        self.look_at_channels(&records, at_ms);
        self.look_at_exchanges(shared, at_ms);
        let connections = records.iter().map(|record| (record.id, record.traffic.sample())).collect();
        let mut global = [0; 2 + COUNTS + CHURNS];
        let parts = [ready, unacked].into_iter().chain(self.tally().to_array()).chain(self.churn.to_array());
        for (number, part) in global.iter_mut().zip(parts) {
            *number = part;
        }

        let seen = &mut *self.seen.lock();
        seen.global.push(at_ms, global);
        let known = std::mem::take(&mut seen.queues);
        seen.queues = push_all(known, numbers, at_ms);
        let known = std::mem::take(&mut seen.connections);
        seen.connections = push_all(known, connections, at_ms);
    }

    fn look_at_channels(&self, records: &[Arc<ConnectionRecord>], at_ms: u64) {
        let mut room = Room::new(FULL_CHANNELS_MAX, self.full_channels.load(Ordering::Relaxed));
        for meter in records.iter().flat_map(|record| record.traffic.channels.all()) {
            meter.look(at_ms, &mut room);
        }
        self.full_channels.store(room.full, Ordering::Relaxed);
    }

    fn look_at_exchanges(&self, shared: &Shared, at_ms: u64) {
        let mut room = Room::new(FULL_EXCHANGES_MAX, self.full_exchanges.load(Ordering::Relaxed));
        for vhost in shared.vhosts() {
            let busy = vhost.read(|registry| {
                let meters = registry.topology.exchanges().map(|view| view.meter);
                meters.filter(|meter| meter.numbers() != [0, 0]).cloned().collect::<Vec<_>>()
            });
            busy.iter().for_each(|meter| meter.look(at_ms, &mut room));
        }
        self.full_exchanges.store(room.full, Ordering::Relaxed);
    }

    /// What was seen. Nobody who passes messages on waits for this lock.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock())
    }

    /// Enters a connection.
    pub(super) fn enter(&self, record: ConnectionRecord) {
        count(&self.churn.connections_created);
        self.connected.lock().records.insert(record.id, Arc::new(record));
    }

    /// Removes a connection, entered or not. What it counted stays in the sum.
    pub(super) fn leave(&self, id: ConnectionId, tally: &Tally) {
        let connected = &mut *self.connected.lock();
        connected.left.add(tally);
        if connected.records.remove(&id).is_some() {
            count(&self.churn.connections_closed);
            if connected.records.is_empty() {
                connected.records.shrink_to_fit();
            }
        }
    }

    /// All connections, in no particular order.
    pub(super) fn records(&self) -> Vec<Arc<ConnectionRecord>> {
        self.connected.lock().records.values().cloned().collect()
    }

    /// What all connections have counted, also those that have left.
    pub(super) fn tally(&self) -> Tally {
        let connected = self.connected.lock();
        let mut sum = connected.left;
        for record in connected.records.values() {
            sum.add(&record.traffic.tally.load());
        }
        sum
    }
}

impl Traffic {
    /// Its numbers in the order of the samples.
    pub(super) fn sample(&self) -> [u64; 2 + COUNTS] {
        let bytes = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        with_tally(bytes, &self.tally.load())
    }
}

/// Two numbers and a tally, in the order of the samples.
pub(super) fn with_tally((first, second): (u64, u64), tally: &Tally) -> [u64; 2 + COUNTS] {
    let mut numbers = [0; 2 + COUNTS];
    (numbers[0], numbers[1]) = (first, second);
    numbers[TALLY_AT..].copy_from_slice(&tally.to_array());
    numbers
}

/// The series of those that are still there, with one sample more. What never was anything but zero is not kept.
fn push_all<Id: Copy + Eq + std::hash::Hash, const N: usize>(
    mut known: HashMap<Id, Series<N>>,
    numbers: Vec<(Id, [u64; N])>,
    at_ms: u64,
) -> HashMap<Id, Series<N>> {
    let push = |(id, sample): (Id, [u64; N])| {
        let mut series = match known.remove(&id) {
            Some(series) => series,
            None if sample == [0; N] => return None,
            None => begun(BASIC, at_ms),
        };
        series.push(at_ms, sample);
        Some((id, series))
    };
    numbers.into_iter().filter_map(push).collect()
}

/// A series of what was nothing until now, which is what its first rate is counted from.
fn begun<const N: usize>(retention: Retention, at_ms: u64) -> Series<N> {
    let mut series = Series::new(retention);
    series.push(at_ms.saturating_sub(INTERVAL_MS), [0; N]);
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_begin_with_the_first_number_and_end_with_what_they_are_of() {
        let first = push_all(HashMap::new(), vec![(1, [0, 0]), (2, [10, 0])], 100_000);
        assert_eq!((first.contains_key(&1), first.len()), (false, 1));
        assert_eq!(first.get(&2).map(|series| series.rates(0, None).rate), Some(2.0));
        assert!(push_all(first, vec![(1, [0, 0])], 105_000).is_empty());
    }

    #[test]
    fn what_a_connection_counted_stays_when_it_leaves() {
        let census = Census::new(Clock::new(Instant::now(), 0));
        census.leave(ConnectionId(7), &Tally { publish: 3, ..Tally::default() });
        assert_eq!(census.tally().publish, 3);
        assert_eq!(census.churn.to_array(), [0; CHURNS], "it was never open");
    }
}
