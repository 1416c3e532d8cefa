//! Which calls fail, write less than asked, or take their time, as one environment variable says. It decides; the calls
//! themselves are made, or not, by those who ask.
//!
//! Rules are separated by semicolons, their words by spaces:
//!
//! - `calls=write,sync`: the kinds of calls, all without it
//! - `path=log/`: only where the path, relative to the folder, contains this
//! - `at=3`: only the third of them; `from=3`: the third and all after it
//! - `while=FILE`: only calls made while this file exists are counted
//! - and what happens: `fails=EIO`, `fails=ENOSPC`, `short` (half of it is written), `sleeps=5000` (milliseconds), or `holds`
//!   (the call is made once the file of `while` is gone)

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Kinds of calls that rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Create,
    Write,
    Truncate,
    Allocate,
    Rename,
    Link,
    Unlink,
    Mkdir,
    Rmdir,
    Sync,
    SyncFolder,
    /// `sync_file_range`, which promises nothing.
    Range,
}

const KINDS: [(&str, Kind); 13] = [
    ("open", Kind::Open),
    ("create", Kind::Create),
    ("write", Kind::Write),
    ("truncate", Kind::Truncate),
    ("allocate", Kind::Allocate),
    ("rename", Kind::Rename),
    ("link", Kind::Link),
    ("unlink", Kind::Unlink),
    ("mkdir", Kind::Mkdir),
    ("rmdir", Kind::Rmdir),
    ("sync", Kind::Sync),
    ("syncfolder", Kind::SyncFolder),
    ("range", Kind::Range),
];

impl Kind {
    /// What rules call it.
    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("?", |(name, _)| name)
    }
}

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    Short,
    Fail(c_int),
}

/// One rule, and how many calls it has seen.
#[derive(Debug)]
pub(crate) struct Rule {
    kinds: Vec<Kind>,
    path: String,
    which: Which,
    while_exists: Option<PathBuf>,
    effect: Effect,
    seen: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    At(u64),
    From(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Fails(c_int),
    Short,
    Sleeps(Duration),
    Holds,
}

/// How often a held call looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// The rules in a text.
///
/// # Errors
///
/// The word that is not understood.
pub(crate) fn parse(text: &str) -> Result<Vec<Rule>, String> {
    text.split(';').filter(|rule| !rule.trim().is_empty()).map(Rule::parse).collect()
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut kinds, mut path, mut which, mut while_exists) =
            (Vec::new(), String::new(), Which::From(1), None);
        let mut effect = None;
        for word in text.split_whitespace() {
            let bad = || format!("{word:?} in the rule {text:?}");
            let number = |digits: &str| digits.parse::<u64>().map_err(|_| bad());
            match word.split_once('=').unwrap_or((word, "")) {
                ("calls", names) => {
                    for name in names.split(',') {
                        kinds.push(KINDS.iter().find(|(known, _)| *known == name).ok_or_else(bad)?.1);
                    }
                }
                ("path", part) => part.clone_into(&mut path),
                ("at", digits) => which = Which::At(number(digits)?),
                ("from", digits) => which = Which::From(number(digits)?),
                ("while", file) => while_exists = Some(PathBuf::from(file)),
                ("fails", "EIO") => effect = Some(Effect::Fails(libc::EIO)),
                ("fails", "ENOSPC") => effect = Some(Effect::Fails(libc::ENOSPC)),
                ("short", "") => effect = Some(Effect::Short),
                ("holds", "") => effect = Some(Effect::Holds),
                ("sleeps", digits) => effect = Some(Effect::Sleeps(Duration::from_millis(number(digits)?))),
                _ => return Err(bad()),
            }
        }
        let effect = effect.ok_or_else(|| format!("nothing happens in the rule {text:?}"))?;
        Ok(Self { kinds, path, which, while_exists, effect, seen: AtomicU64::new(0) })
    }

    /// Whether this call is one that the rule strikes; counts it if it might be.
    fn strikes(&self, kind: Kind, path: &str) -> bool {
        let concerned = (self.kinds.is_empty() || self.kinds.contains(&kind))
            && path.contains(&self.path)
            && self.while_exists.as_ref().is_none_or(|file| file.exists());
        if !concerned {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        match self.which {
            Which::At(at) => number == at,
            Which::From(from) => number >= from,
        }
    }
}

/// What all rules together say about a call. Sleeps are slept here; `struck` hears of every rule that strikes.
pub(crate) fn decide(rules: &[Rule], kind: Kind, path: &str, mut struck: impl FnMut(usize)) -> Verdict {
    let mut verdict = Verdict::Go;
    for (number, rule) in rules.iter().enumerate() {
        if !rule.strikes(kind, path) {
            continue;
        }
        struck(number);
        match rule.effect {
            Effect::Fails(errno) => verdict = Verdict::Fail(errno),
            Effect::Short if verdict == Verdict::Go => verdict = Verdict::Short,
            Effect::Short => {}
            Effect::Sleeps(time) => thread::sleep(time),
            Effect::Holds => {
                while rule.while_exists.as_ref().is_some_and(|file| file.exists()) {
                    thread::sleep(LOOK);
                }
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(rules: &str, calls: &[(Kind, &str)]) -> Vec<Verdict> {
        let rules = parse(rules).unwrap();
        calls.iter().map(|(kind, path)| decide(&rules, *kind, path, |_| {})).collect()
    }

    #[test]
    fn rules_count_the_calls_that_concern_them_and_strike_as_they_say() {
        use Verdict::{Fail, Go, Short};
        let writes =
            [(Kind::Write, "log/1"), (Kind::Sync, "log/1"), (Kind::Write, "x"), (Kind::Write, "log/2")];
        assert_eq!(verdicts("", &writes), [Go; 4]);
        assert_eq!(verdicts("fails=EIO", &writes), [Fail(libc::EIO); 4]);
        assert_eq!(
            verdicts("calls=write path=log/ at=2 fails=ENOSPC", &writes),
            [Go, Go, Go, Fail(libc::ENOSPC)]
        );
        assert_eq!(verdicts("calls=write,sync from=2 short", &writes), [Go, Short, Short, Short]);
        assert_eq!(verdicts("at=1 short; at=1 fails=EIO", &writes), [Fail(libc::EIO), Go, Go, Go]);
        assert_eq!(verdicts("while=/nonexistent/file fails=EIO", &writes), [Go; 4]);
    }

    #[test]
    fn rules_that_are_not_understood_are_refused() {
        for text in ["calls=read fails=EIO", "fails=EPERM", "calls=write", "at=x short", "short sometimes"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
