//! Declaring, binding, purging and deleting.

use std::sync::Arc;

use amq_protocol::types::AMQPValue;

use crate::access::required::Operation;
use crate::access::{Permission, VHostSettings};
use crate::engine::exchange::ExchangeOptions;
use crate::engine::queue::{QueueDeclare, QueueOptions};
use crate::engine::topology::{Destination, QueueName};
use crate::error::{AmqpError, ReplyCode};
use crate::server::census::count;
use crate::server::executor::Executor;
use crate::server::queue_handle::{DeleteRefused, QueueHandle, SharedQueue};
use crate::server::random::random_bytes;
use crate::server::vhost::{REPLY_TO_PREFIX, VHost};
use crate::session::action::{TopologyReply, TopologyRequest};
use crate::session::names::{REPLY_TO_QUEUE, unique_name};

impl Executor {
    /// Carries out a topology request.
    pub(super) fn topology(&mut self, request: TopologyRequest) -> Result<TopologyReply, AmqpError> {
        use TopologyRequest as Request;
        match request {
            Request::DeclareExchange { name, passive: true, .. } => {
                self.vhost()?.read(|registry| registry.topology.check_exchange(&name))?;
                Ok(TopologyReply::Done)
            }
            Request::DeclareExchange { name, kind, durable, auto_delete, internal, arguments, .. } => {
                self.permit(Operation::DeclareExchange(&name))?;
                let vhost = self.vhost()?;
                let options = ExchangeOptions::from_declare(
                    vhost.name(),
                    &name,
                    &kind,
                    durable,
                    auto_delete,
                    internal,
                    &arguments,
                )?;
                self.declare_exchange(vhost, options)
            }
            Request::DeleteExchange { name, if_unused } => self.delete_exchange(&name, if_unused),
            Request::BindExchange { change, destination, source, routing_key, arguments } => {
                self.permit(Operation::BindExchange { destination: &destination, source: &source })?;
                self.permit_topic(Permission::Read, &source, [routing_key.as_str()])?;
                self.bind(change, Destination::Exchange(&destination), &source, &routing_key, &arguments)
            }
            Request::BindQueue { change, queue, exchange, routing_key, arguments } => {
                if queue == REPLY_TO_QUEUE || queue.starts_with(REPLY_TO_PREFIX) {
                    return Err(AmqpError::access_refused(format!(
                        "queue '{queue}' is volatile and cannot be bound"
                    )));
                }
                self.permit(Operation::BindQueue { queue: &queue, exchange: &exchange })?;
                self.permit_topic(Permission::Read, &exchange, [routing_key.as_str()])?;
                self.bind(change, Destination::Queue(&queue), &exchange, &routing_key, &arguments)
            }
            // It looks like a queue to everybody, as in RabbitMQ, and never holds a message.
            Request::DeclareQueue { name, .. } if name == REPLY_TO_QUEUE => {
                Ok(TopologyReply::QueueDeclared { name, message_count: 0, consumer_count: 1 })
            }
            Request::DeclareQueue { name, passive, .. } if name.starts_with(REPLY_TO_PREFIX) || passive => {
                self.look_at_queue(name)
            }
            Request::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } => {
                let declare = QueueDeclare { name, durable, exclusive, auto_delete, arguments };
                self.declare_queue(declare, QueueName::Given)
            }
            Request::PurgeQueue { queue } => {
                self.permit(Operation::PurgeQueue(&queue))?;
                let message_count = self.queue(&queue)?.purge().ready;
                self.shared.check_memory();
                Ok(TopologyReply::Removed { message_count })
            }
            Request::DeleteQueue { queue, if_unused, if_empty } => {
                self.delete_queue(&queue, if_unused, if_empty)
            }
        }
    }

    fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<TopologyReply, AmqpError> {
        self.permit(Operation::DeleteExchange(name))?;
        self.vhost()?
            .write_as(self.user_name(), |registry| registry.topology.delete_exchange(name, if_unused))?;
        Ok(TopologyReply::Done)
    }

    /// A passive declare; also how a responder asks whether the client behind a reply address still lives.
    fn look_at_queue(&self, name: String) -> Result<TopologyReply, AmqpError> {
        let vhost = self.vhost()?;
        if name.starts_with(REPLY_TO_PREFIX) {
            return if vhost.read(|registry| registry.replies.contains_key(&name)) {
                Ok(TopologyReply::QueueDeclared { name, message_count: 0, consumer_count: 1 })
            } else {
                Err(AmqpError::not_found(format!("no queue '{name}' in vhost '{}'", vhost.name())))
            };
        }
        let queue = self.queue(&name)?;
        queue.touch();
        let counts = queue.counts();
        Ok(TopologyReply::QueueDeclared {
            name,
            message_count: counts.ready,
            consumer_count: counts.consumers,
        })
    }

    fn declare_exchange(&self, vhost: &VHost, options: ExchangeOptions) -> Result<TopologyReply, AmqpError> {
        let exchange = &options.name;
        if let Some(alternate) = &options.alternate_exchange
            && vhost.read(|registry| registry.topology.exchange_options(exchange).is_none())
        {
            self.permit(Operation::DeclareAlternate { exchange, alternate })?;
        }
        vhost.write_as(self.user_name(), |registry| registry.topology.declare_exchange(options))?;
        Ok(TopologyReply::Done)
    }

    /// Declares a queue of definitions.
    pub(in crate::server) fn define_queue(&mut self, declare: QueueDeclare) -> Result<(), AmqpError> {
        self.refresh_rights();
        let naming = naming_in_definitions(&declare.name);
        self.declare_queue(declare, naming).map(drop)
    }

    fn declare_queue(
        &self,
        mut declare: QueueDeclare,
        mut naming: QueueName,
    ) -> Result<TopologyReply, AmqpError> {
        if declare.name.is_empty() {
            declare.name = unique_name(GENERATED_PREFIX, random_bytes());
            naming = QueueName::Generated;
        }
        self.permit(Operation::DeclareQueue(&declare.name))?;
        let (name, exclusive) = (declare.name.clone(), declare.exclusive);
        let vhost = self.vhost()?;
        let settings = self.shared.access.vhost(vhost.name()).unwrap_or_default();
        add_default_type(&mut declare, &settings);
        let options = QueueOptions::from_declare(vhost.name().clone(), declare)?;
        if let Some(dead_letters) =
            options.settings.as_ref().and_then(|settings| settings.dead_lettering.as_ref())
            && vhost.read(|registry| registry.topology.find_queue(&name).is_none())
        {
            let exchange = &dead_letters.exchange;
            self.permit(Operation::DeclareDeadLettering { queue: &name, exchange })?;
        }
        let ineffective: Vec<String> = options.ineffective_arguments().map(str::to_owned).collect();
        let owner = exclusive.then_some(self.connection);
        let make = |options: Arc<QueueOptions>| {
            SharedQueue::new(self.shared.new_queue_id(), options, self.shared.backing())
        };
        let turn = self.shared.queue_limit.turn(|| self.shared.queue_count());
        let declared = vhost.write_as(self.user_name(), |registry| {
            if registry.topology.find_queue(&name).is_none() {
                turn.check(&name)?;
                check_queue_limit(&settings, registry.topology.queue_count(), &name, vhost.name())?;
            }
            let declared = registry.topology.declare_queue(options, naming, owner, self.connection, make)?;
            // Here, where it cannot be deleted in between.
            declared.queue.touch();
            Ok::<_, AmqpError>(declared)
        })?;
        drop(turn);
        let churn = &self.shared.census.churn;
        count(&churn.queues_declared);
        if declared.created {
            count(&churn.queues_created);
        }
        if declared.created && !ineffective.is_empty() {
            let arguments = ineffective.join(", ");
            tracing::warn!(queue = name, arguments, "these queue arguments have no effect in this version");
        }
        if declared.created
            && declared.queue.options().settings.as_ref().is_some_and(|settings| settings.cannot_wait())
        {
            tracing::warn!(
                queue = name,
                "dead letters are published at most once: x-dead-letter-strategy at-least-once needs x-overflow reject-publish"
            );
        }
        let counts = declared.queue.counts();
        Ok(TopologyReply::QueueDeclared {
            name,
            message_count: counts.ready,
            consumer_count: counts.consumers,
        })
    }

    fn delete_queue(
        &mut self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<TopologyReply, AmqpError> {
        self.permit(Operation::DeleteQueue(name))?;
        let vhost = self.vhost()?.clone();
        let queue = match self.queue(name) {
            Ok(queue) => queue,
            // Deleting what is not there succeeds since RabbitMQ 3.2.
            Err(error) if error.code == ReplyCode::NotFound => {
                return Ok(TopologyReply::Removed { message_count: 0 });
            }
            Err(error) => return Err(error),
        };
        let deleted =
            vhost.delete_queue_as(self.user_name(), &queue, |queue| queue.delete(if_unused, if_empty));
        self.shared.check_memory();
        match deleted {
            Ok(removed) => Ok(TopologyReply::Removed { message_count: removed.ready }),
            Err(refused) => {
                let why = match refused {
                    DeleteRefused::InUse => "in use",
                    DeleteRefused::NotEmpty => "not empty",
                };
                let vhost = vhost.name();
                Err(AmqpError::precondition_failed(format!("queue '{name}' in vhost '{vhost}' {why}")))
            }
        }
    }

    /// Deletes an auto-delete queue unless somebody has started to consume from it meanwhile.
    pub(super) fn delete_unused(&self, vhost: &VHost, queue: &QueueHandle) {
        // Refused means that it is in use again: then it stays.
        let _ = vhost.delete_queue(queue, |queue| queue.delete(true, false));
    }

    /// Deletes the queues that belong to this connection.
    pub(super) fn delete_exclusive_queues(&self, vhost: &VHost) {
        let owned: Vec<QueueHandle> =
            vhost.read(|registry| registry.topology.queues_of(self.connection).cloned().collect());
        for queue in owned {
            // Without conditions there is nothing to refuse.
            let _ = vhost.delete_queue(&queue, |queue| queue.delete(false, false));
        }
        self.shared.check_memory();
    }
}

/// What the names begin with that the broker makes up.
const GENERATED_PREFIX: &str = "amq.gen-";

/// Who thought of the name of a queue in definitions: the broker that they are of, be it another, may have made it up.
pub(in crate::server) fn naming_in_definitions(name: &str) -> QueueName {
    if name.starts_with(GENERATED_PREFIX) { QueueName::Generated } else { QueueName::Given }
}

/// Gives a queue that is declared without a type the one that its vhost names, where that can be.
pub(in crate::server) fn add_default_type(declare: &mut QueueDeclare, settings: &VHostSettings) {
    const TYPE: &str = "x-queue-type";
    let Some(kind) = settings.default_queue_type.as_deref().filter(|kind| *kind != "classic") else { return };
    let can_be = declare.durable && !declare.exclusive && !declare.auto_delete;
    if can_be && !declare.arguments.contains_key(TYPE) {
        declare.arguments.insert(TYPE.into(), AMQPValue::LongString(kind.into()));
    }
}

/// Whether there may be one more queue in a virtual host that has so many, or 406 with RabbitMQ's text.
pub(in crate::server) fn check_queue_limit(
    settings: &VHostSettings,
    count: usize,
    name: &str,
    vhost: &str,
) -> Result<(), AmqpError> {
    match settings.limits.queues_max {
        Some(limit) if usize::try_from(limit).is_ok_and(|limit| count >= limit) => {
            Err(AmqpError::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"
            )))
        }
        _ => Ok(()),
    }
}
