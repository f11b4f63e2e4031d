//! The log lines of a queue: one a minute, however much goes wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Error, LogInterval};

use super::QueueSnapshot;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_mins(1);

/// The log lines of a queue.
#[derive(Debug)]
pub(super) struct Notices {
    line: LogInterval,
    failed_attempts: AtomicU64,
    given_up: AtomicU64,
}

impl Default for Notices {
    fn default() -> Self {
        Self { line: LogInterval::new(EVERY), failed_attempts: AtomicU64::new(0), given_up: AtomicU64::new(0) }
    }
}

impl Notices {
    /// Notes an attempt that failed, or, if it `is_last`, an upload that is given up. Says so unless a line was written in the
    /// last minute.
    pub(super) fn note(&self, now: Instant, error: &Error, is_last: bool, snapshot: impl FnOnce() -> QueueSnapshot) {
        if is_last { &self.given_up } else { &self.failed_attempts }.fetch_add(1, Ordering::Relaxed);
        if self.line.due(now).is_none() {
            return;
        }
        let failed_attempts = self.failed_attempts.swap(0, Ordering::Relaxed);
        let given_up = self.given_up.swap(0, Ordering::Relaxed);
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
