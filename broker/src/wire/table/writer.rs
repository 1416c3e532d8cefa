//! [`TableWriter`]: a field table written field by field, in the order of the calls.
//!
//! For tables that the broker makes itself where order matters or most fields are copied as they came. Called by the
//! engine.

use super::LENGTH_BYTES;

/// The bytes of a table in the making.
#[derive(Debug)]
pub struct TableWriter {
    bytes: Vec<u8>,
}

impl Default for TableWriter {
    fn default() -> Self {
        Self { bytes: vec![0; LENGTH_BYTES] }
    }
}

impl TableWriter {
    /// Adds a field as it lies in another table: name, type and value.
    pub fn copy(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
    }

    /// Adds a long string.
    pub fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        push_text(&mut self.bytes, value);
    }

    /// Adds a 64-bit integer.
    pub fn long(&mut self, name: &str, value: i64) {
        self.name(name);
        self.bytes.push(b'l');
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Adds a time in seconds since 1970.
    pub fn timestamp(&mut self, name: &str, seconds: u64) {
        self.name(name);
        self.bytes.push(b'T');
        self.bytes.extend_from_slice(&seconds.to_be_bytes());
    }

    /// Adds an array of long strings.
    pub fn texts<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a [u8]>) {
        self.array(name, |bytes| values.into_iter().for_each(|value| push_text(bytes, value)));
    }

    /// Adds an array of tables, each with its length in front.
    pub fn tables<'a>(&mut self, name: &str, tables: impl IntoIterator<Item = &'a [u8]>) {
        self.array(name, |bytes| {
            for table in tables {
                bytes.push(b'F');
                bytes.extend_from_slice(table);
            }
        });
    }

    /// The table, its length included.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        patch_length(&mut self.bytes, 0);
        self.bytes
    }

    fn name(&mut self, name: &str) {
        let length = u8::try_from(name.len()).expect("the broker's own names are short");
        self.bytes.push(length);
        self.bytes.extend_from_slice(name.as_bytes());
    }

    fn array(&mut self, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.bytes.push(b'A');
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        fill(&mut self.bytes);
        patch_length(&mut self.bytes, at);
    }
}

fn push_text(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.push(b'S');
    let at = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    bytes.extend_from_slice(value);
    patch_length(bytes, at);
}

/// Writes the length of all that follows it at `at`.
fn patch_length(bytes: &mut [u8], at: usize) {
    let length = u32::try_from(bytes.len() - at - LENGTH_BYTES).expect("a table fits one frame");
    bytes[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::{decode_table, elements, fields};

    #[test]
    fn what_is_written_is_a_table_in_the_order_of_writing() {
        let mut inner = TableWriter::default();
        inner.long("z", -1);
        inner.timestamp("a", 7);
        let inner = inner.finish();
        let mut table = TableWriter::default();
        table.text("text", b"value");
        table.tables("deaths", [&inner[..], &inner[..]]);
        table.texts("keys", [&b"one"[..], b""]);
        let bytes = table.finish();
        let names: Vec<&[u8]> = fields(&bytes).map(|field| field.name).collect();
        assert_eq!(names, [&b"text"[..], b"deaths", b"keys"]);
        let decoded = decode_table(&bytes).expect("is well-formed");
        assert_eq!(format!("{decoded:?}").matches("Timestamp(7)").count(), 2);
        let deaths = fields(&bytes).nth(1).expect("is there");
        let tables: Vec<_> = elements(deaths.value()).collect();
        assert_eq!(tables, [(b'F', &inner[..]), (b'F', &inner[..])]);
        let mut copy = TableWriter::default();
        fields(&bytes).for_each(|field| copy.copy(field.bytes));
        assert_eq!(copy.finish(), bytes);
    }
}
