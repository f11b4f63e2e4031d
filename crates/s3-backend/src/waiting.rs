//! Waits no longer than the caller does, and longer after each failure.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::{Clock, Context, Error, Result};
use futures::future::{Either, select};
use futures::pin_mut;

/// Ends with `work`, or with `DeadlineExceeded` once the caller's deadline has come.
pub(crate) async fn within<T>(
    ctx: &Context,
    clock: &Arc<dyn Clock>,
    work: impl Future<Output = T> + Send,
) -> Result<T> {
    let Some(deadline) = ctx.deadline() else {
        return Ok(work.await);
    };
    until(clock, deadline, work)
        .await
        .ok_or_else(|| Error::deadline_exceeded("the time for the call ran out before the bucket answered"))
}

/// What `work` ends with, if it does before `deadline`.
pub(crate) async fn until<T>(
    clock: &Arc<dyn Clock>,
    deadline: Instant,
    work: impl Future<Output = T> + Send,
) -> Option<T> {
    if clock.monotonic() >= deadline {
        return None;
    }
    pin_mut!(work);
    match select(work, clock.sleep_until(deadline)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(((), _)) => None,
    }
}

/// Pauses that double, each somewhere between half and all of what it could be, so that callers spread out.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    state: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { next: first.min(max), max, state: seed | 1 }
    }

    pub(crate) fn next(&mut self) -> Duration {
        // Xorshift: enough to spread callers.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        let half = pause / 2;
        let per_mille = u32::try_from(self.state % 1000).unwrap_or_default();
        half + half * per_mille / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_less_than_half() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400), 7);
        for longest in [100, 200, 400, 400, 400] {
            let pause = backoff.next();
            assert!(
                pause <= Duration::from_millis(longest) && pause >= Duration::from_millis(longest / 2),
                "{pause:?}"
            );
        }
    }
}
