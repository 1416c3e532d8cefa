//! Connections, channels and consumers in listings. What changes with every message is asked of each connection's own task, so that
//! it costs nothing while nobody asks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use amq_protocol::types::FieldTable;

use super::Admin;
use super::measures::{Measure, Past, Windows, measure, message_stats};
use crate::engine::queue::{ConsumerId, QueueOptions};
use crate::engine::{ConnectionId, QueueId};
use crate::error::AmqpError;
use crate::server::census::{ChannelMeter, ConnectionRecord, TALLY_AT};
use crate::server::executor::{ConnectionReport, ConsumerReport};
use crate::server::tls::TlsDetails;
use crate::session::action::Event;
use crate::session::connection::ChannelDetails;
use crate::session::peer::ClientProperties;
use crate::stats::rates::Window;
use crate::stats::tally::Tally;

/// How long connections have to say how they are doing. They do so at once, unless the machine is at its limits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that has opened a virtual host.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// RabbitMQ's name for it: `127.0.0.1:40000 -> 127.0.0.1:5672`.
    pub name: String,
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// The client's end, with port 0 where it is not known.
    pub peer: SocketAddr,
    /// The broker's end, if it is known.
    pub local: Option<SocketAddr>,
    /// How it is encrypted, if it is.
    pub tls: Option<Arc<TlsDetails>>,
    /// How the client proved who it is.
    pub mechanism: &'static str,
    /// What the client says about itself.
    pub client: ClientProperties,
    /// As agreed; 0 is no limit.
    pub channel_max: u16,
    /// Bytes, as agreed; 0 is no limit.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 is none.
    pub heartbeat_s: u16,
    /// Milliseconds since 1970.
    pub connected_at_ms: u64,
    /// RabbitMQ's name for its state. `None` if it did not say in time.
    pub state: Option<&'static str>,
    /// Its channels, by number.
    pub channels: Vec<ChannelView>,
    /// Its consumers.
    pub consumers: Vec<ConsumerView>,
    /// Bytes received and sent.
    pub data: [Measure; 2],
    /// What happened to messages; empty if nothing did.
    pub message_stats: Vec<Measure>,
}

/// A channel.
#[derive(Debug, Clone)]
pub struct ChannelView {
    /// How it is doing.
    pub details: ChannelDetails,
    meter: Option<Arc<ChannelMeter>>,
}

impl ChannelView {
    /// What happened to messages on it; empty if nothing did.
    #[must_use]
    pub fn message_stats(&self, window: Option<Window>) -> Vec<Measure> {
        let of = |meter: &Arc<ChannelMeter>| {
            let tally = meter.tally();
            meter.seen(|series| message_stats(&tally, 0, series.map(|series| series as _), window))
        };
        self.meter.as_ref().map(of).unwrap_or_default()
    }

    /// Since when nothing happened on it, in milliseconds since 1970. What only the broker did is seen every five seconds.
    #[must_use]
    pub fn idle_since_ms(&self) -> u64 {
        let changed_ms = |meter: &Arc<ChannelMeter>| meter.seen(|series| series?.changed_ms());
        self.details.heard_ms.max(self.meter.as_ref().and_then(changed_ms).unwrap_or(0))
    }
}

/// A consumer.
#[derive(Debug, Clone)]
pub struct ConsumerView {
    /// What it consumes from.
    pub queue: Arc<QueueOptions>,
    pub(super) queue_id: QueueId,
    pub(super) id: ConsumerId,
    /// Its connection, by name.
    pub connection: String,
    /// Its user.
    pub user: String,
    /// The client's end, with port 0 where it is not known.
    pub peer: SocketAddr,
    /// Its channel's number.
    pub channel: u16,
    /// Its tag.
    pub consumer_tag: String,
    /// Whether it is the queue's only one.
    pub exclusive: bool,
    /// Whether it acknowledges.
    pub ack_required: bool,
    /// How many messages it may have unacknowledged; 0 is unlimited.
    pub prefetch: u16,
    /// What it was started with.
    pub arguments: FieldTable,
    /// Whether it receives messages in its turn; no for one that waits to become the single active consumer.
    pub active: bool,
}

impl Admin {
    /// All connections that have opened a virtual host, in no particular order. Waits for them, but not long: not to be called on a
    /// thread that connections run on.
    #[must_use]
    pub fn connections(&self, windows: Windows) -> Vec<ConnectionView> {
        self.views(&self.shared.census.records(), windows)
    }

    /// One connection by name.
    #[must_use]
    pub fn connection(&self, name: &str, windows: Windows) -> Option<ConnectionView> {
        let mut records = self.shared.census.records();
        records.retain(|record| record.name == name);
        self.views(&records, windows).pop()
    }

    /// All consumers in a virtual host, or in all, in no particular order. Waits as [`Admin::connections`] does.
    #[must_use]
    pub fn consumers(&self, vhost: Option<&str>) -> Vec<ConsumerView> {
        let mut records = self.shared.census.records();
        records.retain(|record| vhost.is_none_or(|vhost| record.vhost == vhost));
        let views = self.views(&records, Windows::default());
        views.into_iter().flat_map(|view| view.consumers).collect()
    }

    /// Ends a connection with `connection.close` 320. False if there is none of this name.
    pub fn close_connection(&self, name: &str, reason: &str) -> bool {
        let records = self.shared.census.records();
        let Some(record) = records.iter().find(|record| record.name == name) else { return false };
        tracing::info!(connection = name, reason, "connection closed by an operator");
        record.outbox.push_news(Event::Close(AmqpError::connection_forced(reason.to_owned())));
        true
    }

    fn views(&self, records: &[Arc<ConnectionRecord>], windows: Windows) -> Vec<ConnectionView> {
        let mut reports = ask(records);
        self.shared.census.seen(|seen| {
            let views = records.iter().map(|record| {
                let past = seen.connections.get(&record.id).map(|series| series as &dyn Past);
                view_of(record, reports.remove(&record.id), past, windows)
            });
            views.collect()
        })
    }
}

/// Lets connections say how they are doing.
fn ask(records: &[Arc<ConnectionRecord>]) -> HashMap<ConnectionId, ConnectionReport> {
    let (answer, answers) = mpsc::channel();
    for record in records {
        record.outbox.ask(answer.clone());
    }
    drop(answer);
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut reports = HashMap::with_capacity(records.len());
    while reports.len() < records.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left) {
            Ok(report) => reports.insert(report.id, report),
            // Those that are left have ended, or take too long.
            Err(_) => break,
        };
    }
    reports
}

fn view_of(
    record: &ConnectionRecord,
    report: Option<ConnectionReport>,
    past: Option<&dyn Past>,
    windows: Windows,
) -> ConnectionView {
    let sample = record.traffic.sample();
    let tally: Tally = record.traffic.tally.load();
    let (state, channels, consumers) = match report {
        Some(report) => (Some(report.state), report.channels, report.consumers),
        None => (None, Vec::new(), Vec::new()),
    };
    let view = |details: ChannelDetails| {
        let meter = record.traffic.channels.of(details.channel);
        ChannelView { details, meter }
    };
    let mut channels: Vec<_> = channels.into_iter().map(view).collect();
    channels.sort_unstable_by_key(|channel| channel.details.channel);
    ConnectionView {
        name: record.name.clone(),
        user: record.user.clone(),
        vhost: record.vhost.clone(),
        peer: peer_of(record),
        local: record.endpoints.map(|endpoints| endpoints.local),
        tls: record.tls.clone(),
        mechanism: record.mechanism,
        client: record.client.clone(),
        channel_max: record.channel_max,
        frame_max: record.frame_max,
        heartbeat_s: record.heartbeat_s,
        connected_at_ms: record.connected_at_ms,
        state,
        channels,
        consumers: consumers.into_iter().map(|consumer| consumer_view(record, consumer)).collect(),
        data: [
            measure("recv_oct", sample[0], past, windows.data, |sample| sample[0]),
            measure("send_oct", sample[1], past, windows.data, |sample| sample[1]),
        ],
        message_stats: message_stats(&tally, TALLY_AT, past, windows.messages),
    }
}

fn peer_of(record: &ConnectionRecord) -> SocketAddr {
    record.endpoints.map_or(SocketAddr::new(record.peer, 0), |endpoints| endpoints.peer)
}

fn consumer_view(record: &ConnectionRecord, report: ConsumerReport) -> ConsumerView {
    ConsumerView {
        queue: report.queue,
        queue_id: report.queue_id,
        id: report.consumer,
        connection: record.name.clone(),
        user: record.user.clone(),
        peer: peer_of(record),
        channel: report.channel.0,
        consumer_tag: report.consumer_tag.into(),
        exclusive: report.exclusive,
        ack_required: report.ack_required,
        prefetch: report.prefetch,
        arguments: report.arguments,
        active: report.active,
    }
}
