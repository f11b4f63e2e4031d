//! The queue of uploads in parts that are yet to be aborted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobaccess::UploadToken;
use object_store::path::Path;
use tokio::sync::Notify;

use crate::bucket::{MultipartUpload, Parts};

/// An upload in parts that nobody will complete.
pub(crate) struct Abandoned {
    pub(crate) path: Path,
    /// The upload, unless it was not begun, or is not known to have been.
    pub(crate) begun: Option<(Parts, MultipartUpload)>,
    /// The claim to release, if it was made.
    pub(crate) claim: Option<UploadToken>,
    /// How often an abort has failed.
    pub(crate) tries: u32,
}

/// The number of uploads that wait. Of more, the oldest are left to the bucket's own rule for incomplete uploads.
const MAX_WAITING: usize = 4_096;

/// The queue of uploads that are yet to be aborted.
#[derive(Default)]
pub(crate) struct Aborts {
    waiting: Mutex<VecDeque<Abandoned>>,
    /// The number of uploads that were left.
    left: AtomicU64,
    added: Notify,
}

impl Aborts {
    pub(crate) fn add(&self, abandoned: Abandoned) {
        let mut waiting = self.lock();
        waiting.push_back(abandoned);
        if waiting.len() > MAX_WAITING && waiting.pop_front().is_some() {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        self.added.notify_one();
    }

    /// Counts an upload that was left, and returns how many were so far.
    pub(crate) fn leave(&self) -> u64 {
        self.left.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the number of uploads that were left.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Abandoned>> {
        // Each critical section is one call, so a panic cannot leave the queue half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until an upload is added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    pub(crate) fn next(&self) -> Option<Abandoned> {
        self.lock().pop_front()
    }

    /// Takes the upload to `path` that has waited longest and has a claim.
    pub(crate) fn next_claim(&self, path: &Path) -> Option<Abandoned> {
        let mut waiting = self.lock();
        let position = waiting.iter().position(|abandoned| abandoned.claim.is_some() && abandoned.path == *path)?;
        waiting.remove(position)
    }
}

impl std::fmt::Debug for Aborts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aborts").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
