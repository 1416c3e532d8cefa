//! How much memory this process may use: the machine's, or the container's where that is less.
//!
//! It reads Linux's files and guesses nothing else; `Limits::memory_bytes` calls it.

use std::fs;

/// Taken where the system does not say. Small enough that 40 % of it fits on any machine that runs a broker.
const UNKNOWN_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The files in which control groups state a limit, version 2 first.
const CGROUP_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

pub(super) fn available_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_meminfo(&text));
    let group =
        CGROUP_FILES.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (one, other) => one.or(other).unwrap_or(UNKNOWN_MEMORY_BYTES),
    }
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_states_kibibytes() {
        let text = "MemFree:  1 kB\nMemTotal:       24586332 kB\n";
        assert_eq!(parse_meminfo(text), Some(24_586_332 * 1024));
        assert_eq!(parse_meminfo("MemTotal: lots\n"), None);
        assert_eq!(parse_meminfo(""), None);
    }

    #[test]
    fn there_is_always_some_memory() {
        assert!(available_bytes() > 0);
    }
}
