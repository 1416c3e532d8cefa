//! [`Executor`]: carries out what one connection's session asks for.
//!
//! For each action: permission, then the engine, then the effects. Publishes and settlements are gathered and reach the
//! queues once a round; anything else first brings the gathered ones to their queues, so that the order in which a client
//! asks is the order in which it is served. Synchronous; called by `server::driver`.

mod batch;
mod bindings;
mod chosen;
mod consume;
mod internal;
mod login;
mod operator;
mod permit;
mod publish;
mod report;
mod routes;
mod sources;
mod tell;
mod topology;
mod trace;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::ConnectionId;
use crate::error::AmqpError;
use crate::server::access::User;
use crate::server::admission::Place;
use crate::server::census::{Traffic, count};
use crate::server::endpoints::Endpoints;
use crate::server::outbox::Outbox;
use crate::server::queue_handle::{ChannelLimit, QueueHandle};
use crate::server::random::Chance;
use crate::server::shared::Shared;
use crate::server::tls::TlsDetails;
use crate::server::vhost::VHost;
use crate::session::action::{
    Action, ChannelId, Delivery, Durability, NO_SLOT, PublishOutcome, Reply, Settle, Settlement, SourceId,
};
use crate::stats::tally::Tally;
use crate::store::Epoch;
use crate::wire::message::Message;

use batch::Batch;
pub(super) use chosen::Moved;
pub(super) use internal::publish_internally;
use login::LoginState;
use permit::HeldRights;
pub(super) use report::{ConnectionReport, ConsumerReport};
use routes::RouteCache;
use sources::Sources;
use tell::Announced;
pub(super) use topology::{add_default_type, check_queue_limit, naming_in_definitions};

/// What an action is answered with; nothing for those that have no answer.
pub(super) type Answer = Option<Result<Reply, AmqpError>>;

/// The broker as one connection sees it.
#[derive(Debug)]
pub(super) struct Executor {
    shared: Arc<Shared>,
    connection: ConnectionId,
    peer: IpAddr,
    /// Among all connections, until this one is over.
    place: Option<Place>,
    /// Both ends of the socket, where there is one.
    endpoints: Option<Endpoints>,
    outbox: Arc<Outbox>,
    login: LoginState,
    user: Option<User>,
    /// When what it has shown in place of a password is no longer good.
    token_deadline: Option<Instant>,
    /// How its client proved who it is.
    mechanism: &'static str,
    /// How the connection is encrypted, if it is.
    tls: Option<Arc<TlsDetails>>,
    /// What this connection counts, and where it tells it.
    tally: Tally,
    traffic: Arc<Traffic>,
    /// What was told of the connection when it was opened, if it was told at all.
    announced: Option<Box<Announced>>,
    vhost: Option<Arc<VHost>>,
    rights: HeldRights,
    sources: Sources,
    /// Limits of the channels that have one (`basic.qos` with global set).
    limits: HashMap<ChannelId, Arc<ChannelLimit>>,
    routes: RouteCache,
    /// What random exchanges choose by.
    chance: Chance,
    batch: Batch,
    /// The epoch of what was stored in this round so far.
    epoch: Epoch,
    /// Channels whose limit has room again for consumers that wait for it.
    freed: Vec<ChannelId>,
    /// What was handed over in this round of messages that need no acknowledgement, and so are in no queue's books.
    handed_over_bytes: usize,
    /// Mandatory messages of a transaction that no queue took.
    returned: Vec<Message>,
}

impl Executor {
    /// An executor for a connection that nobody has logged in on.
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: ConnectionId,
        peer: IpAddr,
        place: Option<Place>,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            shared,
            connection,
            peer,
            place,
            endpoints: None,
            outbox,
            login: LoginState::Done,
            user: None,
            token_deadline: None,
            mechanism: "",
            tls: None,
            tally: Tally::default(),
            traffic: Arc::default(),
            announced: None,
            vhost: None,
            rights: HeldRights::default(),
            sources: Sources::default(),
            limits: HashMap::new(),
            routes: RouteCache::default(),
            chance: Chance::new(),
            batch: Batch::default(),
            epoch: Epoch::default(),
            freed: Vec::new(),
            handed_over_bytes: 0,
            returned: Vec::new(),
        }
    }

    /// Tells where the connection runs.
    pub(super) fn set_endpoints(&mut self, endpoints: Endpoints) {
        self.endpoints = Some(endpoints);
    }

    /// What RabbitMQ calls a connection: its two ends.
    fn connection_name(&self) -> String {
        self.endpoints.map_or_else(|| self.peer.to_string(), |endpoints| endpoints.to_string())
    }

    /// Carries out one action.
    pub(super) fn execute(&mut self, action: Action) -> Answer {
        self.refresh_rights();
        match action {
            Action::Publish(publish) => self.publish(publish),
            Action::CheckPublish(publish) => self.check_publish(&publish).err().map(Err),
            Action::Settle(settle) => {
                self.settle(&settle);
                None
            }
            other => {
                self.apply_batch();
                self.execute_unbatched(other)
            }
        }
    }

    fn execute_unbatched(&mut self, action: Action) -> Answer {
        match action {
            Action::Authenticate(credentials) => self.authenticate(credentials),
            Action::OpenVhost { vhost } => Some(self.open_vhost(&vhost)),
            Action::UpdateSecret { secret } => Some(self.update_secret(&secret)),
            Action::OpenChannel { channel, tally } => Some(self.open_channel(channel, tally)),
            Action::Topology { request, .. } => Some(self.topology(request).map(Reply::Topology)),
            Action::Consume(consume) => Some(self.consume(consume)),
            Action::Cancel { source, .. } => {
                self.end_consumer(source);
                Some(Ok(Reply::Cancelled(source)))
            }
            Action::Get { channel, queue, no_ack } => Some(self.get(channel, &queue, no_ack)),
            Action::SetChannelPrefetch { channel, limit } => {
                self.set_channel_prefetch(channel, limit);
                None
            }
            Action::Commit { publishes, settles, .. } => Some(self.commit(publishes, settles)),
            Action::CloseChannel { channel, sources, unacked } => {
                self.close_channel(channel, &sources, unacked);
                self.traffic.channels.close(channel);
                self.shared.sessions.close_channel(self.connection);
                count(&self.shared.census.churn.channels_closed);
                None
            }
            Action::Publish(_) | Action::CheckPublish(_) | Action::Settle(_) => None,
        }
    }

    /// Brings everything gathered to the queues, as [`Executor::end_round`] begins with.
    pub(super) fn apply_round(&mut self) {
        if self.handed_over_bytes > 0 {
            self.shared.memory.change(std::mem::take(&mut self.handed_over_bytes), 0);
            self.shared.check_memory();
        }
        self.apply_batch();
    }

    /// Brings everything gathered to the queues and tells `confirmed` what became of each publish that awaits a confirm.
    pub(super) fn end_round(&mut self, mut confirmed: impl FnMut(ChannelId, u64, PublishOutcome)) {
        self.apply_round();
        let awaits_store = self.batch.confirms.iter().any(|pending| pending.stored);
        let stored = if awaits_store { self.durability() } else { Durability::Immediate };
        for pending in self.batch.confirms.drain(..) {
            let durability = if pending.stored { stored } else { Durability::Immediate };
            let outcome = match pending.refused {
                true => PublishOutcome::Rejected,
                false => {
                    self.tally.confirm += 1;
                    PublishOutcome::Accepted(durability)
                }
            };
            confirmed(pending.channel, pending.number, outcome);
        }
        self.epoch = Epoch::default();
        self.routes.tell_counts();
        self.traffic.tally.store(&self.tally);
    }

    /// Called when the session takes a delivery out of the outbox: its place in the consumer's window is free again.
    pub(super) fn handed_over(&mut self, delivery: &Delivery) {
        if delivery.reference.slot == NO_SLOT {
            self.handed_over_bytes += delivery.message.memory_bytes();
            self.tally.deliver_no_ack += 1;
        } else {
            self.tally.deliver += 1;
        }
        self.tally.redeliver += u64::from(delivery.redelivered);
        if self.is_traced() {
            self.trace_handed_over(delivery);
        }
        let Some(source) = self.sources.get_mut(delivery.reference.source) else { return };
        if delivery.reference.slot != NO_SLOT {
            source.outstanding += 1;
        }
        if let Some(consumer) = source.consumer() {
            let body_bytes = delivery.message.body().len();
            let batch = self.batch.queue(&source.queue);
            match batch.written.last_mut() {
                Some((last, messages, bytes)) if *last == consumer => {
                    *messages += 1;
                    *bytes += body_bytes;
                }
                _ => batch.written.push((consumer, 1, body_bytes)),
            }
        }
    }

    /// Called when a consumer's queue was deleted under it.
    pub(super) fn consumer_cancelled(&mut self, source: SourceId) {
        self.tell_consumer_ended(source);
        self.sources.end(source);
        // The cancellation is the last that the queue said to this consumer.
        self.sources.forget(source);
    }

    /// What the transaction just committed has to give back to the publisher, before it is told of the commit.
    pub(super) fn take_returned(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.returned)
    }

    /// Called after the events of consumers that an action ended were taken out of the outbox.
    pub(super) fn forget_sources(&mut self, sources: &[SourceId]) {
        for &source in sources {
            self.sources.forget(source);
        }
    }

    /// Called when the connection is over and all its channels are closed: its exclusive queues go.
    pub(super) fn disconnect(&mut self) {
        self.apply_batch();
        if let Some(vhost) = self.vhost.take() {
            self.delete_exclusive_queues(&vhost);
        }
        self.tell_closed();
        self.shared.sessions.leave(self.connection);
        self.shared.census.leave(self.connection, &self.tally);
        self.shared.leave(self.connection);
    }

    /// Gives back memory that a busy time left behind. Call after [`Executor::end_round`].
    pub(super) fn shrink(&mut self) {
        self.batch.shrink();
        self.freed = Vec::new();
        self.routes.clear();
    }

    /// The vhost. The session lets no channel open before a vhost is.
    fn vhost(&self) -> Result<&Arc<VHost>, AmqpError> {
        self.vhost.as_ref().ok_or_else(|| AmqpError::command_invalid("no vhost is open"))
    }

    /// A queue by name, if this connection may touch it.
    fn queue(&self, name: &str) -> Result<QueueHandle, AmqpError> {
        self.vhost()?.read(|registry| registry.topology.queue(name, self.connection).cloned())
    }

    /// Brings everything gathered so far to the queues; publishes go on awaiting their confirms.
    fn apply_batch(&mut self) {
        if !self.batch.is_empty() {
            let round = self.shared.store.round();
            self.epoch = self.epoch.max(self.batch.apply());
            drop(round);
            self.serve_freed_channels();
            self.shared.check_memory();
        }
    }

    /// The epoch until which this connection is not to be read, because the store is behind: that of what it just gave it.
    pub(super) fn held_until(&self) -> Option<Epoch> {
        let behind = self.epoch > Epoch::default()
            && self.shared.store.backlog_bytes() > self.shared.backlog_bytes_max();
        behind.then(|| {
            self.shared.wait_durable(self.epoch, &self.outbox);
            self.epoch
        })
    }

    /// What the session must wait for before it calls anything of this round so far safe. Makes sure that it hears of it.
    ///
    /// The epoch stays until the round ends: several channels may ask, a commit in the middle of it among them.
    fn durability(&self) -> Durability {
        if self.shared.store.durable() >= self.epoch {
            return Durability::Immediate;
        }
        self.shared.wait_durable(self.epoch, &self.outbox);
        Durability::AtEpoch(self.epoch.0)
    }

    /// Notes settlements for the next time that their queues are visited.
    fn settle(&mut self, settle: &Settle) {
        if settle.settlement == Settlement::Ack {
            self.tally.ack += settle.deliveries.len() as u64;
        }
        for reference in &settle.deliveries {
            let Some(source) = self.sources.get_mut(reference.source) else { continue };
            debug_assert!(source.outstanding > 0, "a delivery was settled that is not outstanding");
            source.outstanding = source.outstanding.saturating_sub(1);
            let done = source.outstanding == 0;
            if let Some(limit) = &source.limit
                && limit.release()
            {
                self.freed.push(source.channel);
            }
            self.batch.queue(&source.queue).settle(settle.settlement, reference.slot);
            if done {
                self.sources.forget_if_done(reference.source);
            }
        }
    }

    /// Lets the consumers that wait for room under their channel's limit have what was given back, in the order in which they
    /// came. After the batch: what it returns to its queue comes before what is behind it.
    fn serve_freed_channels(&mut self) {
        while let Some(channel) = self.freed.pop() {
            let Some(limit) = self.limits.get(&channel) else { continue };
            while let Some(source) = limit.next_in_line() {
                if let Some(source) = self.sources.get_mut(source)
                    && let Some(consumer) = source.consumer()
                {
                    source.queue.serve(consumer);
                }
            }
        }
    }
}
