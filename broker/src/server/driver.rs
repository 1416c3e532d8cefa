//! [`Driver`]: one connection without its socket. Bytes and events in, bytes out.
//!
//! Lets the session and the executor talk: each action is carried out and answered before the next frame is looked at.
//! Synchronous, so that whole conversations can be tested and fuzzed without a runtime; `server::connection` gives it a
//! socket and a clock.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::limits::{CLOSE_OK_TIMEOUT, OUT_BUFFER_HIGH_BYTES, OUT_BUFFER_PAUSE_READ_BYTES};
use crate::server::admission::Place;
use crate::server::endpoints::Endpoints;
use crate::server::executor::Executor;
use crate::server::outbox::{Outbox, Waiting};
use crate::server::shared::Shared;
use crate::server::tls::TlsDetails;
use crate::session::action::{Action, Event, Reply, SourceId};
use crate::session::connection::Connection;
use crate::store::Epoch;
use crate::wire::out_buffer::OutBuffer;

/// A session and its executor, and the events between outbox and session.
#[derive(Debug)]
pub struct Driver {
    session: Connection,
    executor: Executor,
    outbox: Arc<Outbox>,
    /// Taken from the outbox and not yet handed to the session.
    waiting: Waiting,
    disconnected: bool,
    shared: Arc<Shared>,
    /// What the session's unfinished contents and transactions hold, as the memory gauge knows it.
    booked_bytes: usize,
    /// A login was refused: nothing is read or written until then, so that guessing passwords is slow.
    held_until: Option<Instant>,
    /// The store is behind with what this peer published: not read until it has caught up to here.
    store_behind: Option<Epoch>,
    /// All is said and the peer does not read it: until then.
    give_up_at: Option<Instant>,
    now: Instant,
    /// To be carried out after what follows from the action at hand.
    due: VecDeque<Action>,
    /// Bytes that came from the socket and went to it.
    received: u64,
    sent: u64,
}

impl Driver {
    /// A connection whose peer has said nothing yet, or `None` if there are too many connections.
    pub fn new(shared: &Arc<Shared>, peer: IpAddr, now: Instant) -> Option<Self> {
        Some(Self::with_place(shared, shared.admission.enter(peer, now)?, peer, now))
    }

    /// The same for one that has been counted already.
    pub(super) fn with_place(shared: &Arc<Shared>, place: Place, peer: IpAddr, now: Instant) -> Self {
        let outbox = Arc::new(Outbox::default());
        let id = shared.enter(&outbox);
        let executor = Executor::new(shared.clone(), id, peer, Some(place), outbox.clone());
        let session = Connection::new(shared.session_config(), now);
        Self {
            session,
            executor,
            outbox,
            waiting: Waiting::default(),
            disconnected: false,
            shared: shared.clone(),
            booked_bytes: 0,
            held_until: None,
            store_behind: None,
            give_up_at: None,
            now,
            due: VecDeque::new(),
            received: 0,
            sent: 0,
        }
    }

    /// Tells where the connection runs, for those who ask for its name.
    pub fn set_endpoints(&mut self, peer: SocketAddr, local: SocketAddr) {
        self.executor.set_endpoints(Endpoints { peer, local });
    }

    /// Tells how the connection is encrypted.
    pub(super) fn set_encrypted(&mut self, details: TlsDetails) {
        self.executor.set_encrypted(details);
    }

    /// So many bytes of [`Driver::out`] were written to the socket.
    pub fn handle_written(&mut self, bytes: usize) {
        self.session.out().advance(bytes);
        self.sent += bytes as u64;
    }

    /// Tells the user that a verified certificate names, who may log in with it.
    pub(super) fn set_certificate_user(&mut self, user: Option<String>) {
        if let Some(user) = user {
            self.session.set_certificate_user(user);
        }
    }

    /// Where others leave events for this connection.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The session, to look at.
    pub fn session(&self) -> &Connection {
        &self.session
    }

    /// Bytes to write to the socket.
    pub fn out(&mut self) -> &mut OutBuffer {
        self.session.out()
    }

    /// Takes in bytes from the socket and returns how many it is done with. The rest must come again: with more bytes, or, if
    /// it was left because of [`Driver::wants_input`], as soon as that is true.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> usize {
        self.now = now;
        let mut consumed = 0;
        while consumed < input.len()
            && !self.session.is_finished()
            && self.held_until.is_none()
            && !self.executor.awaits_login()
            // A few bytes ask for a whole message, and one read brings thousands of such requests.
            && self.session.out().len() < OUT_BUFFER_PAUSE_READ_BYTES
        {
            let (taken, action) = self.session.handle_input(&input[consumed..], now);
            consumed += taken;
            self.run(action);
            if taken == 0 {
                break;
            }
        }
        self.received += consumed as u64;
        if self.session.is_finished() { input.len() } else { consumed }
    }

    /// Hands waiting events to the session while there is room for what they make it write. Says whether there were any.
    pub fn handle_events(&mut self) -> bool {
        self.outbox.take(&mut self.waiting);
        for answer in self.waiting.asked.drain(..) {
            // Who asked may have given up.
            let _ = answer.send(self.executor.report(&self.session));
        }
        let mut any = self.handle_login();
        loop {
            let has_room = self.session.out().len() < OUT_BUFFER_HIGH_BYTES;
            // An alarm or the end of the connection does not wait until the peer reads.
            let event = match self.waiting.news.pop_front() {
                None if has_room => self.waiting.deliveries.pop_front(),
                news => news,
            };
            let Some(event) = event else { break };
            any = true;
            let follow_up = self.handle_event(event);
            if follow_up.is_some() {
                self.run(follow_up);
            }
        }
        any
    }

    /// Answers a login that was checked elsewhere. Says whether there was one.
    fn handle_login(&mut self) -> bool {
        let Some(login) = self.waiting.login.take() else { return false };
        let answer = self.executor.end_login(login);
        if answer.is_err() {
            self.hold_refused_login();
        }
        let follow_up = self.session.handle_reply(None, answer);
        self.run(follow_up);
        true
    }

    fn hold_refused_login(&mut self) {
        self.held_until = Some(self.now + self.shared.access.failure_delay());
    }

    /// Tells the session what time it is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        let input_is_read = self.wants_input();
        self.session.handle_timeout(now, input_is_read);
        let expired = self.executor.end_token(now);
        let follow_up = expired.and_then(|error| self.session.handle_event(Event::Close(error)));
        self.run(follow_up);
    }

    /// Ends a round: everything gathered reaches its queues, confirms are written. Call before waiting for anything.
    pub fn end_round(&mut self) {
        self.executor.apply_round();
        self.store_behind = self.store_behind.or_else(|| self.executor.held_until());
        let session = &mut self.session;
        self.executor.end_round(|channel, number, outcome| session.handle_confirm(channel, number, outcome));
        self.session.flush_confirms();
        self.executor.count_bytes(self.received, self.sent);
        self.book_memory();
        if self.is_finished() {
            self.disconnect();
            self.give_up_at.get_or_insert(self.now + CLOSE_OK_TIMEOUT);
        }
    }

    /// The peer is gone, or is to be treated as if it were: everything it held goes back.
    pub fn disconnect(&mut self) {
        if std::mem::replace(&mut self.disconnected, true) {
            return;
        }
        self.due.extend(self.session.handle_disconnect());
        self.run_all(None);
        self.executor.disconnect();
        // What was pushed before the consumers were removed is nobody's now, and acknowledged deliveries must return.
        let follow_ups = self.hand_over_events_of(None);
        self.due.extend(follow_ups);
        self.run_all(None);
        self.executor.end_round(|_, _, _| {});
        self.book_memory();
    }

    /// Keeps the memory gauge up to date with what the session holds.
    fn book_memory(&mut self) {
        let held_bytes = self.session.held_bytes();
        if held_bytes != self.booked_bytes {
            self.shared.memory.change(self.booked_bytes, held_bytes);
            self.booked_bytes = held_bytes;
            self.shared.check_memory();
        }
    }

    /// Whether the socket should be read: not while this peer lets answers pile up, publishes into an alarm, or publishes
    /// faster than the store writes.
    pub fn wants_input(&mut self) -> bool {
        self.store_behind = self.store_behind.filter(|epoch| self.shared.store.durable() < *epoch);
        !self.session.is_finished()
            && self.held_until.is_none()
            && !self.executor.awaits_login()
            && self.store_behind.is_none()
            && self.session.wants_input()
            && self.session.out().len() < OUT_BUFFER_PAUSE_READ_BYTES
    }

    /// Whether all is said; the socket is closed once everything is written.
    pub fn is_finished(&self) -> bool {
        self.session.is_finished() && self.held_until.is_none()
    }

    /// Whether the socket is to be closed: all is said, and written or given up.
    pub fn is_over(&mut self) -> bool {
        self.is_finished()
            && (self.session.out().is_empty() || self.give_up_at.is_some_and(|at| at <= self.now))
    }

    /// Whether what is in [`Driver::out`] may be written now.
    pub fn may_write(&self) -> bool {
        self.held_until.is_none()
    }

    /// When [`Driver::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines =
            [self.session.poll_timeout(), self.held_until, self.give_up_at, self.executor.token_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Gives back memory that a busy time left behind, before a sleep.
    pub fn shrink(&mut self) {
        self.waiting.news.shrink_to_fit();
        self.waiting.deliveries.shrink_to_fit();
        self.due.shrink_to_fit();
        self.outbox.shrink();
        self.executor.shrink();
        self.session.out().release();
    }

    /// Carries out an action and all that follows from it.
    #[inline]
    fn run(&mut self, first: Option<Action>) {
        // Nothing follows from most frames: they are parts of messages.
        if first.is_some() || self.session.has_actions() {
            self.run_all(first);
        }
    }

    /// The same, and what is due. A loop, not a recursion: a connection that ends with deliveries under way to thousands of
    /// channels must not need thousands of stack frames.
    fn run_all(&mut self, first: Option<Action>) {
        let mut next = first;
        let mut ended = Vec::new();
        loop {
            let action = next.or_else(|| self.due.pop_front()).or_else(|| self.session.poll_action());
            next = None;
            if let Some(action) = action {
                let channel = action.channel();
                add_ended_sources(&action, &mut ended);
                let login = matches!(action, Action::Authenticate(_));
                let opens = matches!(action, Action::OpenVhost { .. });
                let answer = self.executor.execute(action);
                if login && matches!(answer, Some(Ok(_))) {
                    self.session.set_user(self.executor.user_name());
                }
                if login && matches!(answer, Some(Err(_))) {
                    self.hold_refused_login();
                }
                if !ended.is_empty() && self.session.is_open() {
                    // No delivery may follow cancel-ok, and a closed channel's deliveries must return to their queues at once.
                    let follow_ups = self.end_sources(&mut ended);
                    self.due.extend(follow_ups);
                }
                for message in self.executor.take_returned() {
                    self.session.handle_reply(channel, Ok(Reply::Returned(message)));
                }
                next = answer.and_then(|result| self.session.handle_reply(channel, result));
                if opens && self.session.is_open() {
                    self.executor.enter_census(&self.session.details());
                    self.executor.tell_opened(&self.session.details());
                }
            } else if ended.is_empty() {
                return;
            } else {
                // The connection ends: once for all its channels, because each look goes through all that waits.
                let follow_ups = self.end_sources(&mut ended);
                self.due.extend(follow_ups);
            }
        }
    }

    /// Takes all deliveries of consumers that were removed from their queues out of the outbox. Returns what follows.
    fn end_sources(&mut self, ended: &mut Vec<SourceId>) -> Vec<Action> {
        ended.sort_unstable();
        let follow_ups = self.hand_over_events_of(Some(ended));
        self.executor.forget_sources(ended);
        ended.clear();
        follow_ups
    }

    /// Hands an event to the session. What follows from it is the caller's to run.
    fn handle_event(&mut self, event: Event) -> Option<Action> {
        match &event {
            Event::Deliver(delivery) => self.executor.handed_over(delivery),
            Event::ConsumerCancelled(source) => self.executor.consumer_cancelled(*source),
            _ => {}
        }
        self.session.handle_event(event)
    }

    /// Hands over the deliveries of these sources (sorted), or all, out of turn and whatever room there is: their number is bounded
    /// by the consumers' windows. Returns what follows from them.
    fn hand_over_events_of(&mut self, sources: Option<&[SourceId]>) -> Vec<Action> {
        self.outbox.take(&mut self.waiting);
        if let Some(sources) = sources {
            // Their names may be given to others soon.
            let ended = |source: &SourceId| sources.binary_search(source).is_ok();
            let is_over = |event: &Event| matches!(event, Event::TimedOut { source, .. } if ended(source));
            self.waiting.news.retain(|event| !is_over(event));
        }
        let mut follow_ups = Vec::new();
        for event in std::mem::take(&mut self.waiting.deliveries) {
            let wanted = match (&event, sources) {
                (_, None) => true,
                (Event::Deliver(delivery), Some(sources)) => {
                    sources.binary_search(&delivery.reference.source).is_ok()
                }
                (Event::ConsumerCancelled(source), Some(sources)) => sources.binary_search(source).is_ok(),
                _ => false,
            };
            if wanted {
                follow_ups.extend(self.handle_event(event));
            } else {
                self.waiting.deliveries.push_back(event);
            }
        }
        follow_ups
    }
}

impl Drop for Driver {
    /// A task may be dropped without having ended: the runtime stops, or a fault of ours unwound it. Its queues must not go on
    /// delivering to nobody.
    fn drop(&mut self) {
        if !self.disconnected {
            let cleaned = catch_unwind(AssertUnwindSafe(|| self.disconnect()));
            if cleaned.is_err() {
                tracing::error!(
                    "a connection could not be cleaned up after a fault; its queues may hold messages back"
                );
            }
        }
    }
}

/// The consumers that an action ends.
fn add_ended_sources(action: &Action, ended: &mut Vec<SourceId>) {
    match action {
        Action::Cancel { source, .. } => ended.push(*source),
        Action::CloseChannel { sources, .. } => ended.extend_from_slice(sources),
        _ => {}
    }
}
