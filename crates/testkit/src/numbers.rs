//! Numbers that look random and are the same for the same seed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A source of numbers that look random: `SplitMix64`, which has no bad seeds.
///
/// ```
/// use blobaccess_testkit::{Numbers, seed};
///
/// let mut numbers = Numbers::new(seed("MY_TEST_SEED"));
/// assert!(numbers.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Makes the source of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to, but not including, `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.draw()) * u128::try_from(bound).unwrap_or(u128::MAX >> 64);
        usize::try_from(product >> 64).unwrap_or_default()
    }

    /// Returns a number from 0 up to, but not including, 1.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "53 bits are exact in a float")]
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.draw().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Shuffles `items` into an order that looks random.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Returns the seed in the environment variable `variable`, or otherwise one that the system draws. It is printed, so
/// that a failure can be repeated.
#[must_use]
#[expect(clippy::print_stdout, reason = "test output is shown when the test fails, and then the seed is wanted")]
pub fn seed(variable: &str) -> u64 {
    let named = std::env::var(variable).ok().and_then(|seed| seed.parse().ok());
    let seed = named.unwrap_or_else(|| RandomState::new().hash_one(variable));
    println!("{variable}={seed}");
    seed
}

/// Returns how long the randomised tests of one file may take together: `BLOBACCESS_RANDOMISED_SECONDS` of the
/// environment, or 30 seconds.
#[must_use]
pub fn time_budget() -> Duration {
    let seconds = std::env::var("BLOBACCESS_RANDOMISED_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_has_the_same_numbers() {
        let (mut a, mut b) = (Numbers::new(1), Numbers::new(1));
        assert!((0..100).all(|_| a.draw() == b.draw()));
        assert_ne!(Numbers::new(1).draw(), Numbers::new(2).draw());
        // As published for SplitMix64.
        assert_eq!(Numbers::new(1_234_567).draw(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn bounds_hold() {
        let mut numbers = Numbers::new(3);
        assert!((0..1000).all(|_| numbers.below(7) < 7 && (0.0..1.0).contains(&numbers.unit())));
        assert_eq!((numbers.below(0), numbers.bytes(13).len()), (0, 13));
    }

    #[test]
    fn a_shuffle_keeps_all_items() {
        let mut items: Vec<_> = (0..100).collect();
        Numbers::new(4).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert!(items.into_iter().eq(0..100));
    }

    #[test]
    fn a_seed_that_is_not_named_is_a_new_one() {
        assert_ne!(seed("BLOBACCESS_NO_SUCH_SEED"), seed("BLOBACCESS_NO_SUCH_SEED"));
    }
}
