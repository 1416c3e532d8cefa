//! Randomness for names that nobody may guess.

/// Random bytes from the operating system.
#[must_use]
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Only a kernel without the system call (before Linux 3.17) or a sandbox that forbids it fails here, and a broker
    // that made up predictable reply addresses would be worse than none.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
