//! From fields to bytes, for the methods a load generator sends.
//!
//! It checks no limits: short strings are bounded where names are made (`cli`), frames where bodies are cut
//! (`content`). Called by `connection`, `topology` and `batch`.

use super::method::MethodId;
use super::{FRAME_END, FRAME_OVERHEAD, TYPE_BODY, TYPE_HEADER, TYPE_METHOD};

/// Whether the broker is asked to keep a message on disk; `delivery_mode` 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryMode {
    Transient,
    Persistent,
}

/// The field types the generator sends in tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    Integer(i64),
    Text(String),
    Table(Table),
}

/// A field table.
pub(crate) type Table = Vec<(String, Value)>;

/// Appends one method frame whose arguments `write` supplies.
pub(crate) fn method(out: &mut Vec<u8>, channel: u16, id: MethodId, write: impl FnOnce(&mut Arguments<'_>)) {
    frame(out, TYPE_METHOD, channel, |out| {
        let mut arguments = Arguments(out);
        arguments.u16(id.class);
        arguments.u16(id.method);
        write(&mut arguments);
    });
}

/// Appends the content header of a `basic` message with nothing but a delivery mode.
pub(crate) fn content_header(out: &mut Vec<u8>, channel: u16, body_size: u64, mode: DeliveryMode) {
    const BASIC: u16 = 60;
    const HAS_DELIVERY_MODE: u16 = 1 << 12;
    frame(out, TYPE_HEADER, channel, |out| {
        let mut fields = Arguments(out);
        fields.u16(BASIC);
        fields.u16(0);
        fields.u64(body_size);
        fields.u16(HAS_DELIVERY_MODE);
        fields.u8(if mode == DeliveryMode::Persistent { 2 } else { 1 });
    });
}

/// Appends header and body of a transient message that expires, the body small enough for one frame.
pub(crate) fn expiring(out: &mut Vec<u8>, channel: u16, payload: &[u8], ttl_ms: u64) {
    const BASIC: u16 = 60;
    const HAS_EXPIRATION: u16 = 1 << 8;
    frame(out, TYPE_HEADER, channel, |out| {
        let mut fields = Arguments(out);
        fields.u16(BASIC);
        fields.u16(0);
        fields.u64(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        fields.u16(HAS_EXPIRATION);
        fields.short(&ttl_ms.to_string());
    });
    body(out, channel, payload);
}

/// Appends one body frame.
pub(crate) fn body(out: &mut Vec<u8>, channel: u16, payload: &[u8]) {
    frame(out, TYPE_BODY, channel, |out| out.extend_from_slice(payload));
}

/// Appends header and body of a message, the body cut to fit `frame_max`, and says where its first byte lies.
pub(crate) fn content(
    out: &mut Vec<u8>,
    channel: u16,
    payload: &[u8],
    mode: DeliveryMode,
    frame_max: usize,
) -> usize {
    content_header(out, channel, u64::try_from(payload.len()).unwrap_or(u64::MAX), mode);
    let first = out.len() + FRAME_OVERHEAD - 1;
    for part in payload.chunks(frame_max - FRAME_OVERHEAD) {
        body(out, channel, part);
    }
    first
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    prefixed(out, write);
    out.push(FRAME_END);
}

/// Writes a 32-bit length and what it counts.
fn prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let size = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends method arguments.
pub(crate) struct Arguments<'a>(&'a mut Vec<u8>);

impl Arguments<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// A short string; one that is too long is cut, which no caller lets happen.
    pub(crate) fn short(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn long(&mut self, bytes: &[u8]) {
        prefixed(self.0, |out| out.extend_from_slice(bytes));
    }

    pub(crate) fn table(&mut self, table: &Table) {
        prefixed(self.0, |out| {
            let mut fields = Arguments(out);
            for (name, value) in table {
                fields.short(name);
                fields.value(value);
            }
        });
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Flag(flag) => {
                self.u8(b't');
                self.u8(u8::from(*flag));
            }
            Value::Integer(number) => {
                self.u8(b'l');
                self.0.extend_from_slice(&number.to_be_bytes());
            }
            Value::Text(text) => {
                self.u8(b'S');
                self.long(text.as_bytes());
            }
            Value::Table(table) => {
                self.u8(b'F');
                self.table(table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::method as id;
    use super::*;

    #[test]
    fn a_method_frame_has_the_octets_of_the_specification() {
        let mut out = Vec::new();
        method(&mut out, 1, id::ACK, |arguments| {
            arguments.u64(258);
            arguments.u8(1);
        });
        assert_eq!(out, [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 1, 2, 1, 0xCE]);
    }

    #[test]
    fn a_table_is_written_with_its_length_and_types() {
        let mut out = Vec::new();
        Arguments(&mut out).table(&vec![
            ("a".into(), Value::Flag(true)),
            ("b".into(), Value::Text("x".into())),
            ("c".into(), Value::Table(vec![])),
            ("d".into(), Value::Integer(-2)),
        ]);
        assert_eq!(out[..4], 30_u32.to_be_bytes());
        assert_eq!(out[4..8], [1, b'a', b't', 1]);
        assert_eq!(out[8..16], [1, b'b', b'S', 0, 0, 0, 1, b'x']);
        assert_eq!(out[16..23], [1, b'c', b'F', 0, 0, 0, 0]);
        assert_eq!(out[23..], [1, b'd', b'l', 255, 255, 255, 255, 255, 255, 255, 254]);
    }

    #[test]
    fn a_body_is_cut_at_frame_max_and_its_first_byte_is_found() {
        for (size, frames) in [(4088, 1), (4089, 2), (8176, 2), (8177, 3)] {
            let payload = vec![7; size];
            let mut out = Vec::new();
            let first = content(&mut out, 1, &payload, DeliveryMode::Transient, 4096);
            let header = 7 + 15 + 1;
            assert_eq!(first, header + 7, "{size}");
            assert_eq!(out.len(), header + size + frames * FRAME_OVERHEAD, "{size}");
        }
    }
}
