//! The limit on open files: raised as far as the system lets the process, and connections kept below it.
//!
//! It changes nothing else about the process. `run.rs` calls it before the broker starts.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{debug, info, warn};
use warren::config::Limits;

/// Files that are not client connections: standard streams, listeners, the runtime's own, the data folder's, connections that are
/// about to be refused.
const RESERVED_FILES: u64 = 128;

/// Raises the soft limit on open files to the hard one and returns what it is then; `None` means no limit.
pub(super) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => {
            if limit.current != before {
                debug!(before, now = limit.current, "raised the limit on open files");
            }
            limit.current
        }
        Err(error) => {
            info!(%error, limit = before, "could not raise the limit on open files");
            before
        }
    }
}

/// Lowers the limit on connections to what the limit on open files allows.
pub(super) fn fit_connections(limits: &mut Limits, files: Option<u64>) {
    let allowed = files.map_or(u64::MAX, |files| files.saturating_sub(RESERVED_FILES).max(1));
    if let Ok(allowed) = u32::try_from(allowed)
        && allowed < limits.connections_max
    {
        let wanted = limits.connections_max;
        if wanted == Limits::default().connections_max {
            debug!(allowed, "the limit on open files (ulimit -n) bounds the connections");
        } else {
            warn!(
                wanted,
                allowed,
                "fewer connections than limits.connections_max: raise the limit on open files (ulimit -n)"
            );
        }
        limits.connections_max = allowed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_stay_below_the_limit_on_open_files() {
        let table = [
            (None, 1000, 1000),
            (Some(u64::MAX), 1000, 1000),
            (Some(1128), 1000, 1000),
            (Some(1127), 1000, 999),
            (Some(0), 1000, 1),
        ];
        for (files, wanted, expected) in table {
            let mut limits = Limits { connections_max: wanted, ..Limits::default() };
            fit_connections(&mut limits, files);
            assert_eq!(limits.connections_max, expected, "{files:?}");
        }
    }
}
