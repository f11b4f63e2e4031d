//! A fast store in front of a slow one, which is uploaded to behind those who put.

mod fills;
mod order;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, PutCertainty,
    PutOutcome, Result, Slicer, get_and_slice,
};

use self::fills::Fills;
use self::order::Order;
use crate::queue::{Acknowledge, UploadQueue};

/// How far the copy into the fast store may fall behind its reader, in bytes.
const MAX_APART_BYTES: u64 = 4 << 20;

/// A [`BlobAccess`] of a fast store in front of a slow one, to which an [`UploadQueue`] uploads: a disk in front of a
/// bucket.
///
/// * **get**: from the fast store, else from the slow one, and then copied into the fast one while it is read. The copy
///   is expendable: it is given up rather than hold the reader up, and with the reader. Of several readers of one blob
///   at once, one makes the copy.
/// * **put**: into the fast store, then queued. The queue reads contents from the fast store when their turn comes, and
///   holds neither memory nor a file for them until then. Messages, which are small, wait in memory: by their turn, the
///   fast store may have a later value, whose contents are yet to be uploaded.
/// * **find missing**: present is what the fast store has and the queue is about to upload, and what the slow store
///   has. The fast store is always asked: what is asked for stays there.
///
/// The fast store may lose anything at any time, all of it included, without loss to the slow one, but for what is still
/// queued. That is dropped, counted so, and missing from then on.
///
/// Nothing is uploaded unless the host spawns [`UploadQueue::run`].
///
/// # Outcomes
///
/// That of a put is that of the slow store, which writes go to: its own where the queue acknowledges
/// [when it is uploaded](Acknowledge::Uploaded), else `Unclassified`, as it is not known yet. What the fast store had
/// to say about it is not told.
///
/// # Order
///
/// Put an [`ExistenceCaching`](blobaccess::decorators::ExistenceCaching) into the queue, around the slow store: it spares
/// the slow store the questions of `find_missing`. Layers that check rights stand outside, and one that checks results for
/// completeness does too. The queue of action results [follows](UploadQueue::following) that of contents.
///
/// # Weakens
///
/// * What was put and could not be uploaded is missing, although it can be read from the fast store for as long as that
///   keeps it. So is what was queued when the process died.
/// * What is queued is present, also to others than who put it. If its upload fails, it is missing again.
/// * If the slow store cannot be asked, contents that the fast store has are present, and are queued for upload. Where
///   the queue acknowledges what is uploaded, that is an error: there, nothing is queued that nobody waits for.
/// * What is read from the fast store is not used in the slow one. A bucket does not mind; a store that evicts may
///   evict it.
/// * Of a mutable kind, the fast store may have a value that others have replaced in the slow one meanwhile.
///
/// # Memory
///
/// That of the queue; 4 MiB for each copy under way into the fast store.
///
/// # Cancel safety
///
/// A put that is dropped while the fast store takes the blob queues nothing. Once it is queued, it is uploaded.
///
/// # Errors
///
/// Those of the two stores, as `fast` or `slow`. A put that the fast store took and the queue did not says that it may
/// be stored.
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
    fills: Arc<Fills>,
    order: Order,
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> WriteBehind<F, S> {
    /// Keeps everything in `fast`, in front of the store that `queue` uploads to.
    pub fn new(fast: F, queue: Arc<UploadQueue<S>>) -> Self {
        Self { fast: Arc::new(fast), queue, fills: Arc::default(), order: Order::default() }
    }

    /// Queues contents that the fast store has.
    async fn upload(&self, ctx: &Context, digest: &Digest) -> Result<PutOutcome> {
        let fast: Arc<dyn BlobAccess<Kind = F::Kind>> = Arc::<F>::clone(&self.fast);
        self.queue.upload_from(ctx, digest, digest.size_bytes(), None, fast).await
    }

    /// Puts contents.
    async fn put_contents(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.fast.put(ctx, digest, blob).await.map_err(in_fast)?;
        self.upload(ctx, digest).await.map_err(not_uploaded)
    }

    /// Puts a message. Both stores get the values of one entry in the same order.
    async fn put_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let value = blob.into_bytes(self.queue.max_held_bytes()).await?;
        let order = self.order.lock(&digest.cache_key(self.key_format())).await;
        self.fast.put(ctx, digest, Blob::from_bytes(value.clone())).await.map_err(in_fast)?;
        let enqueued = self.queue.enqueue_value(ctx, digest, value).map_err(not_uploaded)?;
        drop(order);
        enqueued.outcome().await.map_err(not_uploaded)
    }

    /// `blob`, which is copied into the fast store while it is read.
    fn filling(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<Blob> {
        let Some(fill) = self.fills.begin(digest.cache_key(self.fast.key_format())) else { return Ok(blob) };
        // As a stream, of which both readers together read each byte once, even if it could be read from anywhere.
        let stream = blob.into_stream(..)?;
        let blob = match stream.at_hand() {
            Some(bytes) => Blob::from_verified_bytes(digest, bytes.clone()),
            None => Blob::from_verified_stream(digest, stream),
        };
        let (blob, copy) = blob.tee_expendable(MAX_APART_BYTES);
        let (fast, ctx, digest) = (Arc::clone(&self.fast), ctx.clone(), digest.clone());
        Ok(blob.with_task(async move {
            if let Err(error) = fast.put(&ctx, &digest, copy).await {
                tracing::debug!(%error, %digest, "a blob was not copied into the fast store");
            }
            drop(fill);
            Ok(())
        }))
    }

    /// A message, copied into the fast store unless that has got one meanwhile.
    async fn fill_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<Blob> {
        let value = blob.into_bytes(self.queue.max_held_bytes()).await?;
        let _order = self.order.lock(&digest.cache_key(self.key_format())).await;
        match self.fast.get(ctx, digest).await {
            Ok(newer) => return Ok(newer),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(in_fast(error)),
        }
        if let Err(error) = self.fast.put(ctx, digest, Blob::from_bytes(value.clone())).await {
            tracing::debug!(%error, %digest, "a message was not copied into the fast store");
        }
        Ok(Blob::from_bytes(value))
    }

    /// The slow store could not tell about `asked`. What of it the fast store has is uploaded, so it is present.
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
        for digest in asked {
            if self.upload(ctx, digest).await.is_err() {
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

/// The fast store has it all the same.
fn not_uploaded(error: Error) -> Error {
    in_slow(error).with_put_certainty(PutCertainty::MaybeStored)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> BlobAccess for WriteBehind<F, S> {
    type Kind = F::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        match self.fast.get(ctx, digest).await {
            Err(error) if error.is_not_found() => {}
            result => return result.map_err(in_fast),
        }
        let blob = self.queue.get(ctx, digest).await.map_err(in_slow)?;
        if F::Kind::STORAGE_TYPE.is_mutable() {
            self.fill_message(ctx, digest, blob).await
        } else {
            self.filling(ctx, digest, blob)
        }
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        match self.fast.get_from_composite(ctx, parent, child, Arc::clone(&slicer)).await {
            // All of it is copied, so that the next part comes from the fast store.
            Err(error) if error.is_not_found() && !error.is_part_missing() => {
                get_and_slice(self, ctx, parent, child, slicer).await
            }
            result => result.map_err(in_fast),
        }
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
