//! Aborts uploads in parts that nobody will complete.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;

use crate::aborts::Abandoned;
use crate::shared::Shared;

/// The time until failed aborts are tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// The time that one abort may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The number of times that an abort is tried.
const TRIES: u32 = 5;

impl Shared {
    /// Tries to abort each upload in the queue. Returns whether the queue is empty afterwards.
    pub(crate) async fn abort_waiting(&self) -> bool {
        for _ in 0..self.aborts.waiting() {
            self.abort_one().await;
        }
        self.aborts.waiting() == 0
    }

    /// Tries to abort the upload that has waited longest. One that fails again and again is left to the bucket's own rule
    /// for incomplete uploads.
    pub(crate) async fn abort_one(&self) {
        if let Some(abandoned) = self.aborts.next() {
            self.abort_again(abandoned).await;
        }
    }

    /// Tries to abort an upload to `path` that was given up with its claim, which would otherwise hold up the next one until
    /// the claim lapses.
    pub(crate) async fn abort_claim(&self, path: &Path) {
        if let Some(abandoned) = self.aborts.next_claim(path) {
            self.abort_again(abandoned).await;
        }
    }

    async fn abort_again(&self, abandoned: Abandoned) {
        // If this future is dropped, the upload returns to the queue.
        let mut returning = Returning { shared: self, abandoned: Some(abandoned) };
        let Some(abandoned) = &mut returning.abandoned else { return };
        let limit = self.clock().monotonic().checked_add(LIMIT);
        let aborted = self.clock().timeout(limit, self.abort(abandoned)).await;
        let error = match aborted {
            Ok(Ok(())) => {
                drop(returning.abandoned.take());
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => blobaccess::Error::deadline_exceeded("the bucket did not answer in time"),
        };
        abandoned.tries += 1;
        if abandoned.tries >= TRIES {
            drop(returning.abandoned.take());
            let left = self.aborts.leave();
            if self.complaints.is_time(self.clock().monotonic()) {
                tracing::warn!(%error, left, "uploads in parts cannot be aborted: they stay until the bucket deletes them");
            }
        }
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
