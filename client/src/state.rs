//! How a connection is doing, for those who want to watch it.

use std::sync::Arc;

use crate::Error;

/// What a connection is doing at the moment. See [`Connection::watch`](crate::Connection::watch).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// use warren_client::State;
///
/// let mut states = connection.watch();
/// let watching = tokio::spawn(async move {
///     loop {
///         match &*states.borrow_and_update() {
///             State::Connected { address } => println!("connected to {address}"),
///             State::Reconnecting { attempt, reason } => println!("attempt {attempt}, because {reason}"),
///             State::Closed { reason: Some(reason) } => return format!("given up: {reason}"),
///             _ => return "closed".to_owned(),
///         }
///         let _ = states.changed().await;
///     }
/// });
/// connection.close().await;
/// assert_eq!(watching.await?, "closed");
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Everything that was declared is there, and messages flow.
    Connected {
        /// Host and port of the broker.
        address: String,
    },
    /// The broker is gone; attempts to reach it go on until one succeeds or none can.
    Reconnecting {
        /// How many attempts have failed since the connection was lost.
        attempt: u32,
        /// Why the last of them failed, or the connection was lost.
        reason: Error,
    },
    /// It will not come back.
    Closed {
        /// What could not heal; `None` if the program closed it.
        reason: Option<Arc<Error>>,
    },
}

impl State {
    /// Whether messages flow.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// let mut states = connection.watch();
    /// // Waits until messages flow, which they do already.
    /// let state = states.wait_for(|state| state.is_connected()).await?;
    /// assert!(state.is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// What somebody is told who needs a connection that is closed.
    pub(crate) fn end(&self) -> Option<Error> {
        match self {
            Self::Closed { reason: None } => Some(Error::Closed),
            Self::Closed { reason: Some(reason) } => Some(Error::GaveUp { reason: reason.clone() }),
            _ => None,
        }
    }
}
