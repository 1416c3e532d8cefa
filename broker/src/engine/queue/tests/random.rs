//! The source of chance of the random tests.

/// splitmix64: small, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not, `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Tells the seed of a run that failed.
pub(super) struct SeedOnFailure(pub(super) u64);

impl Drop for SeedOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with QUEUE_MODEL_SEED={}", self.0);
        }
    }
}

/// The seeds to run: all below `runs`, or the one that the environment names.
pub(super) fn seeds(runs: u64) -> std::ops::Range<u64> {
    let chosen = std::env::var("QUEUE_MODEL_SEED").ok().map(|seed| seed.parse().unwrap());
    chosen.map_or(0..runs, |seed: u64| seed..seed + 1)
}
