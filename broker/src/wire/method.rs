//! Methods: the payload of a method frame to a [`Method`].
//!
//! The four methods that come with every message are parsed here, without allocating. For all others a table of argument
//! layouts checks lengths, text and field tables first, so that amq-protocol's parser only ever sees what it can take.
//! Whether a method may come now, or from a client at all, is the session's to judge, which calls this.

use amq_protocol::protocol::{AMQPClass, parse_class};

use self::Argument::{Long, LongLong, LongString, Octet, Short, ShortString, Table};
use super::cursor::Cursor;
use super::frame::{TYPE_METHOD, malformed, numbered};
use super::table::{check_table, malformed_utf8};
use crate::error::AmqpError;

/// A method as the session wants it.
#[derive(Debug, Clone, PartialEq)]
pub enum Method<'a> {
    /// `basic.publish`.
    Publish(BasicPublish<'a>),
    /// `basic.ack`.
    Ack {
        /// Which delivery.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
    },
    /// `basic.nack`.
    Nack {
        /// Which delivery.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
        /// Back to the queue rather than away.
        requeue: bool,
    },
    /// `basic.reject`.
    Reject {
        /// Which delivery.
        delivery_tag: u64,
        /// Back to the queue rather than away.
        requeue: bool,
    },
    /// Any other, also those that only a server may send.
    Other(Box<AMQPClass>),
}

/// The arguments of `basic.publish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicPublish<'a> {
    /// The exchange's name, empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// Whether an unroutable message comes back.
    pub mandatory: bool,
    /// Whether a message that no consumer waits for comes back; not implemented by anybody.
    pub immediate: bool,
}

const ID_BYTES: usize = 4;
const CLASS_BASIC: u16 = 60;

/// The class and method of a method frame, 0 where its payload is too short to tell.
#[must_use]
pub fn ids(payload: &[u8]) -> (u16, u16) {
    match *payload {
        [c1, c0, m1, m0, ..] => (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])),
        [c1, c0, ..] => (u16::from_be_bytes([c1, c0]), 0),
        _ => (0, 0),
    }
}

/// Parses the payload of a method frame.
///
/// # Errors
///
/// All of them end the connection and name the method:
/// 501 FRAME_ERROR for arguments that are too short or too long, and for names that are not UTF-8;
/// 502 SYNTAX_ERROR for malformed field tables;
/// 503 COMMAND_INVALID for a method that does not exist. RabbitMQ drops the socket then; 503 is what it answers to methods
/// that exist but that no client may send.
#[inline]
pub fn parse(payload: &[u8]) -> Result<Method<'_>, AmqpError> {
    let (class_id, method_id) = ids(payload);
    let Some(arguments) = payload.get(ID_BYTES..) else {
        return Err(malformed(TYPE_METHOD, payload, "unknown_frame"));
    };
    let parsed = match (class_id, method_id) {
        (CLASS_BASIC, 40) => parse_publish(arguments),
        (CLASS_BASIC, 80) => parse_settlement(arguments)
            .map(|(delivery_tag, bits)| Method::Ack { delivery_tag, multiple: bits & 1 != 0 }),
        (CLASS_BASIC, 90) => parse_settlement(arguments)
            .map(|(delivery_tag, bits)| Method::Reject { delivery_tag, requeue: bits & 1 != 0 }),
        (CLASS_BASIC, 120) => parse_settlement(arguments).map(|(delivery_tag, bits)| Method::Nack {
            delivery_tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }),
        _ => parse_other(payload, class_id, method_id),
    };
    parsed.map_err(|error| error.at(class_id, method_id))
}

#[inline]
fn parse_publish(arguments: &[u8]) -> Result<Method<'_>, AmqpError> {
    let mut cursor = Cursor::new(arguments);
    let mut parts = || {
        let _ticket = cursor.short()?;
        Some((cursor.short_string()?, cursor.short_string()?, cursor.octet()?))
    };
    let Some((exchange, routing_key, bits)) = parts().filter(|_| cursor.is_empty()) else {
        return Err(undecodable(arguments));
    };
    let (Ok(exchange), Ok(routing_key)) = (std::str::from_utf8(exchange), std::str::from_utf8(routing_key))
    else {
        // RabbitMQ takes any bytes here and in binding keys, and checks only names that it creates. Ours are text
        // throughout; no client library sends anything else.
        return Err(malformed_utf8());
    };
    Ok(Method::Publish(BasicPublish {
        exchange,
        routing_key,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    }))
}

/// The arguments that ack, nack and reject share: a delivery tag and an octet of bits.
#[inline]
fn parse_settlement(arguments: &[u8]) -> Result<(u64, u8), AmqpError> {
    let mut cursor = Cursor::new(arguments);
    match (cursor.long_long(), cursor.octet(), cursor.is_empty()) {
        (Some(delivery_tag), Some(bits), true) => Ok((delivery_tag, bits)),
        _ => Err(undecodable(arguments)),
    }
}

fn parse_other(payload: &[u8], class_id: u16, method_id: u16) -> Result<Method<'_>, AmqpError> {
    let Some(layout) = layout(class_id, method_id) else {
        return Err(AmqpError::command_invalid(format!("unknown method {class_id}.{method_id}")));
    };
    let arguments = &payload[ID_BYTES..];
    check_arguments(layout, arguments)?;
    match parse_class(payload) {
        Ok(([], method)) => Ok(Method::Other(Box::new(method))),
        _ => {
            debug_assert!(false, "method {class_id}.{method_id} passed the check but not the parser");
            Err(undecodable(arguments))
        }
    }
}

/// The type of an argument on the wire. Up to eight bits in a row share one octet.
#[derive(Clone, Copy)]
enum Argument {
    Octet,
    Short,
    Long,
    LongLong,
    ShortString,
    LongString,
    Table,
}

/// The arguments of every method but the four hot ones, in the order of the wire.
fn layout(class_id: u16, method_id: u16) -> Option<&'static [Argument]> {
    Some(match class_id {
        10 => connection_layout(method_id)?,
        20 => match method_id {
            10 => &[ShortString],
            11 => &[LongString],
            20 | 21 => &[Octet],
            40 => &[Short, ShortString, Short, Short],
            41 => &[],
            _ => return None,
        },
        30 => match method_id {
            10 => &[ShortString, Octet],
            11 => &[Short],
            _ => return None,
        },
        40 => match method_id {
            10 => &[Short, ShortString, ShortString, Octet, Table],
            20 => &[Short, ShortString, Octet],
            30 | 40 => &[Short, ShortString, ShortString, ShortString, Octet, Table],
            11 | 21 | 31 | 51 => &[],
            _ => return None,
        },
        50 => queue_layout(method_id)?,
        60 => basic_layout(method_id)?,
        85 => match method_id {
            10 => &[Octet],
            11 => &[],
            _ => return None,
        },
        90 => match method_id {
            10 | 11 | 20 | 21 | 30 | 31 => &[],
            _ => return None,
        },
        _ => return None,
    })
}

fn connection_layout(method_id: u16) -> Option<&'static [Argument]> {
    Some(match method_id {
        10 => &[Octet, Octet, Table, LongString, LongString],
        11 => &[Table, ShortString, LongString, ShortString],
        20 | 21 => &[LongString],
        30 | 31 => &[Short, Long, Short],
        40 => &[ShortString, ShortString, Octet],
        41 | 60 => &[ShortString],
        50 => &[Short, ShortString, Short, Short],
        70 => &[LongString, ShortString],
        51 | 61 | 71 => &[],
        _ => return None,
    })
}

fn queue_layout(method_id: u16) -> Option<&'static [Argument]> {
    Some(match method_id {
        10 => &[Short, ShortString, Octet, Table],
        11 => &[ShortString, Long, Long],
        20 => &[Short, ShortString, ShortString, ShortString, Octet, Table],
        30 | 40 => &[Short, ShortString, Octet],
        31 | 41 => &[Long],
        50 => &[Short, ShortString, ShortString, ShortString, Table],
        21 | 51 => &[],
        _ => return None,
    })
}

fn basic_layout(method_id: u16) -> Option<&'static [Argument]> {
    Some(match method_id {
        10 => &[Long, Short, Octet],
        20 => &[Short, ShortString, ShortString, Octet, Table],
        21 | 31 | 72 => &[ShortString],
        30 => &[ShortString, Octet],
        50 => &[Short, ShortString, ShortString, ShortString],
        60 => &[ShortString, LongLong, Octet, ShortString, ShortString],
        70 => &[Short, ShortString, Octet],
        71 => &[LongLong, Octet, ShortString, ShortString, Long],
        100 | 110 => &[Octet],
        11 | 111 => &[],
        _ => return None,
    })
}

/// Checks that `arguments` are exactly of this layout, with text where there is to be text and tables that are whole.
fn check_arguments(layout: &[Argument], arguments: &[u8]) -> Result<(), AmqpError> {
    let mut cursor = Cursor::new(arguments);
    for argument in layout {
        let taken = match argument {
            Octet => cursor.take(1),
            Short => cursor.take(2),
            Long => cursor.take(4),
            LongLong => cursor.take(8),
            LongString => cursor.long_string(),
            ShortString => {
                let text = cursor.short_string();
                if text.is_some_and(|text| std::str::from_utf8(text).is_err()) {
                    return Err(malformed_utf8());
                }
                text
            }
            Table => {
                let table = cursor.rest();
                let whole = cursor.long_string();
                if whole.is_some() {
                    check_table(table)?;
                }
                whole
            }
        };
        if taken.is_none() {
            return Err(undecodable(arguments));
        }
    }
    if cursor.is_empty() { Ok(()) } else { Err(undecodable(arguments)) }
}

/// The error for arguments that end too early or too late, with RabbitMQ's words.
#[cold]
fn undecodable(arguments: &[u8]) -> AmqpError {
    // Of more than this many numbers not even the commas fit into a reply text.
    let shown = arguments.get(..256).unwrap_or(arguments);
    AmqpError::frame_error(format!("cannot decode {}", numbered(shown)))
}

#[cfg(test)]
mod tests;
