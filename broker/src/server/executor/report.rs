//! What a connection tells of itself to those who list connections, channels and consumers: made by its own task when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use amq_protocol::types::FieldTable;

use crate::engine::queue::{ConsumerId, QueueOptions};
use crate::engine::{ConnectionId, QueueId};
use crate::server::census::ConnectionRecord;
use crate::server::executor::Executor;
use crate::server::tls::TlsDetails;
use crate::session::action::ChannelId;
use crate::session::connection::{ChannelDetails, Connection, ConnectionDetails};

/// How a connection is doing.
#[derive(Debug)]
pub(in crate::server) struct ConnectionReport {
    pub(in crate::server) id: ConnectionId,
    /// RabbitMQ's name for its state.
    pub(in crate::server) state: &'static str,
    pub(in crate::server) channels: Vec<ChannelDetails>,
    pub(in crate::server) consumers: Vec<ConsumerReport>,
}

/// One of its consumers.
#[derive(Debug, Clone)]
pub(in crate::server) struct ConsumerReport {
    pub(in crate::server) queue: Arc<QueueOptions>,
    pub(in crate::server) queue_id: QueueId,
    pub(in crate::server) consumer: ConsumerId,
    pub(in crate::server) channel: ChannelId,
    pub(in crate::server) consumer_tag: Box<str>,
    pub(in crate::server) exclusive: bool,
    pub(in crate::server) ack_required: bool,
    pub(in crate::server) prefetch: u16,
    pub(in crate::server) arguments: FieldTable,
    /// It receives messages in its turn.
    pub(in crate::server) active: bool,
}

impl Executor {
    /// TLS is spoken on this connection.
    pub(in crate::server) fn set_encrypted(&mut self, details: TlsDetails) {
        self.tls = Some(Arc::new(details));
    }

    /// The connection has its vhost: it is listed from now on.
    pub(in crate::server) fn enter_census(&self, details: &ConnectionDetails<'_>) {
        let peer = details.peer;
        self.shared.census.enter(ConnectionRecord {
            id: self.connection,
            name: self.connection_name(),
            peer: self.peer,
            endpoints: self.endpoints,
            tls: self.tls.clone(),
            user: self.user_name().to_owned(),
            vhost: peer.vhost.clone(),
            mechanism: self.mechanism,
            client: peer.client.clone(),
            channel_max: peer.channel_max,
            frame_max: peer.frame_max,
            heartbeat_s: peer.heartbeat_s,
            connected_at_ms: self.shared.census.now_ms(),
            traffic: self.traffic.clone(),
            outbox: self.outbox.clone(),
        });
    }

    /// Tells how many bytes have come and gone.
    pub(in crate::server) fn count_bytes(&self, received: u64, sent: u64) {
        self.traffic.received.store(received, Ordering::Relaxed);
        self.traffic.sent.store(sent, Ordering::Relaxed);
    }

    /// Tells how the connection is doing. Looks into the queues of its consumers.
    pub(in crate::server) fn report(&self, session: &Connection) -> ConnectionReport {
        let consumers = self.sources.consumers().filter_map(|(source, consumer)| {
            let asked = source.asked.as_ref()?;
            Some(ConsumerReport {
                queue: source.queue.options().clone(),
                queue_id: source.queue.id(),
                consumer,
                channel: source.channel,
                consumer_tag: asked.consumer_tag.clone(),
                exclusive: asked.exclusive,
                ack_required: asked.ack_required,
                prefetch: asked.prefetch,
                arguments: asked.arguments.clone(),
                active: source.queue.is_active(consumer),
            })
        });
        ConnectionReport {
            id: self.connection,
            state: session.details().state,
            channels: session.channel_details().collect(),
            consumers: consumers.collect(),
        }
    }
}
