//! How a server's answer is written, and read: JSON, with a header that says what it is.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::{Incoming, decode_json};
use crate::{Error, Message};

/// The header. Without it, as other servers write answers, the body is a result.
const STATUS: &str = "x-rpc-status";

/// The answer is an error of the server's own type.
const ERROR: &str = "error";

/// The answer is a text that says why there is no other: the handler panicked, or could not read the request.
const FAULT: &str = "fault";

/// Why a call has no result.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// use warren_client::CallError;
///
/// # let server = connection.serve("price", 1, async |of: String| Err::<u32, _>(format!("no {of} here"))).await?;
/// let client = connection.rpc_client().await?;
/// match client.call::<str, u32, String>("price", "milk").await {
///     Ok(price) => println!("{price}"),
///     Err(CallError::Server(reason)) => assert_eq!(reason, "no milk here"),
///     Err(error) => panic!("no answer: {error}"),
/// }
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The handler returned this error.
    #[error("the server answered with an error: {0}")]
    Server(E),

    /// The handler panicked, or the server could not read the request.
    #[error("the server could not work on the call ({text}): see its log")]
    Fault {
        /// What it said.
        text: String,
    },

    /// There is no answer: [`Error::NoServer`], [`Error::NoAnswer`], [`Error::Lost`] if the connection was lost before it
    /// came, [`Error::Decode`] if it cannot be read, and what publishing can end with.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What a handler returned, as a message.
pub(super) fn write<R: Serialize, E: Serialize>(result: &Result<R, E>) -> Result<Message, Error> {
    match result {
        Ok(value) => Message::json(value),
        Err(error) => Message::json(error)?.header(STATUS, ERROR),
    }
}

/// That there is nothing the handler returned.
pub(super) fn fault(text: &str) -> Result<Message, Error> {
    Message::text(text).header(STATUS, FAULT)
}

/// # Errors
///
/// All of [`CallError`].
pub(super) fn read<R, E>(incoming: &Incoming) -> Result<R, CallError<E>>
where
    R: DeserializeOwned,
    E: DeserializeOwned,
{
    let body = &incoming.delivery.data;
    let status = incoming.header(STATUS);
    match status.as_ref().and_then(|status| status.as_text()) {
        Some(ERROR) => Err(CallError::Server(decode_json(body)?)),
        Some(FAULT) => Err(CallError::Fault { text: String::from_utf8_lossy(body).into_owned() }),
        _ => Ok(decode_json(body)?),
    }
}
