//! Content headers and the basic properties in them, read in place.
//!
//! A message's properties stay the bytes that arrived; [`Properties`] is a view that knows where the few lie that the
//! broker has rules for. It has checked all of them once, so that nothing malformed is stored or handed on. The `with_*`
//! functions make new property bytes with one of them changed and all others byte for byte as they were. Used by the
//! session, the engine and the server; no rule about what a property means lives here.

use std::ops::Range;

use amq_protocol::types::FieldTable;

use super::cursor::Cursor;
use super::frame::{TYPE_HEADER, malformed};
use super::table::{check_table, decode_table, encode_table, fields, malformed_utf8};
use crate::error::AmqpError;

mod all;
mod build;

pub use all::to_table;
pub use build::from_table;

const CLASS_BASIC: u16 = 60;
const METHOD_PUBLISH: u16 = 40;
/// Class, weight and body size, in front of the properties.
const CONTENT_HEADER_BYTES: usize = 12;
/// The property flags.
const FLAGS_BYTES: usize = 2;
/// "Another flag word follows": basic has 14 properties, so none does.
const FLAG_CONTINUATION: u16 = 1;

/// The payload of a content header frame.
#[derive(Debug, Clone, Copy)]
pub struct ContentHeader<'a> {
    /// How many bytes of body follow.
    pub body_bytes: u64,
    /// The properties.
    pub properties: Properties<'a>,
}

/// Parses the payload of a content header frame.
///
/// # Errors
///
/// All of them end the connection: 501 FRAME_ERROR if it is too short, 505 UNEXPECTED_FRAME if it is not for a published
/// message, and those of [`Properties::parse`].
#[inline]
pub fn parse_content_header(payload: &[u8]) -> Result<ContentHeader<'_>, AmqpError> {
    let Some((head, properties)) = payload.split_first_chunk::<CONTENT_HEADER_BYTES>() else {
        return Err(malformed(TYPE_HEADER, payload, "unknown_frame"));
    };
    let [c1, c0, w1, w0, body_bytes @ ..] = *head;
    check_class(u16::from_be_bytes([c1, c0]), u16::from_be_bytes([w1, w0]))?;
    Ok(ContentHeader {
        body_bytes: u64::from_be_bytes(body_bytes),
        properties: Properties::parse(properties).map_err(|error| error.at(CLASS_BASIC, METHOD_PUBLISH))?,
    })
}

/// Refuses what RabbitMQ refuses, in its words.
#[inline]
fn check_class(class_id: u16, weight: u16) -> Result<(), AmqpError> {
    let got = match (class_id, weight) {
        (CLASS_BASIC, 0) => return Ok(()),
        (_, 0) => format!("one for class {class_id}"),
        _ => "non content header frame".to_owned(),
    };
    let text = format!("expected content header for class {CLASS_BASIC}, got {got} instead");
    Err(AmqpError::unexpected_frame(text).at(CLASS_BASIC, METHOD_PUBLISH))
}

/// The properties in the order of their flags, from the highest bit down, which is also their order on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Property {
    ContentType,
    ContentEncoding,
    Headers,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
    ClusterId,
}

use self::Property as P;

impl Property {
    const ALL: [Self; 14] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::Headers,
        Self::DeliveryMode,
        Self::Priority,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Expiration,
        Self::MessageId,
        Self::Timestamp,
        Self::Type,
        Self::UserId,
        Self::AppId,
        Self::ClusterId,
    ];

    const fn flag(self) -> u16 {
        1 << (15 - self as u16)
    }
}

/// Whether well-formed properties have an expiration. Looks at the flags only.
#[inline]
#[must_use]
pub fn has_expiration(properties: &[u8]) -> bool {
    properties.first_chunk().is_some_and(|&flags| u16::from_be_bytes(flags) & P::Expiration.flag() != 0)
}

/// A view of well-formed property flags and the list behind them.
#[derive(Debug, Clone, Copy)]
pub struct Properties<'a> {
    raw: &'a [u8],
    headers: Option<&'a [u8]>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    correlation_id: Option<&'a [u8]>,
    reply_to: Option<&'a str>,
    expiration: Option<&'a str>,
    message_id: Option<&'a [u8]>,
    timestamp: Option<u64>,
    user_id: Option<&'a str>,
}

impl<'a> Properties<'a> {
    /// Reads the property flags and list that make up the whole of `bytes`.
    ///
    /// # Errors
    ///
    /// All of them end the connection: 502 SYNTAX_ERROR for properties that are cut off, left over or malformed (RabbitMQ
    /// fails with 541 then), and 501 FRAME_ERROR for a user-id, expiration, reply-to or header name that is not UTF-8. The
    /// other texts are the applications' own; like RabbitMQ we let them hold any bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AmqpError> {
        let mut cursor = Cursor::new(bytes);
        let flags = cursor.short().ok_or_else(malformed_properties)?;
        if flags & FLAG_CONTINUATION != 0 {
            return Err(malformed_properties());
        }
        let mut list = PropertyList { flags, cursor };
        list.text(P::ContentType)?;
        list.text(P::ContentEncoding)?;
        let view = Self {
            raw: bytes,
            headers: list.table(P::Headers)?,
            delivery_mode: list.octet(P::DeliveryMode)?,
            priority: list.octet(P::Priority)?,
            correlation_id: list.text(P::CorrelationId)?,
            reply_to: list.utf8(P::ReplyTo)?,
            expiration: list.utf8(P::Expiration)?,
            message_id: list.text(P::MessageId)?,
            timestamp: list.long_long(P::Timestamp)?,
            user_id: {
                list.text(P::Type)?;
                list.utf8(P::UserId)?
            },
        };
        list.text(P::AppId)?;
        list.text(P::ClusterId)?;
        if list.cursor.is_empty() { Ok(view) } else { Err(malformed_properties()) }
    }

    /// The flags and the list, as they came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// 1 for transient, 2 for persistent.
    #[must_use]
    pub fn delivery_mode(&self) -> Option<u8> {
        self.delivery_mode
    }

    /// The priority.
    #[must_use]
    pub fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// How long the message may wait, as the publisher wrote it.
    #[must_use]
    pub fn expiration(&self) -> Option<&'a str> {
        self.expiration
    }

    /// Who the publisher says it is.
    #[must_use]
    pub fn user_id(&self) -> Option<&'a str> {
        self.user_id
    }

    /// Where an answer is to go.
    #[must_use]
    pub fn reply_to(&self) -> Option<&'a str> {
        self.reply_to
    }

    /// The application's correlation id: any bytes.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.correlation_id
    }

    /// The application's message id: any bytes.
    #[must_use]
    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.message_id
    }

    /// The application's time stamp, in seconds.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }

    /// The header table as it came, its length included.
    #[must_use]
    pub fn headers_bytes(&self) -> Option<&'a [u8]> {
        self.headers
    }

    /// The header table, decoded.
    #[must_use]
    pub fn headers(&self) -> Option<FieldTable> {
        // `parse` has checked the table, and what the check lets through the parser takes.
        self.headers.and_then(|table| decode_table(table).ok())
    }

    /// Whether the header table has a field of this name. Allocates nothing.
    #[must_use]
    pub fn has_header(&self, name: &[u8]) -> bool {
        self.headers.is_some_and(|table| fields(table).any(|field| field.name == name))
    }
}

/// Reads a property list from its front to its end; each step takes its property if the flags have it.
struct PropertyList<'a> {
    flags: u16,
    cursor: Cursor<'a>,
}

impl<'a> PropertyList<'a> {
    #[inline]
    fn step<T>(
        &mut self,
        property: Property,
        read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
    ) -> Result<Option<T>, AmqpError> {
        if self.flags & property.flag() == 0 {
            return Ok(None);
        }
        match read(&mut self.cursor) {
            Some(value) => Ok(Some(value)),
            None => Err(malformed_properties()),
        }
    }

    #[inline]
    fn octet(&mut self, property: Property) -> Result<Option<u8>, AmqpError> {
        self.step(property, Cursor::octet)
    }

    #[inline]
    fn long_long(&mut self, property: Property) -> Result<Option<u64>, AmqpError> {
        self.step(property, Cursor::long_long)
    }

    #[inline]
    fn text(&mut self, property: Property) -> Result<Option<&'a [u8]>, AmqpError> {
        self.step(property, Cursor::short_string)
    }

    #[inline]
    fn utf8(&mut self, property: Property) -> Result<Option<&'a str>, AmqpError> {
        match self.text(property)?.map(std::str::from_utf8).transpose() {
            Ok(text) => Ok(text),
            Err(_) => Err(malformed_utf8()),
        }
    }

    #[inline]
    fn table(&mut self, property: Property) -> Result<Option<&'a [u8]>, AmqpError> {
        if self.flags & property.flag() == 0 {
            return Ok(None);
        }
        let table_bytes = check_table(self.cursor.rest())?;
        Ok(self.cursor.take(table_bytes))
    }

    /// Passes over a property.
    fn skip(&mut self, property: Property) -> Result<(), AmqpError> {
        match property {
            P::Headers => self.table(property).map(drop),
            P::DeliveryMode | P::Priority => self.octet(property).map(drop),
            P::Timestamp => self.long_long(property).map(drop),
            _ => self.text(property).map(drop),
        }
    }
}

#[cold]
fn malformed_properties() -> AmqpError {
    AmqpError::syntax_error("malformed basic properties")
}

/// The same properties with another reply-to, all else byte for byte.
///
/// # Errors
///
/// Those of [`Properties::parse`], and 502 SYNTAX_ERROR if `reply_to` is no short string.
pub fn with_reply_to(properties: &[u8], reply_to: &str) -> Result<Vec<u8>, AmqpError> {
    let Ok(length) = u8::try_from(reply_to.len()) else {
        return Err(AmqpError::syntax_error("reply-to is longer than 255 bytes"));
    };
    let mut value = vec![length];
    value.extend_from_slice(reply_to.as_bytes());
    replace(properties, P::ReplyTo, &value)
}

/// The same properties with another header table, all else byte for byte. An empty table is written as such.
///
/// # Errors
///
/// Those of [`Properties::parse`].
pub fn with_headers(properties: &[u8], headers: &FieldTable) -> Result<Vec<u8>, AmqpError> {
    replace(properties, P::Headers, &encode_table(headers))
}

/// The same properties with another header table, given as its bytes.
///
/// # Errors
///
/// Those of [`Properties::parse`].
pub fn with_header_bytes(properties: &[u8], headers: &[u8]) -> Result<Vec<u8>, AmqpError> {
    replace(properties, P::Headers, headers)
}

/// The properties of an event: headers, delivery-mode 2 and a timestamp in seconds.
///
/// # Errors
///
/// Those of [`Properties::parse`].
pub fn for_event(headers: &FieldTable, timestamp_s: u64) -> Result<Vec<u8>, AmqpError> {
    const NONE: [u8; FLAGS_BYTES] = [0; FLAGS_BYTES];
    let properties = replace(&NONE, P::DeliveryMode, &[2])?;
    let properties = replace(&properties, P::Timestamp, &timestamp_s.to_be_bytes())?;
    with_headers(&properties, headers)
}

/// The same properties without any header of this name, all else byte for byte. A table that it leaves empty stays.
///
/// # Errors
///
/// Those of [`Properties::parse`].
pub fn without_header(properties: &[u8], name: &str) -> Result<Vec<u8>, AmqpError> {
    let view = Properties::parse(properties)?;
    let Some(table) = view.headers_bytes().filter(|_| view.has_header(name.as_bytes())) else {
        return Ok(properties.to_vec());
    };
    let mut value = vec![0; 4];
    for field in fields(table).filter(|field| field.name != name.as_bytes()) {
        value.extend_from_slice(field.bytes);
    }
    let length = u32::try_from(value.len() - 4).expect("a part of a table is shorter than the table");
    value[..4].copy_from_slice(&length.to_be_bytes());
    replace(properties, P::Headers, &value)
}

/// The same properties with another header table, given as its bytes, and without expiration.
///
/// # Errors
///
/// Those of [`Properties::parse`].
pub fn buried(properties: &[u8], headers: &[u8]) -> Result<Vec<u8>, AmqpError> {
    let with_headers = replace(properties, P::Headers, headers)?;
    let (flags, Range { start, end }) = place_of(&with_headers, P::Expiration)?;
    let flags = flags & !P::Expiration.flag();
    Ok([&flags.to_be_bytes(), &with_headers[FLAGS_BYTES..start], &with_headers[end..]].concat())
}

/// The same properties with one of them set to `value`, as it is to lie on the wire.
fn replace(properties: &[u8], property: Property, value: &[u8]) -> Result<Vec<u8>, AmqpError> {
    Properties::parse(properties)?;
    let (flags, Range { start, end }) = place_of(properties, property)?;
    let flags = flags | property.flag();
    Ok([&flags.to_be_bytes(), &properties[FLAGS_BYTES..start], value, &properties[end..]].concat())
}

/// The flags, and where a property lies or, if it is absent, would lie.
fn place_of(properties: &[u8], property: Property) -> Result<(u16, Range<usize>), AmqpError> {
    let mut cursor = Cursor::new(properties);
    let flags = cursor.short().ok_or_else(malformed_properties)?;
    let mut list = PropertyList { flags, cursor };
    for before in P::ALL.into_iter().take_while(|&before| before < property) {
        list.skip(before)?;
    }
    let start = properties.len() - list.cursor.rest().len();
    list.skip(property)?;
    Ok((flags, start..properties.len() - list.cursor.rest().len()))
}

#[cfg(test)]
mod tests;
