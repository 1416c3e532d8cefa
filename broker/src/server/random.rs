//! Randomness: for names that nobody may guess, and for routes that are a matter of chance.

/// Random bytes from the operating system.
#[must_use]
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Only a kernel without the system call (before Linux 3.17) or a sandbox that forbids it fails here, and a broker
    // that made up predictable reply addresses would be worse than none.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Random numbers for choices that nobody needs to be kept from guessing (splitmix64).
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// A sequence of its own.
    pub(super) fn new() -> Self {
        Self(u64::from_ne_bytes(random_bytes()))
    }

    pub(super) fn next_bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
