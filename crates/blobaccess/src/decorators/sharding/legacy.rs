//! The choice of a shard that Buildbarn made before rendezvous hashing.

use std::fmt::{self, Write};

use crate::{Digest, Error, Result};

/// The multiplier of the hash FNV-1a with 64 bits.
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The multiplier of the generator xorshift64*.
const XORSHIFT_MULTIPLIER: u64 = 0x2545_f491_4f6c_dd1d;

/// The smallest share of the total weight that shards may have that are not drained: one in 1,000. About so many shards
/// are drawn for a blob then.
const MIN_SHARE: u64 = 1000;

/// The number of shards that are drawn at most. With the smallest share, more are drawn in one case of 10^28.
const MAX_DRAWS: usize = 1 << 16;

/// A choice that depends on the order of the shards: slots in proportion to the weights are drawn at random, beginning
/// with the hash of the blob, until one belongs to a shard that is not drained.
#[derive(Clone, Debug)]
pub(super) struct Legacy {
    hash_initialization: u64,
    /// The end of the slots of each shard, and whether the shard is drained.
    slots: Vec<(u64, bool)>,
    total_weight: u64,
    /// The first shard that is not drained.
    first: usize,
}

impl Legacy {
    /// Makes a choice among shards with these weights, each with whether it is drained.
    pub(super) fn new(hash_initialization: u64, shards: impl IntoIterator<Item = (u32, bool)>) -> Result<Self> {
        let (mut slots, mut total_weight, mut writable) = (Vec::new(), 0_u64, 0_u64);
        for (weight, drained) in shards {
            // More than four billion shards do not fit into memory.
            total_weight = total_weight.saturating_add(weight.into());
            writable += if drained { 0 } else { u64::from(weight) };
            slots.push((total_weight, drained));
        }
        let Some(first) = slots.iter().position(|(_, drained)| !drained) else {
            return Err(Error::invalid_argument("all shards are drained"));
        };
        if writable < total_weight / MIN_SHARE {
            return Err(Error::invalid_argument(format!(
                "the shards that are not drained have {writable} of the total weight {total_weight}; the minimum is one \
                 in {MIN_SHARE}"
            )));
        }
        Ok(Self { hash_initialization, slots, total_weight, first })
    }

    /// Returns the position of the shard that a blob is put to.
    pub(super) fn home(&self, digest: &Digest) -> usize {
        self.draw(digest).find(|(_, drained)| !drained).map_or(self.first, |(index, _)| index)
    }

    /// Returns the positions of the drained shards that the blob may have been put to before.
    pub(super) fn fallbacks(&self, digest: &Digest) -> Vec<usize> {
        let mut fallbacks = Vec::new();
        for (index, _) in self.draw(digest).take_while(|(_, drained)| *drained) {
            if !fallbacks.contains(&index) {
                fallbacks.push(index);
            }
        }
        fallbacks
    }

    /// Draws shards, each with whether it is drained.
    fn draw(&self, digest: &Digest) -> impl Iterator<Item = (usize, bool)> {
        let mut state = match hash_of(digest, self.hash_initialization) {
            0 => 1,
            seed => seed,
        };
        std::iter::repeat_with(move || {
            let slot = advance(&mut state) % self.total_weight.max(1);
            let index = self.slots.partition_point(|(end, _)| *end <= slot);
            (index, self.slots.get(index).is_some_and(|(_, drained)| *drained))
        })
        .take(MAX_DRAWS)
    }
}

/// Returns the next number of the generator xorshift64*.
const fn advance(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(XORSHIFT_MULTIPLIER)
}

/// Returns the hash of a digest without its instance name.
fn hash_of(digest: &Digest, hash_initialization: u64) -> u64 {
    /// The hash of the text written so far.
    struct Fnv(u64);

    impl Write for Fnv {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
            Ok(())
        }
    }

    let mut hash = Fnv(hash_initialization);
    // The writer above does not fail. The text is that of `Digest::key`.
    let _: fmt::Result = write!(hash, "{}-{}-{}", digest.function().number(), digest.hash(), digest.size_bytes());
    hash.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DigestFunction, InstanceName, KeyFormat};

    /// The usual beginning of FNV-1a.
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

    fn digest(contents: &str) -> Digest {
        Digest::of(InstanceName::new("a/name").unwrap(), DigestFunction::Sha256, contents.as_bytes())
    }

    #[test]
    fn the_hash_is_fnv_1a_of_the_key_without_the_instance_name() {
        // Published vectors of FNV-1a: "" and "a".
        let hash =
            |text: &str| text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        assert_eq!((hash(""), hash("a")), (OFFSET_BASIS, 0xaf63_dc4c_8601_ec8c));
        let digest = digest("Hello");
        assert_eq!(hash_of(&digest, OFFSET_BASIS), hash(&digest.key(KeyFormat::WithoutInstanceName)));
    }

    #[test]
    fn shards_are_drawn_by_weight_until_one_is_not_drained() {
        let legacy = Legacy::new(OFFSET_BASIS, [(1, false), (2, true), (5, false)]).unwrap();
        let mut homes = [0; 3];
        for number in 0..8000 {
            let digest = digest(&number.to_string());
            let home = legacy.home(&digest);
            homes[home] += 1;
            // Without drained shards, the first one drawn would have been chosen.
            let undrained = Legacy::new(OFFSET_BASIS, [(1, false), (2, false), (5, false)]).unwrap();
            let before = undrained.home(&digest);
            assert_eq!(legacy.fallbacks(&digest), if before == 1 { vec![1] } else { vec![] });
            assert!(before == 1 || before == home, "{digest}");
        }
        // One in six, and five in six.
        assert_eq!(homes[1], 0);
        assert!((1200..1470).contains(&homes[0]), "{homes:?}");
    }

    #[test]
    fn the_generator_is_xorshift64_star() {
        let mut state = 1;
        let numbers = [(); 3].map(|()| advance(&mut state));
        assert_eq!(numbers, [5_180_492_295_206_395_165, 12_380_297_144_915_551_517, 13_389_498_078_930_870_103]);
    }

    #[test]
    fn shards_that_would_be_drawn_for_ever_are_refused() {
        let refused = |shards: &[(u32, bool)]| Legacy::new(1, shards.iter().copied()).unwrap_err().to_string();
        assert_eq!(refused(&[(1, true)]), "all shards are drained");
        assert_eq!(
            refused(&[(1, false), (10_000, true)]),
            "the shards that are not drained have 1 of the total weight 10001; the minimum is one in 1000"
        );
    }
}
