//! JSON values as `rabbitmqctl` writes them in a table: Erlang's notation for what is not a plain word.

use std::fmt::Write as _;

use serde_json::Value;

/// A value in a cell of a table.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // Names are written as they are, anything deeper as Erlang would.
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(cell).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(_) => erlang(value),
    }
}

/// A value as a term.
fn erlang(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => format!("\"{}\"", escaped(text).replace('"', "\\\"")),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(erlang).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let pair =
                |(key, value): (&String, &Value)| format!("{{\"{}\",{}}}", escaped(key), erlang(value));
            format!("[{}]", fields.iter().map(pair).collect::<Vec<_>>().join(","))
        }
    }
}

/// Text in which a tab or the end of a line cannot be mistaken for the table's.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            // All of them, so that no name can steer a terminal.
            c if c.is_control() => {
                let _ = write!(out, "\\{:03o}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_rabbitmqctl_shows_them() {
        let table = [
            (json!(null), ""),
            (json!(true), "true"),
            (json!(3), "3"),
            (json!("a b"), "a b"),
            (json!("a\tb\\\u{1b}"), "a\\011b\\\\\\033"),
            (json!([]), "[]"),
            (json!(["administrator", "x"]), "[administrator, x]"),
            (json!({}), "[]"),
            (
                json!({"x-max-length": 100, "x-queue-type": "classic"}),
                r#"[{"x-max-length",100},{"x-queue-type","classic"}]"#,
            ),
            (json!({"a": {"b": [true, "c"]}}), r#"[{"a",[{"b",[true,"c"]}]}]"#),
        ];
        for (value, expected) in table {
            assert_eq!(cell(&value), expected, "{value}");
        }
    }
}
