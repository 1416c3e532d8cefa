//! The queues and the exchange of a run: declared before, looked at, deleted after.
//!
//! It refuses to touch a queue somebody consumes from. Called by `run`, `phase`, `producer` and `memory`.

use clap::ValueEnum;

use crate::codec::encode::Table;
use crate::codec::method::{self, Reader};
use crate::connection::Connection;
use crate::error::{Error, Result};

/// Where producers publish to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExchangeKind {
    /// The default exchange: the routing key is the queue's name
    Default,
    /// A direct exchange; each queue is bound by its name
    Direct,
    /// A fanout exchange; every queue gets every message
    Fanout,
    /// A topic exchange; each queue is bound by its name
    Topic,
}

/// Whether queues and exchange outlive a restart of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Transient,
    Durable,
}

/// What a run publishes to and consumes from.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) kind: ExchangeKind,
    pub(crate) exchange: String,
    pub(crate) queues: Vec<String>,
    pub(crate) durability: Durability,
    pub(crate) queue_arguments: Table,
}

/// What a queue holds, as `queue.declare-ok` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) messages: u64,
    pub(crate) consumers: u32,
}

const PASSIVE: u8 = 1;
const DURABLE: u8 = 1 << 1;

impl Topology {
    pub(crate) fn new(
        prefix: &str,
        queues: u32,
        kind: ExchangeKind,
        durability: Durability,
        queue_arguments: Table,
    ) -> Self {
        let exchange = match kind {
            ExchangeKind::Default => String::new(),
            _ => format!("{prefix}-exchange"),
        };
        let queues = (0..queues).map(|index| format!("{prefix}-{index}")).collect();
        Self { kind, exchange, queues, durability, queue_arguments }
    }

    /// Declares everything, and empties queues an earlier run left behind.
    pub(crate) fn declare(&self, connection: &mut Connection) -> Result<()> {
        if let Some(kind) = self.exchange_type() {
            connection.call(method::EXCHANGE_DECLARE, method::EXCHANGE_DECLARE_OK, |arguments| {
                arguments.u16(0);
                arguments.short(&self.exchange);
                arguments.short(kind);
                arguments.u8(self.durable_flag());
                arguments.table(&Vec::new());
            })?;
        }
        for queue in &self.queues {
            let depth = declare_queue(connection, queue, self.durable_flag(), &self.queue_arguments)?;
            if depth.consumers > 0 {
                return Err(Error::Usage(format!(
                    "queue {queue:?} has {} consumers: another run seems to use it; choose other names with --queue",
                    depth.consumers
                )));
            }
            if depth.messages > 0 {
                connection.call(method::QUEUE_PURGE, method::QUEUE_PURGE_OK, |arguments| {
                    arguments.u16(0);
                    arguments.short(queue);
                    arguments.u8(0);
                })?;
            }
            if self.kind != ExchangeKind::Default {
                connection.call(method::QUEUE_BIND, method::QUEUE_BIND_OK, |arguments| {
                    arguments.u16(0);
                    arguments.short(queue);
                    arguments.short(&self.exchange);
                    arguments.short(queue);
                    arguments.u8(0);
                    arguments.table(&Vec::new());
                })?;
            }
        }
        Ok(())
    }

    /// What all queues hold, one by one.
    pub(crate) fn depths(&self, connection: &mut Connection) -> Result<Vec<Depth>> {
        self.queues.iter().map(|queue| depth(connection, queue)).collect()
    }

    /// Deletes everything, full or not.
    pub(crate) fn delete(&self, connection: &mut Connection) -> Result<()> {
        for queue in &self.queues {
            delete_queue(connection, queue)?;
        }
        if self.kind != ExchangeKind::Default {
            connection.call(method::EXCHANGE_DELETE, method::EXCHANGE_DELETE_OK, |arguments| {
                arguments.u16(0);
                arguments.short(&self.exchange);
                arguments.u8(0);
            })?;
        }
        Ok(())
    }

    fn exchange_type(&self) -> Option<&'static str> {
        match self.kind {
            ExchangeKind::Default => None,
            ExchangeKind::Direct => Some("direct"),
            ExchangeKind::Fanout => Some("fanout"),
            ExchangeKind::Topic => Some("topic"),
        }
    }

    fn durable_flag(&self) -> u8 {
        if self.durability == Durability::Durable { DURABLE } else { 0 }
    }
}

/// What a queue holds. Fails with the broker's 404 when there is none.
pub(crate) fn depth(connection: &mut Connection, queue: &str) -> Result<Depth> {
    declare_queue(connection, queue, PASSIVE, &Vec::new())
}

pub(crate) fn delete_queue(connection: &mut Connection, queue: &str) -> Result<()> {
    let request = method::QUEUE_DELETE;
    connection
        .call(request, method::QUEUE_DELETE_OK, |arguments| {
            arguments.u16(0);
            arguments.short(queue);
            arguments.u8(0);
        })
        .map(drop)
}

fn declare_queue(connection: &mut Connection, queue: &str, flags: u8, table: &Table) -> Result<Depth> {
    let answer = connection.call(method::QUEUE_DECLARE, method::QUEUE_DECLARE_OK, |arguments| {
        arguments.u16(0);
        arguments.short(queue);
        arguments.u8(flags);
        arguments.table(table);
    })?;
    let mut reader = Reader(&answer);
    reader.short()?;
    Ok(Depth { messages: u64::from(reader.u32()?), consumers: reader.u32()? })
}
