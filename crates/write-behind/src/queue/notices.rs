//! The log lines of a queue: one a minute, however much goes wrong.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Error;

use super::QueueSnapshot;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_mins(1);

/// The log lines of a queue.
#[derive(Debug, Default)]
pub(super) struct Notices {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    failed_attempts: u64,
    given_up: u64,
}

impl Notices {
    /// Notes an attempt that failed, or, if it `is_last`, an upload that is given up. Says so unless a line was written in the
    /// last minute.
    pub(super) fn note(&self, now: Instant, error: &Error, is_last: bool, snapshot: impl FnOnce() -> QueueSnapshot) {
        let counts = {
            // Nothing between the assignments panics.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            *if is_last { &mut state.given_up } else { &mut state.failed_attempts } += 1;
            if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
                return;
            }
            state.last = Some(now);
            (std::mem::take(&mut state.failed_attempts), std::mem::take(&mut state.given_up))
        };
        let (failed_attempts, given_up) = counts;
        let QueueSnapshot { items, delayed, .. } = snapshot();
        tracing::warn!(
            %error,
            failed_attempts,
            given_up,
            queued = items,
            delayed,
            "uploads fail; the counts are those since the last line, and the next one follows in a minute at the earliest"
        );
    }
}
