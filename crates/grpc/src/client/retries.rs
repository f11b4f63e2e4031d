//! Makes calls again that failed transiently.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use blobaccess::{Context, Error, PutCertainty, PutOutcome, Result};

use super::connection::Connection;

impl Connection {
    /// Retries `attempt` while it fails transiently and `again` permits it for the error.
    pub(super) async fn retried<T, F>(
        &self,
        ctx: &Context,
        again: impl Fn(&Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut failures = 0;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            if !error.is_retryable() || !again(&error) {
                return Err(error);
            }
            let Some(until) = self.waits.next(&*self.clock, ctx, failures) else { return Err(error) };
            tracing::debug!(%error, failures, "calling the remote store again");
            self.clock.sleep_until(until).await;
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Retries a put. The outcome is reported only as far as earlier attempts leave it certain.
    ///
    /// What an attempt finds may have been stored by one before it whose answer was lost. So after one that may have
    /// stored the blob, only `Created` stands.
    pub(super) async fn retried_put<F>(
        &self,
        ctx: &Context,
        again: impl Fn(&Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<PutOutcome>
    where
        F: Future<Output = Result<PutOutcome>>,
    {
        let unresolved = AtomicBool::new(false);
        let note = |error: &Error| {
            if error.put_certainty() == PutCertainty::MaybeStored {
                unresolved.store(true, Ordering::Relaxed);
            }
        };
        let put = self.retried(ctx, again, || {
            let attempt = attempt();
            async { attempt.await.inspect_err(note) }
        });
        let outcome = put.await;
        if !unresolved.load(Ordering::Relaxed) {
            return outcome;
        }
        match outcome {
            Ok(outcome @ PutOutcome::Created { .. }) => Ok(outcome),
            Ok(outcome) => Ok(PutOutcome::Unclassified { stored_bytes: outcome.stored_bytes() }),
            Err(error) => Err(error.with_put_certainty(PutCertainty::MaybeStored)),
        }
    }
}
