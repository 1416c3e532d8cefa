//! Commands that write definitions to a file and read them from one.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _, stderr, stdin};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;

use super::Session;
use super::failure::{DATA, Failure, IO};
use super::output::print;
use super::path::api_path;

/// The largest file that is read: the definitions of a very large broker.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// `export_definitions`.
pub(super) fn export(session: &Session, file: &Path) -> Result<(), Failure> {
    let to_stdout = file == Path::new("-");
    if !to_stdout {
        session.out.banner(&format!("Exporting definitions in JSON to a file at \"{}\" ...", file.display()));
    }
    let found = working("exporting", || session.api.get(&["definitions"]))?;
    let text = format!("{found:#}\n");
    if to_stdout {
        print(&text);
        return Ok(());
    }
    write(file, &text).map_err(|error| {
        // A folder that is not there is a mistake in the command.
        let code = if error.kind() == io::ErrorKind::NotFound { DATA } else { IO };
        Failure::new(code, format!("cannot write {}: {error}", file.display()))
    })
}

/// Only for its owner: there are hashes of passwords in it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// `import_definitions`.
pub(super) fn import(session: &Session, file: Option<&Path>) -> Result<(), Failure> {
    let file = file.filter(|file| *file != Path::new("-"));
    let text = match file {
        Some(file) => {
            let name = file.display();
            let text = fs::File::open(file).and_then(read).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Failure::new(DATA, format!("Bad argument: File {name} does not exist"))
                }
                _ => Failure::new(DATA, format!("cannot read {name}: {error}")),
            })?;
            session.out.banner(&format!("Importing definitions in JSON from a file at \"{name}\" ..."));
            text
        }
        None => {
            session.out.banner("Importing definitions in JSON from standard input ...");
            read(stdin().lock())
                .map_err(|error| Failure::new(DATA, format!("cannot read standard input: {error}")))?
        }
    };
    // Before anything is sent, and with the line that is wrong.
    let _: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(DATA, format!("the definitions are not JSON: {error}")))?;
    let path = api_path(&["definitions"]);
    working("importing", || session.api.call_raw("POST", &path, Some(text.as_bytes())))?;
    session.out.note("Successfully imported definitions.");
    Ok(())
}

fn read(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Shows on a terminal that something is going on while it lasts.
fn working<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    bar.finish_and_clear();
    done
}
