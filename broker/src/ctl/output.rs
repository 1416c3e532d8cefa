//! [`Output`]: how results are shown: tables for people, and for programs what `rabbitmqctl` writes, JSON, or CSV.

use std::io::{IsTerminal as _, Write as _, stdout};

use clap::ValueEnum;
use serde_json::Value;

use super::text;

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Format {
    /// Columns separated by tabs, as rabbitmqctl writes them
    Table,
    /// The same with frames, for people; the default on a terminal
    PrettyTable,
    /// One JSON document
    Json,
    /// Comma-separated values with a line of names
    Csv,
}

/// How results are shown.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    banners: bool,
    headers: bool,
    silent: bool,
}

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) format: Option<Format>,
    pub(super) quiet: bool,
    pub(super) silent: bool,
    pub(super) no_headers: bool,
}

impl Output {
    pub(super) fn new(wanted: Wanted) -> Self {
        let default = || if stdout().is_terminal() { Format::PrettyTable } else { Format::Table };
        let format = wanted.format.unwrap_or_else(default);
        Self {
            format,
            banners: !wanted.quiet && !wanted.silent && !matches!(format, Format::Json | Format::Csv),
            headers: !wanted.silent && !wanted.no_headers,
            silent: wanted.silent,
        }
    }

    /// Whether what is printed is one JSON document.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Says what is going to be done, unless nobody wants to know.
    pub(super) fn banner(&self, text: &str) {
        if self.banners {
            print(&format!("{text}\n"));
        }
    }

    /// Says how it went, for people.
    pub(super) fn note(&self, text: &str) {
        if !self.silent && !self.is_json() {
            print(&format!("{text}\n"));
        }
    }

    /// The one result of a command.
    pub(super) fn value(&self, value: &Value) {
        match (self.format, value) {
            (Format::Json, _) => print(&format!("{value}\n")),
            (_, Value::String(text)) => print(&format!("{text}\n")),
            _ => print(&format!("{value}\n")),
        }
    }

    /// A result of many rows.
    pub(super) fn rows(&self, columns: &[&str], rows: &[Vec<Value>]) {
        print(&self.rendered(columns, rows));
    }

    fn rendered(&self, columns: &[&str], rows: &[Vec<Value>]) -> String {
        let texts = || rows.iter().map(|row| row.iter().map(text::cell).collect::<Vec<_>>());
        match self.format {
            Format::Json => json(columns, rows),
            Format::Csv => {
                let names = columns.iter().map(|&name| name.to_owned()).collect();
                let header = self.headers.then_some(names);
                header.into_iter().chain(texts()).map(|row| csv_line(&row)).collect()
            }
            // rabbitmqctl writes no line of names above nothing.
            Format::Table => {
                let header = (self.headers && !rows.is_empty()).then(|| columns.join("\t") + "\n");
                header.into_iter().chain(texts().map(|row| row.join("\t") + "\n")).collect()
            }
            Format::PrettyTable => framed(columns, &texts().collect::<Vec<_>>(), self.headers),
        }
    }
}

/// As rabbitmqctl writes it: one row a line, in the order of the columns.
fn json(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let field = |(name, value): (&&str, &Value)| format!("{}:{value}", Value::from(*name));
    let row = |row: &Vec<Value>| {
        let fields: Vec<String> = columns.iter().zip(row).map(field).collect();
        format!("{{{}}}\n", fields.join(","))
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("[\n{}]\n", rows.join(","))
}

fn csv_line(row: &[String]) -> String {
    let cells: Vec<String> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    cells.join(",") + "\n"
}

fn framed(columns: &[&str], rows: &[Vec<String>], headers: bool) -> String {
    let width = |index: usize, name: &str| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain(headers.then(|| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(index, name)| width(index, name)).collect();
    let rule = |left: char, middle: &str, right: char| {
        let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", lines.join(middle))
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> =
            cells.zip(&widths).map(|(cell, &width)| format!(" {cell:width$} ")).collect();
        format!("│{}│\n", cells.join("│"))
    };
    let mut out = rule('┌', "┬", '┐');
    if headers {
        out.push_str(&line(&mut columns.iter().copied()));
        out.push_str(&rule('├', "┼", '┤'));
    }
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out.push_str(&rule('└', "┴", '┘'));
    out
}

/// Prints to standard output; a reader that has gone away, such as `head`, is no failure.
pub(super) fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(wanted: Wanted) -> String {
        let rows = [vec![json!("orders"), json!(3)], vec![json!("a \"b\""), json!(null)]];
        Output::new(wanted).rendered(&["name", "messages"], &rows)
    }

    #[test]
    fn every_format_shows_every_row() {
        let as_format = |format| rendered(Wanted { format: Some(format), ..Wanted::default() });
        assert_eq!(as_format(Format::Table), "name\tmessages\norders\t3\na \"b\"\t\n");
        assert_eq!(as_format(Format::Csv), "\"name\",\"messages\"\n\"orders\",\"3\"\n\"a \"\"b\"\"\",\"\"\n");
        let json: Value = serde_json::from_str(&as_format(Format::Json)).unwrap();
        assert!(as_format(Format::Json).starts_with("[\n{\"name\":\"orders\",\"messages\":3}\n,{"));
        assert_eq!(json, json!([{"name": "orders", "messages": 3}, {"name": "a \"b\"", "messages": null}]));
        assert_eq!(
            as_format(Format::PrettyTable),
            "┌────────┬──────────┐\n│ name   │ messages │\n├────────┼──────────┤\n│ orders │ 3        │\n│ a \"b\"  │          │\n└────────┴──────────┘\n"
        );
    }

    #[test]
    fn silent_leaves_the_names_out_and_quiet_does_not() {
        let table = Wanted { format: Some(Format::Table), ..Wanted::default() };
        assert!(rendered(Wanted { quiet: true, ..table }).starts_with("name\t"));
        for wanted in [Wanted { silent: true, ..table }, Wanted { no_headers: true, ..table }] {
            assert_eq!(rendered(wanted), "orders\t3\na \"b\"\t\n");
        }
        assert_eq!(Output::new(table).rendered(&["name"], &[]), "", "no names above nothing");
    }
}
