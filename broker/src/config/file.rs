//! The TOML file as a list of entries, each with its line.
//!
//! It refuses sections and keys that no knob has, and leaves the values to the knobs. `load.rs` calls it.

use toml::de::{DeTable, DeValue};

use super::error::unknown_name;
use super::knobs::{Knob, knobs};
use super::value::Input;

/// One assignment in a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) knob: &'static Knob,
    pub(super) line: usize,
    pub(super) value: Input,
}

/// Reads `text`, the content of the file called `name`. What cannot be read becomes a line in `problems`.
pub(super) fn entries(name: &str, text: &str, problems: &mut Vec<String>) -> Vec<Entry> {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            problems.push(format!("{name}:{line}: not valid TOML: {}", error.message().replace('\n', ", ")));
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for (section, value) in document.get_ref() {
        let place = format!("{name}:{}", line_of(text, section.span().start));
        let keys = keys_of(section.get_ref());
        match value.get_ref() {
            _ if keys.is_empty() => problems.push(unknown_section(&place, section.get_ref())),
            DeValue::Table(table) => {
                for (key, value) in table {
                    let line = line_of(text, key.span().start);
                    let full = format!("{}.{}", section.get_ref(), key.get_ref());
                    match knobs().find(|knob| knob.key == full) {
                        Some(knob) => {
                            entries.push(Entry { knob, line, value: Input::from_toml(value.get_ref()) });
                        }
                        None => {
                            let place = format!("{name}:{line}");
                            problems.push(unknown_name(place, "key", &full, key.get_ref(), &keys));
                        }
                    }
                }
            }
            other => problems.push(format!(
                "{place}: '{}' is a section, not a value of type {}; write [{0}] and below it one of: {}",
                section.get_ref(),
                other.type_str(),
                keys.join(", ")
            )),
        }
    }
    // The parser hands out keys in alphabetical order; people read files from the top.
    entries.sort_by_key(|entry| entry.line);
    entries
}

/// A name at the top level: a misspelt section, or a key that was written above its section.
fn unknown_section(place: &str, name: &str) -> String {
    let homes: Vec<&str> = knobs().filter(|knob| knob.name() == name).map(|knob| knob.section()).collect();
    match homes.first() {
        Some(home) => format!("{place}: key '{name}' belongs into section [{home}]"),
        None => unknown_name(place, "section", name, name, &sections()),
    }
}

/// The sections there are, in the order of the table.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = knobs().map(Knob::section).collect();
    sections.dedup();
    sections
}

fn keys_of(section: &str) -> Vec<&'static str> {
    knobs().filter(|knob| knob.section() == section).map(Knob::name).collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
