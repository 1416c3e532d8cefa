//! JSON values as Erlang prints them, for RabbitMQ's texts of errors. Called by [`super`] only.

use std::fmt::Write;

use serde_json::Value;

/// A value as a term on one line.
pub(super) fn term(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.as_f64().filter(|_| number.is_f64()).map_or_else(
            || number.to_string(),
            // The shortest digits, with an exponent only where Erlang has one.
            |float| {
                if (0.001..100_000.0).contains(&float.abs()) {
                    format!("{float:?}")
                } else {
                    scientific(float)
                }
            },
        ),
        Value::String(text) => format!("<<{}>>", if text.is_empty() { String::new() } else { string(text) }),
        Value::Array(values) => format!("[{}]", join(values.iter().map(term))),
        Value::Object(fields) => {
            format!(
                "#{{{}}}",
                join(fields.iter().map(|(key, value)| format!("<<{}>> => {}", string(key), term(value))))
            )
        }
    }
}

/// A list of names and values, as definitions are passed around there.
pub(super) fn pairs<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let pairs = fields.into_iter().map(|(key, value)| format!("{{<<{}>>,{}}}", string(key), term(value)));
    format!("[{}]", join(pairs))
}

/// A text in quotation marks.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\x{{{:X}}}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn scientific(float: f64) -> String {
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => text,
    }
}

fn join(terms: impl Iterator<Item = String>) -> String {
    terms.collect::<Vec<_>>().join(",")
}
