//! The layers of the broker and what each of them may use.

use super::source::code_only;

/// A folder of `broker/src` with the file beside it.
struct Layer {
    name: &'static str,
    /// Paths below `crate::` it may use, itself aside.
    may_use: &'static [&'static str],
    /// Words that must not occur in it.
    never: &'static [&'static str],
}

/// What belongs to the shell around the pure core: waiting, sharing, time and chance come in as parameters.
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "socket2",
    "parking_lot",
    "std::net::Tcp",
    "std::thread",
    "thread::spawn",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "Mutex<",
    "RwLock<",
    "Instant::now",
    "SystemTime::now",
];

const LAYERS: &[Layer] = &[
    Layer { name: "access", may_use: &["error", "limits"], never: IMPURE },
    Layer { name: "stats", may_use: &[], never: IMPURE },
    Layer { name: "wire", may_use: &["error", "limits", "metrics"], never: IMPURE },
    Layer {
        name: "session",
        may_use: &["wire", "clock", "error", "limits", "metrics", "stats"],
        never: IMPURE,
    },
    Layer {
        name: "engine",
        may_use: &[
            "access",
            "wire::properties",
            "wire::message",
            "wire::table",
            "error",
            "limits",
            "metrics",
        ],
        never: IMPURE,
    },
    Layer {
        name: "store",
        may_use: &["engine", "wire::properties", "wire::message", "error", "limits", "metrics"],
        never: &["tokio"],
    },
];

/// Violations in the file called `name`, each as `:line: what is wrong`.
pub(crate) fn layer_violations(name: &str, text: &str) -> Vec<String> {
    let Some(path) = name.strip_prefix("broker/src/") else { return Vec::new() };
    // A module that exists only for tests, declared `#[cfg(test)] mod tests;` or `mod testing;`.
    if path.ends_with("/tests.rs") || path.ends_with("/testing.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let (top, is_root) = match path.split_once('/') {
        Some((top, file)) => (top, file == "mod.rs"),
        None => (path.trim_end_matches(".rs"), true),
    };
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == top) else { return Vec::new() };

    let code = code_only(text);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        for word in layer.never.iter().filter(|word| contains_word(line, word)) {
            found.push(format!(":{number}: {} must not use {word}", layer.name));
        }
        // In the layer's own file `super` is the crate, which would slip past the check of `crate::`.
        if is_root && line.contains("super::") {
            found.push(format!(":{number}: write crate:: instead of super:: here"));
        }
    }
    for (offset, _) in code.match_indices("crate::") {
        let number = 1 + code[..offset].matches('\n').count();
        for used in expand(&code[offset + "crate::".len()..]) {
            if !is_allowed(layer, &used) {
                found.push(format!(":{number}: {} must not use crate::{used}", layer.name));
            }
        }
    }
    found
}

/// Whether `word` occurs in `line` and is not the middle of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next().filter(|_| word.ends_with(char::is_alphanumeric));
        let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part_of_name(before) && (!part_of_name(after) || word.ends_with("Tcp"))
    })
}

fn is_allowed(layer: &Layer, used: &str) -> bool {
    std::iter::once(&layer.name).chain(layer.may_use).any(|allowed| {
        used == *allowed || used.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
    })
}

/// The paths a use tree stands for: `{a, b::{c, d}}` is `a`, `b::c` and `b::d`.
fn expand(tree: &str) -> Vec<String> {
    let (prefix, rest) = tree.split_at(tree.find(|c: char| !is_path(c)).unwrap_or(tree.len()));
    if !rest.starts_with('{') || !(prefix.is_empty() || prefix.ends_with("::")) {
        return vec![prefix.trim_end_matches("::").to_owned()];
    }
    let branches = branches(&rest[1..]);
    branches.iter().flat_map(|branch| expand(branch.trim())).map(|path| format!("{prefix}{path}")).collect()
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '*')
}

/// The parts between commas up to the brace that closes.
fn branches(inner: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&inner[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[test]
fn use_trees_are_expanded() {
    assert_eq!(expand("wire::Frame;"), ["wire::Frame"]);
    assert_eq!(
        expand("{error::AmqpError,\n    wire::{frame::*, message},\n};"),
        ["error::AmqpError", "wire::frame::*", "wire::message"]
    );
    assert_eq!(expand("limits::MAX { x }"), ["limits::MAX"]);
}

#[test]
fn violations_of_layers_are_found_and_nothing_else() {
    let table = [
        ("broker/src/wire/a.rs", "use crate::error::AmqpError;\nuse std::sync::Arc;\n", 0),
        ("broker/src/wire/a.rs", "use crate::engine::Queue;\n", 1),
        ("broker/src/wire.rs", "use super::engine::Queue;\n", 1),
        ("broker/src/wire/mod.rs", "use super::engine::Queue;\n", 1),
        ("broker/src/wire/a.rs", "use super::frame::Frame;\n", 0),
        ("broker/src/wire/a.rs", "use tokio::io::AsyncRead;\n", 1),
        ("broker/src/wire/a.rs", "// tokio\nlet x = \"tokio\"; let tokio_like = 1;\n", 0),
        ("broker/src/session/a.rs", "use crate::wire::Frame;\nlet n = Instant::now();\n", 1),
        ("broker/src/session/a.rs", "fn f() { crate::store::open() }\n", 1),
        ("broker/src/session/a.rs", "use std::sync::Mutex;\n", 1),
        ("broker/src/session/a.rs", "use std::net::{IpAddr, SocketAddr};\n", 0),
        ("broker/src/session/a.rs", "use std::net::TcpStream;\n", 1),
        ("broker/src/engine/a.rs", "use crate::wire::{message::Message, properties};\n", 0),
        ("broker/src/engine/a.rs", "use crate::wire::{message::Message, frame};\n", 1),
        ("broker/src/engine/a.rs", "#[cfg(test)]\nmod tests { use std::thread; use crate::store::X; }\n", 0),
        ("broker/src/engine/tests.rs", "use crate::session::X;\n", 0),
        (
            "broker/src/access/a.rs",
            "use crate::limits::X;\nuse crate::engine::X;\nlet n = Instant::now();\n",
            2,
        ),
        ("broker/src/store/a.rs", "use crate::engine::X;\nuse std::thread;\nuse std::sync::Mutex;\n", 0),
        ("broker/src/store/a.rs", "use crate::session::X;\nuse tokio::sync::watch;\n", 2),
        ("broker/src/server/a.rs", "use crate::session::X;\nuse tokio::sync::watch;\n", 0),
        ("client/src/engine/a.rs", "use tokio::sync::watch;\n", 0),
    ];
    for (name, text, count) in table {
        let found = layer_violations(name, text);
        assert_eq!(found.len(), count, "{name}: {text:?}: {found:?}");
    }
}
