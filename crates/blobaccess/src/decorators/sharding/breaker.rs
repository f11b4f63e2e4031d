//! Spares a shard that is down the calls, and its callers the time-outs.

use std::time::{Duration, Instant};

use super::ShardingOptions;
use crate::locks::atomic::{AtomicU32, AtomicU64, Ordering};

/// A record of a shard's failures, which refuses calls while the shard is down.
///
/// After a number of failures in a row, the shard rests: calls are refused at once. After the rest, one call is let
/// through. If it succeeds, all are; if it fails or is given up, the shard rests again.
///
/// There is no lock. A call to a shard that is up reads two numbers that nobody writes.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The beginning of time.
    begin: Instant,
    /// The nanoseconds since the beginning at which the rest ends, or 0 without a rest.
    rests_until: AtomicU64,
    failures_in_a_row: AtomicU32,
    failures: AtomicU64,
}

/// The verdict of one call on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The shard has answered, if only that it lacks the blob.
    Works,
    /// The shard is in trouble.
    Fails,
    /// The caller has made the call fail.
    Unknown,
}

impl Breaker {
    /// Makes the record of a shard that has not been called. `begin` is any time that is not in the future.
    pub(super) const fn new(begin: Instant) -> Self {
        Self {
            begin,
            rests_until: AtomicU64::new(0),
            failures_in_a_row: AtomicU32::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Returns whether all calls are let through.
    pub(super) fn is_up(&self) -> bool {
        self.rests_until.load(Ordering::Relaxed) == 0
    }

    /// Returns the number of failures since the last success, and the number of all failures.
    pub(super) fn failures(&self) -> (u32, u64) {
        (self.failures_in_a_row.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Lets a call through, or returns how long the shard goes on resting.
    pub(super) fn admit(&self, options: &ShardingOptions, now: impl FnOnce() -> Instant) -> Result<(), Duration> {
        let until = self.rests_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(());
        }
        let now = self.nanoseconds(now());
        if now < until {
            return Err(Duration::from_nanos(until - now));
        }
        // Of several calls, the one that begins the next rest is let through.
        let next = end_of_rest(now, options);
        match self.rests_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) | Err(0) => Ok(()),
            Err(_) => Err(options.rest),
        }
    }

    /// Records how a call has ended. Returns whether the shard went down by it, or came back.
    pub(super) fn record(
        &self,
        verdict: Verdict,
        options: &ShardingOptions,
        now: impl FnOnce() -> Instant,
    ) -> Option<Turn> {
        match verdict {
            Verdict::Unknown => None,
            Verdict::Works => {
                // Nothing is written while all is well.
                if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                }
                let was_down = !self.is_up() && self.rests_until.swap(0, Ordering::Relaxed) != 0;
                was_down.then_some(Turn::Back)
            }
            Verdict::Fails => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let in_a_row = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if options.failures == 0 || in_a_row < options.failures {
                    return None;
                }
                let now = self.nanoseconds(now());
                let until = self.rests_until.load(Ordering::Relaxed);
                // Calls that began before the rest do not prolong it.
                if now < until {
                    return None;
                }
                let next = end_of_rest(now, options);
                let begun = self.rests_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
                (begun.is_ok() && until == 0).then_some(Turn::Down)
            }
        }
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A change of a shard's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Down,
    Back,
}

/// Returns the end of a rest that begins now. It is never 0.
fn end_of_rest(now: u64, options: &ShardingOptions) -> u64 {
    now.saturating_add(u64::try_from(options.rest.as_nanos()).unwrap_or(u64::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker, options: &ShardingOptions, now: Instant, times: u32) -> Option<Turn> {
        (0..times).map(|_| breaker.record(Verdict::Fails, options, || now)).last().flatten()
    }

    #[test]
    fn a_shard_rests_after_failures_in_a_row_and_is_tried_by_one_call() {
        let (begin, options) = (SystemClock.monotonic(), ShardingOptions::new());
        let breaker = Breaker::new(begin);
        assert_eq!(fail(&breaker, &options, begin, 4), None);
        assert_eq!(breaker.record(Verdict::Works, &options, || begin), None);
        assert_eq!(fail(&breaker, &options, begin, 4), None);
        assert!(breaker.is_up());
        assert_eq!(fail(&breaker, &options, begin, 1), Some(Turn::Down));
        assert_eq!(breaker.admit(&options, || begin + SECOND), Err(4 * SECOND));
        let later = begin + 5 * SECOND;
        assert_eq!(breaker.admit(&options, || later), Ok(()));
        assert_eq!(breaker.admit(&options, || later), Err(5 * SECOND));
        assert!(!breaker.is_up());
        assert_eq!(breaker.record(Verdict::Works, &options, || later), Some(Turn::Back));
        assert!(breaker.is_up());
        assert_eq!(breaker.admit(&options, || later), Ok(()));
        assert_eq!(breaker.failures(), (0, 9));
    }

    #[test]
    fn a_call_that_fails_or_is_given_up_makes_the_shard_rest_again() {
        let (begin, options) = (SystemClock.monotonic(), ShardingOptions::new().with_failures_in_a_row(1));
        let breaker = Breaker::new(begin);
        assert_eq!(fail(&breaker, &options, begin, 1), Some(Turn::Down));
        // Failures of calls that began before do not prolong the rest.
        assert_eq!(fail(&breaker, &options, begin + 4 * SECOND, 1), None);
        assert_eq!(breaker.admit(&options, || begin + 5 * SECOND), Ok(()));
        assert_eq!(fail(&breaker, &options, begin + 20 * SECOND, 1), None);
        assert_eq!(breaker.admit(&options, || begin + 24 * SECOND), Err(SECOND));
        assert_eq!(breaker.admit(&options, || begin + 25 * SECOND), Ok(()));
        // This call is given up.
        assert_eq!(breaker.record(Verdict::Unknown, &options, || begin), None);
        assert_eq!(breaker.admit(&options, || begin + 29 * SECOND), Err(SECOND));
        assert_eq!(breaker.admit(&options, || begin + 30 * SECOND), Ok(()));
    }

    #[test]
    fn without_a_limit_no_shard_rests() {
        let (begin, options) = (SystemClock.monotonic(), ShardingOptions::new().with_failures_in_a_row(0));
        let breaker = Breaker::new(begin);
        assert_eq!(fail(&breaker, &options, begin, 1000), None);
        assert!(breaker.is_up());
        assert_eq!(breaker.failures(), (1000, 1000));
    }

    #[test]
    fn of_many_calls_after_a_rest_exactly_one_is_let_through() {
        let (begin, options) = (SystemClock.monotonic(), ShardingOptions::new().with_failures_in_a_row(1));
        let breaker = Breaker::new(begin);
        for round in 1..100_u32 {
            fail(&breaker, &options, begin + round * 10 * SECOND, 1);
            let now = begin + (round * 10 + 5) * SECOND;
            let admitted = std::thread::scope(|scope| {
                let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| breaker.admit(&options, || now).is_ok())).collect();
                calls.into_iter().map(|call| call.join().unwrap()).filter(|admitted| *admitted).count()
            });
            assert_eq!(admitted, 1, "round {round}");
        }
    }

    /// Runs calls that fail while the shard goes down, and such as come after its rest.
    #[cfg(shuttle)]
    #[test]
    fn in_all_schedules_one_call_is_let_through_after_a_rest() {
        use std::sync::Arc;

        crate::schedules::explore("breaker", || {
            let (begin, options) = (SystemClock.monotonic(), ShardingOptions::new().with_failures_in_a_row(2));
            let breaker = Arc::new(Breaker::new(begin));
            let run = |work: fn(&Breaker, &ShardingOptions, Instant) -> bool| {
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        let (breaker, options) = (Arc::clone(&breaker), options.clone());
                        shuttle::thread::spawn(move || work(&breaker, &options, begin))
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count()
            };
            let turns = run(|breaker, options, begin| breaker.record(Verdict::Fails, options, || begin).is_some());
            assert_eq!((turns, breaker.is_up()), (1, false), "it goes down once");
            assert_eq!(run(|breaker, options, begin| breaker.admit(options, || begin + 5 * SECOND).is_ok()), 1);
            assert_eq!(breaker.record(Verdict::Works, &options, || begin + 6 * SECOND), Some(Turn::Back));
            assert_eq!(run(|breaker, options, begin| breaker.admit(options, || begin + 7 * SECOND).is_ok()), 3);
        });
    }
}
