//! What the kernel knows about a process: CPU time and memory, from `/proc`.
//!
//! Linux only, and only for processes on this machine. Called by `sampler`, `compare` and `memory`.

use std::fs;

use crate::error::{Error, Result};

/// User and system time of a process so far, in seconds. Its resolution is a clock tick, usually 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = read(&path)?;
    let ticks = parse_cpu_ticks(&text).ok_or_else(|| unreadable(&path))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The fields after the command, which is in brackets and may hold anything.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Resident pages.
    pub(crate) rss: u64,
    /// Resident pages, those shared with other processes divided among them.
    pub(crate) pss: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    parse_memory(&read(&path)?).ok_or_else(|| unreadable(&path))
}

fn parse_memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory { rss: field("Rss:")?, pss: field("Pss:")? })
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Io { what: format!("{path} (is --pid right?)"), source })
}

fn unreadable(path: &str) -> Error {
    Error::Protocol(format!("{path} does not look as it should"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_hostile_command_name() {
        let stat = "12 (a) b 1 2) S 1 12 12 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0";
        assert_eq!(parse_cpu_ticks(stat), Some(300));
        assert_eq!(parse_cpu_ticks("12 (x) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "55-66 ---p 0 [rollup]\nRss:   1024 kB\nPss:    10 kB\nPss_Dirty: 3 kB\n";
        assert_eq!(parse_memory(text), Some(Memory { rss: 1_048_576, pss: 10_240 }));
        assert_eq!(parse_memory("Rss: 5 kB"), None);
    }
}
