//! The broker as a whole: totals, listeners, and the process it is.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Admin;
use super::measures::{Measure, Past, Windows, lengths, measure, message_stats};
use crate::server::census::{CHURN_AT, CHURNS, Seen, TALLY_AT};
use crate::server::events::NODE;
use crate::store::folder::DiskSpace;

/// What comes and goes, in the order of the census.
const CHURN_NAMES: [&str; CHURNS] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

/// A socket that the broker listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// RabbitMQ's name for what is spoken there: `amqp`, `amqp/ssl`, `http`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
}

/// What does not change while a broker runs.
#[derive(Debug)]
pub(in crate::server) struct Facts {
    pub(in crate::server) started: Instant,
    pub(in crate::server) listeners: Vec<ListenerView>,
}

/// Totals.
#[derive(Debug, Clone)]
pub struct OverviewView {
    /// What clients and events call the broker.
    pub node: &'static str,
    /// Messages in all, ready, and unacknowledged.
    pub lengths: [Measure; 3],
    /// What happened to messages since the broker started; empty if nothing did.
    pub message_stats: Vec<Measure>,
    /// What came and went since then.
    pub churn: Vec<Measure>,
    /// Open connections.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Exchanges, the predeclared ones included.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Consumers.
    pub consumers: u64,
}

/// The process.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// What clients and events call it.
    pub name: &'static str,
    /// Since it started.
    pub uptime: Duration,
    /// Its number to the system.
    pub process_id: u32,
    /// Processors it may use.
    pub processors: usize,
    /// What it occupies in memory, in bytes, where the system says so.
    pub memory_bytes: Option<u64>,
    /// What of that messages occupy.
    pub messages_bytes: u64,
    /// What messages may occupy before publishers are held back.
    pub memory_limit_bytes: u64,
    /// Whether they are for that.
    pub memory_alarm: bool,
    /// Where its data is, if it keeps any.
    pub folder: Option<PathBuf>,
    /// The disk that is on.
    pub disk: Option<DiskSpace>,
    /// What has to be free there, in bytes.
    pub disk_free_limit_bytes: u64,
    /// Whether publishers are held back for lack of disk.
    pub disk_alarm: bool,
    /// Open files and sockets, where the system says so.
    pub files: Option<u64>,
    /// How many there may be.
    pub files_max: Option<u64>,
    /// Sockets of clients.
    pub sockets: u64,
}

impl Admin {
    /// Totals of the whole broker.
    #[must_use]
    pub fn overview(&self, windows: Windows) -> OverviewView {
        let (mut ready, mut unacked, mut consumers, mut queues) = (0, 0, 0, 0);
        for queue in self.shared.queues() {
            let counts = queue.counts();
            ready += u64::from(counts.ready);
            unacked += u64::from(counts.unacked);
            consumers += u64::from(counts.consumers);
            queues += 1;
        }
        let (tally, churn) = (self.shared.census.tally(), self.shared.census.churn.to_array());
        let used = self.shared.vhosts().into_iter().map(|vhost| self.vhost_usage(vhost.name()));
        let (connections, channels) = used.fold((0, 0), |(connections, channels), used| {
            (connections + used.connections, channels + used.channels)
        });
        let exchanges = self
            .shared
            .vhosts()
            .iter()
            .map(|vhost| vhost.read(|registry| registry.topology.exchanges().count()))
            .sum();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.shared.census.seen(|seen| OverviewView {
            node: NODE,
            lengths: lengths((ready, unacked), Some(&seen.global), windows.lengths),
            message_stats: message_stats(&tally, TALLY_AT, Some(&seen.global), windows.messages),
            churn: churn_of(churn, seen, windows),
            connections: number(connections),
            channels: number(channels),
            exchanges: number(exchanges),
            queues,
            consumers,
        })
    }

    /// What came and went since the broker started.
    #[must_use]
    pub fn churn(&self) -> Vec<Measure> {
        let churn = self.shared.census.churn.to_array();
        self.shared.census.seen(|seen| churn_of(churn, seen, Windows::default()))
    }

    /// Where the broker listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerView> {
        self.shared.census.facts().map(|facts| facts.listeners.clone()).unwrap_or_default()
    }

    /// The process. Asks the disk: not to be called on a thread that others wait for.
    #[must_use]
    pub fn node(&self) -> NodeView {
        let facts = self.shared.census.facts();
        let folder = self.shared.running.read(|config| config.data.folder.clone());
        let disk = folder.as_deref().and_then(|folder| DiskSpace::of(folder).ok());
        let limit = self.shared.disk_free_limit();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let reason = self.shared.alarms().reason().unwrap_or_default();
        NodeView {
            name: NODE,
            uptime: facts.map(|facts| facts.started.elapsed()).unwrap_or_default(),
            process_id: std::process::id(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: resident_bytes(),
            messages_bytes: number(self.shared.memory.held_bytes()),
            memory_limit_bytes: number(self.shared.memory.limit_bytes()),
            memory_alarm: self.shared.memory.is_alarmed(),
            disk_free_limit_bytes: disk.map_or(0, |disk| limit.bytes(disk.total_bytes)),
            disk_alarm: reason.contains("disk"),
            folder,
            disk,
            files: fs::read_dir("/proc/self/fd").ok().map(|files| number(files.count())),
            files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            sockets: number(self.shared.connection_count()),
        }
    }
}

fn churn_of(churn: [u64; CHURNS], seen: &Seen, windows: Windows) -> Vec<Measure> {
    let named = CHURN_NAMES.iter().zip(churn).enumerate();
    let past: Option<&dyn Past> = Some(&seen.global);
    named
        .map(|(place, (name, value))| {
            measure(name, value, past, windows.messages, |sample| sample[CHURN_AT + place])
        })
        .collect()
}

/// What the process occupies, where `/proc` says so, in KiB.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}
