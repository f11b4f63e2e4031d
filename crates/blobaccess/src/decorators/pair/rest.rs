//! The time for which a store is passed over after a fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::locks::atomic::{AtomicU64, Ordering};
use crate::{Clock, Context, SystemClock};

/// The state of a store that is not resting.
const AWAKE: u64 = 0;

/// The time for which a store is passed over after a fault, so that callers need not wait for one that hangs.
///
/// Once that time is over, one caller tries the store, and the others pass it over for as long again. A success ends
/// the rest. A store that is well costs one load of an atomic.
#[derive(Debug)]
pub(in crate::decorators) struct Rest {
    clock: Arc<dyn Clock>,
    duration: Duration,
    /// The time that the others count from.
    origin: Instant,
    /// The end of the rest, in nanoseconds from the origin and never [`AWAKE`]; or [`AWAKE`].
    until: AtomicU64,
}

impl Rest {
    pub(in crate::decorators) fn new(clock: Arc<dyn Clock>, duration: Duration) -> Self {
        let origin = clock.monotonic();
        Self { clock, duration, origin, until: AtomicU64::new(AWAKE) }
    }

    /// Makes a rest that never begins.
    pub(in crate::decorators) fn none() -> Self {
        Self::new(Arc::new(SystemClock), Duration::ZERO)
    }

    /// Returns whether the store is to be asked. If it is, after a rest, the caller is the one that tries it.
    pub(in crate::decorators) fn admits(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == AWAKE {
            return true;
        }
        let now = self.now();
        let next = self.end_of_rest(now);
        now >= until && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns whether the store rests, or rested and has not been tried successfully since.
    pub(in crate::decorators) fn is_resting(&self) -> bool {
        self.until.load(Ordering::Relaxed) != AWAKE
    }

    /// Begins the rest, after a fault.
    pub(in crate::decorators) fn begin(&self) {
        if !self.duration.is_zero() {
            self.until.store(self.end_of_rest(self.now()), Ordering::Relaxed);
        }
    }

    /// Begins the rest after a fault, unless the deadline of the caller has passed. A call that ended for want of time says
    /// nothing about the store then.
    pub(in crate::decorators) fn begin_after(&self, ctx: &Context) {
        if !ctx.is_overdue(self.clock.monotonic()) {
            self.begin();
        }
    }

    /// Ends the rest, after a success.
    pub(in crate::decorators) fn end(&self) {
        if self.is_resting() {
            self.until.store(AWAKE, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        nanoseconds(self.clock.monotonic().saturating_duration_since(self.origin))
    }

    fn end_of_rest(&self, now: u64) -> u64 {
        now.saturating_add(nanoseconds(self.duration)).max(AWAKE + 1)
    }
}

/// Returns `duration` in nanoseconds; from 584 years on, the largest number.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn after_a_fault_a_store_is_passed_over_and_then_tried_by_one_caller_at_a_time() {
        let rest = Rest::new(Arc::new(SystemClock), Duration::from_hours(1));
        assert!(rest.admits() && rest.admits() && !rest.is_resting());
        rest.begin();
        assert!(rest.is_resting() && !rest.admits());
        rest.end();
        assert!(rest.admits() && !rest.is_resting());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_over_after_its_duration() {
        let rest = Rest::new(Arc::new(SystemClock), SECOND);
        rest.begin();
        tokio::time::advance(SECOND / 2).await;
        assert!(!rest.admits());
        tokio::time::advance(SECOND / 2).await;
        assert!(rest.admits() && !rest.admits(), "one caller tries it");
        tokio::time::advance(SECOND).await;
        assert!(rest.admits(), "the one that tried it has not come back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_whose_deadline_has_passed_makes_no_store_rest() {
        let rest = Rest::new(Arc::new(SystemClock), SECOND);
        let ctx = Context::background().with_deadline(SystemClock.monotonic() + SECOND);
        tokio::time::advance(SECOND).await;
        rest.begin_after(&ctx);
        assert!(!rest.is_resting());
        rest.begin_after(&ctx.without_deadline());
        assert!(rest.is_resting());
    }

    #[test]
    fn without_a_duration_no_store_rests() {
        let rest = Rest::none();
        rest.begin();
        assert!(rest.admits() && !rest.is_resting());
    }
}
