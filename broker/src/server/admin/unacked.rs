//! Looking at the messages of a queue that were delivered and await settlement: which, since when, and who has them.

use std::collections::HashMap;

use super::browse::SHOWN_BYTES_MAX;
use super::connections::ConsumerView;
use super::{Actor, Admin};
use crate::access::required::Operation;
use crate::engine::queue::{ConsumerId, Held, Holder};
use crate::error::AmqpError;

pub use crate::engine::queue::HeldSince;

/// The most outstanding messages that one look gives.
pub const UNACKED_COUNT_MAX: usize = 1_000;

/// What a look is to give.
#[derive(Debug, Clone, Copy)]
pub struct UnackedWanted {
    /// Behind this one, whether it is still there or not: in the order of delivery, the oldest first.
    pub after: Option<HeldSince>,
    /// Only those that are outstanding for so long, in milliseconds.
    pub age_ms_min: u64,
    /// At most so many, and no more than [`UNACKED_COUNT_MAX`].
    pub count: usize,
    /// How much of a body is going to be shown, in bytes: the less, the more messages there may be.
    pub body_bytes_max: usize,
}

/// Who has a message.
#[derive(Debug, Clone)]
pub enum HolderView {
    /// A consumer.
    Consumer(Box<ConsumerView>),
    /// A consumer whose connection did not say in time who it is, or ended meanwhile.
    UnknownConsumer,
    /// The channel of a consumer that was cancelled.
    GoneConsumer,
    /// Whoever took it with `basic.get`.
    Get,
}

/// A message that was delivered and awaits settlement.
#[derive(Debug, Clone)]
pub struct UnackedMessage {
    /// What the queue knows of it.
    pub held: Held,
    /// For how long it is outstanding, in milliseconds.
    pub age_ms: u64,
    /// Who has it.
    pub holder: HolderView,
}

/// What a look gave.
#[derive(Debug, Clone)]
pub struct UnackedMessages {
    /// The oldest first.
    pub messages: Vec<UnackedMessage>,
    /// Behind which to go on; none if there are no more.
    pub next: Option<HeldSince>,
}

impl Actor {
    /// Looks at outstanding messages of a queue. Needs what `basic.get` needs. Waits for the connections that hold them, but not
    /// long: not to be called on a thread that connections run on.
    ///
    /// # Errors
    ///
    /// What a client would be told.
    pub fn unacked(
        &mut self,
        admin: &Admin,
        queue: &str,
        wanted: &UnackedWanted,
    ) -> Result<UnackedMessages, AmqpError> {
        let queue = self.executor.queue_for(Operation::Get(queue), queue)?;
        let now_ms = self.executor.now_ms();
        let count = wanted.count.min(UNACKED_COUNT_MAX);
        let until_ms = now_ms.saturating_sub(wanted.age_ms_min);
        let mut oldest = queue.oldest_held(wanted.after, until_ms, count + 1);
        let mut more = oldest.len() > count;
        oldest.truncate(count);
        let (mut shown, mut last) = (0, None);
        let mut held = queue.held(&oldest);
        let fits = held.iter().take_while(|held| {
            let fits = shown < SHOWN_BYTES_MAX;
            shown += held.message.body().len().min(wanted.body_bytes_max) + held.message.properties().len();
            fits
        });
        let fitting = fits.count();
        if fitting < held.len() {
            held.truncate(fitting);
            more = true;
            last = held.last().map(|held| held.since);
        }
        let next = last.or(oldest.last().copied()).filter(|_| more);
        let by_consumer = held.iter().any(|held| matches!(held.holder, Holder::Consumer(_)));
        let mut consumers = HashMap::new();
        if by_consumer {
            let views = admin.consumers(Some(&queue.options().vhost)).into_iter();
            let here = views.filter(|view| view.queue_id == queue.id());
            consumers = here.map(|view| (view.id, view)).collect::<HashMap<ConsumerId, _>>();
        }
        let view = |held: Held| UnackedMessage {
            age_ms: now_ms.saturating_sub(held.since.delivered_ms),
            holder: match held.holder {
                Holder::Consumer(id) => match consumers.get(&id) {
                    Some(consumer) => HolderView::Consumer(Box::new(consumer.clone())),
                    None => HolderView::UnknownConsumer,
                },
                Holder::GoneConsumer => HolderView::GoneConsumer,
                Holder::Get => HolderView::Get,
            },
            held,
        };
        Ok(UnackedMessages { messages: held.into_iter().map(view).collect(), next })
    }
}
