//! [`Actor`]: declares, binds, publishes and gets in the name of a user, as that user could over AMQP and no more.

use crate::error::AmqpError;
use crate::server::access::User;
use crate::server::admin::{Admin, Login};
use crate::server::executor::Executor;
use crate::session::action::{
    Action, ChannelId, Deliveries, Durability, Publish, PublishOutcome, Reply, Settle, Settlement,
    TopologyReply, TopologyRequest,
};
use crate::session::assemble;
use crate::store::Epoch;
use crate::wire::message::Message;

/// The channel that it pretends to have.
const CHANNEL: ChannelId = ChannelId(1);

/// Bodies that one [`Actor::get`] gives, in bytes: it stops after the one that goes beyond.
const GET_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A user in a virtual host. What it does passes the same checks in the same order as what comes over AMQP.
#[derive(Debug)]
pub struct Actor {
    pub(super) executor: Executor,
}

/// A message to publish.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// Where to; at most 255 bytes.
    pub exchange: String,
    /// With which key; at most 255 bytes.
    pub routing_key: String,
    /// The properties as they are on the wire: flags and list.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is in at least one queue, and as safe as the store makes it.
    Routed,
    /// No queue wants it.
    Unroutable,
    /// A queue refused it because it is full.
    Refused,
}

/// What becomes of messages that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// They return to their places, marked as redelivered.
    Yes,
    /// They are done.
    Acknowledge,
    /// They are rejected: dead-lettered if the queue does that.
    Reject,
}

/// A message that was got.
#[derive(Debug, Clone)]
pub struct GotMessage {
    /// The message.
    pub message: Message,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// Ready messages behind it.
    pub remaining: u32,
}

impl Admin {
    /// Acts in the name of a user in a virtual host; without a user as somebody who may do everything. `None` if there is no such
    /// virtual host, or the user may not enter it.
    #[must_use]
    pub fn act_as(&self, user: Option<&str>, vhost: &str) -> Option<Actor> {
        let user = match user {
            Some(name) => Some(User::of(&*self.user(name)?)),
            None => None,
        };
        Some(Actor { executor: Executor::for_operator(&self.shared, user, vhost)? })
    }

    /// The same in the name of who has logged in, with what its token permits if it has one.
    #[must_use]
    pub fn act_for(&self, login: &Login, vhost: &str) -> Option<Actor> {
        Some(Actor { executor: Executor::for_operator(&self.shared, Some(login.user.clone()), vhost)? })
    }
}

impl Actor {
    /// Declares, binds, purges or deletes.
    ///
    /// # Errors
    ///
    /// What a client would be told.
    pub fn topology(&mut self, request: TopologyRequest) -> Result<TopologyReply, AmqpError> {
        match self.execute(Action::Topology { channel: CHANNEL, request })? {
            Some(Reply::Topology(reply)) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    /// Publishes a message, and waits until it is as safe as the store makes it.
    ///
    /// # Errors
    ///
    /// What a client would be told.
    pub fn publish(&mut self, message: NewMessage) -> Result<Published, AmqpError> {
        let NewMessage { exchange, routing_key, properties, body } = message;
        let (now_ms, bytes_max) = (self.executor.now_ms(), self.executor.message_bytes_max());
        let (message, fault) = assemble(&exchange, &routing_key, &properties, &body, now_ms, bytes_max)?;
        let publish = Publish {
            channel: CHANNEL,
            message,
            mandatory: true,
            confirm: Some(1),
            direct_reply_to: None,
            fault,
        };
        let reply = self.execute(Action::Publish(publish))?;
        let mut outcome = PublishOutcome::Accepted(Durability::Immediate);
        self.executor.end_round(|_, _, of_this| outcome = of_this);
        match (reply, outcome) {
            (Some(_), _) => Ok(Published::Unroutable),
            (None, PublishOutcome::Rejected) => Ok(Published::Refused),
            (None, PublishOutcome::Accepted(durability)) => {
                if let Durability::AtEpoch(epoch) = durability {
                    self.executor.wait_for_store(Epoch(epoch));
                }
                Ok(Published::Routed)
            }
        }
    }

    /// Takes up to `count` messages from the head of a queue, fewer if their bodies are large, and then gives them back or not.
    ///
    /// # Errors
    ///
    /// What a client would be told. What was taken by then returns.
    pub fn get(&mut self, queue: &str, count: usize, requeue: Requeue) -> Result<Vec<GotMessage>, AmqpError> {
        let (mut got, mut deliveries, mut bytes) = (Vec::new(), Deliveries::new(), 0);
        let mut failed = None;
        while got.len() < count && bytes < GET_BYTES_MAX {
            let get = Action::Get { channel: CHANNEL, queue: queue.to_owned(), no_ack: false };
            match self.execute(get) {
                Ok(Some(Reply::Got { delivery, message_count, .. })) => {
                    deliveries.push(delivery.reference);
                    bytes += delivery.message.body().len();
                    got.push(GotMessage {
                        message: delivery.message,
                        redelivered: delivery.redelivered,
                        remaining: message_count,
                    });
                }
                Ok(_) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let settlement = match (requeue, &failed) {
            (Requeue::Yes, _) | (_, Some(_)) => Settlement::Requeue,
            (Requeue::Acknowledge, None) => Settlement::Ack,
            (Requeue::Reject, None) => Settlement::Discard,
        };
        self.execute(Action::Settle(Settle { channel: CHANNEL, settlement, deliveries }))?;
        self.executor.end_round(|_, _, _| {});
        failed.map_or(Ok(got), Err)
    }

    /// Has a queue give nobody messages from now on, or again: consumers stay and `basic.get` finds nothing, while messages come in and
    /// expire. A durable queue stays so over restarts. Needs what `queue.delete` needs.
    ///
    /// # Errors
    ///
    /// What a client would be told.
    pub fn set_paused(&mut self, queue: &str, paused: bool) -> Result<(), AmqpError> {
        self.executor.set_paused(queue, paused)?;
        tracing::info!(queue, "an operator {} the queue", if paused { "paused" } else { "resumed" });
        Ok(())
    }

    fn execute(&mut self, action: Action) -> Result<Option<Reply>, AmqpError> {
        self.executor.execute(action).transpose()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.executor.disconnect();
    }
}

fn unexpected() -> AmqpError {
    AmqpError::internal_error("a request was answered in an unexpected way")
}
