//! The two buckets that a key may lie in, and its fingerprint.

use crate::key::Key;
use crate::machine::casts;

use super::tag_line::FINGERPRINT_MASK;

/// The two buckets that a key may lie in, and its fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) primary: u32,
    /// Another one, unless there is only one.
    pub(super) secondary: u32,
    /// In the bits where a tag has it.
    pub(super) fingerprint: u32,
}

/// Chooses buckets, under seeds of the store's own: nobody else can choose keys that crowd one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    seeds: [u64; 2],
    buckets: u32,
}

impl Placement {
    pub(super) fn new(seeds: [u64; 2], buckets: u32) -> Self {
        Self { seeds, buckets }
    }

    #[inline]
    pub(super) fn of(&self, key: &Key) -> Place {
        let [first_word, second_word, third_word, fourth_word] = key.words;
        let [seed, other_seed] = self.seeds;
        // A 64 by 64 to 128 bit multiplication folds 16 bytes (0.6 ns). All 32 are used, so that contents whose
        // hashes were made to agree in 16 do not meet in one bucket either.
        let first = u128::from(first_word ^ seed) * u128::from(second_word ^ other_seed);
        let second = u128::from(third_word ^ other_seed) * u128::from(fourth_word ^ seed.rotate_left(32));
        let [first_low, first_high] = [casts::low_64(first), casts::low_64(first >> 64)];
        let [second_low, second_high] = [casts::low_64(second), casts::low_64(second >> 64)];
        let buckets = first_low ^ first_high ^ second_high.rotate_left(23);
        let fingerprint = casts::low(first_high.rotate_left(17) ^ second_low ^ second_high);
        let primary = self.reduce(casts::low(buckets));
        let mut secondary = self.reduce(casts::high(buckets));
        if secondary == primary {
            secondary = if primary + 1 == self.buckets { 0 } else { primary + 1 };
        }
        Place { primary, secondary, fingerprint: fingerprint & FINGERPRINT_MASK }
    }

    /// Maps a number of 32 bits to one below the number of buckets, without a division.
    #[inline]
    fn reduce(&self, number: u32) -> u32 {
        casts::high(u64::from(number) * u64::from(self.buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_used_evenly_and_differ() {
        let placement = Placement::new([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03], 100);
        let mut counts = vec![0_u32; 100];
        for number in 0..100_000_u64 {
            let hash = blake3::hash(&number.to_le_bytes());
            let place = placement.of(&Key { words: crate::key::words(hash.as_bytes()), check: 0 });
            assert_ne!(place.primary, place.secondary);
            counts[casts::index(place.primary)] += 1;
            counts[casts::index(place.secondary)] += 1;
        }
        assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_only_bucket_is_both() {
        let place = Placement::new([1, 2], 1).of(&Key { words: [1, 2, 3, 4], check: 0 });
        assert_eq!((place.primary, place.secondary), (0, 0));
    }
}
