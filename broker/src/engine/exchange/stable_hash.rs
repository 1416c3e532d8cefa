//! [`StableHash`]: a hash that is the same on every machine, in every version and after every restart.
//!
//! Routes by hash rest on it: a change of it would move keys to other queues. FNV-1a over the bytes, then the finalizer of
//! `MurmurHash3`, because FNV alone leaves the high bits of short texts alike. No defence against keys that are chosen to collide:
//! whoever may publish may choose the queue anyway.

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Gathers pieces of bytes; where one ends and the next begins counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StableHash(u64);

impl StableHash {
    pub(crate) fn new() -> Self {
        Self(FNV_OFFSET)
    }

    /// Adds a piece.
    pub(crate) fn with(mut self, piece: &[u8]) -> Self {
        for &byte in piece {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        // The length behind the bytes separates the pieces.
        self.0 = mix(self.0 ^ piece.len() as u64);
        self
    }

    pub(crate) fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// Spreads every bit over all 64.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// A number below `bound` (above 0), each as likely as the others, from random bits.
pub(crate) fn below(bits: u64, bound: usize) -> usize {
    let scaled = (u128::from(bits) * bound as u128) >> 64;
    usize::try_from(scaled).expect("it is below a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_changes() {
        // Written down once: other values here mean that keys move to other queues when a broker is upgraded.
        assert_eq!(StableHash::new().finish(), 0xefd0_1f60_ba99_2926);
        assert_eq!(StableHash::new().with(b"a").finish(), 0x0dc4_d96c_5166_95d2);
        assert_eq!(StableHash::new().with(b"customer-4711").finish(), 0x2be8_2058_5b9f_97b6);
    }

    #[test]
    fn pieces_are_told_apart() {
        let hash = |pieces: &[&str]| {
            pieces.iter().fold(StableHash::new(), |hash, piece| hash.with(piece.as_bytes())).finish()
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["", "a"]), hash(&["a"]));
        assert_ne!(hash(&["a", ""]), hash(&["a"]));
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        assert_eq!(
            [below(0, 3), below(u64::MAX / 2, 3), below(u64::MAX, 3), below(u64::MAX, 1)],
            [0, 1, 2, 0]
        );
    }
}
