//! What an operator does with messages of a queue that were chosen: permission for it, and moving them elsewhere.

use crate::access::Permission;
use crate::access::required::Operation;
use crate::engine::exchange::MessageView;
use crate::error::AmqpError;
use crate::server::executor::Executor;
use crate::server::executor::batch::PendingConfirm;
use crate::server::executor::publish::{gather, text};
use crate::server::executor::routes::Route;
use crate::server::history::Attempt;
use crate::server::queue_handle::{Claims, QueueHandle};
use crate::session::action::ChannelId;
use crate::wire::message::Message;

/// Confirms of copies belong to no channel.
const NO_CHANNEL: ChannelId = ChannelId(0);

/// What became of messages that were to be moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::server) struct Moved {
    /// All queues that the copy was to get to have it; the original is gone.
    pub(in crate::server) moved: u64,
    /// No queue would have got the copy, or only the one that it is in.
    pub(in crate::server) unroutable: u64,
    /// A queue refused the copy.
    pub(in crate::server) refused: u64,
}

/// Where one copy went.
struct Copy {
    /// Which of the messages it is of.
    of: usize,
    queues: Vec<QueueHandle>,
}

impl Executor {
    /// A queue, if the user may do this with it.
    pub(in crate::server) fn queue_for(
        &mut self,
        operation: Operation<'_>,
        name: &str,
    ) -> Result<QueueHandle, AmqpError> {
        self.refresh_rights();
        self.permit(operation)?;
        self.queue(name)
    }

    /// Pauses or resumes a queue, and waits until that is as safe as the store makes it.
    pub(in crate::server) fn set_paused(&mut self, name: &str, paused: bool) -> Result<(), AmqpError> {
        self.refresh_rights();
        self.permit(Operation::DeleteQueue(name))?;
        // Under the lock that is needed to delete it.
        self.vhost()?.read(|registry| {
            let queue = registry.topology.queue(name, self.connection)?;
            queue.set_paused(paused);
            Ok::<(), AmqpError>(())
        })?;
        self.wait_for_all();
        Ok(())
    }

    /// Checks that the user may publish to an exchange, with this key if one is named.
    pub(in crate::server) fn check_target(
        &mut self,
        exchange: &str,
        routing_key: Option<&str>,
    ) -> Result<(), AmqpError> {
        self.refresh_rights();
        self.permit(Operation::Publish(exchange))?;
        self.vhost()?.read(|registry| registry.topology.check_publish(exchange))?;
        self.permit_topic(Permission::Write, exchange, routing_key)
    }

    /// Publishes copies of messages, made by `copy`, and settles the originals of which all copies have come to their queues: in
    /// one round of the store, so that a crash loses none and at worst repeats some. The other originals return to their places.
    pub(in crate::server) fn move_claimed(
        &mut self,
        from: &QueueHandle,
        claims: Claims<'_>,
        copy: impl Fn(&Message) -> Message,
    ) -> Moved {
        let mut moved = Moved::default();
        let mut copies: Vec<Copy> = Vec::new();
        for (of, message) in claims.messages().enumerate() {
            match self.gather_copy(from, copy(message)) {
                Some(queues) => copies.push(Copy { of, queues }),
                None => moved.unroutable += 1,
            }
        }
        let mut done = vec![false; claims.len()];
        let round = self.shared.store.round();
        self.epoch = self.epoch.max(self.batch.apply());
        for (confirm, copy) in self.batch.confirms.drain(..).zip(&copies) {
            // One that was deleted meanwhile may have been so before the copy came.
            if confirm.refused || copy.queues.iter().all(|queue| queue.is_deleted()) {
                moved.refused += 1;
            } else {
                done[copy.of] = true;
                moved.moved += 1;
            }
        }
        claims.settle(|at| done[at]);
        drop(round);
        self.shared.check_memory();
        moved
    }

    /// Gathers a copy for the queues that it gets to, and names them; nothing if there are none, or only the one that it comes from.
    fn gather_copy(&mut self, from: &QueueHandle, message: Message) -> Option<Vec<QueueHandle>> {
        let exchange = text(message.exchange()).to_owned();
        self.permit_topic(Permission::Write, &exchange, [text(message.routing_key())]).ok()?;
        let keys = [text(message.routing_key())];
        let mut attempt = Attempt::First;
        let route = loop {
            let view = MessageView::new(message.properties(), self.chance.next_bits());
            let vhost = self.vhost().ok()?;
            let routed = vhost.read(|registry| registry.topology.route(&exchange, &keys, &view)).ok()?;
            let route = Route::new(routed);
            if route.queues.is_empty() || route.queues.iter().any(|queue| queue.id() == from.id()) {
                return None;
            }
            if route.keep(&message, attempt, &self.shared.histories).is_ok() {
                break route;
            }
            attempt = Attempt::Again;
        };
        let guarded_before = self.batch.guarded_count();
        route.count_one();
        gather(&mut self.batch, &route, message);
        let guarded = guarded_before..self.batch.guarded_count();
        let confirm = PendingConfirm { channel: NO_CHANNEL, number: 0, stored: false, refused: false };
        self.batch.await_confirm(confirm, guarded);
        self.tally.publish += 1;
        Some(route.queues)
    }

    /// Waits until everything that was done until now is as safe as the store makes it.
    pub(in crate::server) fn wait_for_all(&self) {
        self.wait_for_store(self.shared.store.barrier());
    }

    /// Waits while the store is too far behind to be given more.
    pub(in crate::server) fn wait_for_room(&self) {
        if self.shared.store.backlog_bytes() > self.shared.backlog_bytes_max() {
            self.wait_for_all();
        }
    }
}
