//! The channel's requests that the server answers, and what follows from the answers.

use super::{
    AMQPClass, Action, AmqpError, Channel, ConfirmTracker, Consume, Context, Deliveries, Mode, Pending,
    REPLY_TO_QUEUE, Selection, Settle, Settlement, ShortString, SourceId, State, Step, TopologyOk,
    TopologyReply, Transaction, Translated, basic, channel, confirm, faults, topology, tx, unique_name,
};

impl Channel {
    pub(super) fn request(&mut self, translated: Translated) -> Step {
        let Translated { request, ok, nowait } = translated;
        self.state = State::Awaiting(Pending::Topology { ok, nowait });
        Step::Act(Action::Topology { channel: self.id, request })
    }

    pub(super) fn finish_topology(
        &mut self,
        ok: TopologyOk,
        nowait: bool,
        reply: TopologyReply,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        let method = ok.encode(&reply).ok_or_else(faults::unexpected_reply)?;
        if let TopologyReply::QueueDeclared { name, .. } = reply {
            self.last_queue = name.into();
        }
        if !nowait {
            cx.out.method(self.id.0, &method);
        }
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        consume: basic::Consume,
        cx: &mut Context<'_>,
    ) -> Result<Step, AmqpError> {
        let is_direct_reply = consume.queue.as_str() == REPLY_TO_QUEUE;
        if is_direct_reply && !consume.no_ack {
            return Err(faults::reply_consumer_cannot_acknowledge());
        }
        if is_direct_reply && self.reply_consumer.is_some() {
            return Err(faults::reply_consumer_already_set());
        }
        if self.consumers.find(consume.consumer_tag.as_str()).is_some() {
            return Err(faults::consumer_tag_in_use(consume.consumer_tag.as_str()));
        }
        if self.consumers.len() >= cx.config.consumers_per_channel_max as usize {
            return Err(faults::too_many_consumers(cx.config.consumers_per_channel_max));
        }
        let queue = topology::queue_or_last(&consume.queue, &self.last_queue)?;
        let mut consumer_tag = String::from(consume.consumer_tag);
        if consumer_tag.is_empty() {
            consumer_tag = unique_name("amq.ctag-", (cx.config.random)());
        }
        self.state = State::Awaiting(Pending::Consume { nowait: consume.nowait, is_direct_reply });
        Ok(Step::Act(Action::Consume(Consume {
            channel: self.id,
            queue,
            consumer_tag,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: self.qos.prefetch(),
            arguments: consume.arguments,
        })))
    }

    pub(super) fn start_consumer(
        &mut self,
        consumer_tag: &str,
        source: SourceId,
        is_direct_reply: bool,
        nowait: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), AmqpError> {
        self.consumers.insert(consumer_tag, source);
        cx.sources.insert(source, self.id, consumer_tag);
        if is_direct_reply {
            self.reply_consumer = Some(source);
        }
        if !nowait {
            let consumer_tag = ShortString::try_new(consumer_tag).map_err(|_| faults::unexpected_reply())?;
            self.send_basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag }), cx);
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, cancel: basic::Cancel, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        let basic::Cancel { consumer_tag, nowait } = cancel;
        let Some(source) = self.consumers.find(consumer_tag.as_str()) else {
            // Cancelling what is not there is fine: the consumer may just have been cancelled from our side.
            self.send_cancel_ok(consumer_tag, nowait, cx);
            return Ok(Step::Done);
        };
        self.state = State::Awaiting(Pending::Cancel { consumer_tag, nowait });
        Ok(Step::Act(Action::Cancel { channel: self.id, source }))
    }

    pub(super) fn send_cancel_ok(&self, consumer_tag: ShortString, nowait: bool, cx: &mut Context<'_>) {
        if !nowait {
            self.send_basic(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag }), cx);
        }
    }

    pub(super) fn get(&mut self, get: &basic::Get) -> Result<Step, AmqpError> {
        let queue = topology::queue_or_last(&get.queue, &self.last_queue)?;
        self.state = State::Awaiting(Pending::Get);
        Ok(Step::Act(Action::Get { channel: self.id, queue, no_ack: get.no_ack }))
    }

    pub(super) fn select_confirm(&mut self, nowait: bool, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        match self.mode {
            Mode::Transaction(_) => return Err(faults::confirm_in_tx_channel()),
            Mode::Plain => self.mode = Mode::Confirm(Box::new(ConfirmTracker::new())),
            Mode::Confirm(_) => {}
        }
        if !nowait {
            let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            cx.out.method(self.id.0, &AMQPClass::Confirm(ok));
        }
        Ok(Step::Done)
    }

    pub(super) fn select_tx(&mut self, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        match self.mode {
            Mode::Confirm(_) => return Err(faults::tx_in_confirm_channel()),
            Mode::Plain => self.mode = Mode::Transaction(Box::default()),
            Mode::Transaction(_) => {}
        }
        self.answer(AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})), cx)
    }

    pub(super) fn commit(&mut self) -> Result<Step, AmqpError> {
        let channel = self.id;
        let action = self.transaction()?.commit(channel);
        self.counts.committed(&action);
        self.state = State::Awaiting(Pending::Commit);
        Ok(Step::Act(action))
    }

    pub(super) fn rollback(&mut self, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        let taken = self.transaction()?.rollback();
        self.unacked.restore(taken);
        self.answer(AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})), cx)
    }

    pub(super) fn send_commit_ok(&self, cx: &mut Context<'_>) {
        let ok = tx::AMQPMethod::CommitOk(tx::CommitOk {});
        cx.out.method(self.id.0, &AMQPClass::Tx(ok));
    }

    pub(super) fn recover(&mut self, requeue: bool) -> Result<Step, AmqpError> {
        if !requeue {
            return Err(faults::recover_without_requeue());
        }
        let mut deliveries = Deliveries::new();
        self.unacked
            .take(Selection::UpTo(0), |entry| deliveries.push(entry.reference))
            .map_err(|unknown| faults::unknown_delivery_tag(unknown.0))?;
        if deliveries.is_empty() {
            return Ok(Step::Done);
        }
        Ok(Step::Act(Action::Settle(Settle {
            channel: self.id,
            settlement: Settlement::Requeue,
            deliveries,
        })))
    }

    pub(super) fn set_qos(
        &mut self,
        qos: &basic::Qos,
        prefetch_size: u32,
        cx: &mut Context<'_>,
    ) -> Result<Step, AmqpError> {
        let channel_limit = self.qos.handle(qos, prefetch_size)?;
        self.send_basic(basic::AMQPMethod::QosOk(basic::QosOk {}), cx);
        Ok(channel_limit
            .map_or(Step::Done, |limit| Step::Act(Action::SetChannelPrefetch { channel: self.id, limit })))
    }

    /// Only RabbitMQ's answer to a client that wants to resume; a client that wants deliveries to pause sets a prefetch.
    pub(super) fn flow(&self, active: bool, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        if !active {
            return Err(faults::flow_inactive());
        }
        let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active });
        self.answer(AMQPClass::Channel(ok), cx)
    }

    pub(super) fn answer(&self, method: AMQPClass, cx: &mut Context<'_>) -> Result<Step, AmqpError> {
        cx.out.method(self.id.0, &method);
        Ok(Step::Done)
    }

    pub(super) fn send_basic(&self, method: basic::AMQPMethod, cx: &mut Context<'_>) {
        cx.out.method(self.id.0, &AMQPClass::Basic(method));
    }

    fn transaction(&mut self) -> Result<&mut Transaction, AmqpError> {
        match &mut self.mode {
            Mode::Transaction(transaction) => Ok(transaction),
            _ => Err(faults::not_transactional()),
        }
    }
}
