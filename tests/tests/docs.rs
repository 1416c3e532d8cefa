//! The Python programs in README.md and in docs/concepts, run as they stand there, each against a broker of its own. Where a
//! `text` block follows, that is what the program prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use warren_tests::{Broker, Program, python, workspace};

/// What the pages write for the broker's address, because it is where a Warren without configuration listens.
const ADDRESS: &str = "amqp://guest:guest@127.0.0.1:5672/%2F";

/// A program on a page.
struct Snippet {
    code: String,
    prints: Option<String>,
}

#[test]
fn the_programs_in_the_documentation_run_and_print_what_it_says() {
    let mut run = 0;
    for page in pages() {
        for snippet in snippets(&fs::read_to_string(&page).expect("a page can be read")) {
            run_snippet(&page, &snippet);
            run += 1;
        }
    }
    assert!(run > 1, "there are programs in the documentation");
}

#[test]
fn each_page_about_a_concept_has_a_program_and_is_in_the_index() {
    let index = fs::read_to_string(workspace().join("docs/README.md")).expect("there is an index");
    for page in pages().into_iter().skip(1) {
        let text = fs::read_to_string(&page).expect("a page can be read");
        assert!(!snippets(&text).is_empty(), "{} shows a program", page.display());
        let name = page.file_name().and_then(|name| name.to_str()).expect("a page has a name");
        assert!(index.contains(&format!("(concepts/{name})")), "docs/README.md links to {name}");
    }
}

/// README.md, and the pages about concepts in the order of their names.
fn pages() -> Vec<PathBuf> {
    let folder = fs::read_dir(workspace().join("docs/concepts")).expect("there are pages about concepts");
    let mut pages: Vec<PathBuf> = folder.map(|entry| entry.expect("a folder can be read").path()).collect();
    pages.sort();
    pages.insert(0, workspace().join("README.md"));
    pages
}

fn run_snippet(page: &Path, snippet: &Snippet) {
    let broker = Broker::warren(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script = folder.path().join("snippet.py");
    assert!(snippet.code.contains(ADDRESS), "a program in {} connects to {ADDRESS}", page.display());
    fs::write(&script, snippet.code.replace(ADDRESS, broker.url())).expect("a file can be written");
    let lines = Program::start(&page.display().to_string(), Command::new(python()).arg(&script)).succeed();
    if let Some(prints) = &snippet.prints {
        assert_eq!(lines.join("\n"), prints.trim_end(), "what a program in {} prints", page.display());
    }
}

/// The `python` blocks of a page, each with the `text` block that directly follows it.
fn snippets(page: &str) -> Vec<Snippet> {
    let mut snippets: Vec<Snippet> = Vec::new();
    let mut blocks = page.split("```").skip(1).step_by(2);
    let mut after_python = false;
    blocks.by_ref().for_each(|block| {
        let (language, code) = block.split_once('\n').unwrap_or((block, ""));
        match (language, snippets.last_mut()) {
            ("python", _) => snippets.push(Snippet { code: code.to_owned(), prints: None }),
            ("text", Some(last)) if after_python => last.prints = Some(code.to_owned()),
            _ => {}
        }
        after_python = language == "python";
    });
    snippets
}
