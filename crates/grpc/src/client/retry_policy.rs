//! When a call that failed is made again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Clock, Context};

/// When and how often calls that failed are made again.
///
/// They are if the failure may pass by waiting: an outage (`Unavailable`), overload (`ResourceExhausted`), a conflict
/// (`Aborted`). The first wait is drawn from half of `base` to `base`, and each further one from twice that, up to
/// `max`. A wait that would outlast the caller's deadline is not begun: the last failure is returned then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    base: Duration,
    max: Duration,
    seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_millis(100), max: Duration::from_secs(5), seed: None }
    }
}

impl RetryPolicy {
    /// Makes a policy without retries.
    #[must_use]
    pub fn never() -> Self {
        Self::default().with_attempts(1)
    }

    /// Sets how often a call is made at most, at least 1: 4 times unless set.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest wait: 100 ms and 5 s unless set.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, max: Duration) -> Self {
        self.base = base.min(max);
        self.max = max;
        self
    }

    /// Sets the seed that waits are drawn by: it differs from one process to the next unless set.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Returns the wait after failure `number`, counted from 1. `draw` is any number.
    fn wait(&self, number: u32, draw: u64) -> Duration {
        let doubled = 1_u32.checked_shl(number.saturating_sub(1)).filter(|factor| *factor > 0).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(doubled).min(self.max);
        let part = u32::try_from(draw >> 48).unwrap_or(u32::MAX);
        longest / 2 + (longest / 2).mul_f64(f64::from(part) / f64::from(u16::MAX))
    }
}

/// Draws waits, one after another.
#[derive(Debug)]
pub(super) struct RetryWaits {
    policy: RetryPolicy,
    state: AtomicU64,
}

impl RetryWaits {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        let seed = policy.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { policy, state: AtomicU64::new(seed) }
    }

    /// Returns the time until which to wait after failure `number` (from 1); `None` to give up.
    pub(super) fn next(&self, clock: &dyn Clock, ctx: &Context, number: u32) -> Option<Instant> {
        if number >= self.policy.attempts {
            return None;
        }
        let until = clock.monotonic().checked_add(self.policy.wait(number, self.draw()))?;
        ctx.deadline().is_none_or(|deadline| until < deadline).then_some(until)
    }

    /// Returns the next number of a pseudorandom sequence (splitmix64).
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::SystemClock;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_drawn_from_their_upper_half() {
        let policy = RetryPolicy::default().with_backoff(Duration::from_millis(100), Duration::from_millis(300));
        for (number, longest) in [(1, 100), (2, 200), (3, 300), (4, 300), (40, 300), (u32::MAX, 300)] {
            assert_eq!(policy.wait(number, 0), Duration::from_millis(longest / 2), "{number}");
            assert_eq!(policy.wait(number, u64::MAX), Duration::from_millis(longest), "{number}");
        }
    }

    #[test]
    fn equal_seeds_draw_equal_waits() {
        let draws = |seed| {
            let waits = RetryWaits::new(RetryPolicy::default().with_seed(seed));
            [waits.draw(), waits.draw(), waits.draw()]
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let [a, b, c] = draws(7);
        assert!(a != b && b != c);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_outlasts_the_deadline_is_not_begun() {
        let waits = RetryWaits::new(RetryPolicy::default());
        let now = SystemClock.monotonic();
        let soon = Context::background().with_deadline(now + Duration::from_millis(50));
        let late = Context::background().with_deadline(now + Duration::from_millis(101));
        assert_eq!(waits.next(&SystemClock, &soon, 1), None);
        assert!(waits.next(&SystemClock, &late, 1).is_some());
        assert_eq!(waits.next(&SystemClock, &late, 4), None);
    }
}
