//! How much memory this process may use: the machine's, or the container's where that is less.
//!
//! It reads Linux's files and guesses nothing else; `Limits::memory_bytes` calls it.

use std::fs;
use std::path::Path;

/// Taken where the system does not say. Small enough that 40 % of it fits on any machine that runs a broker.
const UNKNOWN_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

pub(super) fn available_bytes() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| parse_meminfo(&text));
    let groups = read(Path::new("/proc/self/cgroup")).and_then(|text| group_limit(&text, read));
    machine.into_iter().chain(groups).min().unwrap_or(UNKNOWN_MEMORY_BYTES)
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the control groups in `memberships` (the text of `/proc/self/cgroup`) and of those around them:
/// a service's limit holds for what runs below it, and a container sees its own group as the root.
fn group_limit(memberships: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = memberships.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            all if all.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = Path::new(root).join(group.trim_start_matches('/'));
        let around = group.ancestors().take_while(|folder| folder.starts_with(root));
        // "max" stands for no limit.
        around.filter_map(|folder| read(&folder.join(file))?.trim().parse::<u64>().ok()).min()
    });
    limits.min()
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
    fn the_least_limit_of_all_groups_around_the_process_counts() {
        const FILES: [(&str, &str); 5] = [
            ("/sys/fs/cgroup/system.slice/warren.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.max", "2000\n"),
            ("/sys/fs/cgroup/other/memory.max", "1\n"),
            // As a container sees version 1: its own group is the root.
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n"),
        ];
        let table = [
            ("0::/system.slice/warren.service\n", Some(1000)),
            ("0::/\n", Some(2000)),
            ("9:cpu,memory:/docker/abc\n8:cpuset:/docker/abc\n", Some(3000)),
            ("9:memory:/docker/abc\n0::/\n", Some(2000)),
            ("8:cpuset:/\n", None),
            ("nonsense\n", None),
        ];
        for (memberships, limit) in table {
            let read = |path: &Path| {
                let (_, text) = FILES.iter().find(|(name, _)| Path::new(name) == path)?;
                Some((*text).to_owned())
            };
            assert_eq!(group_limit(memberships, read), limit, "{memberships}");
        }
    }

    #[test]
    fn there_is_always_some_memory() {
        assert!(available_bytes() > 0);
    }
}
