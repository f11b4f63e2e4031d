//! The sizes of the blobs of a build.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a distribution is made of real numbers, and sizes below the cap are exact in them"
)]

use std::fmt::{self, Display, Formatter};

use crate::real::real_len;
use blobaccess_testkit::Numbers;

/// Log-normal sizes up to a cap: many small blobs, and most bytes in a few large ones, as in build caches.
///
/// Sizes are stratified: of `n` blobs, each has the size of one of `n` equally likely parts of the distribution. A
/// thousand blobs therefore have the same total in every run. The seed only decides on their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeDistribution {
    /// The median, in bytes, as the others.
    median: f64,
    mean: f64,
    cap: u64,
}

impl SizeDistribution {
    /// The sizes of a build cache: median 4 KiB, mean 60 KiB before the cap, maximum 64 MiB.
    pub const BUILD_CACHE: Self = Self { median: 4096.0, mean: 61440.0, cap: 64 << 20 };

    /// Lowers the cap, for a store that is too small for the largest blobs.
    #[must_use]
    pub const fn with_cap_bytes(self, cap_bytes: u64) -> Self {
        Self { cap: cap_bytes, ..self }
    }

    /// Returns the standard deviation of the logarithm, which follows from median and mean.
    fn sigma(&self) -> f64 {
        (2.0 * (self.mean / self.median).ln()).sqrt()
    }

    /// Returns `count` sizes in bytes, in an order that `seed` decides on.
    #[must_use]
    pub fn sizes(&self, seed: u64, count: usize) -> Vec<u64> {
        let (median, sigma) = (self.median.ln(), self.sigma());
        let mut sizes: Vec<u64> = (0..count)
            .map(|part| {
                let quantile = (real_len(part) + 0.5) / real_len(count);
                let bytes = (median + sigma * normal_quantile(quantile)).exp();
                (bytes as u64).clamp(1, self.cap)
            })
            .collect();
        Numbers::new(seed).shuffle(&mut sizes);
        sizes
    }
}

impl Display for SizeDistribution {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { median, mean, cap } = self;
        let sigma = self.sigma();
        write!(f, "log-normal, median {median} B, mean {mean} B (sigma {sigma:.3}), cap {cap} B")
    }
}

/// Returns the quantile of the normal distribution for `p`, by Acklam's approximation, which is right to nine
/// digits.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_quantiles_that_they_should() {
        let mut sizes = SizeDistribution::BUILD_CACHE.sizes(1, 12_000);
        sizes.sort_unstable();
        let at = |percent: usize| sizes[sizes.len() * percent / 100];
        assert_eq!((at(50) + 8) / 16, 256);
        assert!((200..220).contains(&at(10)), "{}", at(10));
        assert!((80_000..84_000).contains(&at(90)), "{}", at(90));
        assert!((900_000..960_000).contains(&at(99)), "{}", at(99));
        assert!(sizes.iter().all(|size| (1..=64 << 20).contains(size)));
    }

    #[test]
    fn the_seed_decides_on_the_order_alone() {
        let [mut a, mut b] = [1, 2].map(|seed| SizeDistribution::BUILD_CACHE.sizes(seed, 1000));
        assert_ne!(a, b);
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }
}
