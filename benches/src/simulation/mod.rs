//! Miss ratios of caches with different policies for the same requests: policies only, without any contents.

mod blocks;
mod build_model;
mod clock;
mod fifo;
mod lru;
mod s3_fifo;
mod trace;

pub use self::blocks::{Blocks, Groups, Refresh};
pub use self::build_model::BuildModel;
pub use self::clock::Clock;
pub use self::fifo::Fifo;
pub use self::lru::Lru;
pub use self::s3_fifo::S3Fifo;
pub use self::trace::Trace;

use std::fmt::Debug;

use crate::real::{real, real_len};

/// A cache of fixed size that holds sizes only.
pub trait Policy: Debug {
    /// Returns whether `object` is in the cache. If not, it is added, and others may be evicted.
    fn access(&mut self, object: u32, size_bytes: u64) -> bool;

    /// Returns the number of bytes that were copied within the cache so far.
    fn copied_bytes(&self) -> u64 {
        0
    }
}

/// The results of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The share of requests that missed.
    pub object_misses: f64,
    /// The share of requested bytes that missed.
    pub byte_misses: f64,
    /// The bytes that the cache wrote for each byte that was put.
    pub written_per_put: f64,
    /// The bytes that the cache wrote for each requested byte.
    pub written_per_asked: f64,
}

/// Runs all requests of `trace` against `policy`.
pub fn simulate(trace: &Trace, policy: &mut dyn Policy) -> Outcome {
    let (mut misses, mut asked_bytes, mut put_bytes) = (0, 0, 0);
    for object in trace.requests() {
        let size = usize::try_from(*object).ok().and_then(|object| trace.sizes().get(object));
        let size = size.copied().unwrap_or_default();
        asked_bytes += size;
        if !policy.access(*object, size) {
            misses += 1;
            put_bytes += size;
        }
    }
    let written = put_bytes + policy.copied_bytes();
    Outcome {
        object_misses: real(misses) / real_len(trace.requests().len().max(1)),
        byte_misses: real(put_bytes) / real(asked_bytes.max(1)),
        written_per_put: real(written) / real(put_bytes.max(1)),
        written_per_asked: real(written) / real(asked_bytes.max(1)),
    }
}

/// A map from each object that was seen to a value.
#[derive(Clone, Debug, Default)]
struct PerObject<T>(Vec<T>);

impl<T: Clone + Default> PerObject<T> {
    fn at(&mut self, object: u32) -> &mut T {
        let index = usize::try_from(object).unwrap_or(usize::MAX - 1);
        if index >= self.0.len() {
            self.0.resize((index + 1).next_power_of_two(), T::default());
        }
        #[expect(clippy::indexing_slicing, reason = "it was made long enough")]
        &mut self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes requests for objects of ten bytes each.
    fn misses(policy: &mut dyn Policy, requests: &[u32]) -> Vec<u32> {
        requests.iter().copied().filter(|object| !policy.access(*object, 10)).collect()
    }

    #[test]
    fn fifo_forgets_what_came_first() {
        assert_eq!(misses(&mut Fifo::new(30), &[1, 2, 3, 1, 4, 1, 3]), [1, 2, 3, 4, 1]);
    }

    #[test]
    fn lru_forgets_what_was_used_least_lately() {
        assert_eq!(misses(&mut Lru::new(30), &[1, 2, 3, 1, 4, 1, 2]), [1, 2, 3, 4, 2]);
    }

    #[test]
    fn clock_gives_what_was_used_a_second_turn() {
        assert_eq!(misses(&mut Clock::new(30), &[1, 2, 3, 1, 4, 1, 2]), [1, 2, 3, 4, 2]);
    }

    #[test]
    fn s3_fifo_takes_back_what_it_forgot_into_its_main_part() {
        let mut policy = S3Fifo::new(100);
        // A scan of objects that are used once does not evict those that were used twice.
        let mut requests = vec![1, 1, 1];
        requests.extend(100..130);
        requests.push(1);
        assert_eq!(misses(&mut policy, &requests).len(), 31);
    }

    #[test]
    fn a_refresh_on_touch_copies_what_is_old() {
        let groups = Groups { old: 1, current: 1, new: 1, spare: 1 };
        let mut policy = Blocks::new(80, groups, Refresh::OnTouch);
        // Blocks of two objects: 1 and 2 are old when 5 comes, and 1 is copied.
        let mut requests = vec![1, 2, 3, 4, 5];
        assert_eq!(misses(&mut policy, &requests), requests);
        assert_eq!(misses(&mut policy, &[1]), []);
        assert_eq!(policy.copied_bytes(), 10);
        requests = vec![6, 7];
        assert_eq!(misses(&mut policy, &requests), requests);
        assert_eq!(misses(&mut policy, &[1]), []);
        assert_eq!(misses(&mut policy, &[2]), [2]);
    }

    #[test]
    fn a_refresh_at_recycling_copies_what_was_touched() {
        let groups = Groups { old: 1, current: 1, new: 1, spare: 1 };
        let refresh = Refresh::AtRecycling { copied_percent: 50 };
        let mut policy = Blocks::new(80, groups, refresh);
        assert_eq!(misses(&mut policy, &[1, 2, 1, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(policy.copied_bytes(), 0);
        assert_eq!(misses(&mut policy, &[7]), [7]);
        assert_eq!(policy.copied_bytes(), 10);
        assert_eq!(misses(&mut policy, &[1]), []);
        assert_eq!(misses(&mut policy, &[2]), [2]);
    }

    #[test]
    fn nothing_is_missed_that_fits() {
        let trace = Trace::zipf(1, 100, 0.9, crate::size_distribution::SizeDistribution::BUILD_CACHE);
        let outcome = simulate(&trace, &mut Lru::new(trace.unique_bytes()));
        assert!(outcome.object_misses <= 0.125, "{outcome:?}");
        assert!((outcome.written_per_put - 1.0).abs() < 1e-9);
    }
}
