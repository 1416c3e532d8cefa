//! [`Channel`]: one channel of a connection.
//!
//! It tells which small machine a frame is for; contents, confirms, outstanding deliveries, consumers, limits, transactions
//! and topology are each in their own file. It closes nothing itself: errors go back to the connection, the only place
//! that builds close frames. Called by the connection.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, tx};
use amq_protocol::types::ShortString;

use super::action::{
    Action, ChannelId, Consume, Deliveries, Delivery, Durability, Publish, PublishOutcome, Reply, Settle,
    Settlement, SourceId, TopologyReply,
};
use super::config::SessionConfig;
use super::confirms::{Confirm, ConfirmTracker};
use super::consumers::{ConsumerTags, Sources};
use super::content::{ContentAssembler, Progress};
use super::faults;
use super::names::{REPLY_TO_QUEUE, unique_name};
use super::qos::{self, Qos};
use super::topology::{self, TopologyOk, Translated};
use super::tx::{Settled, Transaction};
use super::unacked::{Selection, UnackedDeliveries};
use crate::error::{AmqpError, ReplyCode};
use crate::stats::tally::SharedTally;
use crate::wire::frame::Frame;
use crate::wire::method::{self, BasicPublish, Method};
use crate::wire::out_buffer::OutBuffer;
use crate::wire::properties::parse_content_header;

#[cfg(test)]
mod tests;

/// What of the connection a channel works with.
pub(super) struct Context<'a> {
    pub(super) out: &'a mut OutBuffer,
    pub(super) config: &'a SessionConfig,
    pub(super) sources: &'a mut Sources,
    /// An empty buffer that the channels gather contents in, one after the other.
    pub(super) spare: &'a mut Vec<u8>,
    pub(super) frame_max: u32,
    /// The latest time seen, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

/// Where a frame led.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing for the server to do.
    Done,
    /// The server's turn.
    Act(Action),
    /// The client closes the channel.
    Close,
}

/// What the channel waits for.
#[derive(Debug)]
enum State {
    /// A method.
    Ready,
    /// The rest of a content.
    Content(ContentAssembler),
    /// The server's answer.
    Awaiting(Pending),
    /// The store, before `tx.commit-ok`.
    Committing { epoch: u64 },
}

/// A request that the server has not answered yet.
#[derive(Debug)]
enum Pending {
    Topology { ok: TopologyOk, nowait: bool },
    Consume { nowait: bool, is_direct_reply: bool },
    Cancel { consumer_tag: ShortString, nowait: bool },
    Get,
    Commit,
}

impl Pending {
    /// Class and method of the request, for errors that name none.
    fn ids(&self) -> (u16, u16) {
        match self {
            Self::Topology { ok, .. } => ok.ids(),
            Self::Consume { .. } => (60, 20),
            Self::Cancel { .. } => (60, 30),
            Self::Get => (60, 70),
            Self::Commit => (90, 20),
        }
    }
}

/// What publishing means on this channel; it cannot be changed back.
#[derive(Debug)]
enum Mode {
    Plain,
    Confirm(Box<ConfirmTracker>),
    Transaction(Box<Transaction>),
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    id: ChannelId,
    state: State,
    mode: Mode,
    unacked: UnackedDeliveries,
    consumers: ConsumerTags,
    qos: Qos,
    /// Empty until a queue is declared.
    last_queue: Box<str>,
    /// The consumer of answers, if there is one.
    reply_consumer: Option<SourceId>,
    counts: Counts,
    /// When the client last said something on it, in milliseconds since 1970.
    heard_ms: u64,
}

impl Channel {
    /// A channel that the client opens now, in milliseconds since 1970.
    pub(super) fn new(id: ChannelId, now_ms: u64) -> Self {
        Self {
            id,
            state: State::Ready,
            mode: Mode::Plain,
            unacked: UnackedDeliveries::default(),
            consumers: ConsumerTags::default(),
            qos: Qos::default(),
            last_queue: Box::default(),
            reply_consumer: None,
            counts: Counts::default(),
            heard_ms: now_ms,
        }
    }

    /// What it has done, for those who watch it.
    pub(super) fn tally(&self) -> Arc<SharedTally> {
        self.counts.shared()
    }

    /// Takes one frame of this channel.
    #[inline]
    pub(super) fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        self.heard_ms = cx.now_ms;
        match (&mut self.state, frame) {
            (State::Content(content), Frame::Header { payload, .. }) if !content.awaits_body() => {
                let header = parse_content_header(payload)?;
                let progress = content.handle_header(&header, cx.config.message_bytes_max)?;
                self.advance_content(progress, cx)
            }
            (State::Content(content), Frame::Body { payload, .. }) => {
                let progress = content.handle_body(payload)?;
                self.advance_content(progress, cx)
            }
            (State::Content(content), _) => Err(content.unexpected_frame()),
            (_, Frame::Method { payload, .. }) => {
                let (class_id, method_id) = method::ids(payload);
                self.handle_method(payload, cx).map_err(|error| blame(error, class_id, method_id))
            }
            _ => Err(faults::expected_method()),
        }
    }

    #[inline]
    fn handle_method(&mut self, payload: &[u8], cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        let method = method::parse(payload)?;
        if !matches!(self.state, State::Ready) {
            return self.handle_method_while_busy(&method);
        }
        match method {
            Method::Publish(publish) => self.begin_content(&publish, cx),
            Method::Ack { delivery_tag, multiple } => {
                self.settle(selection(delivery_tag, multiple), Settlement::Ack)
            }
            Method::Nack { delivery_tag, multiple, requeue } => {
                self.settle(selection(delivery_tag, multiple), rejection(requeue))
            }
            Method::Reject { delivery_tag, requeue } => {
                self.settle(Selection::One(delivery_tag), rejection(requeue))
            }
            Method::Other(class) => self.handle_class(*class, payload, cx),
        }
    }

    /// While a commit waits for the store, only closing is allowed. The server answers everything else at once.
    fn handle_method_while_busy(&self, method: &Method<'_>) -> Result<Step, AmqpError> {
        match (method, &self.state) {
            (Method::Other(class), _)
                if matches!(**class, AMQPClass::Channel(channel::AMQPMethod::Close(_))) =>
            {
                Ok(Step::Close)
            }
            (_, State::Committing { .. }) => Err(faults::method_during_commit()),
            _ => Err(faults::unexpected_reply()),
        }
    }

    fn handle_class(
        &mut self,
        class: AMQPClass,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Step, AmqpError> {
        match class {
            AMQPClass::Basic(method) => self.handle_basic(method, payload, cx),
            AMQPClass::Exchange(method) => Ok(self.request(topology::translate_exchange(method)?)),
            AMQPClass::Queue(method) => {
                Ok(self.request(topology::translate_queue(method, &self.last_queue)?))
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => self.select_confirm(select.nowait, cx),
            AMQPClass::Tx(tx::AMQPMethod::Select(_)) => self.select_tx(cx),
            AMQPClass::Tx(tx::AMQPMethod::Commit(_)) => self.commit(),
            AMQPClass::Tx(tx::AMQPMethod::Rollback(_)) => self.rollback(cx),
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => Ok(Step::Close),
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => Err(faults::second_channel_open()),
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => self.flow(flow.active, cx),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.answer(AMQPClass::Access(ok), cx)
            }
            _ => Err(faults::unimplemented_method()),
        }
    }

    fn handle_basic(
        &mut self,
        method: basic::AMQPMethod,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Step, AmqpError> {
        match method {
            basic::AMQPMethod::Qos(qos) => self.set_qos(&qos, qos::prefetch_size(payload), cx),
            basic::AMQPMethod::Consume(consume) => self.consume(consume, cx),
            basic::AMQPMethod::Cancel(cancel) => self.cancel(cancel, cx),
            basic::AMQPMethod::Get(get) => self.get(&get),
            basic::AMQPMethod::Recover(recover) => {
                let step = self.recover(recover.requeue)?;
                self.send_basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}), cx);
                Ok(step)
            }
            basic::AMQPMethod::RecoverAsync(recover) => self.recover(recover.requeue),
            _ => Err(faults::unimplemented_method()),
        }
    }

    /// Takes the server's answer to what was last asked of it, or a returned message.
    pub(super) fn handle_reply(
        &mut self,
        reply: Reply,
        durable: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        if let Reply::Returned(message) = reply {
            self.counts.returned();
            cx.out.returned(self.id.0, ReplyCode::NoRoute, &message, cx.frame_max);
            return Ok(());
        }
        if !matches!(self.state, State::Awaiting(_)) {
            return Err(faults::unexpected_reply());
        }
        let State::Awaiting(pending) = std::mem::replace(&mut self.state, State::Ready) else {
            return Err(faults::unexpected_reply());
        };
        match (pending, reply) {
            (Pending::Topology { ok, nowait }, Reply::Topology(reply)) => {
                return self.finish_topology(ok, nowait, reply, cx);
            }
            (
                Pending::Consume { nowait, is_direct_reply },
                Reply::Consuming { consumer_tag, source, no_ack: _ },
            ) => return self.start_consumer(&consumer_tag, source, is_direct_reply, nowait, cx),
            (Pending::Cancel { consumer_tag, nowait }, Reply::Cancelled(source)) => {
                self.forget_consumer(source, cx.sources);
                self.send_cancel_ok(consumer_tag, nowait, cx);
            }
            (Pending::Get, Reply::Got { delivery, message_count, no_ack: _ }) => {
                self.counts.got(&delivery);
                let tag = self.unacked.deliver(delivery.reference);
                let Delivery { redelivered, message, .. } = delivery;
                cx.out.get_ok(self.id.0, tag.0, redelivered, message_count, &message, cx.frame_max);
            }
            (Pending::Get, Reply::GetEmpty) => {
                self.counts.got_nothing();
                self.send_basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}), cx);
            }
            (Pending::Commit, Reply::Committed(Durability::AtEpoch(epoch))) if epoch > durable => {
                self.state = State::Committing { epoch };
            }
            (Pending::Commit, Reply::Committed(_)) => self.send_commit_ok(cx),
            _ => return Err(faults::unexpected_reply()),
        }
        Ok(())
    }

    /// Names the request that the server refused, if it has not done so itself: the one it was asked last, otherwise a
    /// publish, the only action that fails later.
    pub(super) fn blame_pending(&self, error: AmqpError) -> AmqpError {
        let (class_id, method_id) = match &self.state {
            State::Awaiting(pending) => pending.ids(),
            _ => faults::BASIC_PUBLISH,
        };
        blame(error, class_id, method_id)
    }

    /// Sends a message to one of this channel's consumers.
    #[inline]
    pub(super) fn deliver(&mut self, delivery: &Delivery, tag: &str, out: &mut OutBuffer, frame_max: u32) {
        self.counts.delivered(delivery);
        let delivery_tag = self.unacked.deliver(delivery.reference);
        out.deliver(self.id.0, tag, delivery_tag.0, delivery.redelivered, &delivery.message, frame_max);
    }

    /// Forgets a consumer, its tag and its role as receiver of answers. Its unacked messages stay.
    pub(super) fn forget_consumer(&mut self, source: SourceId, sources: &mut Sources) {
        if let Some(consumer) = sources.remove(source) {
            self.consumers.remove(&consumer.tag);
        }
        if self.reply_consumer == Some(source) {
            self.reply_consumer = None;
        }
    }

    /// Bytes of messages that have not left for the server: those of an unfinished content and of the transaction.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        let content = if let State::Content(content) = &self.state { content.held_bytes() } else { 0 };
        let transaction =
            if let Mode::Transaction(transaction) = &self.mode { transaction.bytes() } else { 0 };
        content + transaction
    }

    /// The end of the channel: all that the server has to clean up.
    pub(super) fn close(&mut self, sources: &mut Sources) -> Action {
        if let Mode::Transaction(transaction) = &mut self.mode {
            self.unacked.restore(transaction.rollback());
        }
        let mut unacked = Vec::with_capacity(self.unacked.len());
        let everything = self.unacked.take(Selection::UpTo(0), |entry| unacked.push(entry.reference));
        debug_assert!(everything.is_ok(), "taking everything names no tag");
        let consumers = self.consumers.sources();
        for source in &consumers {
            sources.remove(*source);
        }
        Action::CloseChannel { channel: self.id, sources: consumers, unacked }
    }

    /// Takes what became of a publish.
    #[inline]
    pub(super) fn resolve(&mut self, number: u64, outcome: PublishOutcome, durable: u64) {
        if let Mode::Confirm(tracker) = &mut self.mode {
            tracker.resolve(number, outcome, durable);
            self.counts.resolved(outcome);
        }
    }

    /// Publishes between the oldest without a confirm and the newest.
    pub(super) fn unconfirmed(&self) -> usize {
        if let Mode::Confirm(tracker) = &self.mode { tracker.window() } else { 0 }
    }

    /// Whether there are confirms to send.
    #[inline]
    pub(super) fn has_confirms(&self) -> bool {
        if let Mode::Confirm(tracker) = &self.mode { tracker.has_news() } else { false }
    }

    /// Whether something waits for the store.
    #[inline]
    pub(super) fn awaits_store(&self) -> bool {
        match (&self.state, &self.mode) {
            (State::Committing { .. }, _) => true,
            (_, Mode::Confirm(tracker)) => tracker.awaits_store(),
            _ => false,
        }
    }

    /// The store is durable up to `epoch`.
    pub(super) fn handle_durable(&mut self, durable: u64, cx: &mut Context<'_>) {
        if let Mode::Confirm(tracker) = &mut self.mode {
            tracker.reach(durable);
        }
        if let State::Committing { epoch } = self.state
            && epoch <= durable
        {
            self.state = State::Ready;
            self.send_commit_ok(cx);
        }
    }

    /// Sends all confirms that are due.
    pub(super) fn flush_confirms(&mut self, out: &mut OutBuffer) {
        let channel = self.id.0;
        if let Mode::Confirm(tracker) = &mut self.mode {
            tracker.flush(|confirm| match confirm {
                Confirm::Ack { number, multiple } => out.ack(channel, number, multiple),
                Confirm::Nack { number } => out.nack(channel, number, false),
            });
        }
    }

    #[inline]
    fn begin_content(&mut self, publish: &BasicPublish<'_>, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        if publish.immediate {
            return Err(faults::immediate());
        }
        self.state = State::Content(ContentAssembler::begin(publish, std::mem::take(cx.spare), cx.now_ms));
        Ok(Step::Done)
    }

    #[inline]
    fn advance_content(&mut self, progress: Progress, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        if progress == Progress::Incomplete {
            return Ok(Step::Done);
        }
        let State::Content(content) = std::mem::replace(&mut self.state, State::Ready) else {
            return Err(faults::expected_method());
        };
        let (content, spare) = content.finish();
        *cx.spare = spare;
        let direct_reply_to = self.reply_consumer.filter(|_| content.wants_direct_reply);
        let fault = match direct_reply_to {
            None if content.wants_direct_reply => Some(Box::new(faults::no_reply_consumer())),
            _ => content.fault,
        };
        let mut publish = Publish {
            channel: self.id,
            message: content.message,
            mandatory: content.mandatory,
            confirm: None,
            direct_reply_to,
            fault,
        };
        match &mut self.mode {
            Mode::Plain => {}
            Mode::Confirm(tracker) => publish.confirm = Some(tracker.assign()),
            Mode::Transaction(transaction) => {
                transaction.publish(publish.clone())?;
                return Ok(Step::Act(Action::CheckPublish(publish)));
            }
        }
        self.counts.published();
        Ok(Step::Act(Action::Publish(publish)))
    }

    #[inline]
    fn settle(&mut self, selection: Selection, settlement: Settlement) -> Result<Step, AmqpError> {
        if let Mode::Transaction(transaction) = &mut self.mode {
            let mut settled = Settled::new();
            self.unacked
                .take(selection, |entry| settled.push(entry))
                .map_err(|unknown| faults::unknown_delivery_tag(unknown.0))?;
            transaction.settle(settlement, settled)?;
            return Ok(Step::Done);
        }
        let mut deliveries = Deliveries::new();
        self.unacked
            .take(selection, |entry| deliveries.push(entry.reference))
            .map_err(|unknown| faults::unknown_delivery_tag(unknown.0))?;
        if deliveries.is_empty() {
            return Ok(Step::Done);
        }
        self.counts.settled(settlement, deliveries.len());
        Ok(Step::Act(Action::Settle(Settle { channel: self.id, settlement, deliveries })))
    }
}

mod counts;
mod details;
mod requests;

use counts::Counts;
pub use details::ChannelDetails;

fn blame(error: AmqpError, class_id: u16, method_id: u16) -> AmqpError {
    if error.class_id == 0 { error.at(class_id, method_id) } else { error }
}

fn selection(delivery_tag: u64, multiple: bool) -> Selection {
    if multiple { Selection::UpTo(delivery_tag) } else { Selection::One(delivery_tag) }
}

fn rejection(requeue: bool) -> Settlement {
    if requeue { Settlement::Requeue } else { Settlement::Discard }
}
