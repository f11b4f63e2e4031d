//! A fast store in front of a slow one, to which a queue uploads in the background.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::replication::{EntryLocks, LocalReplicator, Replicator};
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, Inventory, KeyFormat, Kind,
    PutCertainty, PutOutcome, ReadRequest, Result, Slicer,
};

use crate::queue::{Acknowledge, UploadQueue};

/// A [`BlobAccess`] of a fast store in front of a slow one, to which an [`UploadQueue`] uploads: a disk in front of a
/// bucket.
///
/// * **get** reads from the fast store, else from the slow one, and then copies the blob into the fast one while it is
///   read. The copy is expendable: it is given up if it falls behind the reader, or if the reader goes away. Of several
///   concurrent readers of one blob, one makes the copy ([`LocalReplicator`]).
/// * **put** writes into the fast store, then queues the upload. The queue reads contents from the fast store when their
///   turn comes, and holds neither memory nor a file for them until then. Messages are small and wait in memory: by their
///   turn, the fast store may have a later value, whose contents are not uploaded yet.
/// * **find missing** takes a blob for present if the slow store has it, or if the fast store has it and its upload is
///   queued. The fast store is always asked, so that it keeps the blob.
///
/// The fast store may lose anything at any time, without loss to the slow one, except for blobs that are still queued.
/// Those are dropped, counted so, and missing from then on.
///
/// Nothing is uploaded unless the host spawns [`UploadQueue::run`].
///
/// # Outcomes
///
/// The outcome of a put is that of the slow store if the queue acknowledges puts
/// [when they are uploaded](Acknowledge::Uploaded), else `Unclassified`, as it is not known yet. The outcome of the fast
/// store is not returned.
///
/// # Order
///
/// Put an [`ExistenceCaching`](blobaccess::decorators::ExistenceCaching) into the queue, around the slow store, to answer
/// most `find_missing` calls without reaching it. Layers that check rights, or results for completeness, stand outside. The
/// queue of action results [follows](UploadQueue::following) that of contents.
///
/// # Weakens
///
/// * A blob that was put and could not be uploaded is missing, although the fast store may still serve it. The same is true
///   of blobs that were queued when the process died, until [`requeue`](Self::requeue) has queued them again.
/// * A queued blob is present, also for other callers. If its upload fails, it is missing again.
/// * If the slow store cannot be asked, contents that the fast store has are present, and are queued for upload. If they
///   would fill more than half of the queue, which is the room for puts, that is an error instead. It is an error in any case
///   if the queue acknowledges puts when they are uploaded: nothing is queued for which nobody waits.
/// * A read from the fast store does not count as use in the slow one. A bucket does not mind; a store that evicts may evict
///   the blob.
/// * For mutable kinds, the fast store may have a value that others have since replaced in the slow one.
///
/// # Memory
///
/// The memory of the queue, and up to 4 MiB for each copy into the fast store that is under way.
///
/// # Cancel safety
///
/// A put that is dropped while the fast store takes the blob queues nothing. A queued blob is uploaded in any case.
///
/// # Errors
///
/// Errors of the two stores, with the place `fast` or `slow`. A put that the fast store took and the queue did not says
/// that it may be stored.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
/// use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
/// use blobaccess_write_behind::{QueueOptions, UploadQueue, WriteBehind};
///
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
/// let bucket = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let queue = Arc::new(UploadQueue::new(Arc::clone(&bucket), accounts, QueueOptions::new()));
/// let store = WriteBehind::new(MemoryStore::<Cas>::new(1 << 20), Arc::clone(&queue));
///
/// let ctx = Context::background();
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// assert!(store.find_missing(&ctx, &digest.clone().into()).await?.is_empty());
/// assert_eq!(bucket.find_missing(&ctx, &digest.clone().into()).await?.len(), 1);
/// // The host spawns this; it ends once a queue that was closed is empty.
/// queue.close();
/// queue.run().await;
/// assert!(bucket.find_missing(&ctx, &digest.into()).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WriteBehind<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> {
    fast: Arc<F>,
    queue: Arc<UploadQueue<S>>,
    /// The copies from the slow store, and from the queue, into the fast one.
    replicator: LocalReplicator<UploadQueue<S>, F>,
    /// The locks of messages, so that both stores get the values of one entry in the same order.
    locks: Arc<EntryLocks>,
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> WriteBehind<F, S> {
    /// Keeps everything in `fast`, in front of the store that `queue` uploads to.
    pub fn new(fast: F, queue: Arc<UploadQueue<S>>) -> Self {
        let (fast, locks) = (Arc::new(fast), Arc::new(EntryLocks::new()));
        let replicator = LocalReplicator::new(Arc::clone(&queue), Arc::clone(&fast))
            .with_max_message_bytes(queue.max_held_bytes())
            .with_entry_locks(Arc::clone(&locks));
        Self { fast, queue, replicator, locks }
    }

    /// Returns the fast store.
    #[must_use]
    pub const fn fast(&self) -> &Arc<F> {
        &self.fast
    }

    /// Returns the queue, which has the slow store in [`UploadQueue::inner`].
    #[must_use]
    pub const fn queue(&self) -> &Arc<UploadQueue<S>> {
        &self.queue
    }

    /// Returns the fast store and the queue. What is queued stays queued.
    #[must_use]
    pub fn into_inner(self) -> (Arc<F>, Arc<UploadQueue<S>>) {
        (self.fast, self.queue)
    }

    /// Queues contents that the fast store has.
    async fn upload(&self, ctx: &Context, digest: &Digest) -> Result<PutOutcome> {
        let fast: Arc<dyn BlobAccess<Kind = F::Kind>> = Arc::<F>::clone(&self.fast);
        self.queue.upload_from(ctx, digest, digest.size_bytes(), None, fast).await
    }

    /// Queues what the fast store has and the slow one lacks: after a restart, the uploads that were queued when the process
    /// ended. `inventory` is that of the fast store. Returns how many were queued.
    ///
    /// Each page of the inventory costs one question to the slow store. Whatever was removed from the slow store since it was
    /// uploaded is uploaded again, too. Call it once a start, beside everything else.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; what is queued stays queued.
    ///
    /// # Errors
    ///
    /// Those of the stores, and `ResourceExhausted` if the queue has no room. Calling again goes on from the beginning, and
    /// skips what is queued or uploaded by then.
    pub async fn requeue(&self, ctx: &Context, inventory: &dyn Inventory) -> Result<u64> {
        let (mut requeued, mut cursor) = (0, None);
        loop {
            let page = inventory.inventory(ctx, cursor.as_ref()).await.map_err(in_fast)?;
            let digests: DigestSet = page.entries.into_iter().map(|entry| entry.digest).collect();
            let digests = digests.filter(|digest| !self.queue.is_queued(digest));
            for digest in &self.queue.inner().find_missing(ctx, &digests).await.map_err(in_slow)? {
                requeued += u64::from(self.requeue_one(ctx, digest).await?);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(requeued);
            }
        }
    }

    /// Queues a blob that the fast store has, unless it is gone by now.
    async fn requeue_one(&self, ctx: &Context, digest: &Digest) -> Result<bool> {
        if !F::Kind::STORAGE_TYPE.is_mutable() {
            let fast: Arc<dyn BlobAccess<Kind = F::Kind>> = Arc::<F>::clone(&self.fast);
            self.queue.enqueue_from(ctx, digest, digest.size_bytes(), None, fast)?;
            return Ok(true);
        }
        let guard = self.locks.lock(&digest.cache_key(self.fast.key_format())).await;
        let value = match self.fast.get(ctx, digest).await {
            Ok(blob) => blob.into_bytes(self.queue.max_held_bytes()).await.map_err(in_fast)?,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(in_fast(error)),
        };
        let enqueued = self.queue.enqueue_value(ctx, digest, value)?;
        drop((guard, enqueued));
        Ok(true)
    }

    /// Puts contents.
    async fn put_contents(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.fast.put(ctx, digest, blob).await.map_err(in_fast)?;
        self.upload(ctx, digest).await.map_err(not_uploaded)
    }

    /// Puts a message. Both stores get the values of one entry in the same order.
    async fn put_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (size, max) = (blob.size_bytes(), self.queue.max_held_bytes());
        if size > max {
            return Err(self.queue.reject_value(ctx, digest, size));
        }
        let value = blob.into_bytes(max).await?;
        let guard = self.locks.lock(&digest.cache_key(self.fast.key_format())).await;
        self.fast.put(ctx, digest, Blob::from_bytes(value.clone())).await.map_err(in_fast)?;
        let enqueued = self.queue.enqueue_value(ctx, digest, value).map_err(not_uploaded)?;
        drop(guard);
        enqueued.outcome().await.map_err(not_uploaded)
    }

    /// Reads from the fast store, else from the slow one with a copy into the fast one.
    async fn read(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        match request.read_from(&*self.fast, ctx).await {
            // A part that the fast store's composite lacks is nowhere, as contents are the same in both stores.
            Err(error) if error.is_blob_missing() => {}
            result => return result.map_err(in_fast),
        }
        self.replicator.replicate(ctx, request).await.map_err(in_slow)
    }

    /// Handles a failure to ask the slow store about `asked`: contents that the fast store has are queued, so they are
    /// present.
    async fn queue_instead(
        &self,
        ctx: &Context,
        asked: &DigestSet,
        not_fast: &DigestSet,
        error: Error,
    ) -> Result<DigestSet> {
        let waits = self.queue.acknowledge() == Acknowledge::Uploaded;
        if waits || F::Kind::STORAGE_TYPE.is_mutable() || asked.iter().any(|digest| not_fast.contains(digest)) {
            return Err(in_slow(error));
        }
        let left = (0..asked.len()).rev().map(|others| others.saturating_add(1));
        for (digest, left) in asked.iter().zip(left) {
            if self.queue.is_queued(digest) {
                continue;
            }
            // Puts need the other half: of these uploads, nobody knows whether they are needed.
            if !self.queue.has_room_to_spare(left) || self.upload(ctx, digest).await.is_err() {
                return Err(in_slow(error));
            }
        }
        Ok(DigestSet::new())
    }
}

fn in_fast(error: Error) -> Error {
    error.at("fast")
}

fn in_slow(error: Error) -> Error {
    error.at("slow")
}

/// Marks an error after which the fast store has the blob anyway.
fn not_uploaded(error: Error) -> Error {
    in_slow(error).with_put_certainty(PutCertainty::MaybeStored)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> BlobAccess for WriteBehind<F, S> {
    type Kind = F::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, &ReadRequest::blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, &ReadRequest::part(parent, child, slicer)).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if F::Kind::STORAGE_TYPE.is_mutable() {
            self.put_message(ctx, digest, blob).await
        } else {
            self.put_contents(ctx, digest, blob).await
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let not_fast = self.fast.find_missing(ctx, digests).await.map_err(in_fast)?;
        // Messages wait in the queue themselves.
        let held = F::Kind::STORAGE_TYPE.is_mutable();
        let asked = digests.filter(|digest| {
            let here = held || !not_fast.contains(digest);
            !(here && self.queue.is_queued(digest))
        });
        if asked.is_empty() {
            return Ok(asked);
        }
        match self.queue.inner().find_missing(ctx, &asked).await {
            Ok(missing) => Ok(missing),
            Err(error) => self.queue_instead(ctx, &asked, &not_fast, error).await,
        }
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let slow = if F::Kind::STORAGE_TYPE.is_mutable() {
            self.queue.capabilities(ctx, instance_name).await
        } else {
            self.queue.inner().capabilities(ctx, instance_name).await
        };
        let fast = self.fast.capabilities(ctx, instance_name).await.map_err(in_fast)?;
        Ok(slow.map_err(in_slow)?.intersection(&fast))
    }

    fn key_format(&self) -> KeyFormat {
        self.fast.key_format().combine(self.queue.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.fast.finds_in_bulk() && self.queue.finds_in_bulk()
    }
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> Display for WriteBehind<F, S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "write_behind({}, {})", self.fast, self.queue)
    }
}

#[cfg(test)]
mod tests;
