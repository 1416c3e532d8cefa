//! Backups: a copy of everything that lasts, made while the broker works, and what is made of it again.
//!
//! The flusher says between two commits what the state is and which segments hold its messages ([`Held`]). Everything in
//! front of that place in the log is never written again, and what is held is not removed, so it can be copied while commits go
//! on behind it. A copy has no part of the log to be replayed and no file of sled: the state lies in it as of that one place.
//! Called by `server::backups`; `warren restore` reads it back ([`Backup`]).
//!
//! A backup is a folder: `manifest.json` names every other file with its length and checksum, and is written last; without it the
//! backup is not complete. `state` is the index and the definitions, `log/` the segments, and `definitions.json` the definitions
//! once more, for people.

mod copy;
mod error;
mod held;
mod make;
mod manifest;
mod progress;
mod restore;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use error::{BackupError, HoldError, RestoreError};
pub use held::Held;
pub(super) use held::{Asked, hold};
pub use make::{Order, Target, make};
pub use manifest::Manifest;
pub use progress::Progress;
pub use restore::Backup;

/// The state at the place up to which the log was copied.
const STATE_FILE: &str = "state";

/// The definitions in the form of the HTTP API.
const DEFINITIONS_FILE: &str = "definitions.json";

/// What is in the backup. Written last.
const MANIFEST_FILE: &str = "manifest.json";
