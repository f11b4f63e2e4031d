//! Uploads of the same blob: once one is stored, the others end.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestSet, PutOutcome, Result};
use futures::FutureExt;
use futures::future::select;
use tokio::sync::watch;

/// The uploads that wait for their clients, by digest. Clones share them.
///
/// There are at most as many as calls, of some 200 bytes each.
#[derive(Clone, Debug, Default)]
pub(crate) struct UploadsUnderWay(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of digests, to be read without the lock.
    digests: AtomicUsize,
    by_digest: Mutex<HashMap<Digest, Equal>>,
}

/// The uploads of one blob.
#[derive(Debug)]
struct Equal {
    uploads: usize,
    /// The outcome of the one that was stored last.
    stored: watch::Sender<Option<PutOutcome>>,
}

/// An upload, until this is dropped.
struct Joined<'a> {
    uploads: &'a UploadsUnderWay,
    digest: &'a Digest,
    stored: watch::Receiver<Option<PutOutcome>>,
}

impl UploadsUnderWay {
    /// Returns the outcome of `put`, or [`PutOutcome::AlreadyExists`] once an equal upload is stored and `store` has the blob for this
    /// caller. `put` is then dropped.
    pub(crate) async fn put_or_find(
        &self,
        store: &dyn BlobAccess<Kind = Cas>,
        ctx: &Context,
        digest: &Digest,
        put: impl Future<Output = Result<PutOutcome>>,
    ) -> Result<PutOutcome> {
        let mut put = pin!(put);
        // An upload that waits for nothing need not be known.
        let result = if let Some(result) = (&mut put).now_or_never() {
            result
        } else {
            let mut joined = self.join(digest);
            select(put, pin!(joined.found(store, ctx))).await.factor_first().0
        };
        result.inspect(|outcome| self.tell(digest, *outcome))
    }

    /// Tells other uploads of `digest` that it is stored.
    pub(crate) fn tell(&self, digest: &Digest, outcome: PutOutcome) {
        if self.0.digests.load(Ordering::Acquire) > 0
            && let Some(equal) = self.by_digest().get(digest)
        {
            equal.stored.send_replace(Some(outcome));
        }
    }

    fn join<'a>(&'a self, digest: &'a Digest) -> Joined<'a> {
        let mut by_digest = self.by_digest();
        let equal =
            by_digest.entry(digest.clone()).or_insert_with(|| Equal { uploads: 0, stored: watch::Sender::new(None) });
        equal.uploads += 1;
        let stored = equal.stored.subscribe();
        self.0.digests.store(by_digest.len(), Ordering::Release);
        Joined { uploads: self, digest, stored }
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<Digest, Equal>> {
        // Each change is one step; nothing panics while it is held.
        self.0.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined<'_> {
    /// Waits until the blob is stored by another upload.
    async fn found(&mut self, store: &dyn BlobAccess<Kind = Cas>, ctx: &Context) -> Result<PutOutcome> {
        let digests = DigestSet::from(self.digest.clone());
        loop {
            if self.stored.changed().await.is_err() {
                // The sender is there as long as this upload.
                return std::future::pending().await;
            }
            let outcome = *self.stored.borrow_and_update();
            // Whether this caller may know of it, and whether it is still there, is for the store to say.
            let is_stored = store.find_missing(ctx, &digests).await.is_ok_and(|missing| missing.is_empty());
            if is_stored {
                let stored_bytes = outcome.and_then(PutOutcome::stored_bytes);
                return Ok(match stored_bytes {
                    Some(stored_bytes) => PutOutcome::AlreadyExists { stored_bytes },
                    None => PutOutcome::Unclassified { stored_bytes },
                });
            }
        }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut by_digest = self.uploads.by_digest();
        if let Some(equal) = by_digest.get_mut(self.digest) {
            equal.uploads -= 1;
            if equal.uploads == 0 {
                by_digest.remove(self.digest);
            }
        }
        self.uploads.0.digests.store(by_digest.len(), Ordering::Release);
    }
}
