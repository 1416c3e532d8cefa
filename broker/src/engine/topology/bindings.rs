//! [`BindingTable`]: the set of all bindings of a vhost, each a (source, target, routing key, arguments).
//!
//! A binding stands in three lists: its source's route table, its source's outgoing and its target's incoming bindings.
//! It remembers its place in each, so that removing one costs the same however many its neighbours have.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use foldhash::{HashMap, HashMapExt};

use crate::engine::arena::Arena;
use crate::engine::exchange::Target;

/// What makes a binding that binding.
#[derive(Debug)]
pub(super) struct BindingSpec {
    pub(super) source: u32,
    pub(super) target: Target,
    pub(super) routing_key: Box<str>,
    pub(super) arguments: FieldTable,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) spec: Arc<BindingSpec>,
    pub(super) slot_in_routes: u32,
    pub(super) slot_in_outgoing: u32,
    pub(super) slot_in_incoming: u32,
}

/// All bindings of a vhost.
#[derive(Debug)]
pub(super) struct BindingTable {
    pub(super) arena: Arena<Binding>,
    by_spec: HashMap<Arc<BindingSpec>, u32>,
}

impl Default for BindingTable {
    fn default() -> Self {
        Self { arena: Arena::default(), by_spec: HashMap::new() }
    }
}

impl BindingTable {
    pub(super) fn find(&self, spec: &BindingSpec) -> Option<u32> {
        self.by_spec.get(spec).copied()
    }

    /// Adds a binding that is not there yet; its slots are for the caller to fill in.
    pub(super) fn insert(&mut self, spec: BindingSpec) -> u32 {
        let spec = Arc::new(spec);
        let binding =
            Binding { spec: spec.clone(), slot_in_routes: 0, slot_in_outgoing: 0, slot_in_incoming: 0 };
        let number = self.arena.insert(binding);
        self.by_spec.insert(spec, number);
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Binding> {
        let binding = self.arena.remove(number)?;
        self.by_spec.remove(&*binding.spec);
        Some(binding)
    }
}

impl PartialEq for BindingSpec {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.target == other.target
            && self.routing_key == other.routing_key
            && same_table(&self.arguments, &other.arguments)
    }
}

impl Eq for BindingSpec {}

impl Hash for BindingSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.target.hash(state);
        self.routing_key.hash(state);
        hash_table(&self.arguments, state);
    }
}

/// Tables are sorted by key, so that the order on the wire does not matter. Unlike in `FieldTable`'s own comparison a
/// float equals itself even if it is not a number: otherwise such a binding could never be found again.
fn same_table(a: &FieldTable, b: &FieldTable) -> bool {
    a.inner().len() == b.inner().len()
        && a.into_iter()
            .zip(b)
            .all(|((a_key, a_value), (b_key, b_value))| a_key == b_key && same_value(a_value, b_value))
}

fn same_value(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (a, b) {
        (AMQPValue::Float(a), AMQPValue::Float(b)) => a.to_bits() == b.to_bits(),
        (AMQPValue::Double(a), AMQPValue::Double(b)) => a.to_bits() == b.to_bits(),
        (AMQPValue::FieldTable(a), AMQPValue::FieldTable(b)) => same_table(a, b),
        (AMQPValue::FieldArray(a), AMQPValue::FieldArray(b)) => {
            let (a, b) = (a.as_slice(), b.as_slice());
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        _ => a == b,
    }
}

fn hash_table<H: Hasher>(table: &FieldTable, state: &mut H) {
    table.inner().len().hash(state);
    for (key, value) in table {
        key.as_str().hash(state);
        hash_value(value, state);
    }
}

/// Equal values hash equally. Types are left out: values that differ only in type are rare.
fn hash_value<H: Hasher>(value: &AMQPValue, state: &mut H) {
    match value {
        AMQPValue::Boolean(value) => value.hash(state),
        AMQPValue::ShortShortInt(value) => value.hash(state),
        AMQPValue::ShortShortUInt(value) => value.hash(state),
        AMQPValue::ShortInt(value) => value.hash(state),
        AMQPValue::ShortUInt(value) => value.hash(state),
        AMQPValue::LongInt(value) => value.hash(state),
        AMQPValue::LongUInt(value) => value.hash(state),
        AMQPValue::LongLongInt(value) => value.hash(state),
        AMQPValue::Float(value) => value.to_bits().hash(state),
        AMQPValue::Double(value) => value.to_bits().hash(state),
        AMQPValue::DecimalValue(value) => value.hash(state),
        AMQPValue::ShortString(value) => value.as_str().hash(state),
        AMQPValue::LongString(value) => value.as_bytes().hash(state),
        AMQPValue::ByteArray(value) => value.as_slice().hash(state),
        AMQPValue::Timestamp(value) => value.hash(state),
        AMQPValue::FieldTable(table) => hash_table(table, state),
        AMQPValue::FieldArray(array) => array.as_slice().iter().for_each(|value| hash_value(value, state)),
        AMQPValue::Void => {}
    }
}
