//! The peer's faults: [`AmqpError`], with the scope and reply code that AMQP 0-9-1 gives them.
//!
//! Environment faults are `io::Error` or `StoreError`; our own are assertions. This module only describes an error: the
//! session alone turns one into `channel.close` or `connection.close`.

use std::borrow::Cow;
use std::fmt;

/// The longest reply text that fits a short string, in bytes.
const REPLY_TEXT_BYTES_MAX: usize = 255;

/// A reply code with its class of consequence (AMQP 0-9-1 specification, section 1.2 "constants").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyCode {
    /// 311: the message is larger than the broker accepts.
    ContentTooLarge,
    /// 312: a mandatory message reached no queue. Only ever inside `basic.return`.
    NoRoute,
    /// 313: an immediate message had no consumer. Only ever inside `basic.return`.
    NoConsumers,
    /// 320: an operator, or the broker's shutdown, closes the connection.
    ConnectionForced,
    /// 402: an unknown vhost path.
    InvalidPath,
    /// 403: the user lacks permission, or the name is reserved.
    AccessRefused,
    /// 404: the named entity does not exist.
    NotFound,
    /// 405: another connection holds the entity exclusively.
    ResourceLocked,
    /// 406: the request contradicts the entity's state.
    PreconditionFailed,
    /// 501: a malformed frame.
    FrameError,
    /// 502: malformed method arguments.
    SyntaxError,
    /// 503: a method that is not known or not allowed now.
    CommandInvalid,
    /// 504: a channel number used wrongly.
    ChannelError,
    /// 505: a frame that was not expected here.
    UnexpectedFrame,
    /// 506: the broker ran out of something.
    ResourceError,
    /// 530: forbidden by the broker's settings.
    NotAllowed,
    /// 540: a part of the specification that RabbitMQ does not implement either.
    NotImplemented,
    /// 541: a fault of the broker's own.
    InternalError,
}

/// How far the consequence of an error reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `channel.close`: the other channels of the connection go on.
    Channel,
    /// `connection.close`.
    Connection,
}

impl ReplyCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ContentTooLarge => 311,
            Self::NoRoute => 312,
            Self::NoConsumers => 313,
            Self::ConnectionForced => 320,
            Self::InvalidPath => 402,
            Self::AccessRefused => 403,
            Self::NotFound => 404,
            Self::ResourceLocked => 405,
            Self::PreconditionFailed => 406,
            Self::FrameError => 501,
            Self::SyntaxError => 502,
            Self::CommandInvalid => 503,
            Self::ChannelError => 504,
            Self::UnexpectedFrame => 505,
            Self::ResourceError => 506,
            Self::NotAllowed => 530,
            Self::NotImplemented => 540,
            Self::InternalError => 541,
        }
    }

    /// The name that opens every reply text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Soft errors (311-313, 403-406) end the channel, all others the connection, as in RabbitMQ.
    #[must_use]
    pub const fn default_scope(self) -> Scope {
        match self.code() {
            311..=313 | 403..=406 => Scope::Channel,
            _ => Scope::Connection,
        }
    }
}

/// A fault of the peer, ready to be told to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AmqpError {
    /// Whether the channel or the connection ends.
    pub scope: Scope,
    /// The reply code.
    pub code: ReplyCode,
    /// The explanation after `NAME - `.
    pub text: Cow<'static, str>,
    /// The class of the failing method, 0 if none is to blame.
    pub class_id: u16,
    /// The failing method, 0 if none is to blame.
    pub method_id: u16,
}

impl AmqpError {
    /// An error with the scope its code has by default and no method to blame.
    #[must_use]
    pub fn new(code: ReplyCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { scope: code.default_scope(), code, text: text.into(), class_id: 0, method_id: 0 }
    }

    /// The same error, blamed on a method.
    #[must_use]
    pub fn at(mut self, class_id: u16, method_id: u16) -> Self {
        self.class_id = class_id;
        self.method_id = method_id;
        self
    }

    /// The same error, ending the connection whatever its code's default is.
    #[must_use]
    pub fn on_connection(mut self) -> Self {
        self.scope = Scope::Connection;
        self
    }

    /// The text on the wire: `NAME - explanation`, cut to 255 bytes at a character boundary.
    #[must_use]
    pub fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.text);
        if text.len() > REPLY_TEXT_BYTES_MAX {
            let cut = (0..=REPLY_TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
            text.truncate(cut.unwrap_or(0));
        }
        text
    }
}

/// For the log. The peer chose much of the text: its control characters are escaped, so that a line break in a name does
/// not forge a line. [`AmqpError::reply_text`] has the text as it is.
impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} - ", self.code.code(), self.code.name())?;
        let mut plain_from = 0;
        for (at, control) in self.text.match_indices(char::is_control) {
            write!(f, "{}{}", &self.text[plain_from..at], control.escape_debug())?;
            plain_from = at + control.len();
        }
        f.write_str(&self.text[plain_from..])
    }
}

/// Writes one constructor per reply code that handlers raise, so that a call site reads `not_found(text)`.
macro_rules! constructors {
    ($($name:ident => $code:ident),* $(,)?) => {
        impl AmqpError {
            $(
                #[doc = concat!("An error with code [`ReplyCode::", stringify!($code), "`].")]
                #[must_use]
                pub fn $name(text: impl Into<Cow<'static, str>>) -> Self {
                    Self::new(ReplyCode::$code, text)
                }
            )*
        }
    };
}

constructors! {
    access_refused => AccessRefused,
    channel_error => ChannelError,
    command_invalid => CommandInvalid,
    connection_forced => ConnectionForced,
    frame_error => FrameError,
    internal_error => InternalError,
    not_allowed => NotAllowed,
    not_found => NotFound,
    not_implemented => NotImplemented,
    precondition_failed => PreconditionFailed,
    resource_error => ResourceError,
    resource_locked => ResourceLocked,
    syntax_error => SyntaxError,
    unexpected_frame => UnexpectedFrame,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_codes_close_the_channel_and_hard_codes_the_connection() {
        for code in [
            ReplyCode::AccessRefused,
            ReplyCode::NotFound,
            ReplyCode::ResourceLocked,
            ReplyCode::PreconditionFailed,
        ] {
            assert_eq!(code.default_scope(), Scope::Channel, "{code:?}");
        }
        for code in [
            ReplyCode::FrameError,
            ReplyCode::NotAllowed,
            ReplyCode::ConnectionForced,
            ReplyCode::InvalidPath,
        ] {
            assert_eq!(code.default_scope(), Scope::Connection, "{code:?}");
        }
    }

    #[test]
    fn reply_text_opens_with_the_name_and_is_cut_at_255_bytes() {
        let text = AmqpError::not_found("no queue 'x' in vhost '/'").reply_text();
        assert_eq!(text, "NOT_FOUND - no queue 'x' in vhost '/'");
        // "NOT_FOUND - " is 12 bytes; two-byte characters then end at an even offset, so 254 is the last boundary.
        assert_eq!(AmqpError::not_found("é".repeat(200)).reply_text().len(), 254);
        assert_eq!(AmqpError::not_found("e".repeat(400)).reply_text().len(), 255);
    }

    #[test]
    fn control_characters_are_escaped_for_the_log_but_not_on_the_wire() {
        let error = AmqpError::not_found("no exchange 'a\r\nb\u{1b}[31m\u{7f}\u{85}é\\\'\"' in vhost '/'");
        let logged = "404 NOT_FOUND - no exchange 'a\\r\\nb\\u{1b}[31m\\u{7f}\\u{85}é\\\'\"' in vhost '/'";
        assert_eq!(error.to_string(), logged);
        assert_eq!(
            error.reply_text(),
            "NOT_FOUND - no exchange 'a\r\nb\u{1b}[31m\u{7f}\u{85}é\\\'\"' in vhost '/'"
        );
    }
}
