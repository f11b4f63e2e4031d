//! Limits of the time that a source is waited for.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::{Clock, Context, Error, Result};

use crate::ExpandingOptions;

/// The time that may still be spent waiting for the source of one blob.
pub(crate) struct TimeLimits {
    clock: Arc<dyn Clock>,
    answer_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
    /// The time that was waited so far.
    waited: Duration,
    /// The time at which the caller stops waiting.
    deadline: Option<Instant>,
}

impl TimeLimits {
    pub(crate) fn new(clock: Arc<dyn Clock>, options: &ExpandingOptions, ctx: &Context) -> Self {
        Self {
            clock,
            answer_timeout: options.answer_timeout,
            idle_timeout: options.idle_timeout,
            total_timeout: options.total_timeout,
            waited: Duration::ZERO,
            deadline: ctx.deadline(),
        }
    }

    /// Waits for the answer to a request.
    pub(crate) async fn wait_for_answer<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        self.wait(self.answer_timeout, "did not answer", work).await
    }

    /// Waits for the next piece of an answer.
    pub(crate) async fn wait_for_piece<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        self.wait(self.idle_timeout, "sent nothing", work).await
    }

    async fn wait<T>(&mut self, timeout: Duration, failure: &str, work: impl Future<Output = T>) -> Result<T> {
        let began = self.clock.monotonic();
        let allowed = timeout.min(self.total_timeout.saturating_sub(self.waited));
        // A timeout beyond the end of time is none.
        let end = began.checked_add(allowed).into_iter().chain(self.deadline).min();
        let result = self.clock.timeout(end, work).await;
        self.waited = self.waited.saturating_add(self.clock.monotonic().saturating_duration_since(began));
        result.map_err(|_| {
            Error::deadline_exceeded(if self.deadline.is_some() && end == self.deadline {
                format!("source {failure} before the deadline of the call")
            } else if allowed < timeout {
                format!("source was waited for {:?} altogether", self.total_timeout)
            } else {
                format!("source {failure} for {timeout:?}")
            })
        })
    }
}
