//! [`QueueOptions`]: what a queue was declared with, parsed once.
//!
//! Built from `queue.declare` and compared when the queue is declared again. The queue itself reads only the parsed
//! fields; the table is kept for that comparison and for listing. Refuses what RabbitMQ refuses, with its texts.

use std::num::NonZeroU8;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::error::AmqpError;

mod arguments;

pub(super) use arguments::integer;
pub use arguments::type_name;

use super::settings::{self, QueueSettings};

/// The fields of `queue.declare` that make a queue what it is.
#[derive(Debug, Clone, Default)]
pub struct QueueDeclare {
    /// The queue's name; never empty.
    pub name: String,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the declaring connection.
    pub exclusive: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// The arguments as received.
    pub arguments: FieldTable,
}

/// `x-queue-type`. Both kinds are the same queue in one broker; they differ in the arguments they accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// `classic`, also the default.
    Classic,
    /// `quorum`: durable, shared and without priorities.
    Quorum,
}

impl QueueKind {
    /// RabbitMQ's module of this kind, which its error texts name.
    const fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// A queue's settings for as long as it lives.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// The vhost it lives in; for texts.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: String,
    /// Survives a restart. Never set on an exclusive queue: it could outlive its owner otherwise.
    pub durable: bool,
    /// Belongs to one connection.
    pub exclusive: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// `x-queue-type`.
    pub kind: QueueKind,
    /// `x-single-active-consumer`: deliveries go to one consumer, the next one takes over when it ends.
    pub single_active_consumer: bool,
    /// `x-max-priority`: how many priorities there are above 0; none if the queue knows no priorities.
    pub max_priority: Option<NonZeroU8>,
    /// What the arguments ask for beside, if anything; policies may add to it.
    pub settings: Option<Arc<QueueSettings>>,
    /// The arguments as received, for equivalence and listing.
    pub arguments: FieldTable,
}

impl QueueOptions {
    /// Checks the arguments and parses those that have an effect.
    ///
    /// # Errors
    ///
    /// 406 with RabbitMQ's text for an argument of the wrong type, out of range, or not known to the queue's kind.
    pub fn from_declare(vhost: impl Into<Arc<str>>, declare: QueueDeclare) -> Result<Self, AmqpError> {
        let QueueDeclare { name, durable, exclusive, auto_delete, arguments } = declare;
        let vhost = vhost.into();
        let resource = resource(&vhost, &name);
        let kind = arguments::check(&resource, &arguments)?;
        if kind == QueueKind::Quorum {
            let property = match (auto_delete, exclusive, durable) {
                (true, ..) => Some("auto-delete"),
                (_, true, _) => Some("exclusive-owner"),
                (.., false) => Some("non-durable"),
                _ => None,
            };
            if let Some(property) = property {
                return Err(AmqpError::precondition_failed(format!(
                    "invalid property '{property}' for {resource}"
                )));
            }
        }
        let single_active_consumer =
            arguments.inner().get("x-single-active-consumer").and_then(AMQPValue::as_bool).unwrap_or(false);
        Ok(Self {
            durable: durable && !exclusive,
            vhost,
            name,
            exclusive,
            auto_delete,
            kind,
            single_active_consumer,
            max_priority: settings::integer(&arguments, "x-max-priority")
                .and_then(|levels| NonZeroU8::new(u8::try_from(levels).ok()?)),
            settings: QueueSettings::from_arguments(kind, &arguments).shared(),
            arguments,
        })
    }

    /// The highest level of its messages: as many store queues follow the queue's own.
    #[must_use]
    pub fn highest_level(&self) -> u8 {
        self.max_priority.map_or(0, NonZeroU8::get)
    }

    /// How reply texts name the queue: `queue 'q' in vhost '/'`.
    #[must_use]
    pub fn resource(&self) -> String {
        resource(&self.vhost, &self.name)
    }

    /// The arguments that were accepted but change nothing in this broker, for a warning to the operator.
    pub fn ineffective_arguments(&self) -> impl Iterator<Item = &str> {
        arguments::ineffective(&self.arguments)
    }

    /// Whether a second declare (`other`) means the same queue.
    ///
    /// # Errors
    ///
    /// 405 if only one of them is exclusive, else 406 for the first difference, with RabbitMQ's texts.
    pub fn check_equivalent(&self, other: &Self) -> Result<(), AmqpError> {
        if self.exclusive != other.exclusive {
            return Err(AmqpError::resource_locked(format!(
                "cannot obtain exclusive access to locked {}. It could be originally declared on another connection \
                 or the exclusive property value does not match that of the original declaration.",
                self.resource()
            )));
        }
        self.check_property("durable", self.durable, other.durable)?;
        self.check_property("auto_delete", self.auto_delete, other.auto_delete)?;
        match arguments::first_difference(self.kind, &self.arguments, &other.arguments) {
            None => Ok(()),
            Some(found) => Err(self.inequivalent(found.argument, &found.received, &found.current)),
        }
    }

    fn check_property(&self, property: &str, current: bool, received: bool) -> Result<(), AmqpError> {
        if current == received {
            return Ok(());
        }
        Err(self.inequivalent(property, &format!("'{received}'"), &format!("'{current}'")))
    }

    fn inequivalent(&self, key: &str, received: &str, current: &str) -> AmqpError {
        AmqpError::precondition_failed(format!(
            "inequivalent arg '{key}' for {}: received {received} but current is {current}",
            self.resource()
        ))
    }
}

fn resource(vhost: &str, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
