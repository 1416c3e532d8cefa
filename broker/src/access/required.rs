//! The one table of which method needs which permission on what: [`Operation::required`].
//!
//! It follows RabbitMQ's channel module. Passive declarations, acknowledgements and what concerns the channel itself need none.

use super::Permission;

/// What a permission is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A queue by name.
    Queue(&'a str),
    /// An exchange by name; empty is the default exchange.
    Exchange(&'a str),
}

impl<'a> Resource<'a> {
    /// What patterns are matched with: the default exchange has a name for this purpose.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Exchange("") => "amq.default",
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }

    /// `queue` or `exchange`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Exchange(_) => "exchange",
        }
    }
}

/// A method that needs permission, with the names that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// `queue.declare`, not passive.
    DeclareQueue(&'a str),
    /// The same, if it creates the queue and names a dead letter exchange.
    DeclareDeadLettering {
        /// The queue.
        queue: &'a str,
        /// Where its dead letters go.
        exchange: &'a str,
    },
    /// `queue.delete`
    DeleteQueue(&'a str),
    /// `queue.purge`
    PurgeQueue(&'a str),
    /// `queue.bind` and `queue.unbind`; on a topic exchange the routing key needs permission to read, too.
    BindQueue {
        /// What receives.
        queue: &'a str,
        /// What gives.
        exchange: &'a str,
    },
    /// `basic.consume`
    Consume(&'a str),
    /// `basic.get`
    Get(&'a str),
    /// `basic.publish`; on a topic exchange the routing keys need permission to write, too.
    Publish(&'a str),
    /// `exchange.declare`, not passive.
    DeclareExchange(&'a str),
    /// The same, if it creates the exchange and names an alternate exchange.
    DeclareAlternate {
        /// The exchange.
        exchange: &'a str,
        /// Where goes what it cannot route.
        alternate: &'a str,
    },
    /// `exchange.delete`
    DeleteExchange(&'a str),
    /// `exchange.bind` and `exchange.unbind`; on a topic exchange the routing key needs permission to read, too.
    BindExchange {
        /// What receives.
        destination: &'a str,
        /// What gives.
        source: &'a str,
    },
}

/// A permission on something.
pub type Requirement<'a> = (Permission, Resource<'a>);

impl<'a> Operation<'a> {
    /// What is needed, in the order in which RabbitMQ asks for it.
    ///
    /// The default exchange is left out where it may not be named at all: that it is refused as such comes first.
    pub fn required(self) -> impl Iterator<Item = Requirement<'a>> {
        use Permission::{Configure, Read, Write};
        use Resource::{Exchange, Queue};
        let (first, second) = match self {
            Self::DeclareQueue(queue) => ((Configure, Queue(queue)), None),
            Self::DeclareDeadLettering { queue, exchange } => {
                ((Read, Queue(queue)), Some((Write, Exchange(exchange))))
            }
            Self::DeleteQueue(queue) => ((Configure, Queue(queue)), None),
            Self::PurgeQueue(queue) => ((Read, Queue(queue)), None),
            Self::BindQueue { queue, exchange } => ((Write, Queue(queue)), Some((Read, Exchange(exchange)))),
            Self::Consume(queue) => ((Read, Queue(queue)), None),
            Self::Get(queue) => ((Read, Queue(queue)), None),
            Self::Publish(exchange) => ((Write, Exchange(exchange)), None),
            Self::DeclareExchange(exchange) => ((Configure, Exchange(exchange)), None),
            Self::DeclareAlternate { exchange, alternate } => {
                ((Read, Exchange(exchange)), Some((Write, Exchange(alternate))))
            }
            Self::DeleteExchange(exchange) => ((Configure, Exchange(exchange)), None),
            Self::BindExchange { destination, source } => {
                ((Write, Exchange(destination)), Some((Read, Exchange(source))))
            }
        };
        let names_default = self.may_name_default();
        std::iter::once(first)
            .chain(second)
            .filter(move |(_, resource)| names_default || *resource != Exchange(""))
    }

    /// Whether the default exchange may be meant.
    const fn may_name_default(self) -> bool {
        matches!(self, Self::Publish(_) | Self::DeclareDeadLettering { .. } | Self::DeclareAlternate { .. })
    }
}
