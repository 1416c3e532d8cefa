//! The keys of definitions: bytes that are equal only for the same thing, and that sort by kind.
//!
//! Never read back: the value tells everything, and is checked against its key by building that again. Called by
//! [`super`] only.

use crate::engine::policy::PolicyKind;
use crate::engine::topology::{BindingView, Destination};
use crate::wire::table::encode_table;

// Apart, so that further kinds find room between them.
const POLICY: u8 = 0x08;
const OPERATOR_POLICY: u8 = 0x09;
const EXCHANGE: u8 = 0x10;
const QUEUE: u8 = 0x20;
const BINDING: u8 = 0x30;

const TO_EXCHANGE: u8 = 0;
const TO_QUEUE: u8 = 1;

pub(super) fn policy(kind: PolicyKind, vhost: &str, name: &str) -> Vec<u8> {
    let kind = match kind {
        PolicyKind::User => POLICY,
        PolicyKind::Operator => OPERATOR_POLICY,
    };
    join(kind, &[vhost, name])
}

pub(super) fn exchange(vhost: &str, name: &str) -> Vec<u8> {
    join(EXCHANGE, &[vhost, name])
}

pub(super) fn queue(vhost: &str, name: &str) -> Vec<u8> {
    join(QUEUE, &[vhost, name])
}

/// The arguments come last, in the form they have on the wire: a table is sorted by name, so that tables that are the same
/// binding's are the same bytes.
pub(super) fn binding(vhost: &str, binding: &BindingView<'_>) -> Vec<u8> {
    let (to, name) = match binding.destination {
        Destination::Exchange(name) => (TO_EXCHANGE, name),
        Destination::Queue(name) => (TO_QUEUE, name),
    };
    let mut key = join(BINDING, &[vhost, binding.source]);
    key.push(to);
    for text in [name, binding.routing_key] {
        push(&mut key, text);
    }
    key.extend(encode_table(binding.arguments));
    key
}

fn join(kind: u8, texts: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for text in texts {
        push(&mut key, text);
    }
    key
}

/// With its length in front: names may contain any character, so none can separate them.
fn push(key: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("names come in short strings or from a configuration file");
    key.extend(length.to_be_bytes());
    key.extend(text.as_bytes());
}
