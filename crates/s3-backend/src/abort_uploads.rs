//! Aborts uploads in parts that nobody will complete.

use std::sync::Arc;
use std::time::Duration;

use crate::aborts::Abandoned;
use crate::shared::Shared;

/// The time until a failed abort is tried again.
const PAUSE: Duration = Duration::from_secs(10);

impl Shared {
    /// Tries to abort each upload in the queue. Returns whether the queue is empty afterwards.
    pub(crate) async fn abort_waiting(&self) -> bool {
        for _ in 0..self.aborts.waiting() {
            let Some(abandoned) = self.aborts.next() else { break };
            // If this future is dropped, the upload returns to the queue.
            let mut returning = Returning { shared: self, abandoned: Some(abandoned) };
            let Some(abandoned) = &returning.abandoned else { break };
            let aborted = self.abort(abandoned).await;
            match aborted {
                Ok(()) => drop(returning.abandoned.take()),
                Err(error) => {
                    tracing::warn!(%error, key = %abandoned.path, "an upload in parts cannot be aborted");
                }
            }
        }
        self.aborts.waiting() == 0
    }

    pub(crate) async fn abort(&self, abandoned: &Abandoned) -> blobaccess::Result<()> {
        if let Some((parts, place)) = &abandoned.begun {
            parts.abort(&self.bucket, place).await?;
        }
        if let Some(token) = &abandoned.claim {
            self.release(&abandoned.path, token).await?;
        }
        Ok(())
    }

    pub(crate) async fn run_aborts(self: Arc<Self>) {
        loop {
            if self.abort_waiting().await {
                self.aborts.added().await;
            } else {
                let clock = self.clock();
                clock.sleep_until(clock.monotonic() + PAUSE).await;
            }
        }
    }
}

struct Returning<'a> {
    shared: &'a Shared,
    abandoned: Option<Abandoned>,
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            self.shared.aborts.add(abandoned);
        }
    }
}
