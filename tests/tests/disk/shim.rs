//! [`Shim`]: has a program started with the disk shim, and what the shim is to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};
use warren_tests::built;

/// What the shim is to do in one program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shim {
    /// Where it records.
    pub(crate) recording: Option<PathBuf>,
    /// What fails or is slow; see the shim's `rules.rs`.
    pub(crate) rules: String,
    /// Where it notes which rule struck.
    pub(crate) struck: Option<PathBuf>,
    /// The folder whose files it watches; the data folder if not said.
    pub(crate) folder: Option<PathBuf>,
}

impl Shim {
    /// A shim that records.
    pub(crate) fn recording(to: &Path) -> Self {
        Self { recording: Some(to.to_owned()), ..Self::default() }
    }

    /// Has the command load it, for this data folder.
    pub(crate) fn apply(&self, command: &mut Command, data: &Path) {
        let folder = self.folder.as_deref().unwrap_or(data).canonicalize().expect("the folder is there");
        command.env("LD_PRELOAD", built("libwarren_disk_shim.so")).env("DISK_SHIM_FOLDER", folder);
        command.env("DISK_SHIM_RULES", &self.rules);
        if let Some(path) = &self.recording {
            command.env("DISK_SHIM_RECORDING", path);
        }
        if let Some(path) = &self.struck {
            command.env("DISK_SHIM_STRUCK", path);
        }
    }

    /// The calls that rules struck so far: number of the rule, kind of call, path.
    pub(crate) fn strikes(&self) -> Vec<String> {
        let path = self.struck.as_ref().expect("strikes are noted");
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// The time that the shim notes.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}
