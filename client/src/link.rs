//! One connection to a broker that comes back by itself: a task that connects, restores what was declared, watches, and
//! begins again. It knows nothing of publishing or consuming; those ask it for the connection of the moment.

mod dial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use lapin::{Channel, ErrorKind, Event};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::address::Address;
use crate::topology::Topology;
use crate::{Error, Options, State, random};

/// How often to look whether lapin's connection still stands. It reports most ends by itself, but not one where the broker
/// closes with a code that is no error.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A handle; the link is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// Tells the link's task when nobody is interested any more.
#[derive(Debug)]
struct Alive(watch::Sender<bool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[derive(Debug)]
struct Shared {
    options: Options,
    addresses: Vec<Address>,
    topology: Mutex<Topology>,
    state: watch::Sender<State>,
    live: watch::Sender<Option<Live>>,
    blocked: watch::Sender<Option<Blocked>>,
    closing: watch::Sender<bool>,
}

/// The connection of the moment.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// Counts connections, so that two of them can be told apart.
    pub(crate) generation: u64,
    pub(crate) connection: Arc<lapin::Connection>,
}

impl Live {
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub(crate) async fn channel(&self) -> Result<Channel, Error> {
        Ok(self.connection.create_channel().await?)
    }
}

/// The broker takes no messages from this connection.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    pub(crate) since: Instant,
    pub(crate) reason: String,
}

/// A connection with its news, before others may use it.
struct Established {
    connection: Arc<lapin::Connection>,
    events: BoxStream<'static, Event>,
    address: String,
}

impl Link {
    /// Connects, and keeps connected until the last handle is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Url`], and why the first attempt failed, or what cannot heal if the options ask for patience.
    pub(crate) async fn open(options: Options) -> Result<Self, Error> {
        let addresses = options.addresses()?;
        let (closing, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            addresses,
            topology: Mutex::default(),
            state: watch::Sender::new(State::Closed { reason: None }),
            live: watch::Sender::new(None),
            blocked: watch::Sender::new(None),
            closing: closing.clone(),
            options,
        });
        let established = match shared.connect_anywhere().await {
            Err(error) if shared.options.patient_start && !error.is_final() => {
                shared.reconnect(error).await?
            }
            result => result?,
        };
        shared.announce(0, &established);
        tokio::spawn(keep(shared.clone(), established));
        Ok(Self { shared, _alive: Arc::new(Alive(closing)) })
    }

    /// The connection of the moment, as soon as there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::GaveUp`] when there will be none.
    pub(crate) async fn live(&self) -> Result<Live, Error> {
        self.live_after(None).await
    }

    /// The same, but not the one of this generation, of which the caller knows that it is lost.
    ///
    /// # Errors
    ///
    /// As for [`Link::live`].
    pub(crate) async fn live_after(&self, lost: Option<u64>) -> Result<Live, Error> {
        let mut lives = self.shared.live.subscribe();
        let mut states = self.shared.state.subscribe();
        loop {
            if let Some(end) = states.borrow_and_update().end() {
                return Err(end);
            }
            if let Some(live) = &*lives.borrow_and_update()
                && Some(live.generation) != lost
            {
                return Ok(live.clone());
            }
            tokio::select! {
                _ = lives.changed() => {}
                _ = states.changed() => {}
            }
        }
    }

    /// Waits until there will be no connection any more, and says why.
    pub(crate) async fn ended(&self) -> Error {
        let mut states = self.shared.state.subscribe();
        let last = states.wait_for(|state| state.end().is_some()).await;
        last.ok().and_then(|state| state.end()).unwrap_or(Error::Closed)
    }

    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    pub(crate) fn blocked(&self) -> watch::Receiver<Option<Blocked>> {
        self.shared.blocked.subscribe()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Changes the record of what is restored.
    pub(crate) fn record(&self, change: impl FnOnce(&mut Topology)) {
        change(&mut self.shared.topology.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Closes the connection, and waits until it is closed.
    pub(crate) async fn close(&self) {
        self.shared.closing.send_replace(true);
        self.ended().await;
    }
}

/// The link's task.
async fn keep(shared: Arc<Shared>, mut established: Established) {
    for generation in 1_u64.. {
        let Some(lost) = shared.watch(&mut established).await else {
            shared.live.send_replace(None);
            // A network that is silent swallows the goodbye, or the answer to it.
            if timeout(shared.options.connect_timeout, close(&established.connection)).await.is_err() {
                tracing::warn!(
                    address = established.address,
                    "the broker did not hear that the connection is closed"
                );
            }
            return shared.end(None);
        };
        tracing::warn!(address = established.address, error = %lost, "connection to the broker lost");
        shared.live.send_replace(None);
        shared.blocked.send_replace(None);
        drop(established);
        established = match shared.reconnect(lost).await {
            Ok(next) => next,
            Err(Error::Closed) => return shared.end(None),
            Err(error) => {
                tracing::error!(%error, "connection to the broker given up");
                return shared.end(Some(Arc::new(error)));
            }
        };
        shared.announce(generation, &established);
    }
}

/// Tells the broker goodbye.
async fn close(connection: &lapin::Connection) {
    // lapin closes dropped channels in the background, and fails if the connection is closed meanwhile. The broker's
    // answer to opening another channel comes after its answer to that; without it closing is worth a try all the same.
    let last = connection.create_channel().await;
    if let Err(error) = connection.close(200, "OK".into()).await {
        tracing::debug!(%error, "the connection ended before it was closed");
    }
    drop(last);
}

impl Shared {
    /// Lets everybody use the connection.
    fn announce(&self, generation: u64, established: &Established) {
        tracing::info!(address = established.address, "connected to the broker");
        let connection = established.connection.clone();
        self.state.send_replace(State::Connected { address: established.address.clone() });
        self.live.send_replace(Some(Live { generation, connection }));
    }

    fn end(&self, reason: Option<Arc<Error>>) {
        self.live.send_replace(None);
        self.blocked.send_replace(None);
        self.state.send_replace(State::Closed { reason });
    }

    /// Waits until the connection is lost and says why, or until it is to be closed.
    async fn watch(&self, established: &mut Established) -> Option<Error> {
        let mut closing = self.closing.subscribe();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut reason = None;
        loop {
            let status = established.connection.status();
            if !status.connected() {
                let gone = ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed);
                return Some(reason.unwrap_or_else(|| Error::Lost { cause: gone.into() }));
            }
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return None,
                _ = look.tick() => {}
                event = established.events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => self.note_blocked(reason),
                    Some(Event::ConnectionUnblocked) => {
                        self.blocked.send_replace(None);
                    }
                    // The error of a channel also comes this way, so the connection's state decides.
                    Some(Event::Error(error)) => reason = Some(Error::Lost { cause: error }),
                    Some(_) => {}
                    None => return Some(reason.unwrap_or(Error::Closed)),
                },
            }
        }
    }

    fn note_blocked(&self, reason: String) {
        tracing::warn!(reason, "the broker takes no messages at the moment");
        self.blocked.send_replace(Some(Blocked { since: Instant::now(), reason }));
    }

    /// Tries until it succeeds.
    ///
    /// # Errors
    ///
    /// What cannot heal, and [`Error::Closed`] if it is to be closed meanwhile.
    async fn reconnect(&self, mut reason: Error) -> Result<Established, Error> {
        let mut closing = self.closing.subscribe();
        for attempt in 0_u32.. {
            self.state.send_replace(State::Reconnecting { attempt, reason });
            let wait = self.options.backoff.wait(attempt, random::number());
            let next = async {
                tokio::time::sleep(wait).await;
                self.connect_anywhere().await
            };
            let result = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return Err(Error::Closed),
                result = next => result,
            };
            match result {
                Err(error) if !error.is_final() => {
                    tracing::debug!(attempt, %error, "the broker was not reached");
                    reason = error;
                }
                result => return result,
            }
        }
        Err(Error::Closed)
    }

    /// Tries each address once.
    ///
    /// # Errors
    ///
    /// What the last one said, or the first that said what cannot heal.
    async fn connect_anywhere(&self) -> Result<Established, Error> {
        let mut last = Error::Url { problem: "there is none".to_owned() };
        for address in &self.addresses {
            match self.establish(address).await {
                Err(error) if !error.is_final() => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    /// Connects and restores what was declared.
    async fn establish(&self, address: &Address) -> Result<Established, Error> {
        let connection = dial::dial(address, &self.options).await?;
        // Before anything is asked, so that no news is missed.
        let events = connection.events_listener().boxed();
        let established = Established { connection: Arc::new(connection), events, address: address.shown() };
        let topology = self.topology.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !topology.is_empty() {
            let channel = established.connection.create_channel().await?;
            topology.restore(&channel).await?;
        }
        Ok(established)
    }
}
