//! The shards in blocks of sixteen, for the choice of one blob's shard, side by side.

use super::batch::{Line, bound, mix};

/// The shards that are compared side by side: their bounds fill one of the widest vectors.
const LANES: usize = 16;

/// The bounds of the shards of one block.
type Bounds = [f32; LANES];

/// All shards, in blocks. The lanes of the last block that have no shard have a bound that is never the smallest.
#[derive(Clone, Debug)]
pub(super) struct Blocks(Vec<Block>);

#[derive(Clone, Debug)]
struct Block {
    key_hashes: [u64; LANES],
    slopes: Bounds,
    offsets: Bounds,
    positions: [u32; LANES],
}

impl Blocks {
    pub(super) fn new(lines: &[Line]) -> Self {
        let mut positions = 0..;
        let blocks = lines.chunks(LANES).map(|lines| {
            let mut block = Block {
                key_hashes: [0; LANES],
                slopes: [0.0; LANES],
                offsets: [f32::MAX; LANES],
                positions: std::array::from_fn(|_| positions.next().unwrap_or_default()),
            };
            let places = block.key_hashes.iter_mut().zip(&mut block.slopes).zip(&mut block.offsets);
            for (((key_hash, slope), offset), line) in places.zip(lines) {
                (*key_hash, *slope, *offset) = (line.key_hash, line.slope, line.offset);
            }
            block
        });
        Self(blocks.collect())
    }

    /// Returns the smallest and the second smallest bound for `number`, by the widest vectors that the processor has.
    /// Their bits of `position_bits` are those of the positions of their shards.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "only a look at the processor tells which vectors it has")]
    pub(super) fn find_smallest(&self, number: u64, position_bits: u32) -> [f32; 2] {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: The processor has the features that the function is compiled for.
            unsafe { find_smallest_avx512(&self.0, number, position_bits) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: The processor has the feature that the function is compiled for.
            unsafe { find_smallest_avx2(&self.0, number, position_bits) }
        } else {
            compare_all(&self.0, number, position_bits)
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn find_smallest(&self, number: u64, position_bits: u32) -> [f32; 2] {
        compare_all(&self.0, number, position_bits)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn find_smallest_avx512(blocks: &[Block], number: u64, position_bits: u32) -> [f32; 2] {
    compare_all(blocks, number, position_bits)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_smallest_avx2(blocks: &[Block], number: u64, position_bits: u32) -> [f32; 2] {
    compare_all(blocks, number, position_bits)
}

/// Returns the two smallest bounds. The compiler makes vectors of the inner loops, by the features of the function that
/// this is inlined into.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
fn compare_all(blocks: &[Block], number: u64, position_bits: u32) -> [f32; 2] {
    let (mut smallest, mut second) = ([f32::MAX; LANES], [f32::MAX; LANES]);
    for block in blocks {
        // A loop of its own, as the hashes are twice as wide as the bounds.
        let mut mixed = [0; LANES];
        for (mixed, key_hash) in mixed.iter_mut().zip(&block.key_hashes) {
            *mixed = mix(number ^ key_hash);
        }
        let lines = block.slopes.iter().zip(&block.offsets).zip(&block.positions);
        for (((smallest, second), mixed), ((slope, offset), position)) in
            smallest.iter_mut().zip(&mut second).zip(mixed).zip(lines)
        {
            let bound = f32::from_bits(bound(mixed, *slope, *offset).to_bits() & !position_bits | position);
            let (lower, higher) = if bound < *smallest { (bound, *smallest) } else { (*smallest, bound) };
            *smallest = lower;
            *second = if higher < *second { higher } else { *second };
        }
    }
    smallest_of_lanes(smallest, second)
}

/// Returns the two smallest bounds of all lanes. Halves are compared side by side too, as sixteen comparisons in a row
/// would take as long as those of four blocks.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
fn smallest_of_lanes(mut smallest: Bounds, mut second: Bounds) -> [f32; 2] {
    for half in [LANES / 2, LANES / 4, LANES / 8, LANES / 16] {
        let halves = smallest.split_at_mut_checked(half).zip(second.split_at_mut_checked(half));
        let Some(((smallest, others), (second, next_of_others))) = halves else { continue };
        let lanes = smallest.iter_mut().zip(second).zip(others.iter().zip(next_of_others.iter()));
        for ((smallest, second), (other, next_of_other)) in lanes {
            let (lower, higher) = if *other < *smallest { (*other, *smallest) } else { (*smallest, *other) };
            let next = if *next_of_other < *second { *next_of_other } else { *second };
            *smallest = lower;
            *second = if higher < next { higher } else { next };
        }
    }
    let ([smallest, ..], [second, ..]) = (smallest, second);
    [smallest, second]
}

#[cfg(test)]
mod tests {
    use super::super::score::mix as mix_all;
    use super::*;

    fn to_bits(bounds: [f32; 2]) -> [u32; 2] {
        bounds.map(f32::to_bits)
    }

    #[test]
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "to try what another processor would take"))]
    fn every_processor_finds_the_two_smallest_bounds() {
        for shards in [1, 15, 16, 17, 100_u32] {
            let line = |shard: u32| Line { key_hash: mix_all(shard.into()), slope: 1.0, offset: -0.5 };
            let lines: Vec<_> = (0..shards).map(line).collect();
            let blocks = Blocks::new(&lines);
            let position_bits = shards.next_power_of_two() - 1;
            for number in (0..1000).map(mix_all) {
                let portable = to_bits(compare_all(&blocks.0, number, position_bits));
                assert_eq!(to_bits(blocks.find_smallest(number, position_bits)), portable);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: The processor has the feature that the function is compiled for.
                    let by_avx2 = unsafe { find_smallest_avx2(&blocks.0, number, position_bits) };
                    assert_eq!(to_bits(by_avx2), portable);
                }
                let bound_of = |line: &Line| bound(mix(number ^ line.key_hash), line.slope, line.offset).to_bits();
                let bounds = (0..).zip(&lines).map(|(position, line)| bound_of(line) & !position_bits | position);
                // The bits of positive numbers have the order of the numbers.
                let mut bounds: Vec<_> = bounds.collect();
                bounds.sort_unstable();
                assert_eq!(portable[0], bounds[0]);
                assert_eq!(portable[1], bounds.get(1).copied().unwrap_or(f32::MAX.to_bits()));
            }
        }
    }
}
