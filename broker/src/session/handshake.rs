//! [`Handshake`]: from the greeting to `connection.open-ok`.
//!
//! It negotiates limits and reads credentials; whether these are good, and whether the vhost exists, it asks the server.
//! Until then the peer is a stranger and gets no more than a closed socket for its mistakes. Called by the connection.

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::action::{Action, Credentials, Mechanism, Reply};
use super::config::SessionConfig;
use super::faults::{self, TuneField};
use super::finish::FinishReason;
use super::peer::{ClientProperties, Peer};
use crate::error::AmqpError;
use crate::limits::FRAME_MIN_BYTES;
use crate::wire::frame::{Greeting, decode_greeting};
use crate::wire::method::{self, Method};
use crate::wire::out_buffer::OutBuffer;
use crate::wire::table::decode_table;

/// What we speak.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// What we offer in `connection.start`.
const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// The same to a peer that has shown a certificate.
const MECHANISMS_WITH_CERTIFICATE: &str = "PLAIN AMQPLAIN EXTERNAL";
const LOCALES: &str = "en_US";

/// How far the handshake is: what is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the states of a handshake are all of one kind")]
pub(super) enum Handshake {
    AwaitGreeting,
    AwaitStartOk,
    /// The server looks at the credentials.
    AwaitAuthentication(Mechanism),
    AwaitTuneOk,
    AwaitOpen,
    /// The server looks at the vhost.
    AwaitVhost,
}

/// Where a step of the handshake led.
#[derive(Debug)]
pub(super) enum Turn {
    /// On to the next step.
    Continue,
    /// The server is to do something first.
    Act(Action),
    /// `connection.open-ok` is sent.
    Opened,
    /// `connection.close`, or only a closed socket while the peer is a stranger.
    Fail(AmqpError),
    /// `connection.close` even to a stranger.
    Tell(AmqpError),
    /// Close the socket.
    Leave(FinishReason),
}

impl Handshake {
    /// Reads the greeting at the front of `input`; returns how many bytes it took.
    pub(super) fn handle_greeting(
        &mut self,
        input: &[u8],
        peer: &Peer,
        config: &SessionConfig,
        out: &mut OutBuffer,
    ) -> (usize, Turn) {
        match decode_greeting(input) {
            Greeting::Incomplete => (0, Turn::Continue),
            Greeting::Amqp091 => {
                let mechanisms = match peer.certificate_user {
                    Some(_) => MECHANISMS_WITH_CERTIFICATE,
                    None => MECHANISMS,
                };
                let start = connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: config.server_properties.clone(),
                    mechanisms: mechanisms.into(),
                    locales: LOCALES.into(),
                };
                out.method(0, &AMQPClass::Connection(connection::AMQPMethod::Start(start)));
                *self = Self::AwaitStartOk;
                (PROTOCOL_HEADER.len(), Turn::Continue)
            }
            greeting => {
                // Whoever it is learns what is spoken here (AMQP 0-9-1, section 4.2.2).
                out.protocol_header(PROTOCOL_HEADER);
                (input.len(), Turn::Leave(FinishReason::Greeting(greeting)))
            }
        }
    }

    /// Takes a method on channel 0.
    pub(super) fn handle_method(
        &mut self,
        payload: &[u8],
        peer: &mut Peer,
        config: &SessionConfig,
        out: &mut OutBuffer,
    ) -> Turn {
        use connection::AMQPMethod as M;
        let (class_id, method_id) = method::ids(payload);
        let parsed = match method::parse(payload) {
            Ok(parsed) => parsed,
            Err(error) => return Turn::Fail(error),
        };
        let method = match parsed {
            Method::Other(class) => match *class {
                AMQPClass::Connection(method) => Some(method),
                _ => None,
            },
            _ => None,
        };
        match (*self, method) {
            (Self::AwaitStartOk, Some(M::StartOk(start_ok))) => self.handle_start_ok(start_ok, peer),
            (Self::AwaitTuneOk, Some(M::TuneOk(tune_ok))) => self.handle_tune_ok(&tune_ok, peer, config),
            (Self::AwaitOpen, Some(M::Open(open))) => {
                *self = Self::AwaitVhost;
                peer.vhost = open.virtual_host.into();
                Turn::Act(Action::OpenVhost { vhost: peer.vhost.clone() })
            }
            (_, Some(M::Close(_))) => {
                out.method(0, &AMQPClass::Connection(M::CloseOk(connection::CloseOk {})));
                Turn::Leave(FinishReason::Closed)
            }
            _ => Turn::Fail(faults::unexpected_method(self.name()).at(class_id, method_id)),
        }
    }

    /// Takes the server's answer.
    pub(super) fn handle_reply(
        &mut self,
        reply: Result<Reply, AmqpError>,
        peer: &Peer,
        config: &SessionConfig,
        out: &mut OutBuffer,
    ) -> Turn {
        match (*self, reply) {
            (Self::AwaitAuthentication(_), Ok(Reply::Authenticated)) => {
                let tune = connection::Tune {
                    channel_max: config.channel_max,
                    frame_max: config.frame_max,
                    heartbeat: config.heartbeat_s,
                };
                out.method(0, &AMQPClass::Connection(connection::AMQPMethod::Tune(tune)));
                *self = Self::AwaitTuneOk;
                Turn::Continue
            }
            (Self::AwaitAuthentication(_), Err(error)) => refuse(peer, error),
            (Self::AwaitVhost, Ok(Reply::VhostOpened)) => {
                out.method(0, &AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {})));
                Turn::Opened
            }
            (Self::AwaitVhost, Err(error)) => Turn::Fail(blame(error, 40)),
            _ => Turn::Fail(faults::unexpected_reply()),
        }
    }

    /// Whether the peer has shown good credentials.
    pub(super) fn is_authenticated(self) -> bool {
        matches!(self, Self::AwaitTuneOk | Self::AwaitOpen | Self::AwaitVhost)
    }

    /// RabbitMQ's name for the state, for texts.
    fn name(self) -> &'static str {
        match self {
            Self::AwaitGreeting | Self::AwaitStartOk | Self::AwaitAuthentication(_) => "starting",
            Self::AwaitTuneOk => "tuning",
            Self::AwaitOpen | Self::AwaitVhost => "opening",
        }
    }

    fn handle_start_ok(&mut self, start_ok: connection::StartOk, peer: &mut Peer) -> Turn {
        peer.client = ClientProperties::from_table(&start_ok.client_properties);
        let response = start_ok.response.as_bytes();
        let external = peer.certificate_user.clone().map(|user| (user, Vec::new()));
        let (mechanism, credentials) = match start_ok.mechanism.as_str() {
            // What it sends with it is of no use: the certificate has said it all.
            "EXTERNAL" if external.is_some() => (Mechanism::External, external),
            "PLAIN" => (Mechanism::Plain, parse_plain(response)),
            "AMQPLAIN" => (Mechanism::AmqPlain, parse_amqplain(response)),
            unknown => return Turn::Tell(faults::unknown_mechanism(unknown).at(10, 11)),
        };
        let Some((username, password)) = credentials else {
            return refuse(peer, faults::login_refused(mechanism.name()));
        };
        peer.username.clone_from(&username);
        *self = Self::AwaitAuthentication(mechanism);
        Turn::Act(Action::Authenticate(Credentials { mechanism, username, password }))
    }

    fn handle_tune_ok(
        &mut self,
        tune_ok: &connection::TuneOk,
        peer: &mut Peer,
        config: &SessionConfig,
    ) -> Turn {
        let checked = check_limit(TuneField::FrameMax, FRAME_MIN_BYTES, config.frame_max, tune_ok.frame_max)
            .and_then(|()| {
                let (offer, answer) = (config.channel_max.into(), tune_ok.channel_max.into());
                check_limit(TuneField::ChannelMax, 1, offer, answer)
            });
        if let Err(error) = checked {
            return Turn::Fail(error);
        }
        peer.channel_max = tune_ok.channel_max;
        peer.frame_max = tune_ok.frame_max;
        peer.heartbeat_s = tune_ok.heartbeat;
        *self = Self::AwaitOpen;
        Turn::Continue
    }
}

/// Wrong credentials. Only a client that can take a `connection.close` now gets one; for others a pause and a closed
/// socket are the answer they know.
fn refuse(peer: &Peer, error: AmqpError) -> Turn {
    if peer.client.capabilities.authentication_failure_close {
        Turn::Tell(error)
    } else {
        Turn::Leave(FinishReason::Refused(error))
    }
}

fn blame(error: AmqpError, method_id: u16) -> AmqpError {
    if error.class_id == 0 { error.at(10, method_id) } else { error }
}

/// What the client may answer to an offer: no less than `min`, no more than the offer. 0 means no limit on both sides.
fn check_limit(field: TuneField, min: u32, offer: u32, answer: u32) -> Result<(), AmqpError> {
    if answer != 0 && answer < min {
        Err(faults::tune_too_low(field, answer, min))
    } else if offer != 0 && (answer == 0 || answer > offer) {
        Err(faults::tune_too_high(field, answer, offer))
    } else {
        Ok(())
    }
}

/// RFC 4616: authorization identity, user and password, with a zero byte in front of the latter two. The identity to act
/// as is not used; RabbitMQ wants it empty, but some clients repeat the user there.
fn parse_plain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_identity, username, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some((std::str::from_utf8(username).ok()?.to_owned(), password.to_vec()))
}

/// The inside of a field table, without its length.
fn parse_amqplain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let length = u32::try_from(response.len()).ok()?;
    let table = decode_table(&[&length.to_be_bytes(), response].concat()).ok()?;
    let username = string(&table, "LOGIN")?;
    let password = string(&table, "PASSWORD")?;
    Some((std::str::from_utf8(username).ok()?.to_owned(), password.to_vec()))
}

fn string<'a>(table: &'a FieldTable, key: &str) -> Option<&'a [u8]> {
    match table.inner().get(key)? {
        AMQPValue::LongString(value) => Some(value.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_responses_hold_three_parts() {
        let good = Some(("guest".to_owned(), b"secret".to_vec()));
        assert_eq!(parse_plain(b"\0guest\0secret"), good);
        assert_eq!(parse_plain(b"me\0guest\0secret"), good);
        assert_eq!(parse_plain(b"\0guest\0"), Some(("guest".to_owned(), Vec::new())));
        assert_eq!(parse_plain(b"\0guest\0a\0b"), Some(("guest".to_owned(), b"a\0b".to_vec())));
        for bad in [&b""[..], b"guest", b"\0guest", b"\0\xff\0secret"] {
            assert_eq!(parse_plain(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn amqplain_responses_are_tables_without_their_length() {
        let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
        assert_eq!(parse_amqplain(response), Some(("guest".to_owned(), b"secret".to_vec())));
        for bad in [&b""[..], b"\x05LOGINS\0\0\0\x05guest", b"\x05LOGINS\xff\0\0\x05guest"] {
            assert_eq!(parse_amqplain(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn limits_are_negotiated_downwards_only() {
        let check = |offer, answer| check_limit(TuneField::FrameMax, 4096, offer, answer).is_ok();
        assert!(check(131_072, 131_072));
        assert!(check(131_072, 4096));
        assert!(!check(131_072, 4095));
        assert!(!check(131_072, 131_073));
        assert!(!check(131_072, 0));
        assert!(check(0, 0));
        assert!(check(0, 1_000_000));
    }
}
