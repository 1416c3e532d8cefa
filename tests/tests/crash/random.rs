//! A small random generator and the settings of the random tests, from the environment. Not for secrets.

use std::env;
use std::fmt::Display;
use std::str::FromStr;
use std::time::SystemTime;

/// `SplitMix64`: the same numbers for the same seed on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }

    /// Another generator that goes its own way.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// Spreads the bits of a number.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// A number from the environment.
pub(crate) fn setting<T: FromStr<Err: Display>>(name: &str, default: impl FnOnce() -> T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default(),
    }
}

/// A seed from the environment, otherwise a new one each time.
pub(crate) fn seed(name: &str) -> u64 {
    setting(name, || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        mix(now.as_secs() ^ u64::from(now.subsec_nanos()) << 20) % 1_000_000_000
    })
}
