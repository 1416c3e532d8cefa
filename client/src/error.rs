//! What can go wrong, each with what to do about it. Nothing here holds a password.

use std::time::Duration;

use lapin::ErrorKind;

/// A failure, with a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
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

    /// Nobody answers at the address.
    #[error("no broker answers at {address} ({source}): check the address, and that the broker runs")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened on the way.
        source: lapin::Error,
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

    /// The broker closed the channel, and with it the publisher or the work queue, because of what was asked of it.
    #[error("the broker closed the channel ({code} {text}): correct what it objects to, then open a new one")]
    Closed {
        /// The broker's reply code, for example 404.
        code: u16,
        /// The broker's reply text, for example `NOT_FOUND - no exchange 'x' in vhost '/'`.
        text: String,
    },

    /// The connection is gone, or the channel was closed earlier.
    #[error(
        "the connection to the broker is lost ({0}): connect again; what was not confirmed may not have arrived"
    )]
    Lost(lapin::Error),

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
        "the broker did not accept a message to exchange '{exchange}' with routing key '{routing_key}': \
         publish it again later"
    )]
    Nacked {
        /// The exchange it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
    },

    /// The value cannot be written as JSON.
    #[error("the message cannot be written as JSON ({0}): nothing was published")]
    Encode(serde_json::Error),

    /// The body of a received message is not the JSON that was expected.
    #[error("the message is not the JSON that was expected ({0}): discard it, or have its sender corrected")]
    Decode(serde_json::Error),
}

impl Error {
    pub(crate) fn from_connecting(address: String, error: lapin::Error) -> Self {
        match reply(&error) {
            Some((code, text)) => Self::Refused { address, code, text },
            None => Self::Unreachable { address, source: error },
        }
    }
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        match reply(&error) {
            Some((code, text)) => Self::Closed { code, text },
            None => Self::Lost(error),
        }
    }
}

/// Code and text, if the error is something the broker said.
fn reply(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => Some((reply.get_id(), reply.get_message().to_string())),
        _ => None,
    }
}
