//! The log lines about failures of a bucket: one a minute, however many there are.

use std::time::{Duration, Instant};

use blobaccess::{Error, LogInterval};

use crate::error::excerpt;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_mins(1);

/// The failures of a bucket, of which one a minute is logged with all that is known of it.
#[derive(Debug)]
pub(crate) struct Complaints(LogInterval);

impl Default for Complaints {
    fn default() -> Self {
        Self(LogInterval::new(EVERY))
    }
}

impl Complaints {
    /// Returns whether it is time for another line, and takes that time.
    pub(crate) fn is_time(&self, now: Instant) -> bool {
        self.0.due(now).is_some()
    }

    /// Logs a failure of the bucket, unless one was logged in the last minute. The line has what the text of the error leaves
    /// out: clients are not to see it.
    pub(crate) fn note(&self, now: Instant, bucket: &dyn std::fmt::Display, error: &Error) {
        if !(error.is_infrastructure() || error.is_store_fault()) {
            return;
        }
        if let Some(left_out) = self.0.due(now) {
            let failures = left_out.saturating_add(1);
            let details = std::error::Error::source(error).map(excerpt);
            tracing::warn!(%bucket, %error, failures, details, "the bucket fails; the next line follows in a minute at the earliest");
        }
    }
}
