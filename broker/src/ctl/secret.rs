//! Reading a password that was not given as an argument, where every other program of the machine could see it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::failure::{DATA, Failure};

/// No password is longer; see `limits::PASSWORD_BYTES_MAX`.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The argument, or else a line of standard input. On a terminal it asks, and what is typed is not shown.
pub(super) fn password(argument: Option<String>) -> Result<String, Failure> {
    let password = match argument {
        Some(password) => password,
        None => read().map_err(|error| Failure::new(DATA, format!("cannot read the password: {error}")))?,
    };
    if password.is_empty() {
        return Err(Failure::new(DATA, "Password is not provided via argument or stdin"));
    }
    Ok(password)
}

fn read() -> io::Result<String> {
    let input = stdin();
    if !input.is_terminal() {
        return line();
    }
    let shown = tcgetattr(&input)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    // Before it asks: what is answered at once would show, and be thrown away with what was typed ahead.
    tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    let _ = stderr().write_all(b"Password: ").and_then(|()| stderr().flush());
    let line = line();
    tcsetattr(&input, OptionalActions::Flush, &shown)?;
    eprintln!();
    line
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
