//! The broker's side of a connection: replies, confirms and events, handed in by the server.

use super::{Connection, Context, Slot, State};
use crate::error::AmqpError;
use crate::session::action::{
    Action, ChannelId, Delivery, Event, NO_SLOT, PublishOutcome, Reply, Settle, Settlement, SourceId,
};
use crate::session::faults;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use amq_protocol::types::ShortString;

impl Connection {
    /// Takes the server's answer to an action: of `channel`, or of the connection itself. An error ends the one or the
    /// other. What then has to be cleaned up is returned, and the rest by [`Self::poll_action`].
    pub fn handle_reply(
        &mut self,
        channel: Option<ChannelId>,
        reply: Result<Reply, AmqpError>,
    ) -> Option<Action> {
        let action = match channel {
            None => self.handle_connection_reply(reply),
            Some(ChannelId(id)) => self.handle_channel_reply(id, reply),
        };
        action.or_else(|| self.poll_action())
    }

    fn handle_connection_reply(&mut self, reply: Result<Reply, AmqpError>) -> Option<Action> {
        match (&mut self.state, reply) {
            (State::Handshaking { step, deadline }, reply) => {
                let (mut step, deadline) = (*step, *deadline);
                let turn = step.handle_reply(reply, &self.peer, &self.config, &mut self.out);
                self.state = State::Handshaking { step, deadline };
                self.follow(turn)
            }
            (State::Running, Ok(Reply::SecretUpdated)) => {
                let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
                self.out.method(0, &AMQPClass::Connection(ok));
                None
            }
            (State::Running, Err(error)) => {
                let error = if error.class_id == 0 { error.at(10, 70) } else { error };
                self.fail(0, error.on_connection())
            }
            (State::Running, Ok(_)) => self.fail(0, faults::unexpected_reply()),
            (State::Closing { .. } | State::Finished(_), _) => None,
        }
    }

    fn handle_channel_reply(&mut self, id: u16, reply: Result<Reply, AmqpError>) -> Option<Action> {
        let is_opening = self.opening.take() == Some(id);
        let Self { channels, out, config, sources, spare, peer, durable, now_ms, .. } = self;
        let now_ms = *now_ms;
        let Some(Slot::Open(open)) = channels.get_mut(&id) else {
            return reply.ok().and_then(|reply| orphaned(ChannelId(id), reply));
        };
        let outcome = match reply {
            // Blamed on no method, as in RabbitMQ.
            Err(error) if is_opening => return self.fail(0, error),
            Ok(Reply::ChannelOpened) => {
                out.method(id, &AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})));
                return None;
            }
            Ok(reply) => {
                let frame_max = peer.frame_max;
                let cx = &mut Context { out, config, sources, spare, frame_max, now_ms };
                open.handle_reply(reply, *durable, cx)
            }
            Err(error) => Err(open.blame_pending(error)),
        };
        if open.awaits_store() && !self.awaiting_store.contains(&id) {
            self.awaiting_store.push(id);
        }
        match outcome {
            Ok(()) => None,
            Err(error) => self.fail(id, error),
        }
    }

    /// Takes what became of the publish with this confirm number. Numbers of a channel that has closed since are ignored;
    /// all outcomes of a channel must be handed in before the server takes the action that opens its number anew, which
    /// it does by executing actions in order.
    pub fn handle_confirm(&mut self, channel: ChannelId, number: u64, outcome: PublishOutcome) {
        let ChannelId(id) = channel;
        let Some(Slot::Open(channel)) = self.channels.get_mut(&id) else { return };
        let (had_confirms, awaited_store) = (channel.has_confirms(), channel.awaits_store());
        channel.resolve(number, outcome, self.durable);
        if !had_confirms && channel.has_confirms() {
            self.with_confirms.push(id);
        }
        if !awaited_store && channel.awaits_store() {
            self.awaiting_store.push(id);
        }
    }

    /// Takes what the broker says without being asked.
    pub fn handle_event(&mut self, event: Event) -> Option<Action> {
        let action = match event {
            Event::Deliver(delivery) => self.deliver(&delivery),
            Event::ConsumerCancelled(source) => {
                self.cancel_consumer(source);
                None
            }
            Event::TimedOut { source, timeout_ms } => self.time_out(source, timeout_ms),
            Event::Durable(epoch) => {
                self.handle_durable(epoch);
                None
            }
            Event::Blocked(reason) => {
                let notice = self.alarm.raise(reason);
                self.send_notice(notice);
                None
            }
            Event::Unblocked => {
                let notice = self.alarm.clear();
                self.send_notice(notice);
                None
            }
            Event::Close(error) => {
                self.close_connection(error.on_connection());
                None
            }
        };
        action.or_else(|| self.poll_action())
    }

    #[inline]
    fn deliver(&mut self, delivery: &Delivery) -> Option<Action> {
        if let Some(consumer) = self.sources.find(delivery.reference.source)
            && let Some(Slot::Open(channel)) = self.channels.get_mut(&consumer.channel.0)
        {
            channel.deliver(delivery, &consumer.tag, &mut self.out, self.peer.frame_max);
            return None;
        }
        requeue(ChannelId(0), delivery)
    }

    fn cancel_consumer(&mut self, source: SourceId) {
        let Some(consumer) = self.sources.find(source) else { return };
        let ChannelId(id) = consumer.channel;
        if self.peer.client.capabilities.consumer_cancel_notify
            && let Ok(consumer_tag) = ShortString::try_new(&*consumer.tag)
        {
            let cancel = basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait: true });
            self.out.method(id, &AMQPClass::Basic(cancel));
        }
        if let Some(Slot::Open(channel)) = self.channels.get_mut(&id) {
            channel.forget_consumer(source, &mut self.sources);
        }
    }

    /// Closes the channel of a consumer that holds a delivery for too long; what it holds returns to its queues.
    fn time_out(&mut self, source: SourceId, timeout_ms: u64) -> Option<Action> {
        let ChannelId(id) = self.sources.find(source)?.channel;
        let is_open = matches!(self.channels.get(&id), Some(Slot::Open(_)));
        if is_open { self.fail(id, faults::acknowledgement_timed_out(id, timeout_ms)) } else { None }
    }

    fn handle_durable(&mut self, epoch: u64) {
        self.durable = self.durable.max(epoch);
        let mut awaiting = std::mem::take(&mut self.awaiting_store);
        awaiting.retain(|id| {
            let Self { channels, out, config, sources, spare, peer, now_ms, .. } = self;
            let now_ms = *now_ms;
            let Some(Slot::Open(channel)) = channels.get_mut(id) else { return false };
            let had_confirms = channel.has_confirms();
            let frame_max = peer.frame_max;
            channel.handle_durable(epoch, &mut Context { out, config, sources, spare, frame_max, now_ms });
            if !had_confirms && channel.has_confirms() {
                self.with_confirms.push(*id);
            }
            channel.awaits_store()
        });
        self.awaiting_store = awaiting;
    }

    /// The end of a batch: writes the confirms that are due, as few frames as possible, and gives memory back.
    pub fn flush_confirms(&mut self) {
        for id in self.with_confirms.drain(..) {
            let Some(Slot::Open(channel)) = self.channels.get_mut(&id) else { continue };
            let before = channel.unconfirmed();
            channel.flush_confirms(&mut self.out);
            self.unconfirmed -= before - channel.unconfirmed();
        }
        self.spare = Vec::new();
    }
}

/// A delivery that came too late returns to its queue.
#[cold]
fn requeue(channel: ChannelId, delivery: &Delivery) -> Option<Action> {
    if delivery.reference.slot == NO_SLOT {
        return None;
    }
    let deliveries = [delivery.reference].into_iter().collect();
    Some(Action::Settle(Settle { channel, settlement: Settlement::Requeue, deliveries }))
}

/// What was given to a channel that has closed meanwhile is given back.
#[cold]
fn orphaned(channel: ChannelId, reply: Reply) -> Option<Action> {
    match reply {
        Reply::Got { delivery, .. } => requeue(channel, &delivery),
        Reply::Consuming { source, .. } => {
            Some(Action::CloseChannel { channel, sources: vec![source], unacked: Vec::new() })
        }
        _ => None,
    }
}
