//! What a layer in front of a queue needs of it: uploads from a store with their outcome, and what waits.

use std::future::Future;
use std::sync::Arc;

use blobaccess::{BlobAccess, Context, Digest, DigestKey, Error, PutOutcome, Result};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::entries::Contents;
use super::{Acknowledge, UploadQueue};

/// An upload that has its place in the queue.
pub(crate) struct Enqueued(Option<oneshot::Receiver<Result<PutOutcome>>>);

impl Enqueued {
    /// What it comes to, as far as the queue says so: `Unclassified` at once, or its outcome once it is uploaded.
    pub(crate) async fn outcome(self) -> Result<PutOutcome> {
        match self.0 {
            None => Ok(PutOutcome::Unclassified { stored_bytes: None }),
            Some(waiting) => {
                waiting.await.unwrap_or_else(|_| Err(Error::cancelled("the queue of uploads was stopped")))
            }
        }
    }
}

impl<B: BlobAccess> UploadQueue<B> {
    /// As [`enqueue_from`](Self::enqueue_from), but [acknowledged](Acknowledge) as puts are: when it is queued, or with
    /// its outcome.
    ///
    /// # Cancel safety
    ///
    /// It is queued before this first waits. Whoever stops waiting stops nothing else.
    ///
    /// # Errors
    ///
    /// As those of [`put`](BlobAccess::put).
    pub fn upload_from(
        &self,
        ctx: &Context,
        digest: &Digest,
        logical_bytes: u64,
        stored_bytes: Option<u64>,
        store: Arc<dyn BlobAccess<Kind = B::Kind>>,
    ) -> impl Future<Output = Result<PutOutcome>> + Send + use<B> {
        let enqueued = self.join(digest).map_or_else(
            || {
                let room = self.room(ctx, digest, logical_bytes, 0, stored_bytes)?;
                let contents = Contents::Stored(store);
                self.insert(ctx, digest, contents, logical_bytes, stored_bytes, room, self.waits()).map(Enqueued)
            },
            Ok,
        );
        async move { enqueued?.outcome().await }
    }

    /// Queues a value of a mutable kind, which is held in memory: a store may have a later one by the time.
    pub(crate) fn enqueue_value(&self, ctx: &Context, digest: &Digest, value: Bytes) -> Result<Enqueued> {
        let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
        let room = self.room(ctx, digest, size, size, None)?;
        self.insert(ctx, digest, Contents::Held(value), size, None, room, self.waits()).map(Enqueued)
    }

    /// Whether what is under `digest` is queued or under way.
    #[must_use]
    pub fn is_queued(&self, digest: &Digest) -> bool {
        self.entries().contents(&self.key(digest)).is_some()
    }

    /// The store that is uploaded to.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// When a put is acknowledged.
    pub(crate) const fn acknowledge(&self) -> Acknowledge {
        self.options.acknowledge
    }

    /// The largest value that is held in memory, in bytes.
    pub(crate) const fn max_held_bytes(&self) -> u64 {
        self.options.max_blob_size_bytes
    }

    fn waits(&self) -> bool {
        self.options.acknowledge == Acknowledge::Uploaded
    }

    fn key(&self, digest: &Digest) -> DigestKey {
        digest.cache_key(self.inner.key_format())
    }

    /// Joins the upload of equal contents, if there is one. That takes no room.
    fn join(&self, digest: &Digest) -> Option<Enqueued> {
        let (waiter, waiting) = oneshot::channel();
        let waits = self.waits();
        let joined = self.entries().join(&self.key(digest), waits.then_some(waiter));
        joined.is_ok().then_some(Enqueued(waits.then_some(waiting)))
    }
}
