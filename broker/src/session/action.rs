//! The words that the session and the server exchange: [`Action`] out, [`Reply`] and [`Event`] in.
//!
//! The session knows no queues and the engine no channels; what one needs of the other is said in these types alone.
//! Plain data, no behaviour.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use smallvec::SmallVec;

use crate::stats::tally::SharedTally;
use crate::wire::message::Message;

/// A channel number, 1 up to the negotiated `channel_max`; 0 is the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u16);

/// What a delivery came from, named by the server: a consumer, or `basic.get` on one queue. Unique in the connection
/// while any delivery from it is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// The slot of a delivery that needs no acknowledgement.
pub const NO_SLOT: u32 = u32::MAX;

/// One delivered message as the server wants it named when it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryRef {
    /// Where it came from.
    pub source: SourceId,
    /// Its place among the unacked messages of its queue.
    pub slot: u32,
}

/// A set of deliveries; almost always one.
pub type Deliveries = SmallVec<[DeliveryRef; 2]>;

/// What becomes of delivered messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Done: forget them.
    Ack,
    /// Back to their place in the queue.
    Requeue,
    /// Rejected without requeue: dead-letter or forget.
    Discard,
}

/// What the peer wants of the broker. At most one comes of one frame.
///
/// The server carries it out at once and answers with [`Reply`] where `channel` awaits one; it may gather several
/// `Publish` and `Settle` before it touches the queues.
#[derive(Debug)]
pub enum Action {
    /// Check who the peer is. Answer: [`Reply::Authenticated`] or an error.
    Authenticate(Credentials),
    /// Check that the vhost exists and the user may use it. Answer: [`Reply::VhostOpened`] or an error.
    OpenVhost {
        /// The vhost's name.
        vhost: String,
    },
    /// Count a channel that is to be opened. Answer: [`Reply::ChannelOpened`] or an error.
    OpenChannel {
        /// Which channel.
        channel: ChannelId,
        /// What it counts, for those who watch it.
        tally: Arc<SharedTally>,
    },
    /// New credentials for a running connection. Answer: [`Reply::SecretUpdated`] or an error.
    UpdateSecret {
        /// The new password or token.
        secret: Vec<u8>,
    },
    /// Route and enqueue a message. Answer: an error, [`Reply::Returned`], confirms through the tracker, or nothing.
    Publish(Publish),
    /// A publish inside a transaction: check all that can be checked before routing (permission, exchange, fault), but
    /// keep nothing; the message comes again with [`Action::Commit`]. Answer: an error, or nothing.
    CheckPublish(Publish),
    /// Settle deliveries. No answer.
    Settle(Settle),
    /// Commit a transaction: first the publishes, then the settlements. Answer: [`Reply::Committed`] or an error.
    Commit {
        /// On which channel.
        channel: ChannelId,
        /// In the order in which they were published; none of them carries a confirm number.
        publishes: Vec<Publish>,
        /// In the order in which they were asked for.
        settles: Vec<Settle>,
    },
    /// Declare, bind, purge, delete. Answer: [`Reply::Topology`] or an error.
    Topology {
        /// On which channel.
        channel: ChannelId,
        /// What to do.
        request: TopologyRequest,
    },
    /// Start a consumer. Answer: [`Reply::Consuming`] or an error.
    Consume(Consume),
    /// End a consumer; what it has not acknowledged stays with the channel. Answer: [`Reply::Cancelled`].
    Cancel {
        /// On which channel.
        channel: ChannelId,
        /// Which consumer.
        source: SourceId,
    },
    /// Take one message. Answer: [`Reply::Got`], [`Reply::GetEmpty`] or an error.
    Get {
        /// On which channel.
        channel: ChannelId,
        /// From which queue; never empty.
        queue: String,
        /// Whether it counts as acknowledged at once.
        no_ack: bool,
    },
    /// The channel-wide prefetch limit changed. No answer.
    SetChannelPrefetch {
        /// On which channel.
        channel: ChannelId,
        /// The new limit in messages for all its consumers together, 0 for none.
        limit: u16,
    },
    /// A channel ended, by either side: remove its consumers, return what it has not acknowledged. No answer.
    CloseChannel {
        /// Which channel.
        channel: ChannelId,
        /// Its consumers.
        sources: Vec<SourceId>,
        /// What it has not acknowledged, in the order of delivery.
        unacked: Vec<DeliveryRef>,
    },
}

impl Action {
    /// The channel that an error of this action closes; none where the connection itself is meant.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Self::Authenticate(_) | Self::OpenVhost { .. } | Self::UpdateSecret { .. } => None,
            Self::Publish(publish) | Self::CheckPublish(publish) => Some(publish.channel),
            Self::Settle(settle) => Some(settle.channel),
            Self::Consume(consume) => Some(consume.channel),
            Self::Commit { channel, .. }
            | Self::OpenChannel { channel, .. }
            | Self::Topology { channel, .. }
            | Self::Cancel { channel, .. }
            | Self::Get { channel, .. }
            | Self::SetChannelPrefetch { channel, .. }
            | Self::CloseChannel { channel, .. } => Some(*channel),
        }
    }
}

/// What the peer proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The SASL mechanism, as in the server's offer.
    pub mechanism: Mechanism,
    /// The user's name.
    pub username: String,
    /// The password or token.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the password out: credentials end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The SASL mechanisms on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// A table with LOGIN and PASSWORD, as AMQP 0-8 clients send it.
    AmqPlain,
    /// By the certificate of the connection, which the server has verified.
    External,
}

impl Mechanism {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

/// A complete content to route.
#[derive(Debug, Clone)]
pub struct Publish {
    /// On which channel.
    pub channel: ChannelId,
    /// Exchange, routing key, properties and body.
    pub message: Message,
    /// Whether an unroutable message comes back with `basic.return`.
    pub mandatory: bool,
    /// Its number in the channel's confirm sequence, if the channel is in confirm mode.
    pub confirm: Option<u64>,
    /// The channel's direct reply-to consumer, if the message asks for answers there: the server puts its address into
    /// the reply-to property.
    pub direct_reply_to: Option<SourceId>,
    /// What the session found wrong with the properties. The server raises it once permission and exchange are checked:
    /// RabbitMQ looks at those first.
    pub fault: Option<Box<crate::error::AmqpError>>,
}

/// Deliveries to settle in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// On which channel.
    pub channel: ChannelId,
    /// What becomes of them.
    pub settlement: Settlement,
    /// Which ones, in the order of delivery.
    pub deliveries: Deliveries,
}

/// `basic.consume`, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Consume {
    /// On which channel.
    pub channel: ChannelId,
    /// From which queue; never empty.
    pub queue: String,
    /// The consumer's tag; never empty.
    pub consumer_tag: String,
    /// Whether deliveries count as acknowledged at once.
    pub no_ack: bool,
    /// Whether no other consumer may share the queue.
    pub exclusive: bool,
    /// The channel's per-consumer prefetch limit at this moment, in messages; 0 is unlimited.
    pub prefetch: u16,
    /// The arguments as received.
    pub arguments: FieldTable,
}

/// A request about exchanges, queues and bindings, with names made explicit.
#[derive(Debug, Clone, PartialEq)]
pub enum TopologyRequest {
    /// `exchange.declare`, active or passive.
    DeclareExchange {
        /// The name.
        name: String,
        /// The type; ignored if passive.
        kind: String,
        /// Only ask whether it exists.
        passive: bool,
        /// Survives a restart.
        durable: bool,
        /// Deleted when the last binding from it goes.
        auto_delete: bool,
        /// Refuses publishes by clients.
        internal: bool,
        /// The arguments as received.
        arguments: FieldTable,
    },
    /// `exchange.delete`.
    DeleteExchange {
        /// The name.
        name: String,
        /// Only if nothing is bound from it.
        if_unused: bool,
    },
    /// `exchange.bind` and `exchange.unbind`.
    BindExchange {
        /// Bind or unbind.
        change: BindingChange,
        /// The exchange that receives.
        destination: String,
        /// The exchange that gives.
        source: String,
        /// The binding key.
        routing_key: String,
        /// The arguments as received.
        arguments: FieldTable,
    },
    /// `queue.declare`, active or passive.
    DeclareQueue {
        /// The name; empty asks the server for one.
        name: String,
        /// Only ask whether it exists.
        passive: bool,
        /// Survives a restart.
        durable: bool,
        /// Belongs to this connection and dies with it.
        exclusive: bool,
        /// Deleted when its last consumer goes.
        auto_delete: bool,
        /// The arguments as received.
        arguments: FieldTable,
    },
    /// `queue.bind` and `queue.unbind`.
    BindQueue {
        /// Bind or unbind.
        change: BindingChange,
        /// The queue.
        queue: String,
        /// The exchange.
        exchange: String,
        /// The binding key.
        routing_key: String,
        /// The arguments as received.
        arguments: FieldTable,
    },
    /// `queue.purge`.
    PurgeQueue {
        /// The queue.
        queue: String,
    },
    /// `queue.delete`.
    DeleteQueue {
        /// The queue.
        queue: String,
        /// Only without consumers.
        if_unused: bool,
        /// Only without ready messages.
        if_empty: bool,
    },
}

/// Whether a binding comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingChange {
    /// Add it.
    Bind,
    /// Remove it.
    Unbind,
}

/// What a topology request that succeeded answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyReply {
    /// Nothing more than that it is done: declare and delete of exchanges, all binds and unbinds.
    Done,
    /// `queue.declare-ok`.
    QueueDeclared {
        /// The name, made up by the server where none was given.
        name: String,
        /// Ready messages.
        message_count: u32,
        /// Consumers.
        consumer_count: u32,
    },
    /// `queue.purge-ok` and `queue.delete-ok`: ready messages removed.
    Removed {
        /// How many.
        message_count: u32,
    },
}

/// The server's answer to an [`Action`]. Errors are handed in beside it, as `Result<Reply, AmqpError>`.
#[derive(Debug)]
pub enum Reply {
    /// The credentials are good.
    Authenticated,
    /// The vhost is open.
    VhostOpened,
    /// The channel may be opened.
    ChannelOpened,
    /// The new secret is taken.
    SecretUpdated,
    /// A mandatory message reached no queue.
    Returned(Message),
    /// A transaction is done once everything up to the epoch is durable.
    Committed(Durability),
    /// A topology request is done.
    Topology(TopologyReply),
    /// A consumer runs.
    Consuming {
        /// The consumer's tag, as asked for.
        consumer_tag: String,
        /// How its deliveries are named.
        source: SourceId,
        /// As asked for.
        no_ack: bool,
    },
    /// A consumer has ended; no delivery of it follows.
    Cancelled(SourceId),
    /// One message.
    Got {
        /// The message.
        delivery: Delivery,
        /// Ready messages left.
        message_count: u32,
        /// Whether the delivery counts as acknowledged.
        no_ack: bool,
    },
    /// No message.
    GetEmpty,
}

/// When something the peer waits for is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Now.
    Immediate,
    /// Once the store has reached this epoch.
    AtEpoch(u64),
}

/// What became of a published message, for the confirm tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Accepted by every target queue, or unroutable: to be acked once safe.
    Accepted(Durability),
    /// Refused by a target queue: to be nacked.
    Rejected,
}

/// A message on its way to the peer.
#[derive(Debug)]
pub struct Delivery {
    /// Where it came from and how it is settled.
    pub reference: DeliveryRef,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// What the broker tells a session without being asked.
#[derive(Debug)]
pub enum Event {
    /// A message for one of its consumers.
    Deliver(Delivery),
    /// A consumer's queue is gone.
    ConsumerCancelled(SourceId),
    /// A consumer has not acknowledged a delivery for longer than its queue allows.
    TimedOut {
        /// Which.
        source: SourceId,
        /// How long that is, in milliseconds.
        timeout_ms: u64,
    },
    /// The store is durable up to this epoch.
    Durable(u64),
    /// Publishers are held back, and why (`low on memory`).
    Blocked(&'static str),
    /// Publishers may go on.
    Unblocked,
    /// The connection is to end with this error (shutdown, an operator).
    Close(crate::error::AmqpError),
}
