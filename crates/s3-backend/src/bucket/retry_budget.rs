//! The budget of retries, which all callers of a bucket share.

use std::sync::atomic::{AtomicU32, Ordering};

/// The cost of a retry, and of one after a time-out; and what an answer gives back, after a retry and otherwise. With the
/// size that [`Connection`](super::Connection) sets, these are the numbers of the AWS SDKs' standard retry mode (`RetryQuota`
/// of botocore and the SDK for Rust).
const RETRY: u32 = 5;
const RETRY_AFTER_TIME_OUT: u32 = 10;
const FIRST_ANSWER: u32 = 1;

/// The size of the budget, unless set.
#[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only buckets over HTTP have a budget"))]
pub(super) const DEFAULT_TOKENS: u32 = 500;

/// The budget of retries, which all callers of a bucket share: each retry takes from it, and each answer gives to it.
///
/// A bucket that fails now and then has its requests sent again. One that is down gets each request once, once the budget
/// is used up: not eight times the traffic that it cannot serve as it is.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    max: u32,
    left: AtomicU32,
}

impl RetryBudget {
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only buckets over HTTP have a budget"))]
    pub(super) fn new(tokens: u32) -> Self {
        Self { max: tokens, left: AtomicU32::new(tokens) }
    }

    /// Takes a retry. Returns `false` if there is not enough left for it.
    pub(crate) fn take(&self, after_time_out: bool) -> bool {
        let cost = if after_time_out { RETRY_AFTER_TIME_OUT } else { RETRY };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).is_ok()
    }

    /// Notes that a request was answered.
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
    pub(super) fn note_answer(&self, was_retried: bool) {
        let gain = if was_retried { RETRY } else { FIRST_ANSWER };
        let add = |left: u32| (left < self.max).then(|| left.saturating_add(gain).min(self.max));
        // A budget that is full stays so.
        let _: Result<u32, u32> = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Returns how much is left.
    pub(crate) fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_take_and_answers_give() {
        let budget = RetryBudget::new(20);
        assert!(budget.take(true) && budget.take(false) && budget.take(false));
        assert!(!budget.take(false) && budget.left() == 0);
        for _ in 0..4 {
            budget.note_answer(false);
        }
        assert!(!budget.take(false));
        budget.note_answer(true);
        assert!(!budget.take(true) && budget.take(false));
        assert_eq!(budget.left(), 4);
        for _ in 0..10 {
            budget.note_answer(true);
        }
        assert_eq!(budget.left(), 20);
    }
}
