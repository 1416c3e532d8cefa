//! [`Row`] and [`Fields`]: an object of an answer, described once as names and ways to make their values, of which only those are made
//! that somebody asks for: all, some columns, or the one that a list is sorted by.
//!
//! A list of ten thousand queues is sorted by one value each, and a page of it is a hundred objects: nothing is made for the others.

use serde::Serialize;
use serde_json::{Map, Value};

/// `name`, or `message_stats.publish_details.rate`.
pub(super) type Column = Vec<String>;

/// Something that is an object in JSON.
pub(super) trait Row {
    /// Names each field, and says how to make its value. No name comes twice.
    fn fields(&self, out: &mut Fields<'_>);
}

impl Row for Value {
    fn fields(&self, out: &mut Fields<'_>) {
        for (name, value) in self.as_object().into_iter().flatten() {
            out.add(name, || value);
        }
    }
}

impl<R: Row + ?Sized> Row for &R {
    fn fields(&self, out: &mut Fields<'_>) {
        (**self).fields(out);
    }
}

/// What is wanted of an object.
#[derive(Debug)]
pub(super) struct Fields<'a>(Wanted<'a>);

#[derive(Debug)]
enum Wanted<'a> {
    /// Everything, as text.
    All(&'a mut Vec<u8>),
    /// Everything, as a tree.
    Tree(&'a mut Map<String, Value>),
    /// Some columns.
    Columns { columns: &'a [Column], picked: Map<String, Value> },
    /// One value, to compare with those of others.
    One { column: &'a Column, found: Option<Value> },
}

impl Fields<'_> {
    /// A field. `value` is called only if somebody asks for it.
    pub(super) fn add<V: Serialize>(&mut self, name: &str, value: impl FnOnce() -> V) {
        match &mut self.0 {
            Wanted::All(text) => {
                if text.last() != Some(&b'{') {
                    text.push(b',');
                }
                write_json(text, &name);
                text.push(b':');
                write_json(text, &value());
            }
            Wanted::Tree(tree) => {
                tree.insert(name.to_owned(), json(&value()));
            }
            Wanted::Columns { columns, picked } => {
                let mut wanted = columns.iter().filter(|column| is_in(column, name)).peekable();
                if wanted.peek().is_some() {
                    let value = json(&value());
                    for column in wanted {
                        if let Some(found) = find(&value, &column[1..]) {
                            insert(picked, column, found.clone());
                        }
                    }
                }
            }
            Wanted::One { column, found } => {
                if is_in(column, name) {
                    *found = find(&json(&value()), &column[1..]).cloned();
                }
            }
        }
    }

    /// Whether anybody asks for a field whose name begins so, for what costs more than to make one value.
    pub(super) fn wants(&self, start: &str) -> bool {
        let begins = |column: &Column| column.first().is_some_and(|first| first.starts_with(start));
        match &self.0 {
            Wanted::All(_) | Wanted::Tree(_) => true,
            Wanted::Columns { columns, .. } => columns.iter().any(begins),
            Wanted::One { column, .. } => begins(column),
        }
    }

    /// A field that may be missing.
    pub(super) fn add_some<V: Serialize>(&mut self, name: &str, value: Option<V>) {
        if let Some(value) = value {
            self.add(name, || value);
        }
    }
}

/// Appends an object to a text, with all columns or some.
pub(super) fn write(text: &mut Vec<u8>, columns: &[Column], fields: impl FnOnce(&mut Fields<'_>)) {
    if columns.is_empty() {
        text.push(b'{');
        fields(&mut Fields(Wanted::All(text)));
        text.push(b'}');
        return;
    }
    let mut wanted = Fields(Wanted::Columns { columns, picked: Map::new() });
    fields(&mut wanted);
    if let Wanted::Columns { picked, .. } = wanted.0 {
        write_json(text, &picked);
    }
}

/// An object as a tree.
pub(super) fn object(fields: impl FnOnce(&mut Fields<'_>)) -> Value {
    let mut tree = Map::new();
    fields(&mut Fields(Wanted::Tree(&mut tree)));
    Value::Object(tree)
}

/// Objects as trees, to be put into others.
pub(super) fn objects<R: Row>(rows: &[R]) -> Vec<Value> {
    rows.iter().map(|row| object(|out| row.fields(out))).collect()
}

/// One value of an object.
pub(super) fn value_of(row: &impl Row, column: &Column) -> Option<Value> {
    let mut wanted = Fields(Wanted::One { column, found: None });
    row.fields(&mut wanted);
    match wanted.0 {
        Wanted::One { found, .. } => found,
        _ => None,
    }
}

/// Whether a column is, or is in, the field of this name.
fn is_in(column: &Column, name: &str) -> bool {
    column.first().is_some_and(|first| first == name)
}

fn find<'a>(value: &'a Value, column: &[String]) -> Option<&'a Value> {
    column.iter().try_fold(value, |value, part| value.get(part))
}

fn insert(into: &mut Map<String, Value>, column: &[String], value: Value) {
    let [first, rest @ ..] = column else { return };
    if rest.is_empty() {
        into.insert(first.clone(), value);
        return;
    }
    let inner = into.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What we make has texts as its keys and a memory to write to: nothing else can go wrong.
fn write_json(text: &mut Vec<u8>, value: &impl Serialize) {
    let start = text.len();
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Loud;

    impl Row for Loud {
        fn fields(&self, out: &mut Fields<'_>) {
            out.add("a", || 1);
            out.add("b", || json!({"c": {"d": 2}, "e": 3}));
            out.add("never", || -> u8 { panic!("nobody asked") });
        }
    }

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|name| name.split('.').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn only_what_is_asked_for_is_made() {
        let mut text = Vec::new();
        write(&mut text, &columns(&["b.e", "b.c.d", "zz"]), |out| Loud.fields(out));
        assert_eq!(String::from_utf8(text).unwrap(), r#"{"b":{"c":{"d":2},"e":3}}"#);
        let value = |name: &str| value_of(&Loud, &columns(&[name])[0]);
        assert_eq!((value("a"), value("b.c.d")), (Some(json!(1)), Some(json!(2))));
        assert_eq!((value("b.x"), value("x"), value("a.b")), (None, None, None));
    }

    #[test]
    fn everything_is_written_as_it_would_be_from_a_tree() {
        let row = json!({"a": "\"", "b": [1.5, null], "c": {}});
        for row in [row, json!({})] {
            let mut text = Vec::new();
            write(&mut text, &[], |out| row.fields(out));
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), row);
            assert_eq!(objects(&[&row]), [row]);
        }
    }
}
