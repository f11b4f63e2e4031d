//! A pace of requests: at most so many a second, however many ask at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Clock;

/// A pace of requests. Each takes the next free place in time.
#[derive(Debug)]
pub(super) struct Pace {
    /// The time from one request to the next; `None` for no bound.
    step: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        let step = (per_second > 0).then(|| Duration::from_secs(1) / per_second.max(1));
        Self { step, next: Mutex::new(None) }
    }

    /// Waits for the turn of a request. A turn that is given up passes unused.
    pub(super) async fn turn(&self, clock: &dyn Clock) {
        let Some(step) = self.step else { return };
        let (now, turn) = {
            let now = clock.monotonic();
            // A panic cannot leave it half changed.
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.unwrap_or(now).max(now);
            *next = turn.checked_add(step);
            (now, turn)
        };
        if turn > now {
            clock.sleep_until(turn).await;
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use blobaccess_testkit::ManualClock;
    use futures::FutureExt;

    use super::*;

    #[test]
    fn requests_take_turns_and_no_bound_makes_nobody_wait() {
        let clock = ManualClock::new();
        let pace = Pace::new(4);
        assert!(pace.turn(&clock).now_or_never().is_some());
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pace.turn(&clock))).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        for turn in &mut waiting {
            clock.advance(Duration::from_millis(250));
            assert!(turn.as_mut().now_or_never().is_some());
        }
        let pace = Pace::new(0);
        assert!((0..100).all(|_| pace.turn(&clock).now_or_never().is_some()));
    }
}
