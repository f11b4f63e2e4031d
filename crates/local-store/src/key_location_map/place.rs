//! The two buckets that a key may lie in, and its fingerprint.
//!
//! A key has a *number* of 32 bits. Buckets are numbers scaled down, so the order of numbers is that of primary buckets,
//! whatever the size of the map. The keys whose numbers have the same first bits are a *segment*: their secondary buckets
//! lie among the primary buckets of the same segment. So whoever reads the buckets of a segment sees all its keys.

use std::ops::RangeInclusive;

use crate::key::Key;
use crate::machine::casts;

use super::tag_line::FINGERPRINT_MASK;

/// A segment has at least this many buckets, as a power of two, unless the map has fewer. Chance crowds one segment more
/// than others: with 61,440 slots or more, by some 2 % at most.
const SEGMENT_BITS: u32 = 12;

/// The place of a key: its two buckets and its fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) primary: u32,
    /// In the bits where a tag has it.
    pub(super) fingerprint: u32,
    /// The number that the primary bucket follows from.
    pub(super) number: u32,
    /// The bits that the secondary bucket follows from, with the first ones of `number`.
    rest: u32,
}

/// Chooses buckets, under seeds of the store's own: nobody else can choose keys that crowd one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    seeds: [u64; 2],
    buckets: u32,
    /// The number of segments, as a power of two.
    segment_bits: u32,
    /// The bits of a number that tell segments apart.
    segment_mask: u32,
}

impl Placement {
    pub(super) fn new(seeds: [u64; 2], buckets: u32) -> Self {
        let segment_bits = buckets.max(1).ilog2().saturating_sub(SEGMENT_BITS);
        let segment_mask = u32::MAX.checked_shl(32 - segment_bits).unwrap_or(0);
        Self { seeds, buckets, segment_bits, segment_mask }
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
        let number = casts::low(buckets);
        Place {
            primary: self.reduce(number),
            fingerprint: fingerprint & FINGERPRINT_MASK,
            number,
            rest: casts::high(buckets),
        }
    }

    /// Returns the other bucket that a key may lie in: another one, unless there is only one.
    #[inline]
    pub(super) fn secondary(&self, place: Place) -> u32 {
        let first_bits = place.number & self.segment_mask;
        let secondary = self.reduce(first_bits | place.rest & !self.segment_mask);
        if secondary != place.primary {
            return secondary;
        }
        // The bucket before, or the one after the first of the segment.
        let first = self.reduce(first_bits);
        if secondary == first { (first + 1).min(self.buckets.saturating_sub(1)) } else { secondary - 1 }
    }

    /// Returns the number of segments.
    pub(super) fn segments(&self) -> u32 {
        1 << self.segment_bits
    }

    /// Returns the segment that a key of this number belongs to.
    pub(super) fn segment(&self, number: u32) -> u32 {
        (number & self.segment_mask).checked_shr(32 - self.segment_bits).unwrap_or(0)
    }

    /// Returns the last number of a segment.
    pub(super) fn last_number(&self, segment: u32) -> u32 {
        segment.checked_shl(32 - self.segment_bits).unwrap_or(0) | !self.segment_mask
    }

    /// Returns the buckets that the keys of a segment lie in. The first and the last may be those of neighbours as well.
    pub(super) fn buckets_of(&self, segment: u32) -> RangeInclusive<u32> {
        let last = self.last_number(segment);
        self.reduce(last & self.segment_mask)..=self.reduce(last)
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
            let secondary = placement.secondary(place);
            assert_ne!(place.primary, secondary);
            counts[casts::index(place.primary)] += 1;
            counts[casts::index(secondary)] += 1;
        }
        assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_only_bucket_is_both() {
        let placement = Placement::new([1, 2], 1);
        let place = placement.of(&Key { words: [1, 2, 3, 4], check: 0 });
        assert_eq!((place.primary, placement.secondary(place)), (0, 0));
    }

    #[test]
    fn both_buckets_of_a_key_are_of_its_segment_in_maps_of_any_size() {
        for buckets in [1, 2, 3, 4095, 4096, 8191, 8192, 8193, 100_000, 1 << 20, u32::MAX] {
            let placement = Placement::new([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03], buckets);
            let last = placement.segments() - 1;
            assert_eq!(*placement.buckets_of(0).start(), 0);
            assert_eq!(*placement.buckets_of(last).end(), buckets - 1);
            for number in 0..20_000_u64 {
                let hash = blake3::hash(&number.to_le_bytes());
                let place = placement.of(&Key { words: crate::key::words(hash.as_bytes()), check: 0 });
                let segment = placement.segment(place.number);
                assert!(place.number <= placement.last_number(segment));
                assert!(segment == 0 || place.number > placement.last_number(segment - 1));
                let within = placement.buckets_of(segment);
                let secondary = placement.secondary(place);
                assert!(within.contains(&place.primary) && within.contains(&secondary), "{place:?} of {buckets}");
                assert!(buckets == 1 || secondary != place.primary);
            }
        }
    }
}
