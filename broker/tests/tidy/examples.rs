//! The client library's promise: every public item has a doc comment with an example. Whether examples are right is for the
//! documentation tests, which run them. Methods of a public trait are no lines that begin with `pub`, so a public trait is
//! refused until somebody teaches this about them.

use crate::source::code_only;

/// The sources that make the promise.
const PROMISING: &str = "client/src/";

const ITEMS: [&str; 8] = ["fn", "struct", "enum", "union", "type", "const", "static", "macro"];

/// All public items of the file called `name` that lack something, each as `:line: what is wrong`.
pub(crate) fn missing_examples(name: &str, text: &str) -> Vec<String> {
    if !name.starts_with(PROMISING) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, code) in code_only(text).lines().enumerate() {
        let Some(item) = public_item(code) else { continue };
        let docs: Vec<&str> = lines[..at]
            .iter()
            .rev()
            .map(|line| line.trim_start())
            .take_while(|line| line.starts_with("///") || line.starts_with("#["))
            .filter_map(|line| line.strip_prefix("///"))
            .collect();
        let problem = if item.starts_with("trait") {
            "a public trait, whose methods nobody checks for examples"
        } else if docs.is_empty() {
            "a public item without a doc comment"
        } else if !has_example(&docs) {
            "a public item without an example"
        } else {
            continue;
        };
        found.push(format!(":{}: {problem}: {item}", at + 1));
    }
    found
}

/// What begins in this line, if it is public.
fn public_item(code: &str) -> Option<&str> {
    let item = code.trim_start().strip_prefix("pub ")?;
    let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_').skip_while(|word| {
        // What may stand between; `const` is also an item, but not before `fn`.
        matches!(*word, "async" | "extern" | "") || (*word == "const" && item.contains(" fn "))
    });
    let kind = words.next()?;
    (ITEMS.contains(&kind) || kind == "trait").then(|| item.trim_end_matches([' ', '{']))
}

/// Whether one of the blocks in these lines, which come last line first, is compiled and run: text and `no_run` are not.
fn has_example(docs: &[&str]) -> bool {
    let fences = docs.iter().rev().filter_map(|line| line.trim().strip_prefix("```"));
    fences.step_by(2).any(|language| matches!(language, "" | "rust" | "should_panic"))
}

#[test]
fn public_items_have_examples_that_run() {
    let example = "/// ```\n/// assert!(true);\n/// ```\n";
    let table = [
        ("pub fn a() {}\n".to_owned(), 1),
        ("/// Words.\npub fn a() {}\n".to_owned(), 1),
        (format!("/// Words.\n///\n{example}pub fn a() {{}}\n"), 0),
        (format!("    {example}    #[must_use]\n    pub async fn a() {{}}\n"), 0),
        (format!("{example}pub struct A;\n\n/// Words.\npub const fn a() {{}}\n"), 1),
        ("/// ```no_run\n/// a();\n/// ```\npub struct A;\n".to_owned(), 1),
        (format!("/// ```text\n/// words\n/// ```\n{example}pub struct A;\n"), 0),
        ("/// ```text\n/// words\npub struct A;\n".to_owned(), 1),
        ("pub(crate) fn a() {}\nfn b() {}\npub use c::d;\npub mod e;\n".to_owned(), 0),
        ("struct A {\n    pub field: u8,\n}\n".to_owned(), 0),
        ("#[cfg(test)]\nmod tests {\n    pub fn a() {}\n}\n".to_owned(), 0),
        (format!("{example}pub trait A {{}}\n"), 1),
        ("/// Words.\npub const A: u8 = 1;\n".to_owned(), 1),
    ];
    for (text, count) in table {
        let found = missing_examples("client/src/a.rs", &text);
        assert_eq!(found.len(), count, "{text:?}: {found:?}");
        assert!(missing_examples("broker/src/a.rs", &text).is_empty());
    }
    let found = missing_examples("client/src/a.rs", "//! A.\n\n/// Words.\npub fn a() {}\n");
    assert_eq!(found, [":4: a public item without an example: fn a() {}"]);
}
