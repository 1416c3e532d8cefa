//! The public interface of the client library, compared with that of its last release, which `client/public-api.txt` keeps: what is
//! added has to be written down there, and what breaks programs needs another version.
//!
//! It reads what rustdoc says of the library, in the format of the toolchain that the workspace is pinned to. A toolchain with
//! another format needs another version of the crate `public-api`.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use public_api::{Builder, PublicApi};
use warren_tests::workspace;

/// Writes down what was added; with `release` also that this is a release, which is what the next changes are compared with.
const UPDATE: &str = "UPDATE_API";

/// How the first line of the file begins; the rest is the version.
const HEADER: &str = "# The public interface of warren-client, after release ";

const HOW: &str = "\n# Written by `UPDATE_API=1 cargo test -p warren-tests --test client_api`; CONTRIBUTING.md says when.\n";

/// The items, one per line, and the version of the last release.
#[derive(Debug)]
struct Kept {
    released: String,
    items: BTreeSet<String>,
}

impl Kept {
    fn read() -> Self {
        let text = fs::read_to_string(file()).expect("client/public-api.txt is there");
        let released = text.lines().next().and_then(|line| line.strip_prefix(HEADER));
        let items = text.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect();
        Self { released: released.expect("the file begins with the version").to_owned(), items }
    }

    fn write(&self) {
        let items: String = self.items.iter().map(|item| format!("{item}\n")).collect();
        fs::write(file(), format!("{HEADER}{}{HOW}{items}", self.released))
            .expect("client/public-api.txt can be written");
    }
}

fn file() -> PathBuf {
    workspace().join("client/public-api.txt")
}

/// The interface as it is.
fn items() -> BTreeSet<String> {
    let test = env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("a test lies in target/<profile>/deps");
    let mut rustdoc = Command::new(env!("CARGO"));
    rustdoc.args(["rustdoc", "--quiet", "--package", "warren-client", "--lib", "--target-dir"]).arg(target);
    rustdoc.args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    rustdoc.env("RUSTDOC", workspace().join("tests/rustdoc-json")).current_dir(workspace());
    assert!(rustdoc.status().expect("cargo starts").success(), "rustdoc fails: {rustdoc:?}");
    let api =
        Builder::from_rustdoc_json(target.join("doc/warren_client.json")).omit_blanket_impls(true).build();
    let api: PublicApi = api.expect("the crate public-api reads what this toolchain's rustdoc writes");
    // Not what says whether a panic may be passed over: it comes from what lapin is made of, and changes with that.
    let told = api.items().map(|item| item.to_string()).filter(|item| !item.contains("panic::unwind_safe::"));
    told.chain([lapin()]).collect()
}

/// The line for what the library shows of lapin: another major version of it is another interface.
fn lapin() -> String {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).expect("Cargo.lock is there");
    let version =
        lock.lines().skip_while(|line| *line != "name = \"lapin\"").nth(1).expect("lapin is locked");
    format!("of lapin: {}.*", version.split('.').next().expect("a version"))
}

/// Whether programs written for the version `from` need not work with `to`: by the leftmost number that is not zero.
fn may_break(from: &str, to: &str) -> bool {
    let compatible = |version: &str| {
        let numbers: Vec<&str> = version.split('.').collect();
        let end = numbers.iter().position(|number| *number != "0").map_or(numbers.len(), |first| first + 1);
        numbers[..end].join(".")
    };
    compatible(from) != compatible(to)
}

/// The path that a line of the list is about, and what comes before it, such as `pub fn`.
fn parts(item: &str) -> (&str, &str) {
    let start = item.find("warren_client").unwrap_or(0);
    let end = item[start..].find([' ', '(', '<']).map_or(item.len(), |len| start + len);
    (item[..start].trim_end(), item[start..end].trim_end_matches(':'))
}

/// Whether an addition breaks programs: what is added to an enum that they may match as a whole, to a struct that they may
/// make, or to a trait that they may have implemented.
fn breaks(added: &str, before: &BTreeSet<String>) -> bool {
    let (kind, path) = parts(added);
    let Some((parent, _)) = path.rsplit_once("::") else { return false };
    before.iter().map(|item| parts(item)).filter(|(_, path)| *path == parent).any(|(of, _)| match of {
        "pub trait" => true,
        "pub enum" | "pub struct" | "pub" => kind == "pub",
        _ => false,
    })
}

#[test]
fn a_change_that_breaks_programs_comes_with_another_version_of_the_client() {
    let (mut kept, items) = (Kept::read(), items());
    let version = env!("CARGO_PKG_VERSION");
    let added: Vec<&String> = items.difference(&kept.items).collect();
    let mut breaking: Vec<&String> = kept.items.difference(&items).collect();
    breaking.extend(added.iter().filter(|item| breaks(item, &kept.items)));
    let listed = |items: &[&String]| items.iter().map(|item| format!("  {item}\n")).collect::<String>();
    assert!(
        breaking.is_empty() || may_break(&kept.released, version),
        "Programs written for warren-client {} break: it is without or has changed\n{}Keep what they use, or give the workspace \
         another version (in Cargo.toml, now {version}) and say in CHANGELOG.md what to do; then {UPDATE}=1 writes it down.",
        kept.released,
        listed(&breaking),
    );
    let changed = items != kept.items;
    let update = env::var(UPDATE).unwrap_or_default();
    if !update.is_empty() {
        if update == "release" {
            kept.released = version.to_owned();
        }
        kept.items = items;
        return kept.write();
    }
    assert!(
        !changed,
        "The public interface of warren-client is another than client/public-api.txt says. If that is meant, add it to \
         CHANGELOG.md and write it down with {UPDATE}=1 cargo test -p warren-tests --test client_api. New are\n{}",
        listed(&added),
    );
}

#[test]
fn versions_may_break_programs_when_their_first_number_that_counts_is_another() {
    for (from, to, expected) in [
        ("0.1.0", "0.1.1", false),
        ("0.1.9", "0.2.0", true),
        ("0.0.1", "0.0.2", true),
        ("0.9.0", "1.0.0", true),
        ("1.2.3", "1.9.0", false),
        ("1.2.3", "2.0.0", true),
    ] {
        assert_eq!(may_break(from, to), expected, "{from} to {to}");
    }
}

#[test]
fn additions_to_what_programs_may_have_as_a_whole_break_them() {
    let before = BTreeSet::from(
        [
            "pub enum warren_client::Whole",
            "#[non_exhaustive] pub enum warren_client::Open",
            "pub warren_client::Open::Pair",
            "pub struct warren_client::Made<T>",
            "pub trait warren_client::Done: core::fmt::Debug",
        ]
        .map(str::to_owned),
    );
    for (item, expected) in [
        ("pub warren_client::Whole::Third", true),
        ("pub warren_client::Open::Third(u8)", false),
        ("pub warren_client::Open::Pair::third: u8", true),
        ("pub warren_client::Made::field: u8", true),
        ("pub fn warren_client::Made<T>::method(&self)", false),
        ("pub fn warren_client::Whole::method(&self)", false),
        ("pub fn warren_client::Done::method(&self)", true),
        ("pub type warren_client::Done::Output", true),
        ("pub struct warren_client::New", false),
    ] {
        assert_eq!(breaks(item, &before), expected, "{item}");
    }
}
