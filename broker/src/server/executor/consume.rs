//! Consumers, `basic.get`, channel-wide prefetch, and what happens when a channel ends.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::access::required::Operation;
use crate::engine::queue::{AckMode, ConsumeRefused, ConsumerSpec, QueueDeclare, QueueOptions, type_name};
use crate::error::AmqpError;
use crate::server::executor::Executor;
use crate::server::executor::sources::{Asked, Kind, Source};
use crate::server::queue_handle::{AfterConsumer, ChannelLimit, QueueHandle, SharedQueue};
use crate::server::random::random_bytes;
use crate::server::vhost::REPLY_TO_PREFIX;
use crate::session::action::{
    ChannelId, Consume, Deliveries, Delivery, DeliveryRef, NO_SLOT, Reply, Settle, Settlement, SourceId,
};
use crate::session::names::{REPLY_TO_QUEUE, unique_name};

impl Executor {
    /// Starts a consumer. Its first delivery comes after the answer: deliveries pass through the outbox, which this same
    /// task empties later.
    pub(super) fn consume(&mut self, consume: Consume) -> Result<Reply, AmqpError> {
        if consume.queue == REPLY_TO_QUEUE {
            return self.consume_replies(consume);
        }
        self.permit(Operation::Consume(&consume.queue))?;
        let queue = self.queue(&consume.queue)?;
        let spec = ConsumerSpec {
            ack_mode: if consume.no_ack { AckMode::Automatic } else { AckMode::Manual },
            prefetch: consume.prefetch,
            exclusive: consume.exclusive,
            priority: priority(&consume.arguments, queue.options())?,
        };
        let source = self.start_consumer(&queue, spec, consume.channel)?;
        self.tell_consumer_started(&consume, &spec);
        if let Some(source) = self.sources.get_mut(source) {
            source.asked = Some(Box::new(Asked {
                consumer_tag: consume.consumer_tag.as_str().into(),
                exclusive: consume.exclusive,
                ack_required: !consume.no_ack,
                prefetch: consume.prefetch,
                arguments: consume.arguments,
                end_told: false,
            }));
        }
        Ok(Reply::Consuming { consumer_tag: consume.consumer_tag, source, no_ack: consume.no_ack })
    }

    fn start_consumer(
        &mut self,
        queue: &QueueHandle,
        spec: ConsumerSpec,
        channel: ChannelId,
    ) -> Result<SourceId, AmqpError> {
        let limit = match spec.ack_mode {
            AckMode::Manual => self.limits.get(&channel).cloned(),
            AckMode::Automatic => None,
        };
        let vhost = self.vhost()?.name();
        let name = &queue.options().name;
        let source = self.sources.next_id();
        let consumer = match queue.add_consumer(spec, self.outbox.clone(), source, limit.clone()) {
            None => return Err(AmqpError::not_found(format!("no queue '{name}' in vhost '{vhost}'"))),
            Some(Err(ConsumeRefused::ExclusiveInUse)) => {
                return Err(AmqpError::access_refused(format!(
                    "queue '{name}' in vhost '{vhost}' in exclusive use"
                )));
            }
            Some(Err(ConsumeRefused::TooMany)) => {
                return Err(AmqpError::resource_error(format!(
                    "queue '{name}' in vhost '{vhost}' has too many consumers"
                )));
            }
            Some(Ok(consumer)) => consumer,
        };
        let mut added = Source::new(queue.clone(), channel, Kind::Consumer(consumer));
        added.limit = limit;
        self.sources.add(added);
        // An empty batch: the queue looks for ready messages when the round ends.
        self.batch.queue(queue);
        Ok(source)
    }

    /// Direct reply-to: a queue that nobody can name, fed under an address that nobody can guess.
    fn consume_replies(&mut self, consume: Consume) -> Result<Reply, AmqpError> {
        let address = unique_name(REPLY_TO_PREFIX, random_bytes());
        let vhost = self.vhost()?.clone();
        let declare = QueueDeclare { name: address.clone(), exclusive: true, ..QueueDeclare::default() };
        let options = Arc::new(QueueOptions::from_declare(vhost.name().clone(), declare)?);
        let queue = SharedQueue::new(self.shared.new_queue_id(), options, self.shared.backing());
        let spec = ConsumerSpec { ack_mode: AckMode::Automatic, prefetch: 0, exclusive: true, priority: 0 };
        let source = self.start_consumer(&queue, spec, consume.channel)?;
        vhost.write(|registry| registry.replies.insert(address.clone(), queue));
        if let Some(source) = self.sources.get_mut(source) {
            source.reply_address = Some(address);
        }
        Ok(Reply::Consuming { consumer_tag: consume.consumer_tag, source, no_ack: true })
    }

    /// Removes a consumer from its queue, and the queue if it lived for this consumer.
    pub(super) fn end_consumer(&mut self, source: SourceId) {
        self.tell_consumer_ended(source);
        let Some((consumer, queue, reply_address)) = self.sources.end(source) else { return };
        let after = queue.remove_consumer(consumer);
        let Some(vhost) = self.vhost.clone() else { return };
        if let Some(address) = reply_address {
            vhost.write(|registry| registry.replies.remove(&address));
            delete_unconditionally(&queue);
        } else if after == AfterConsumer::DeleteQueue {
            self.delete_unused(&vhost, &queue);
        }
        self.shared.check_memory();
    }

    /// Takes one message.
    pub(super) fn get(&mut self, channel: ChannelId, name: &str, no_ack: bool) -> Result<Reply, AmqpError> {
        self.permit(Operation::Get(name))?;
        let queue = self.queue(name)?;
        if queue.options().single_active_consumer {
            let vhost = self.vhost()?.name();
            return Err(AmqpError::resource_locked(format!(
                "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are not \
                 supported by classic queues with single active consumer"
            )));
        }
        let ack_mode = if no_ack { AckMode::Automatic } else { AckMode::Manual };
        let taken = queue.take(ack_mode).map_err(|error| {
            tracing::error!(queue = name, %error, "cannot read a message back");
            AmqpError::internal_error(format!("cannot read the messages of queue '{name}'"))
        })?;
        let Some(taken) = taken else {
            self.tally.get_empty += 1;
            return Ok(Reply::GetEmpty);
        };
        match ack_mode {
            AckMode::Manual => self.tally.get += 1,
            AckMode::Automatic => self.tally.get_no_ack += 1,
        }
        self.tally.redeliver += u64::from(taken.redelivered);
        let source = if no_ack { SourceId(u32::MAX) } else { self.sources.get_source(&queue, channel) };
        if let Some(source) = self.sources.get_mut(source) {
            source.outstanding += 1;
        }
        self.shared.check_memory();
        if self.is_traced() {
            self.trace_delivered(channel, name, taken.redelivered, &taken.message);
        }
        let reference = DeliveryRef { source, slot: if no_ack { NO_SLOT } else { taken.slot } };
        let delivery = Delivery { reference, redelivered: taken.redelivered, message: taken.message };
        Ok(Reply::Got { delivery, message_count: taken.remaining, no_ack })
    }

    /// Changes the limit that all consumers of a channel share, at once.
    pub(super) fn set_channel_prefetch(&mut self, channel: ChannelId, limit: u16) {
        if let Some(known) = self.limits.get(&channel) {
            known.set(limit);
        } else if limit > 0 {
            let shared = Arc::new(ChannelLimit::default());
            shared.set(limit);
            self.sources.put_under_limit(channel, &shared);
            self.limits.insert(channel, shared);
        }
        self.freed.push(channel);
        self.serve_freed_channels();
    }

    /// Ends a channel: its consumers first, so that what it returns does not come back to it.
    pub(super) fn close_channel(
        &mut self,
        channel: ChannelId,
        sources: &[SourceId],
        unacked: Vec<DeliveryRef>,
    ) {
        // The number may be opened anew within this round; confirms of the old channel are not for the new one.
        self.batch.confirms.retain(|pending| pending.channel != channel);
        for &source in sources {
            self.end_consumer(source);
        }
        let deliveries = Deliveries::from_vec(unacked);
        self.settle(&Settle { channel, settlement: Settlement::Requeue, deliveries });
        self.limits.remove(&channel);
        self.apply_batch();
        self.tell_channel_closed(channel);
    }
}

/// The `x-priority` argument; any integer, as RabbitMQ takes it. What is beyond 32 bits is as high or low as can be.
fn priority(arguments: &FieldTable, queue: &QueueOptions) -> Result<i32, AmqpError> {
    let Some(value) = arguments.inner().get("x-priority") else { return Ok(0) };
    let number = match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    };
    let Some(number) = number else {
        let (queue, kind) = (queue.resource(), type_name(value));
        return Err(AmqpError::precondition_failed(format!(
            "invalid arg 'x-priority' for {queue}: \"expected integer, got {kind}\""
        )));
    };
    Ok(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
}

/// Deletes a queue that no topology knows.
fn delete_unconditionally(queue: &QueueHandle) {
    // Without conditions there is nothing to refuse.
    let _ = queue.delete(false, false);
}
