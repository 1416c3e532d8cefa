//! Why a run ends without figures. Messages that were lost or doubled are a result, not an error.
//!
//! Called by every module; shown once, in `main`, which also picks the exit code.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::codec::inbox::FrameError;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(
        "cannot connect to {address}: {source}\n\
         Start the broker first (`cargo run --release` starts Warren on 127.0.0.1:5672), or aim at another one \
         with --url amqp://USER:PASSWORD@HOST:PORT/VHOST"
    )]
    Connect { address: String, source: io::Error },
    #[error("the broker closed the {scope}: {code} {text}{cause}")]
    Closed { scope: Scope, code: u16, text: String, cause: Cause },
    #[error("the broker cancelled a consumer: was its queue deleted by somebody else?")]
    Cancelled,
    #[error("the broker dropped the connection without connection.close ({during})")]
    Dropped { during: &'static str },
    /// A consequence of another thread's failure, which is the one to report.
    #[error("stopped because another connection failed")]
    Consequence,
    #[error("the broker sent something unexpected: {0}")]
    Protocol(String),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    Usage(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

/// What a close method closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Connection,
    Channel,
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Connection => "connection",
            Self::Channel => "channel",
        })
    }
}

/// The method the broker blames, if it names one.
#[derive(Debug)]
pub(crate) struct Cause(pub(crate) crate::codec::method::MethodId);

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.class == 0 { Ok(()) } else { write!(out, " (caused by {})", self.0) }
    }
}
