//! Methods about exchanges, queues and bindings, translated to [`TopologyRequest`]s and their answers back to methods.
//!
//! Pure translation: empty names become the last declared queue, line ends leave names; what a request means is the
//! engine's. Called by the channel.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::ShortString;

use super::action::{BindingChange, TopologyReply, TopologyRequest};
use super::faults;
use super::names::strip_line_ends;
use crate::error::AmqpError;

/// What the client waits for once the request is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopologyOk {
    ExchangeDeclare,
    ExchangeDelete,
    ExchangeBind,
    ExchangeUnbind,
    QueueDeclare,
    QueueBind,
    QueueUnbind,
    QueuePurge,
    QueueDelete,
}

/// A translated method.
#[derive(Debug, PartialEq)]
pub(super) struct Translated {
    pub(super) request: TopologyRequest,
    pub(super) ok: TopologyOk,
    /// The client wants no answer.
    pub(super) nowait: bool,
}

fn clean(name: &ShortString) -> String {
    strip_line_ends(name.as_str())
}

/// An empty queue name stands for the queue that this channel declared last.
pub(super) fn queue_or_last(name: &ShortString, last_queue: &str) -> Result<String, AmqpError> {
    let name = clean(name);
    match (name.is_empty(), last_queue.is_empty()) {
        (false, _) => Ok(name),
        (true, false) => Ok(last_queue.to_owned()),
        (true, true) => Err(faults::no_previously_declared_queue()),
    }
}

/// Translates a method of the exchange class.
pub(super) fn translate_exchange(method: exchange::AMQPMethod) -> Result<Translated, AmqpError> {
    use exchange::AMQPMethod as Method;
    Ok(match method {
        Method::Declare(declare) => Translated {
            request: TopologyRequest::DeclareExchange {
                name: clean(&declare.exchange),
                kind: declare.kind.into(),
                passive: declare.passive,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments,
            },
            ok: TopologyOk::ExchangeDeclare,
            nowait: declare.nowait,
        },
        Method::Delete(delete) => Translated {
            request: TopologyRequest::DeleteExchange {
                name: clean(&delete.exchange),
                if_unused: delete.if_unused,
            },
            ok: TopologyOk::ExchangeDelete,
            nowait: delete.nowait,
        },
        Method::Bind(bind) => Translated {
            request: TopologyRequest::BindExchange {
                change: BindingChange::Bind,
                destination: clean(&bind.destination),
                source: clean(&bind.source),
                routing_key: bind.routing_key.into(),
                arguments: bind.arguments,
            },
            ok: TopologyOk::ExchangeBind,
            nowait: bind.nowait,
        },
        Method::Unbind(unbind) => Translated {
            request: TopologyRequest::BindExchange {
                change: BindingChange::Unbind,
                destination: clean(&unbind.destination),
                source: clean(&unbind.source),
                routing_key: unbind.routing_key.into(),
                arguments: unbind.arguments,
            },
            ok: TopologyOk::ExchangeUnbind,
            nowait: unbind.nowait,
        },
        Method::DeclareOk(_) | Method::DeleteOk(_) | Method::BindOk(_) | Method::UnbindOk(_) => {
            return Err(faults::unimplemented_method());
        }
    })
}

/// Translates a method of the queue class.
pub(super) fn translate_queue(method: queue::AMQPMethod, last_queue: &str) -> Result<Translated, AmqpError> {
    use queue::AMQPMethod as Method;
    Ok(match method {
        Method::Declare(declare) => Translated {
            request: TopologyRequest::DeclareQueue {
                name: clean(&declare.queue),
                passive: declare.passive,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments,
            },
            ok: TopologyOk::QueueDeclare,
            nowait: declare.nowait,
        },
        Method::Bind(bind) => Translated {
            request: TopologyRequest::BindQueue {
                change: BindingChange::Bind,
                routing_key: binding_key(&bind.queue, &bind.routing_key, last_queue),
                queue: queue_or_last(&bind.queue, last_queue)?,
                exchange: clean(&bind.exchange),
                arguments: bind.arguments,
            },
            ok: TopologyOk::QueueBind,
            nowait: bind.nowait,
        },
        Method::Unbind(unbind) => Translated {
            request: TopologyRequest::BindQueue {
                change: BindingChange::Unbind,
                routing_key: binding_key(&unbind.queue, &unbind.routing_key, last_queue),
                queue: queue_or_last(&unbind.queue, last_queue)?,
                exchange: clean(&unbind.exchange),
                arguments: unbind.arguments,
            },
            ok: TopologyOk::QueueUnbind,
            nowait: false,
        },
        Method::Purge(purge) => Translated {
            request: TopologyRequest::PurgeQueue { queue: queue_or_last(&purge.queue, last_queue)? },
            ok: TopologyOk::QueuePurge,
            nowait: purge.nowait,
        },
        Method::Delete(delete) => Translated {
            request: TopologyRequest::DeleteQueue {
                queue: queue_or_last(&delete.queue, last_queue)?,
                if_unused: delete.if_unused,
                if_empty: delete.if_empty,
            },
            ok: TopologyOk::QueueDelete,
            nowait: delete.nowait,
        },
        Method::DeclareOk(_)
        | Method::BindOk(_)
        | Method::UnbindOk(_)
        | Method::PurgeOk(_)
        | Method::DeleteOk(_) => return Err(faults::unimplemented_method()),
    })
}

/// If both the queue and the key are empty, the last declared queue's name is the key, too.
fn binding_key(queue: &ShortString, routing_key: &ShortString, last_queue: &str) -> String {
    if queue.as_str().is_empty() && routing_key.as_str().is_empty() {
        last_queue.to_owned()
    } else {
        routing_key.as_str().to_owned()
    }
}

impl TopologyOk {
    /// Class and method of the request, for errors.
    pub(super) fn ids(self) -> (u16, u16) {
        match self {
            Self::ExchangeDeclare => (40, 10),
            Self::ExchangeDelete => (40, 20),
            Self::ExchangeBind => (40, 30),
            Self::ExchangeUnbind => (40, 40),
            Self::QueueDeclare => (50, 10),
            Self::QueueBind => (50, 20),
            Self::QueuePurge => (50, 30),
            Self::QueueDelete => (50, 40),
            Self::QueueUnbind => (50, 50),
        }
    }

    /// The answer as a method; none if it does not fit what was asked.
    pub(super) fn encode(self, reply: &TopologyReply) -> Option<AMQPClass> {
        use exchange::AMQPMethod as E;
        use queue::AMQPMethod as Q;
        Some(match (self, reply) {
            (Self::ExchangeDeclare, TopologyReply::Done) => {
                AMQPClass::Exchange(E::DeclareOk(exchange::DeclareOk {}))
            }
            (Self::ExchangeDelete, TopologyReply::Done) => {
                AMQPClass::Exchange(E::DeleteOk(exchange::DeleteOk {}))
            }
            (Self::ExchangeBind, TopologyReply::Done) => AMQPClass::Exchange(E::BindOk(exchange::BindOk {})),
            (Self::ExchangeUnbind, TopologyReply::Done) => {
                AMQPClass::Exchange(E::UnbindOk(exchange::UnbindOk {}))
            }
            (Self::QueueBind, TopologyReply::Done) => AMQPClass::Queue(Q::BindOk(queue::BindOk {})),
            (Self::QueueUnbind, TopologyReply::Done) => AMQPClass::Queue(Q::UnbindOk(queue::UnbindOk {})),
            (Self::QueueDeclare, TopologyReply::QueueDeclared { name, message_count, consumer_count }) => {
                AMQPClass::Queue(Q::DeclareOk(queue::DeclareOk {
                    queue: ShortString::try_new(name.as_str()).ok()?,
                    message_count: *message_count,
                    consumer_count: *consumer_count,
                }))
            }
            (Self::QueuePurge, TopologyReply::Removed { message_count }) => {
                AMQPClass::Queue(Q::PurgeOk(queue::PurgeOk { message_count: *message_count }))
            }
            (Self::QueueDelete, TopologyReply::Removed { message_count }) => {
                AMQPClass::Queue(Q::DeleteOk(queue::DeleteOk { message_count: *message_count }))
            }
            _ => return None,
        })
    }
}
