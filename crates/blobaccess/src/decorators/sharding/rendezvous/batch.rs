//! The choice of shards for sixteen blobs at a time, side by side.
//!
//! The score of a shard is `weight << 32` divided by a *distance*: the negative logarithm of a random number. To
//! find the greatest quotient, neither a division nor a logarithm is needed. A lower bound of distance / weight takes
//! three floating-point operations, and is the tighter the smaller the distance:
//!
//! ```text
//!   -ln(1 - x)  =  x + x²/2 + x³/3 + ..  ≥  x + x²/2  =  (y² - 1) / 2,  where y = 1 + x
//! ```
//!
//! Of each number, the two smallest bounds are kept, with the position of the shard in their lowest bits. The exact
//! score of the shard with the smallest bound is computed. If the second bound proves that no other shard reaches this
//! score, the shard is chosen. Otherwise all scores are computed: for 64 shards in about one case of 500.

use super::score::MULTIPLIERS;
use super::{Candidate, Rendezvous};

/// The numbers that are compared side by side. They fill two of the widest vectors, so that one is computed while the
/// other waits.
const LANES: usize = 16;

/// The bits of a bound that hold the position of its shard.
const POSITION: u64 = 0xffff;

/// The scale of distances: a distance of 1 in natural logarithms is this much in those of [`log2`](super::score::log2).
const SCALE: f64 = 65536.0 / std::f64::consts::LN_2;

/// The maximum by which [`log2`](super::score::log2) exceeds the logarithm, due to the rounding of its table (0.5), and
/// by which the computation of a bound is inexact (much less than 0.01).
const MARGIN: f64 = 0.51;

/// The quantity added to each bound, so that all are positive and are ordered as their bits.
const SHIFT: f64 = 1.0;

/// A score multiplied by distance / weight, with room for rounding.
const PROOF: f64 = 4_294_967_296.0 * 1.000_000_1;

/// The shards, as lines that bounds are computed by.
#[derive(Clone, Debug)]
pub(super) struct Lines(Vec<Line>);

/// A shard: the hash of its key, and the bound as a linear function of y².
#[derive(Clone, Copy, Debug)]
struct Line {
    key_hash: u64,
    slope: f64,
    offset: f64,
}

impl Line {
    /// Returns a lower bound of distance / weight, plus [`SHIFT`], with `position` in its lowest bits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
    fn bound(&self, number: u64, position: u64) -> f64 {
        // All steps of `mix` but the last, which does not change the first 31 bits. The error is within the margin.
        let mut mixed = number ^ self.key_hash;
        mixed ^= mixed >> 30;
        mixed = mixed.wrapping_mul(MULTIPLIERS[0]);
        mixed ^= mixed >> 27;
        mixed = mixed.wrapping_mul(MULTIPLIERS[1]);
        // The complement of the first 52 bits, behind the exponent of 1.
        let y = f64::from_bits(mixed >> 12 ^ 0x3fff_ffff_ffff_ffff);
        let bound = y * y * self.slope + self.offset;
        f64::from_bits(bound.to_bits() & !POSITION | position)
    }
}

/// The smallest and the second smallest bounds of sixteen numbers.
type Smallest = [[f64; LANES]; 2];

impl Lines {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let line = |candidate: &Candidate| {
            let weight = f64::from(candidate.weight);
            Line {
                key_hash: candidate.key_hash,
                slope: SCALE / (2.0 * weight),
                offset: SHIFT - (SCALE / 2.0 + MARGIN) / weight,
            }
        };
        Self(candidates.iter().map(line).collect())
    }

    /// Appends the position of the shard for each of `numbers`.
    pub(super) fn select_all(&self, numbers: &[u64], rendezvous: &Rendezvous, selected: &mut Vec<usize>) {
        let fits = u64::try_from(self.0.len()).is_ok_and(|length| length <= POSITION + 1);
        let (blocks, rest) = if fits { numbers.as_chunks() } else { (&[][..], numbers) };
        let mut select_block = |block: &[u64; LANES], count| {
            let [smallest, second] = find_smallest(&self.0, block);
            let bounds = smallest.iter().zip(&second).zip(block).take(count);
            selected.extend(bounds.map(|((smallest, second), number)| {
                proven(*smallest, *second, *number, rendezvous).unwrap_or_else(|| rendezvous.select(*number))
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
}

/// Returns the shard with the smallest bound, if no other can have as great a score.
#[inline]
fn proven(smallest: f64, second: f64, number: u64, rendezvous: &Rendezvous) -> Option<usize> {
    let position = usize::try_from(smallest.to_bits() & POSITION).ok()?;
    let candidate = rendezvous.candidates.get(position)?;
    let others = f64::from_bits(second.to_bits() & !POSITION) - SHIFT;
    (real(candidate.score(number)) * others > PROOF).then_some(candidate.index)
}

/// Returns `number` as a floating-point number, to 53 bits.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "there is room for rounding in what it is for")]
const fn real(number: u64) -> f64 {
    number as f64
}

/// Returns the two smallest bounds of each number, by the widest vectors that the processor has.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "only a look at the processor tells which vectors it has")]
fn find_smallest(lines: &[Line], numbers: &[u64; LANES]) -> Smallest {
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
fn find_smallest(lines: &[Line], numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn find_smallest_avx512(lines: &[Line], numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_smallest_avx2(lines: &[Line], numbers: &[u64; LANES]) -> Smallest {
    compare_all(lines, numbers)
}

/// Returns the two smallest bounds of each number. The compiler makes vectors of the inner loop, by the features of the
/// function that this is inlined into.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for the features of its caller")]
fn compare_all(lines: &[Line], numbers: &[u64; LANES]) -> Smallest {
    let (mut smallest, mut second) = ([f64::MAX; LANES], [f64::MAX; LANES]);
    for (line, position) in lines.iter().zip(0..) {
        for ((smallest, second), number) in smallest.iter_mut().zip(&mut second).zip(numbers) {
            let bound = line.bound(*number, position);
            // Written so that the compiler takes the machine's minimum and maximum, unlike `f64::min`.
            let (lower, higher) = if bound < *smallest { (bound, *smallest) } else { (*smallest, bound) };
            *smallest = lower;
            *second = if higher < *second { higher } else { *second };
        }
    }
    [smallest, second]
}

#[cfg(test)]
mod tests;
