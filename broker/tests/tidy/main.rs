//! Rules about the source that no compiler checks: which layer may use what, how long a file may be, what every
//! module begins with, what has an example, and what must not be in the repository.
//!
//! It reads source as text. Comments, string literals and code under `#[cfg(test)]` do not count for the layers.

mod examples;
mod layers;
mod source;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use examples::missing_examples;
use layers::layer_violations;
use source::without_comments_and_literals;

/// The hard limit; 500 is what to aim for.
const LINES_MAX: usize = 800;

/// The one package with code that the compiler cannot check: a library that tests preload, and no part of the broker.
const UNSAFE_PACKAGE: &str = "tests/disk-shim/";

/// Folders that hold no source of ours.
const SKIPPED_FOLDERS: [&str; 7] =
    ["target", "node_modules", ".git", ".venv", "corpus", "artifacts", "__pycache__"];

/// Absolute paths of somebody's machine, in pieces so that this file does not contain them.
const PRIVATE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Use", "rs/")];

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    assert!(files.iter().any(|file| file.ends_with("broker/src/lib.rs")), "the walk found no source");

    let mut report = String::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        for violation in violations(&name, &text) {
            let _ = writeln!(report, "{name}{violation}");
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
        let entry = entry.expect("a folder of the repository can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(&entry.path(), files);
        } else if kind.is_file() && is_checked(&name) {
            files.push(entry.path());
        }
    }
}

fn is_checked(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "py" | "js" | "mjs" | "sh" | "txt" | "lock"))
        || matches!(name, "package-lock.json" | "Dockerfile" | "test" | "run")
}

/// All violations in the file called `name`, each as `:line: what is wrong`.
fn violations(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if name.ends_with(".lock") || name.ends_with("package-lock.json") {
        check_registries(text, &mut found);
        return found;
    }
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with([' ', '\t', '\r']) {
            found.push(format!(":{number}: white space at the end of the line"));
        }
        for path in PRIVATE_PATHS.iter().filter(|path| line.contains(**path)) {
            found.push(format!(":{number}: a path of somebody's machine: {path}"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(": no newline at the end of the file".to_owned());
    }
    if name.ends_with(".rs") {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!(": {lines} lines, more than {LINES_MAX}"));
        }
        if !has_module_header(text) {
            found.push(": no //! header that says what the module is".to_owned());
        }
        found.extend(layer_violations(name, text));
        found.extend(missing_examples(name, text));
    }
    check_unsafe(name, text, &mut found);
    found
}

/// Whether a module comment comes before any item; inner attributes may come first.
fn has_module_header(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty()))
}

/// Unsafe code stays in its one package; all others have the workspace's lints, which forbid it.
fn check_unsafe(name: &str, text: &str, found: &mut Vec<String>) {
    if name.starts_with(UNSAFE_PACKAGE) {
        return;
    }
    if name.ends_with(".rs") {
        for (number, line) in (1..).zip(without_comments_and_literals(text).lines()) {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                found.push(format!(":{number}: unsafe code outside of {UNSAFE_PACKAGE}"));
            }
        }
    } else if name.ends_with("Cargo.toml")
        // Fuzzing is a workspace of its own, which has no lints to share.
        && !name.starts_with("fuzz/")
        && text.contains("[package]")
        && !text.contains("[lints]\nworkspace = true\n")
    {
        found.push(": a package without the workspace's lints".to_owned());
    }
}

/// Cargo's lock file may name one registry and nothing else as a source; npm's names no addresses, so that everybody's own
/// registry serves.
fn check_registries(text: &str, found: &mut Vec<String>) {
    let mut registry = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(source) = line.strip_prefix("source = ") {
            if !source.starts_with("\"registry+") || *registry.get_or_insert(source) != source {
                found.push(format!(":{number}: not from the one registry: {source}"));
            }
        } else if line.starts_with("\"resolved\": ") {
            found.push(format!(":{number}: an address in the lock file: {line}"));
        }
    }
}

#[test]
fn the_checks_find_what_they_look_for() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    let private = format!("Run {}x.\n", PRIVATE_PATHS[0]);
    let table = [
        ("client/src/a.rs", "//! Good.\nfn a() {}\n", 0),
        ("client/src/a.rs", "#![allow(missing_docs)]\n\n//! Good.\nfn a() {}\n", 0),
        ("client/src/a.rs", "fn a() {}\n", 1),
        ("client/src/a.rs", "//!\nfn a() {}\n", 1),
        ("client/src/a.rs", "", 1),
        ("client/src/a.rs", "//! Space. \nfn a() {}\t\n", 2),
        ("client/src/a.rs", "//! No newline.", 1),
        ("client/src/a.rs", long.as_str(), 1),
        ("client/src/a.rs", "//! Good.\nfn a() { unsafe { b() } }\n", 1),
        ("client/src/a.rs", "//! Never unsafe.\nfn not_unsafe() { \"unsafe\" }\n", 0),
        ("tests/disk-shim/src/a.rs", "//! Good.\nunsafe fn a() {}\n", 0),
        ("client/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n", 0),
        ("client/Cargo.toml", "[package]\n", 1),
        ("Cargo.toml", "[workspace]\n", 0),
        ("README.md", private.as_str(), 1),
        ("README.md", "Good.\n", 0),
        (
            "Cargo.lock",
            "source = \"registry+https://a.example\"\nsource = \"registry+https://a.example\"\n",
            0,
        ),
        (
            "Cargo.lock",
            "source = \"registry+https://a.example\"\nsource = \"registry+https://b.example\"\n",
            1,
        ),
        ("Cargo.lock", "source = \"git+https://a.example/b\"\n", 1),
        ("package-lock.json", "  \"version\": \"1.0.0\",\n", 0),
        ("package-lock.json", "  \"resolved\": \"http://127.0.0.1:4873/a.tgz\",\n", 1),
    ];
    for (name, text, count) in table {
        let found = violations(name, text);
        assert_eq!(found.len(), count, "{name}: {text:?}: {found:?}");
    }
}
