//! Field tables: the guard that runs before amq-protocol's recursive table parser, and the way through both.
//!
//! [`check_table`] walks a table without recursion and without allocating, on a stack of
//! [`TABLE_DEPTH_MAX`] entries, so that a table nested ten thousand deep costs the peer
//! its connection and not us our stack. What it lets through, the parser takes. Called for every table of every method
//! and message.

use amq_protocol::frame::WriteContext;
use amq_protocol::types::FieldTable;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;

use crate::error::AmqpError;
use crate::limits::TABLE_DEPTH_MAX;

mod writer;

pub use writer::TableWriter;

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
        Err(_) => {
            debug_assert!(false, "a table passed the check but not the parser");
            Err(AmqpError::syntax_error("malformed field table"))
        }
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

/// The fields of a checked table with its length in front, in order, not going into nested ones.
pub fn fields(table: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = LENGTH_BYTES;
    std::iter::from_fn(move || {
        let start = at;
        let name_end = start + 1 + usize::from(*table.get(start)?);
        let kind = *table.get(name_end)?;
        at = end_of_value(kind, table, name_end + 1, table.len()).ok()?;
        Some(Field { name: &table[start + 1..name_end], bytes: &table[start..at] })
    })
}

/// The values of a checked array with its length in front: the type octet and what follows it.
pub fn elements(array: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = LENGTH_BYTES;
    std::iter::from_fn(move || {
        let kind = *array.get(at)?;
        let start = at + 1;
        at = end_of_value(kind, array, start, array.len()).ok()?;
        Some((kind, &array[start..at]))
    })
}

/// A field of a table as it lies on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Name, type and value.
    pub bytes: &'a [u8],
}

impl<'a> Field<'a> {
    /// The type octet.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes[1 + self.name.len()]
    }

    /// The value behind the type octet; of texts, tables and arrays the length in front is a part.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        &self.bytes[2 + self.name.len()..]
    }

    /// The text, if it is a long string.
    #[must_use]
    pub fn text(&self) -> Option<&'a [u8]> {
        (self.kind() == b'S').then(|| &self.value()[LENGTH_BYTES..])
    }
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

#[cfg(test)]
mod tests {
    use amq_protocol::types::AMQPValue;
    use proptest::prelude::*;

    use super::*;

    /// `content` with its length in front.
    fn sized(content: &[u8]) -> Vec<u8> {
        [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
        [&[u8::try_from(name.len()).unwrap()], name, value].concat()
    }

    /// A table of `depth` tables, each inside the one before.
    fn nested_tables(depth: usize) -> Vec<u8> {
        // From the outside in, because building 100,000 of them from the inside out copies gigabytes.
        let mut bytes = Vec::new();
        for level in 0..depth {
            // Each level below adds a name's length, a type and a length.
            let inside = u32::try_from((depth - 1 - level) * 6).unwrap();
            bytes.extend_from_slice(&inside.to_be_bytes());
            if level + 1 < depth {
                bytes.extend_from_slice(&[0, b'F']);
            }
        }
        bytes
    }

    fn nested_arrays(depth: usize) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 1..depth {
            value = [b"A".as_slice(), &sized(&value)].concat();
        }
        sized(&if value.is_empty() { value } else { field(b"", &value) })
    }

    /// One value of every type, as type octet and bytes.
    fn values() -> Vec<(Vec<u8>, AMQPValue)> {
        let value = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        vec![
            (value(b't', &[1]), AMQPValue::Boolean(true)),
            (value(b'b', &[0xFF]), AMQPValue::ShortShortInt(-1)),
            (value(b'B', &[0xFF]), AMQPValue::ShortShortUInt(255)),
            (value(b's', &[0xFF, 0xFE]), AMQPValue::ShortInt(-2)),
            (value(b'u', &[0xFF, 0xFE]), AMQPValue::ShortUInt(65534)),
            (value(b'I', &[0xFF, 0xFF, 0xFF, 0xFD]), AMQPValue::LongInt(-3)),
            (value(b'i', &[0xFF, 0xFF, 0xFF, 0xFD]), AMQPValue::LongUInt(4_294_967_293)),
            (value(b'l', &(-4_i64).to_be_bytes()), AMQPValue::LongLongInt(-4)),
            (value(b'L', &(-5_i64).to_be_bytes()), AMQPValue::LongLongInt(-5)),
            (value(b'f', &1.5_f32.to_be_bytes()), AMQPValue::Float(1.5)),
            (value(b'd', &2.5_f64.to_be_bytes()), AMQPValue::Double(2.5)),
            (
                value(b'D', &[2, 0, 0, 0, 7]),
                AMQPValue::DecimalValue(amq_protocol::types::DecimalValue { scale: 2, value: 7 }),
            ),
            (value(b'S', &sized(b"\xFFtext")), AMQPValue::LongString(b"\xFFtext".to_vec().into())),
            (value(b'A', &sized(b"VV")), AMQPValue::FieldArray(vec![AMQPValue::Void; 2].into())),
            (value(b'T', &9_u64.to_be_bytes()), AMQPValue::Timestamp(9)),
            (value(b'F', &sized(&[])), AMQPValue::FieldTable(FieldTable::default())),
            (value(b'V', &[]), AMQPValue::Void),
            (value(b'x', &sized(&[0, 1])), AMQPValue::ByteArray(vec![0, 1].into())),
        ]
    }

    #[test]
    fn every_type_of_rabbitmq_is_taken_in_tables_and_in_arrays() {
        for (bytes, expected) in values() {
            let table = decode_table(&sized(&field(b"k", &bytes))).unwrap();
            assert_eq!(table.inner()["k"], expected);
            let array = [b"A".as_slice(), &sized(&bytes)].concat();
            let table = decode_table(&sized(&field(b"k", &array))).unwrap();
            assert_eq!(table.inner()["k"], AMQPValue::FieldArray(vec![expected].into()));
        }
    }

    #[test]
    fn every_other_type_octet_is_refused() {
        let known: Vec<u8> = values().iter().map(|(bytes, _)| bytes[0]).collect();
        for kind in (0..=255).filter(|kind| !known.contains(kind)) {
            for value in [[&[kind][..], &[0; 16]].concat(), [b"A", &sized(&[kind, 0, 0, 0, 0])[..]].concat()]
            {
                let error = check_table(&sized(&field(b"k", &value))).unwrap_err();
                assert_eq!(error.to_string(), format!("502 SYNTAX_ERROR - unknown field table type {kind}"));
            }
        }
    }

    #[test]
    fn every_cut_and_every_wrong_length_is_refused() {
        for (bytes, _) in values() {
            let whole = sized(&field(b"name", &bytes));
            for end in 0..whole.len() {
                assert!(check_table(&whole[..end]).is_err(), "{bytes:?} cut at {end}");
            }
            // The table's own length one short: the value reaches beyond it.
            let mut short = whole.clone();
            short[3] -= 1;
            assert!(check_table(&short).is_err(), "{bytes:?} in a table too short");
            // Bytes behind the table are not its business.
            let followed = [&whole[..], b"more"].concat();
            assert_eq!(check_table(&followed).unwrap(), whole.len());
            // A value's own length one too long.
            if let b'S' | b'x' | b'A' | b'F' = bytes[0] {
                let mut long = whole.clone();
                long[4 + 5 + 1 + 3] += 1;
                long.push(0);
                assert!(check_table(&long).is_err(), "{bytes:?} with a length too long");
            }
        }
    }

    #[test]
    fn a_nested_container_may_not_reach_beyond_the_one_around_it() {
        // With 3 it ends where it should; with 6 it takes in its neighbour, which is fine, too.
        let inner = [&[0, 0, 0, 7][..], &field(b"k", b"V")].concat();
        let table = sized(&[field(b"a", &[b"F", &inner[..]].concat()), field(b"b", b"V")].concat());
        assert!(check_table(&table).is_err());
        let array = sized(&field(b"a", &[b"A", &sized(&[b"S", &[0, 0, 0, 2, 1][..]].concat())[..]].concat()));
        assert!(check_table(&array).is_err());
    }

    #[test]
    fn names_are_text() {
        let error = check_table(&sized(&field(b"\xFF", b"V"))).unwrap_err();
        assert_eq!(error.to_string(), "501 FRAME_ERROR - Malformed UTF-8 in shortstr");
        let longest = [b'n'; 255];
        assert!(decode_table(&sized(&field(&longest, b"V"))).unwrap().contains_key("n".repeat(255).as_str()));
    }

    #[test]
    fn nesting_is_bounded() {
        for nested in [nested_tables, nested_arrays] {
            assert_eq!(check_table(&nested(TABLE_DEPTH_MAX)).unwrap(), nested(TABLE_DEPTH_MAX).len());
            assert!(decode_table(&nested(TABLE_DEPTH_MAX)).is_ok());
            for depth in [TABLE_DEPTH_MAX + 1, 1_000] {
                let error = check_table(&nested(depth)).unwrap_err();
                assert_eq!(error.to_string(), "502 SYNTAX_ERROR - field table nests deeper than 64 levels");
            }
        }
        assert!(decode_table(&nested_tables(100_000)).is_err());
    }

    #[test]
    fn siblings_do_not_count_as_nesting() {
        let many: Vec<u8> = (0..1_000).flat_map(|_| field(b"k", b"F\0\0\0\0")).collect();
        assert!(check_table(&sized(&many)).is_ok());
    }

    fn any_value() -> impl Strategy<Value = AMQPValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            Just(AMQPValue::Void),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5)
                    .prop_map(|values| AMQPValue::FieldArray(values.into())),
                prop::collection::btree_map("\\PC{0,20}", inner, 0..5).prop_map(|fields| {
                    AMQPValue::FieldTable(
                        fields
                            .into_iter()
                            .map(|(name, value)| (name.into(), value))
                            .collect::<std::collections::BTreeMap<_, _>>()
                            .into(),
                    )
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_amq_protocol_encodes_passes_and_comes_back(value in any_value()) {
            let mut table = FieldTable::default();
            table.insert("k".into(), value);
            let bytes = encode_table(&table);
            prop_assert_eq!(check_table(&bytes).unwrap(), bytes.len());
            prop_assert_eq!(decode_table(&bytes).unwrap(), table);
            prop_assert_eq!(fields(&bytes).count(), 1);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_passes_decodes(content: Vec<u8>) {
            let _ = decode_table(&content);
            let _ = decode_table(&sized(&content));
        }

        /// Damage to a good table, which gets further than noise does.
        #[test]
        fn damaged_tables_never_panic(value in any_value(), at: prop::sample::Index, to: u8) {
            let mut table = FieldTable::default();
            table.insert("k".into(), value);
            let mut bytes = encode_table(&table);
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = decode_table(&bytes);
        }
    }
}
