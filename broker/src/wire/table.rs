//! Field tables: the guard that runs before amq-protocol's recursive table parser, and the way through both.
//!
//! [`check_table`] walks a table without recursion and without allocating, on a stack of
//! [`TABLE_DEPTH_MAX`](crate::limits::TABLE_DEPTH_MAX) entries, so that a table nested ten thousand deep costs the peer
//! its connection and not us our stack. What it lets through, the parser takes. Called for every table of every method
//! and message.

use amq_protocol::frame::WriteContext;
use amq_protocol::types::FieldTable;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;

use crate::error::AmqpError;
use crate::limits::TABLE_DEPTH_MAX;

/// The length in front of tables, arrays and long strings.
const LENGTH_BYTES: usize = 4;

// One bit of a u64 tells of each open container whether it is a table.
const _: () = assert!(TABLE_DEPTH_MAX <= 64);

/// Checks the table at the front of `bytes` and tells how many bytes it takes up, its length included.
///
/// # Errors
///
/// 502 SYNTAX_ERROR for an unknown field type, a length that exceeds its container, or too deep nesting; 501 FRAME_ERROR
/// for a name that is not UTF-8. RabbitMQ drops the socket without a word in the first three cases.
pub fn check_table(bytes: &[u8]) -> Result<usize, AmqpError> {
    let end = end_of_sized(bytes, 0, bytes.len()).ok_or_else(lying_length)?;
    if end == LENGTH_BYTES {
        return Ok(end);
    }
    let mut open = OpenContainers::new(end);
    let mut at = LENGTH_BYTES;
    loop {
        while at == open.end() {
            if !open.close() {
                return Ok(end);
            }
        }
        if open.is_table() {
            at = end_of_name(bytes, at, open.end())?;
        }
        if at == open.end() {
            return Err(lying_length());
        }
        let kind = bytes[at];
        at += 1;
        let value_end = end_of_value(kind, bytes, at, open.end())?;
        if let b'A' | b'F' = kind {
            open.open(value_end, kind == b'F')?;
            at += LENGTH_BYTES;
        } else {
            at = value_end;
        }
    }
}

/// Decodes the table at the front of `bytes`, after checking it.
///
/// Names come out in alphabetical order; of several fields with one name the last one counts.
///
/// # Errors
///
/// As [`check_table`].
pub fn decode_table(bytes: &[u8]) -> Result<FieldTable, AmqpError> {
    let table_bytes = check_table(bytes)?;
    match parse_field_table(&bytes[..table_bytes]) {
        Ok((_, table)) => Ok(table),
        Err(_) => Err(AmqpError::syntax_error("malformed field table")),
    }
}

/// The bytes of a table, its length included.
#[must_use]
pub fn encode_table(table: &FieldTable) -> Vec<u8> {
    let context = gen_field_table(table)(WriteContext::from(Vec::new())).expect("a Vec takes every write");
    context.into_inner().0
}

/// The tables and arrays that a position lies in, innermost last.
struct OpenContainers {
    ends: [usize; TABLE_DEPTH_MAX],
    tables: u64,
    innermost: usize,
}

impl OpenContainers {
    fn new(table_end: usize) -> Self {
        let mut ends = [0; TABLE_DEPTH_MAX];
        ends[0] = table_end;
        Self { ends, tables: 1, innermost: 0 }
    }

    fn end(&self) -> usize {
        self.ends[self.innermost]
    }

    fn is_table(&self) -> bool {
        self.tables >> self.innermost & 1 == 1
    }

    fn open(&mut self, end: usize, is_table: bool) -> Result<(), AmqpError> {
        self.innermost += 1;
        let Some(slot) = self.ends.get_mut(self.innermost) else {
            return Err(AmqpError::syntax_error(format!(
                "field table nests deeper than {TABLE_DEPTH_MAX} levels"
            )));
        };
        *slot = end;
        let bit = 1 << self.innermost;
        self.tables = if is_table { self.tables | bit } else { self.tables & !bit };
        Ok(())
    }

    /// Leaves the innermost container; `false` if it was the outermost, too.
    fn close(&mut self) -> bool {
        let nested = self.innermost > 0;
        self.innermost = self.innermost.saturating_sub(1);
        nested
    }
}

/// The name and the bytes from the type octet on of every field of a checked table, not going into nested ones.
pub(super) fn fields(table: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = LENGTH_BYTES;
    std::iter::from_fn(move || {
        let start = at;
        let name_end = start + 1 + usize::from(*table.get(start)?);
        let kind = *table.get(name_end)?;
        at = end_of_value(kind, table, name_end + 1, table.len()).ok()?;
        Some(Field { name: &table[start + 1..name_end], bytes: &table[start..at] })
    })
}

/// A field of a table as it lies on the wire.
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    /// Name, type and value.
    pub(super) bytes: &'a [u8],
}

fn end_of_name(bytes: &[u8], at: usize, container_end: usize) -> Result<usize, AmqpError> {
    let end = at + 1 + usize::from(bytes[at]);
    if end > container_end {
        return Err(lying_length());
    }
    match std::str::from_utf8(&bytes[at + 1..end]) {
        Ok(_) => Ok(end),
        Err(_) => Err(malformed_utf8()),
    }
}

/// Where the value that begins at `at`, behind its type octet `kind`, ends.
fn end_of_value(kind: u8, bytes: &[u8], at: usize, container_end: usize) -> Result<usize, AmqpError> {
    // The types of RabbitMQ's parser. The specification's `U`, and its `s` for short strings, are not among them.
    let end = match kind {
        b'S' | b'x' | b'A' | b'F' => end_of_sized(bytes, at, container_end),
        b'V' => Some(at),
        b't' | b'b' | b'B' => Some(at + 1),
        b's' | b'u' => Some(at + 2),
        b'I' | b'i' | b'f' => Some(at + 4),
        b'D' => Some(at + 5),
        b'l' | b'L' | b'd' | b'T' => Some(at + 8),
        _ => return Err(unknown_type(kind)),
    };
    end.filter(|&end| end <= container_end).ok_or_else(lying_length)
}

/// Where something with its length in front ends, if that is within its container.
fn end_of_sized(bytes: &[u8], at: usize, container_end: usize) -> Option<usize> {
    let inside = bytes.get(at..container_end)?;
    let (length, content) = inside.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_be_bytes(*length) as usize;
    (length <= content.len()).then(|| at + LENGTH_BYTES + length)
}

#[cold]
fn lying_length() -> AmqpError {
    AmqpError::syntax_error("a field table's contents exceed its length")
}

#[cold]
fn unknown_type(kind: u8) -> AmqpError {
    AmqpError::syntax_error(format!("unknown field table type {kind}"))
}

/// For names that are no text, with RabbitMQ's words.
#[cold]
pub(super) fn malformed_utf8() -> AmqpError {
    AmqpError::frame_error("Malformed UTF-8 in shortstr")
}
