//! The choice of shards for sixteen blobs at a time, side by side.
//!
//! The score of a shard is `weight << 32` divided by a *distance*: the negative logarithm of a random number. To
//! find the greatest quotient, neither a division nor a logarithm is needed. A lower bound of distance / weight takes
//! three floating-point operations of single precision, and is the tighter the smaller the distance:
//!
//! ```text
//!   -ln(1 - x)  =  x + x²/2 + x³/3 + ..  ≥  x + x²/2  =  (y² - 1) / 2,  where y = 1 + x
//! ```
//!
//! Of each number, the two smallest bounds are kept, with the position of the shard in their lowest bits. If they are far
//! enough apart, the shard with the smallest bound is chosen. Otherwise its exact score is computed. If the second bound
//! proves that no other shard reaches this score, the shard is chosen too. If not, all scores are computed.

use super::blocks::Blocks;
use super::score::MULTIPLIERS;
use super::{Candidate, Rendezvous};

/// The numbers that are compared side by side: their bounds fill one of the widest vectors.
const LANES: usize = 16;

/// The maximum number of shards: 2^14. A bound has 23 bits after the first, and 9 of them are left for its value then.
const MAX_SHARDS: usize = 1 << 14;

/// The scale of distances: a distance of 1 in natural logarithms is this much in those of [`log2`](super::score::log2).
const SCALE: f64 = 65536.0 / std::f64::consts::LN_2;

/// The maximum by which [`log2`](super::score::log2) exceeds the logarithm, due to the rounding of its table (0.5), and
/// by which the computation of a bound is inexact (five roundings of numbers up to 2^18, each to 24 bits: 0.05).
const MARGIN: f64 = 0.6;

/// The distance / `SCALE` up to which [`EXCESS`] holds: that of x = 0.3.
const NEAR: f32 = 0.345;

/// The maximum ratio of a distance to its lower bound: -ln(0.7) / 0.345 = 1.034, and the positions in the lowest bits.
const EXCESS: f32 = 1.05;

/// The maximum by which a distance exceeds its bound otherwise: [`MARGIN`], the error of interpolation (2.9), rounding
/// down (1) and the rounding of the table (0.5); and 0.8, so that scores rounded down differ too.
const APART: f64 = 6.0;

/// A score multiplied by distance / weight, with room for rounding.
const PROOF: f64 = 4_294_967_296.0 * 1.000_000_1;

/// The shards, as lines that bounds are computed by.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    shards: Vec<Line>,
    /// The same lines, for one number at a time.
    blocks: Blocks,
    /// The bits of a bound that hold the position of its shard.
    position_bits: u32,
}

/// A shard: the hash of its key, and the bound as a linear function of y².
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) key_hash: u64,
    pub(super) slope: f32,
    pub(super) offset: f32,
}

/// Returns the upper half of the mixed number.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
#[expect(clippy::as_conversions, reason = "the upper half of a number fits into half as many bits")]
pub(super) const fn mix(mut number: u64) -> u32 {
    // All steps but the last, which does not change the first 31 bits.
    number ^= number >> 30;
    number = number.wrapping_mul(MULTIPLIERS[0]);
    number ^= number >> 27;
    number = number.wrapping_mul(MULTIPLIERS[1]);
    (number >> 32) as u32
}

/// Returns a lower bound of distance / weight for a number whose upper half is `mixed`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
pub(super) fn bound(mixed: u32, slope: f32, offset: f32) -> f32 {
    // The complement of the first 23 bits, behind the exponent of 1.
    let y = f32::from_bits(mixed >> 9 ^ 0x3fff_ffff);
    y * y * slope + offset
}

/// The smallest and the second smallest bounds of sixteen numbers.
type Smallest = [[f32; LANES]; 2];

impl Lines {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let line = |candidate: &Candidate| {
            let weight = f64::from(candidate.weight);
            Line {
                key_hash: candidate.key_hash,
                slope: single(SCALE / (2.0 * weight)),
                offset: single(-(SCALE / 2.0 + MARGIN) / weight),
            }
        };
        let positions = candidates.len().min(MAX_SHARDS).next_power_of_two();
        let position_bits = u32::try_from(positions - 1).unwrap_or(u32::MAX);
        let lines: Vec<_> = candidates.iter().map(line).collect();
        Self { blocks: Blocks::new(&lines), shards: lines, position_bits }
    }

    /// Returns the shard for `number`, if the bounds prove it.
    #[inline]
    pub(super) fn select(&self, number: u64, rendezvous: &Rendezvous) -> Option<usize> {
        if self.shards.len() > MAX_SHARDS {
            return None;
        }
        let [smallest, second] = self.blocks.find_smallest(number, self.position_bits);
        self.proven(smallest, second, number, rendezvous)
    }

    pub(super) fn select_all(&self, numbers: &[u64], rendezvous: &Rendezvous, selected: &mut Vec<usize>) {
        let fits = self.shards.len() <= MAX_SHARDS;
        let (blocks, rest) = if fits { numbers.as_chunks() } else { (&[][..], numbers) };
        let mut select_block = |block: &[u64; LANES], count| {
            let [smallest, second] = find_smallest(self, block);
            let bounds = smallest.iter().zip(&second).zip(block).take(count);
            selected.extend(bounds.map(|((smallest, second), number)| {
                self.proven(*smallest, *second, *number, rendezvous)
                    .unwrap_or_else(|| rendezvous.select_by_scores(*number))
            }));
        };
        for block in blocks {
            select_block(block, LANES);
        }
        // A few are faster one by one.
        if fits && rest.len() > 2 {
            let mut block = [0; LANES];
            block.iter_mut().zip(rest).for_each(|(place, number)| *place = *number);
            select_block(&block, rest.len());
        } else {
            selected.extend(rest.iter().map(|number| rendezvous.select(*number)));
        }
    }

    /// Returns the shard with the smallest bound, if no other can have as great a score.
    #[inline]
    fn proven(&self, smallest: f32, second: f32, number: u64, rendezvous: &Rendezvous) -> Option<usize> {
        let position = usize::try_from(smallest.to_bits() & self.position_bits).ok()?;
        let (line, candidate) = (self.shards.get(position)?, rendezvous.candidates.get(position)?);
        let others = f32::from_bits(second.to_bits() & !self.position_bits);
        // The slope is `SCALE` / 2 / weight.
        let is_near = smallest <= 2.0 * NEAR * line.slope;
        if is_near && others > EXCESS * smallest + single(2.0 * APART / SCALE) * line.slope {
            return Some(candidate.index);
        }
        // Neither 0 nor a negative bound proves anything.
        (real(candidate.score(number)) * f64::from(others) > PROOF).then_some(candidate.index)
    }
}

/// Returns `number` as a floating-point number, to 53 bits.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "there is room for rounding in what it is for")]
const fn real(number: u64) -> f64 {
    number as f64
}

/// Returns `number` in single precision.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "there is room for rounding in the margin")]
const fn single(number: f64) -> f32 {
    number as f32
}

/// Returns the two smallest bounds of each number, by the widest vectors that the processor has.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "only a look at the processor tells which vectors it has")]
fn find_smallest(lines: &Lines, numbers: &[u64; LANES]) -> Smallest {
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
        // SAFETY: The processor has the features that the function is compiled for.
        unsafe { find_smallest_avx512(lines, numbers) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: The processor has the feature that the function is compiled for.
        unsafe { find_smallest_avx2(lines, numbers) }
    } else {
        compare_all(lines, numbers)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn find_smallest(lines: &Lines, numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn find_smallest_avx512(lines: &Lines, numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_smallest_avx2(lines: &Lines, numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

/// Returns the two smallest bounds of each number. The compiler makes vectors of the inner loop, by the features of the
/// function that this is inlined into.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
fn compare_all(lines: &Lines, numbers: &[u64; LANES]) -> Smallest {
    let (mut smallest, mut second) = ([f32::MAX; LANES], [f32::MAX; LANES]);
    for (line, position) in lines.shards.iter().zip(0..) {
        // A loop of its own, as the numbers are twice as wide as the bounds. `map` would not become vectors.
        let mut mixed = [0; LANES];
        for (mixed, number) in mixed.iter_mut().zip(numbers) {
            *mixed = mix(*number ^ line.key_hash);
        }
        for ((smallest, second), mixed) in smallest.iter_mut().zip(&mut second).zip(mixed) {
            let bound =
                f32::from_bits(bound(mixed, line.slope, line.offset).to_bits() & !lines.position_bits | position);
            // Written so that the compiler takes the machine's minimum and maximum, unlike `f32::min`.
            let (lower, higher) = if bound < *smallest { (bound, *smallest) } else { (*smallest, bound) };
            *smallest = lower;
            *second = if higher < *second { higher } else { *second };
        }
    }
    [smallest, second]
}

#[cfg(test)]
mod tests;
