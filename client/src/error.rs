//! What can go wrong, each with what to do about it. Nothing here holds a password.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lapin::ErrorKind;

/// A failure, with a sentence that says what happened and what to do. The sentence is whole: there is no
/// [`source`](std::error::Error::source) that would say a part of it again. It is cheap to clone, because one failure can
/// concern many.
///
/// ```
/// use warren_client::Error;
///
/// let error = Error::NoServer { routing_key: "prices".to_owned() };
/// assert!(error.to_string().contains("start one"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the broker cannot be understood.
    #[error(
        "the broker's address cannot be understood ({problem}): write it like amqp://user:password@host:5672/%2F"
    )]
    Url {
        /// What is wrong with it.
        problem: String,
    },

    /// Something that was asked for cannot be sent, such as a name of more than 255 bytes.
    #[error("{problem}: nothing was sent")]
    Invalid {
        /// What is wrong, and what would be right.
        problem: String,
    },

    /// Nobody answers at the address.
    #[error("no broker answers at {address} ({cause}): check the address, and that the broker runs")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened on the way.
        cause: lapin::Error,
    },

    /// Somebody accepts connections at the address and does not speak AMQP.
    #[error("nobody at {address} answered as a broker does within {patience:?}: check the port")]
    Silent {
        /// Host and port.
        address: String,
        /// How long it had time for that.
        patience: Duration,
    },

    /// The broker answers and does not let us in.
    #[error(
        "the broker at {address} refuses the connection ({code} {text}): check user, password and virtual host"
    )]
    Refused {
        /// Host and port.
        address: String,
        /// The broker's reply code.
        code: u16,
        /// The broker's reply text.
        text: String,
    },

    /// The broker does not accept a declaration, so that what depends on it cannot work.
    #[error(
        "the broker does not accept the declaration of {what} ({code} {text}): declare it as it is there, or delete it there"
    )]
    Topology {
        /// The exchange, queue or binding.
        what: String,
        /// The broker's reply code.
        code: u16,
        /// The broker's reply text.
        text: String,
    },

    /// The broker objected to what was asked of it, and closed the channel on which that was asked.
    #[error("the broker objects ({code} {text}): correct what it objects to, then try again")]
    Objection {
        /// The broker's reply code, for example 404.
        code: u16,
        /// The broker's reply text, for example `NOT_FOUND - no exchange 'x' in vhost '/'`.
        text: String,
    },

    /// The connection is gone at the moment; it is being made again.
    #[error("the connection to the broker is lost ({cause}): it comes back by itself, then try again")]
    Lost {
        /// What happened.
        cause: lapin::Error,
    },

    /// The connection was closed by this program, or nothing uses it any more.
    #[error("the connection was closed: open another one")]
    Closed,

    /// The connection will not come back, because trying again cannot help.
    #[error("the connection was given up: {reason}")]
    GaveUp {
        /// What cannot heal.
        reason: Arc<Self>,
    },

    /// The message reached no queue.
    #[error(
        "no queue for a message to exchange '{exchange}' with routing key '{routing_key}' ({text}): \
         declare and bind a queue first"
    )]
    Returned {
        /// The exchange it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
        /// The broker's reason, usually `NO_ROUTE`.
        text: String,
    },

    /// The broker did not take responsibility for the message, for example because a queue is full.
    #[error(
        "the broker did not accept a message to exchange '{exchange}' with routing key '{routing_key}' \
         in {attempts} attempts: publish it again later"
    )]
    Nacked {
        /// The exchange it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
        /// How often it was published.
        attempts: u32,
    },

    /// Nobody knows what became of the message.
    #[error(
        "the broker did not confirm a message to exchange '{exchange}' with routing key '{routing_key}' within \
         {patience:?}{}: it may have arrived or not, so publish it again if it may arrive twice",
        advice(blocked.as_deref())
    )]
    Unconfirmed {
        /// The exchange it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
        /// How long it had time for that.
        patience: Duration,
        /// Why the broker takes no messages at the moment, if it has said so after this one was sent.
        blocked: Option<String>,
    },

    /// The broker takes no messages at the moment, for example because its memory is full. The message was not sent.
    #[error("the broker takes no messages ({reason}): let consumers make room, or publish again later")]
    Blocked {
        /// The broker's reason.
        reason: String,
    },

    /// Messages that nobody waited for were not published.
    #[error("{failed} messages were not published, the first of them because: {first}")]
    Flush {
        /// How many.
        failed: u64,
        /// What happened to the first.
        first: Arc<Self>,
    },

    /// The broker ended the subscription, for example because its queue was deleted.
    #[error("the broker ended the subscription to queue '{queue}': declare the queue, then subscribe again")]
    Cancelled {
        /// The queue.
        queue: String,
    },

    /// No server takes calls with this routing key.
    #[error("no server takes calls for '{routing_key}': start one")]
    NoServer {
        /// The queue of the server that was called.
        routing_key: String,
    },

    /// The server did not answer in time.
    #[error("no answer from '{routing_key}' within {patience:?}: it may still be working on it")]
    NoAnswer {
        /// The queue of the server that was called.
        routing_key: String,
        /// How long it had time for that.
        patience: Duration,
    },

    /// The value cannot be written as JSON.
    #[error("the message cannot be written as JSON ({0}): nothing was published")]
    Encode(Arc<serde_json::Error>),

    /// The body of a received message is not the JSON that was expected.
    #[error("the message is not the JSON that was expected ({0}): discard it, or have its sender corrected")]
    Decode(Arc<serde_json::Error>),
}

impl Error {
    pub(crate) fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid { problem: problem.into() }
    }

    pub(crate) fn from_connecting(address: &str, error: lapin::Error) -> Self {
        let address = address.to_owned();
        match reply(&error) {
            Some((code, text)) => Self::Refused { address, code, text },
            None => Self::Unreachable { address, cause: error },
        }
    }

    /// What the broker says of a declaration.
    pub(crate) fn from_declaring(what: &str, error: lapin::Error) -> Self {
        match reply(&error) {
            Some((code, text)) => Self::Topology { what: what.to_owned(), code, text },
            None => Self::Lost { cause: error },
        }
    }

    /// Whether trying again without a change cannot help: wrong password, virtual host or declaration.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Url { .. } | Self::Invalid { .. } | Self::Closed | Self::GaveUp { .. } => true,
            // RabbitMQ says "not allowed" of a virtual host that is missing, and also of one that is full or not up yet.
            Self::Refused { code: 530, text, .. } => !text.contains("limit") && !text.contains("down"),
            Self::Refused { code, .. } => *code == 403,
            // Locked is an exclusive queue while the broker has not noticed that its connection is gone; what is not
            // found may be declared by another program soon.
            Self::Topology { code, .. } | Self::Objection { code, .. } => !matches!(code, 404 | 405 | 506),
            _ => false,
        }
    }
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        match reply(&error) {
            // 320 is the broker's way to say that it stops, or that an operator wants this connection gone.
            Some((320, _)) | None => Self::Lost { cause: error },
            Some((code, text)) => Self::Objection { code, text },
        }
    }
}

/// What cannot fail. It lets a [`Pattern`](crate::Pattern) stand where something that becomes one may.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What to do when the broker takes no messages for this reason.
fn advice(blocked: Option<&str>) -> String {
    blocked.map_or_else(String::new, |reason| {
        format!(", and takes no messages at the moment ({reason}), so let consumers make room")
    })
}

/// Code and text, if the error is something the broker said.
fn reply(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => Some((reply.get_id(), reply.get_message().to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, text: &str) -> Error {
        Error::Refused { address: "localhost:5672".to_owned(), code, text: text.to_owned() }
    }

    #[test]
    fn what_the_text_says_is_not_said_again_by_a_source() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for error in [
            Error::from_connecting("localhost:1", io.into()),
            Error::Lost { cause: ErrorKind::ChannelsLimitReached.into() },
            Error::GaveUp { reason: Arc::new(Error::Closed) },
        ] {
            assert!(std::error::Error::source(&error).is_none(), "{error}");
        }
    }

    #[test]
    fn only_what_cannot_heal_is_final() {
        assert!(refused(403, "ACCESS_REFUSED - Login was refused").is_final());
        assert!(refused(530, "NOT_ALLOWED - vhost nowhere not found").is_final());
        assert!(!refused(530, "NOT_ALLOWED - access refused: connection limit (2) is reached").is_final());
        assert!(!refused(320, "CONNECTION_FORCED - broker shuts down").is_final());
        let declared = |code| Error::Topology { what: "queue 'q'".to_owned(), code, text: String::new() };
        assert!(declared(406).is_final());
        assert!(declared(403).is_final());
        assert!(!declared(405).is_final(), "locked by the connection before");
        assert!(!declared(404).is_final(), "somebody may declare it");
    }
}
