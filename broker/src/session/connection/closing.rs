//! How channels and the connection end: the only place that builds close frames.

use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::ShortString;

use super::{Connection, FinishReason, Slot, State};
use crate::error::{AmqpError, ReplyCode, Scope};
use crate::session::action::Action;
use crate::wire::frame::Frame;
use crate::wire::method;

const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
const CONNECTION_CLOSE: (u16, u16) = (10, 50);
const CONNECTION_CLOSE_OK: (u16, u16) = (10, 51);

impl Connection {
    pub(super) fn handle_closing_channel(&mut self, id: u16, frame: Frame<'_>) -> Option<Action> {
        if let Frame::Method { payload, .. } = frame {
            match method::ids(payload) {
                CHANNEL_CLOSE => {
                    let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                    self.out.method(id, &AMQPClass::Channel(close_ok));
                }
                CHANNEL_CLOSE_OK => {
                    self.channels.remove(&id);
                }
                _ => {}
            }
        }
        None
    }

    /// While our `connection.close` is unanswered everything but an answer, or the peer's own close, is passed over.
    pub(super) fn handle_closing(&mut self, frame: Frame<'_>) -> Option<Action> {
        let Frame::Method { channel: 0, payload } = frame else { return None };
        match method::ids(payload) {
            CONNECTION_CLOSE => {
                let close_ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                self.out.method(0, &AMQPClass::Connection(close_ok));
                self.finish(FinishReason::Closed);
            }
            CONNECTION_CLOSE_OK => self.finish(FinishReason::Closed),
            _ => {}
        }
        None
    }

    /// Ends the channel or the connection, as the error asks for. Returns what is to be cleaned up of a channel.
    #[cold]
    pub(super) fn fail(&mut self, id: u16, error: AmqpError) -> Option<Action> {
        let is_open = matches!(self.channels.get(&id), Some(Slot::Open(_)));
        if error.scope == Scope::Connection || !is_open {
            self.close_connection(error);
            return None;
        }
        tracing::info!(
            user = self.peer.username,
            vhost = self.peer.vhost,
            name = self.peer.client.connection_name.as_deref(),
            channel = id,
            %error,
            "closing a channel"
        );
        let action = self.remove_channel(id);
        self.channels.insert(id, Slot::Closing);
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: error.code.code(),
            reply_text: reply_text(&error),
            class_id: error.class_id,
            method_id: error.method_id,
        });
        self.out.method(id, &AMQPClass::Channel(close));
        action
    }

    /// Ends the connection with an error: politely, unless the peer is still a stranger.
    #[cold]
    pub(super) fn close_connection(&mut self, error: AmqpError) {
        match &self.state {
            State::Handshaking { step, .. } if !step.is_authenticated() => {
                self.finish(FinishReason::Handshake(error));
            }
            State::Handshaking { .. } | State::Running => self.send_connection_close(&error),
            State::Closing { .. } | State::Finished(_) => {}
        }
    }

    pub(super) fn send_connection_close(&mut self, error: &AmqpError) {
        self.log_connection_close(error);
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: error.code.code(),
            reply_text: reply_text(error),
            class_id: error.class_id,
            method_id: error.method_id,
        });
        self.out.method(0, &AMQPClass::Connection(close));
        self.remove_channels();
        self.state = State::Closing { deadline: None };
    }

    /// A peer that is told to go because the broker shuts down has done nothing worth a warning.
    fn log_connection_close(&self, error: &AmqpError) {
        let (user, vhost) = (&*self.peer.username, &*self.peer.vhost);
        let name = self.peer.client.connection_name.as_deref();
        if error.code == ReplyCode::ConnectionForced {
            tracing::info!(user, vhost, name, %error, "closing a connection");
        } else {
            tracing::warn!(user, vhost, name, %error, "closing a connection");
        }
    }

    pub(super) fn finish(&mut self, reason: FinishReason) {
        if !self.is_finished() {
            self.remove_channels();
            self.state = State::Finished(reason);
        }
    }

    fn remove_channels(&mut self) {
        let mut ids: Vec<u16> = self.channels.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let action = self.remove_channel(id);
            self.actions.extend(action);
        }
    }

    /// Takes a channel out of all books. What the server has to clean up is returned.
    pub(super) fn remove_channel(&mut self, id: u16) -> Option<Action> {
        let Some(Slot::Open(mut channel)) = self.channels.remove(&id) else { return None };
        self.open_channels -= 1;
        self.unconfirmed -= channel.unconfirmed();
        self.held_bytes -= channel.held_bytes();
        self.with_confirms.retain(|other| *other != id);
        self.awaiting_store.retain(|other| *other != id);
        Some(channel.close(&mut self.sources))
    }
}

fn reply_text(error: &AmqpError) -> ShortString {
    ShortString::try_new(error.reply_text()).unwrap_or_default()
}
