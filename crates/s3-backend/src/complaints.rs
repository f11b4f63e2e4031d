//! The log lines about failures of a bucket: one a minute, however many there are.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Error;

use crate::error::excerpt;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_mins(1);

/// The failures of a bucket, of which one a minute is logged with all that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Returns whether it is time for another line, and takes that time.
    pub(crate) fn is_time(&self, now: Instant) -> bool {
        self.take(now).is_some()
    }

    /// Returns the number of failures since the last line if it is time for another one.
    fn take(&self, now: Instant) -> Option<u64> {
        // A panic cannot leave it half changed: nothing between the assignments panics.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsaid += 1;
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }

    /// Logs a failure of the bucket, unless one was logged in the last minute. The line has what the text of the error leaves
    /// out: clients are not to see it.
    pub(crate) fn note(&self, now: Instant, bucket: &dyn std::fmt::Display, error: &Error) {
        if !(error.is_infrastructure() || error.is_store_fault()) {
            return;
        }
        if let Some(failures) = self.take(now) {
            let details = std::error::Error::source(error).map(excerpt);
            tracing::warn!(%bucket, %error, failures, details, "the bucket fails; the next line follows in a minute at the earliest");
        }
    }
}
