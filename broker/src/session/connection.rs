//! [`Connection`]: one AMQP connection from greeting to end, and what the server drives.
//!
//! It finds frames, tells channels apart and closes them and itself: this is the only place that builds close frames. It
//! reads no clock, owns no socket and executes nothing; the server calls `handle_*`, carries out the actions it gets in
//! the order it gets them, and writes what [`Connection::out`] holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use foldhash::fast::FixedState;

use super::action::{Action, ChannelId};
use super::alarm::{Alarm, Notice};
pub use super::channel::ChannelDetails;
use super::channel::{Channel, Context, Step};
use super::config::SessionConfig;
use super::consumers::Sources;
use super::faults;
pub use super::finish::FinishReason;
use super::handshake::{Handshake, Turn};
use super::heartbeat::{Beat, Heartbeat};
use super::peer::Peer;
use crate::limits::{CLOSE_OK_TIMEOUT, UNCONFIRMED_MAX};
use crate::wire::frame::{self, Decoded, Frame};
use crate::wire::method::{self, Method};
use crate::wire::out_buffer::OutBuffer;

mod broker;
mod closing;
#[cfg(test)]
mod tests;

const CHANNEL_OPEN: (u16, u16) = (20, 10);

/// Type, channel and size in front of a frame, and the end marker behind it.
const FRAME_OVERHEAD_BYTES: u64 = 8;

/// What logs and listings show of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionDetails<'a> {
    /// Who it is and what was agreed.
    pub peer: &'a Peer,
    /// Open channels.
    pub channels: usize,
    /// RabbitMQ's name for its state: `starting`, `running`, `blocking`, `blocked`, `closing`, `closed`.
    pub state: &'static str,
}

#[derive(Debug)]
enum State {
    Handshaking {
        step: Handshake,
        deadline: Instant,
    },
    Running,
    /// `connection.close` is sent. The deadline is set at the first look at the clock after that.
    Closing {
        deadline: Option<Instant>,
    },
    Finished(FinishReason),
}

/// A channel number in use.
#[derive(Debug)]
enum Slot {
    Open(Box<Channel>),
    /// `channel.close` is sent, its answer has not come: everything else is passed over.
    Closing,
}

/// One connection. See the module's documentation for how it is driven.
#[derive(Debug)]
pub struct Connection {
    config: Arc<SessionConfig>,
    state: State,
    peer: Peer,
    out: OutBuffer,
    channels: HashMap<u16, Slot, FixedState>,
    open_channels: usize,
    /// The channel that the server is asked about before `channel.open` is answered.
    opening: Option<u16>,
    sources: Sources,
    actions: VecDeque<Action>,
    heartbeat: Option<Heartbeat>,
    alarm: Alarm,
    /// Channels with confirms to send, and channels that wait for the store; each at most once.
    with_confirms: Vec<u16>,
    awaiting_store: Vec<u16>,
    durable: u64,
    unconfirmed: usize,
    /// The sum of the open channels' [`Channel::held_bytes`].
    held_bytes: usize,
    spare: Vec<u8>,
    /// Bytes of a malformed frame still to come; they are passed over.
    skip_bytes: u64,
    /// The latest time seen.
    now: Instant,
    /// The same as milliseconds since 1970.
    now_ms: u64,
}

impl Connection {
    /// A connection that waits for its greeting from `now` on.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, now: Instant) -> Self {
        let (deadline, now_ms) = (now + config.handshake_timeout, config.clock.at(now));
        Self {
            config,
            state: State::Handshaking { step: Handshake::AwaitGreeting, deadline },
            peer: Peer::default(),
            out: OutBuffer::default(),
            channels: HashMap::default(),
            open_channels: 0,
            opening: None,
            sources: Sources::default(),
            actions: VecDeque::new(),
            heartbeat: None,
            alarm: Alarm::default(),
            with_confirms: Vec::new(),
            awaiting_store: Vec::new(),
            durable: 0,
            unconfirmed: 0,
            held_bytes: 0,
            spare: Vec::new(),
            skip_bytes: 0,
            now,
            now_ms,
        }
    }

    /// The user is called this: a token says who somebody is, whatever name came with it.
    pub fn set_user(&mut self, user: &str) {
        if self.peer.username != user {
            user.clone_into(&mut self.peer.username);
        }
    }

    /// The peer has shown a certificate, which names this user: it may log in with that. To be called before anything is read.
    pub fn set_certificate_user(&mut self, user: String) {
        self.peer.certificate_user = Some(user);
    }

    /// Takes at most one frame, or the greeting, from the front of `input`. Returns how many bytes were taken, 0 if more
    /// are needed, and what is to be done. The server does it, hands the reply in, and calls again with the rest.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> (usize, Option<Action>) {
        self.tell_time(now);
        if let Some(heartbeat) = &mut self.heartbeat
            && !input.is_empty()
        {
            heartbeat.handle_received();
        }
        let (consumed, action) = self.take_input(input);
        (consumed, action.or_else(|| self.actions.pop_front()))
    }

    #[inline]
    fn take_input(&mut self, input: &[u8]) -> (usize, Option<Action>) {
        if input.is_empty() {
            return (0, None);
        }
        match self.state {
            State::Finished(_) => return (input.len(), None),
            State::Handshaking { step: mut step @ Handshake::AwaitGreeting, deadline } => {
                let (consumed, turn) = step.handle_greeting(input, &self.peer, &self.config, &mut self.out);
                self.state = State::Handshaking { step, deadline };
                return (consumed, self.follow(turn));
            }
            _ => {}
        }
        if self.skip_bytes > 0 {
            return (self.skip(input), None);
        }
        match frame::decode(input, self.peer.frame_max) {
            Ok(Decoded::Incomplete) => (0, None),
            Ok(Decoded::Frame { frame, consumed }) => (consumed, self.handle_frame(frame)),
            Err(error) => {
                // Its size is known even if nothing else of it makes sense, so that the answer to our close is found.
                let size =
                    input.get(3..7).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes);
                self.skip_bytes = FRAME_OVERHEAD_BYTES + u64::from(size);
                self.close_connection(error);
                (self.skip(input), None)
            }
        }
    }

    fn skip(&mut self, input: &[u8]) -> usize {
        let skipped = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX).min(input.len());
        self.skip_bytes -= skipped as u64;
        skipped
    }

    #[inline]
    fn handle_frame(&mut self, frame: Frame<'_>) -> Option<Action> {
        match self.state {
            State::Running => self.handle_running(frame),
            State::Handshaking { step, deadline } => self.handle_handshaking(frame, step, deadline),
            State::Closing { .. } => self.handle_closing(frame),
            State::Finished(_) => None,
        }
    }

    #[inline]
    fn handle_running(&mut self, frame: Frame<'_>) -> Option<Action> {
        match frame {
            Frame::Heartbeat { channel: 0 } => None,
            Frame::Heartbeat { .. } => self.fail(0, faults::misplaced_frame(8, &[])),
            Frame::Method { channel: 0, payload } => self.handle_connection_method(payload),
            Frame::Header { channel: 0, payload } => self.fail(0, faults::misplaced_frame(2, payload)),
            Frame::Body { channel: 0, payload } => self.fail(0, faults::misplaced_frame(3, payload)),
            Frame::Method { channel, .. } | Frame::Header { channel, .. } | Frame::Body { channel, .. } => {
                self.handle_channel_frame(channel, frame)
            }
        }
    }

    #[inline]
    fn handle_channel_frame(&mut self, id: u16, frame: Frame<'_>) -> Option<Action> {
        let Self { channels, out, config, sources, spare, peer, held_bytes, now_ms, .. } = self;
        let now_ms = *now_ms;
        let step = match channels.get_mut(&id) {
            Some(Slot::Open(channel)) => {
                let frame_max = peer.frame_max;
                let held_before = channel.held_bytes();
                let cx = &mut Context { out, config, sources, spare, frame_max, now_ms };
                let step = channel.handle_frame(frame, cx);
                *held_bytes = *held_bytes - held_before + channel.held_bytes();
                step
            }
            Some(Slot::Closing) => return self.handle_closing_channel(id, frame),
            None => return self.handle_unopened_channel(id, frame),
        };
        match step {
            Ok(Step::Done) => None,
            Ok(Step::Act(action)) => {
                if let Action::Publish(publish) | Action::CheckPublish(publish) = &action {
                    self.unconfirmed += usize::from(publish.confirm.is_some());
                    let notice = self.alarm.handle_publish();
                    self.send_notice(notice);
                }
                Some(action)
            }
            Ok(Step::Close) => {
                let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                self.out.method(id, &AMQPClass::Channel(close_ok));
                self.remove_channel(id)
            }
            Err(error) => self.fail(id, error),
        }
    }

    fn handle_unopened_channel(&mut self, id: u16, frame: Frame<'_>) -> Option<Action> {
        let Frame::Method { payload, .. } = frame else {
            return self.fail(0, faults::expected_method());
        };
        let (class_id, method_id) = method::ids(payload);
        if let Err(error) = method::parse(payload) {
            return self.fail(0, error);
        }
        if (class_id, method_id) != CHANNEL_OPEN {
            return self.fail(0, faults::channel_not_open().at(class_id, method_id));
        }
        let max = self.peer.channel_max;
        if max != 0 && self.open_channels >= usize::from(max) {
            return self.fail(0, faults::too_many_channels(self.open_channels, max));
        }
        let channel = Channel::new(ChannelId(id), self.now_ms);
        let tally = channel.tally();
        self.channels.insert(id, Slot::Open(Box::new(channel)));
        self.open_channels += 1;
        self.opening = Some(id);
        Some(Action::OpenChannel { channel: ChannelId(id), tally })
    }

    fn handle_connection_method(&mut self, payload: &[u8]) -> Option<Action> {
        use connection::AMQPMethod as M;
        let (class_id, method_id) = method::ids(payload);
        let method = match method::parse(payload) {
            Err(error) => return self.fail(0, error),
            Ok(Method::Other(class)) => Some(*class),
            Ok(_) => None,
        };
        match method {
            Some(AMQPClass::Connection(M::Close(_))) => {
                self.out.method(0, &AMQPClass::Connection(M::CloseOk(connection::CloseOk {})));
                self.finish(FinishReason::Closed);
                None
            }
            Some(AMQPClass::Connection(M::UpdateSecret(update))) => {
                Some(Action::UpdateSecret { secret: update.new_secret.as_bytes().to_vec() })
            }
            // RabbitMQ refuses these; clients that send them mean no harm and need no answer.
            Some(AMQPClass::Connection(M::Blocked(_) | M::Unblocked(_))) => None,
            _ => {
                let error = faults::unexpected_method(self.alarm.connection_state());
                self.fail(0, error.at(class_id, method_id))
            }
        }
    }

    fn handle_handshaking(
        &mut self,
        frame: Frame<'_>,
        mut step: Handshake,
        deadline: Instant,
    ) -> Option<Action> {
        let turn = match frame {
            Frame::Heartbeat { channel: 0 } => Turn::Continue,
            Frame::Method { channel: 0, payload } => {
                step.handle_method(payload, &mut self.peer, &self.config, &mut self.out)
            }
            Frame::Method { payload, .. } => Turn::Fail(faults::misplaced_frame(1, payload)),
            Frame::Header { payload, .. } => Turn::Fail(faults::misplaced_frame(2, payload)),
            Frame::Body { payload, .. } => Turn::Fail(faults::misplaced_frame(3, payload)),
            Frame::Heartbeat { .. } => Turn::Fail(faults::misplaced_frame(8, &[])),
        };
        self.state = State::Handshaking { step, deadline };
        self.follow(turn)
    }

    /// Carries out where a step of the handshake led.
    fn follow(&mut self, turn: Turn) -> Option<Action> {
        match turn {
            Turn::Continue => None,
            Turn::Act(action) => Some(action),
            Turn::Opened => {
                self.state = State::Running;
                self.heartbeat = Heartbeat::start(self.peer.heartbeat_s, self.now);
                None
            }
            Turn::Fail(error) => {
                self.close_connection(error);
                None
            }
            Turn::Tell(error) => {
                self.send_connection_close(&error);
                None
            }
            Turn::Leave(reason) => {
                self.finish(reason);
                None
            }
        }
    }

    #[inline]
    fn send_notice(&mut self, notice: Option<Notice>) {
        let method = match notice {
            Some(Notice::Blocked(reason)) => {
                connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() })
            }
            Some(Notice::Unblocked) => connection::AMQPMethod::Unblocked(connection::Unblocked {}),
            None => return,
        };
        if !self.peer.client.capabilities.connection_blocked || !matches!(self.state, State::Running) {
            return;
        }
        self.out.method(0, &AMQPClass::Connection(method));
    }

    /// Looks at the clock: to be called when [`Self::poll_timeout`] has passed. `input_is_read` is false
    /// while the server does not read the socket, for [`Self::wants_input`] or reasons of its own.
    pub fn handle_timeout(&mut self, now: Instant, input_is_read: bool) {
        self.tell_time(now);
        match &mut self.state {
            State::Handshaking { deadline, .. } => {
                if now >= *deadline {
                    self.finish(FinishReason::HandshakeTimeout);
                }
            }
            State::Closing { deadline } => {
                if now >= *deadline.get_or_insert(now + CLOSE_OK_TIMEOUT) {
                    self.finish(FinishReason::CloseTimeout);
                }
            }
            State::Running => self.beat(now, input_is_read),
            State::Finished(_) => {}
        }
    }

    fn tell_time(&mut self, now: Instant) {
        // Often the same for many calls, and dividing takes as long as a third of the way of a small message.
        if self.now != now {
            self.now = now;
            self.now_ms = self.config.clock.at(now);
        }
    }

    fn beat(&mut self, now: Instant, input_is_read: bool) {
        let is_heard = input_is_read && self.wants_input();
        let Some(heartbeat) = &mut self.heartbeat else { return };
        if !is_heard {
            heartbeat.pause();
        }
        match heartbeat.handle_timeout(now) {
            Beat::Rest => {}
            Beat::Send => self.out.heartbeat(),
            Beat::Dead => self.finish(FinishReason::HeartbeatMissed),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called; a time that has passed means at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking { deadline, .. } => Some(*deadline),
            State::Closing { deadline } => Some(deadline.unwrap_or(self.now)),
            State::Running => self.heartbeat.as_ref().map(Heartbeat::poll_timeout),
            State::Finished(_) => None,
        }
    }

    /// Whether [`Connection::poll_action`] has something.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// What is left to do: to be called until it gives nothing after every other `handle_*`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The bytes to write.
    pub fn out(&mut self) -> &mut OutBuffer {
        if let Some(heartbeat) = &mut self.heartbeat
            && !self.out.is_empty()
        {
            heartbeat.handle_sent();
        }
        &mut self.out
    }

    /// Whether the socket is to be read. False while an alarm holds this publisher back, and while too many of its
    /// publishes are unconfirmed; once the connection is closing the peer's answer is awaited.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let is_held = self.alarm.is_blocked() || self.unconfirmed >= UNCONFIRMED_MAX;
        !is_held || !matches!(self.state, State::Running)
    }

    /// Bytes of messages that are not with the server yet: what has arrived of unfinished contents, and the memory of the
    /// publishes that wait in transactions.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether the socket is to be closed once everything is written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    /// Whether the peer has logged in and opened a vhost, and nobody has closed the connection since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// Why it is finished, if it is.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        match &self.state {
            State::Finished(reason) => Some(reason),
            _ => None,
        }
    }

    /// The socket is gone. Returns all that is left to clean up.
    pub fn handle_disconnect(&mut self) -> Vec<Action> {
        self.finish(FinishReason::Disconnected);
        self.actions.drain(..).collect()
    }

    /// For logs and listings.
    #[must_use]
    pub fn details(&self) -> ConnectionDetails<'_> {
        let state = match &self.state {
            State::Handshaking { .. } => "starting",
            State::Running => self.alarm.connection_state(),
            State::Closing { .. } => "closing",
            State::Finished(_) => "closed",
        };
        ConnectionDetails { peer: &self.peer, channels: self.open_channels, state }
    }

    /// Its open channels, in no particular order.
    pub fn channel_details(&self) -> impl Iterator<Item = ChannelDetails> {
        self.channels.values().filter_map(|slot| match slot {
            Slot::Open(channel) => Some(channel.details()),
            Slot::Closing => None,
        })
    }
}
