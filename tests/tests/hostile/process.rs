//! What the operating system says of the broker's process and of this one.

use std::fs;

use rustix::process::{Resource, getrlimit};
use warren_tests::Broker;

/// What the broker's process has in memory, in bytes.
pub(crate) fn resident_bytes(broker: &mut Broker) -> u64 {
    let id = broker.program().expect("a broker of ours").id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// How many connections this process may open, and the broker's, which has the same limit.
pub(crate) fn connections_possible(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Some files are open for other ends, above all by tests that run at the same time.
    let possible = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(500);
    if possible < wanted {
        println!("only {possible} connections instead of {wanted}: the limit on open files is {limit}");
    }
    wanted.min(possible)
}

/// Bytes as MiB, for output.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
