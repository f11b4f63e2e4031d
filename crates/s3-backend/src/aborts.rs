//! Uploads in parts that nobody will complete, and that are yet to be told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blobaccess::UploadToken;
use object_store::path::Path;
use tokio::sync::Notify;

use crate::bucket::{Parts, Place};
use crate::core::Core;

/// How long until a failed abort is tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// An upload in parts that nobody will complete.
pub(crate) struct Abandoned {
    pub(crate) path: Path,
    /// `None` if it was not begun, or is not known to have been.
    pub(crate) begun: Option<(Parts, Place)>,
    /// The claim to release, if it was made.
    pub(crate) claim: Option<UploadToken>,
}

/// The uploads that are yet to be aborted.
#[derive(Default)]
pub(crate) struct Aborts {
    waiting: Mutex<VecDeque<Abandoned>>,
    added: Notify,
}

impl Aborts {
    pub(crate) fn add(&self, abandoned: Abandoned) {
        self.lock().push_back(abandoned);
        self.added.notify_one();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Abandoned>> {
        // Each use of it is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Abandoned> {
        self.lock().pop_front()
    }
}

impl std::fmt::Debug for Aborts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aborts").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Core {
    /// Aborts what waits, each once. Whether none is left.
    pub(crate) async fn abort_waiting(&self) -> bool {
        for _ in 0..self.aborts.waiting() {
            let Some(abandoned) = self.aborts.next() else { break };
            // Whoever drops this future drops the upload back into the queue.
            let mut returning = Returning { core: self, abandoned: Some(abandoned) };
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
                self.aborts.added.notified().await;
            } else {
                let clock = self.clock();
                clock.sleep_until(clock.monotonic() + PAUSE).await;
            }
        }
    }
}

struct Returning<'a> {
    core: &'a Core,
    abandoned: Option<Abandoned>,
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            self.core.aborts.add(abandoned);
        }
    }
}
