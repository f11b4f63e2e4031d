//! Puts into the slow store, which fill the fast one.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::ReadCaching;
use crate::decorators::pair::{Need, Repairs};
use crate::replication::Replicator;
use crate::{Blob, BlobAccess, Context, Digest, Error, PutCertainty, PutOutcome, Result};

/// The distance by which the fast store may be behind the slow one, in bytes: 4 MiB, as for
/// [`LocalReplicator`](crate::replication::LocalReplicator).
const MAX_APART_BYTES: u64 = 4 << 20;

/// The time that a put waits for the fast store once the slow one has the blob: 2 s, as for
/// [`LocalReplicator`](crate::replication::LocalReplicator).
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Notes an entry as outdated in the fast store when it is dropped, unless the fast store has got the value.
struct StaleUnlessFilled<'a> {
    stale: &'a Repairs,
    digest: &'a Digest,
    acknowledged: bool,
    filled: bool,
}

impl Drop for StaleUnlessFilled<'_> {
    fn drop(&mut self) {
        if self.filled {
            self.stale.settle_put(self.digest);
        } else {
            let need = if self.acknowledged { Need::Stale } else { Need::Differs };
            self.stale.note_missed_put(self.digest, need);
        }
    }
}

impl<S, F, R> ReadCaching<S, F, R>
where
    S: BlobAccess,
    F: BlobAccess<Kind = S::Kind>,
    R: Replicator<Kind = S::Kind>,
{
    pub(super) async fn put_contents(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if self.options.writes_through && self.fast.rest.admits() {
            self.put_into_both(ctx, digest, blob, false).await.0
        } else {
            self.put_into_slow(ctx, digest, blob).await
        }
    }

    pub(super) async fn put_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let key = digest.cache_key(self.slow.store.key_format().combine(self.fast.store.key_format()));
        let (_guard, blob) = self.locks.lock_to_put(&key, blob).await?;
        let mut noted = StaleUnlessFilled { stale: &self.stale, digest, acknowledged: false, filled: false };
        let (result, filled) = if self.fast.rest.admits() {
            self.put_into_both(ctx, digest, blob, true).await
        } else {
            (self.put_into_slow(ctx, digest, blob).await, false)
        };
        noted.acknowledged = result.is_ok();
        // After a put that has certainly stored nothing, the fast store is no more outdated than before.
        let is_unchanged = result.as_ref().is_err_and(|error| error.put_certainty() == PutCertainty::NotStored);
        noted.filled = filled || (is_unchanged && !self.stale.is_outdated(digest));
        result
    }

    /// Waits for the fast store to end a put that the slow store has acknowledged, for a while.
    async fn wait_for_fast(&self, ctx: &Context, fast: impl Future<Output = Result<PutOutcome>>) -> Result<PutOutcome> {
        let patience = self.clock.monotonic().checked_add(MAX_WAIT);
        let deadline = [patience, ctx.deadline()].into_iter().flatten().min();
        let ended = self.clock.timeout(deadline, fast).await;
        ended.unwrap_or_else(|elapsed| Err(Error::deadline_exceeded("it is too slow").with_source(elapsed)))
    }

    async fn put_into_slow(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.slow.store.put(ctx, digest, blob).await.map_err(|error| error.at(self.slow.name))
    }

    /// Puts `blob` into the slow store and meanwhile into the fast one, which gets the last bytes once the slow store has
    /// them. Returns the result of the slow store, and whether the fast one has the blob now.
    ///
    /// Contents that the slow store has already are not read on for the fast store alone, unless `fills_always` is set.
    async fn put_into_both(
        &self,
        ctx: &Context,
        digest: &Digest,
        blob: Blob,
        fills_always: bool,
    ) -> (Result<PutOutcome>, bool) {
        let (to_slow, to_fast) = blob.tee_expendable(MAX_APART_BYTES);
        let (stored, is_stored) = oneshot::channel::<()>();
        let to_fast = to_fast
            .with_task(async { is_stored.await.map_err(|_| Error::aborted("the slow store has not stored the blob")) });
        let slow = pin!(self.put_into_slow(ctx, digest, to_slow));
        let fast = pin!(self.fast.store.put(ctx, digest, to_fast));
        let (result, filled) = match select(slow, fast).await {
            Either::Left((result, fast)) => {
                let fills = match &result {
                    Ok(PutOutcome::AlreadyExists { .. }) => fills_always,
                    Ok(_) => true,
                    Err(_) => false,
                };
                if !fills {
                    return (result, false);
                }
                // The other end is part of the put, which has not been dropped.
                let _: Result<(), ()> = stored.send(());
                (result, self.wait_for_fast(ctx, fast).await)
            }
            Either::Right((filled, slow)) => (slow.await, filled),
        };
        if result.is_err() {
            // The fault may be that of the source of the blob, which the fast store reads too.
            return (result, false);
        }
        match self.fast.judge(ctx, filled) {
            Ok(_) => {
                self.filled.fetch_add(1, Ordering::Relaxed);
                (result, true)
            }
            Err(error) => {
                tracing::debug!(%error, %digest, fast = %self.fast.store, "the fast store has not taken a blob");
                self.fills_failed.fetch_add(1, Ordering::Relaxed);
                (result, false)
            }
        }
    }
}
