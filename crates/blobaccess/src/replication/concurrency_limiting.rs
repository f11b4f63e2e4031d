//! A replicator that makes up to a given number of copies at a time.

use std::fmt::{self, Debug, Display, Formatter};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::{TryStreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Replicator;
use super::copied_reads::CopiedReads;
use super::copy_counts::{CopyCounter, CopyCounts};
use super::waiting::Waiting;
use crate::{Blob, BlobAccess, Clock, Context, Digest, DigestSet, Error, Kind, ReadRequest, Result};

/// A [`Replicator`] that makes up to a given number of copies at a time. Others wait for their turn, in the order in
/// which they came.
///
/// When an empty sink takes the place of a full one, every read wants a copy. This layer keeps the copies from taking
/// all of the network and the disks.
///
/// * **Contents** are copied by the replicator beneath, at the speed of the stores, and then read from the sink. A
///   permit is held for the copy alone: a reader that is slow, or stops reading, holds none. If the copy fails or
///   [takes too long](Self::with_max_wait), the reader gets the contents from the source, without a copy.
/// * **Messages** are copied before they are returned, so their permit is never held by a reader either.
/// * **Sets** are divided, so that a large one takes its turns with others.
///
/// # Order
///
/// Around the replicator that copies, and inside a [`DeduplicatingReplicator`](super::DeduplicatingReplicator), whose
/// waiting callers then hold no permits.
///
/// # Weakens
///
/// The first byte of contents comes after the copy of all of them.
///
/// # Memory
///
/// That of the replicator beneath, for as many copies as there are permits.
///
/// # Cancel safety
///
/// A caller that goes away gives up its place in the queue, or its permit and its copy. The next in the queue goes on. A
/// caller that neither polls nor drops its call keeps its permit.
///
/// # Errors
///
/// Those of the replicator beneath. `DeadlineExceeded` if the caller's deadline comes before its copy has ended.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::num::NonZeroUsize;
/// use std::sync::Arc;
///
/// use blobaccess::replication::{ConcurrencyLimitingReplicator, LocalReplicator, Replicator};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let sink = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
/// let eight = NonZeroUsize::new(8).unwrap();
/// let replicator = ConcurrencyLimitingReplicator::new(Arc::clone(&source), Arc::clone(&sink), local, eight);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// source.put_bytes(&ctx, &digest, "hello").await?;
/// replicator.replicate_all(&ctx, &digest.clone().into()).await?;
/// assert!(sink.contains(&ctx, &digest).await?);
/// assert_eq!(replicator.snapshot().copies.bytes, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ConcurrencyLimitingReplicator<A: ?Sized, B: ?Sized, R> {
    reads: CopiedReads<A, B>,
    base: R,
    permits: Semaphore,
    max_at_once: usize,
    digests_per_permit: NonZeroUsize,
    waiting: AtomicUsize,
    copies: CopyCounter,
}

/// The permits of a [`ConcurrencyLimitingReplicator`] at one moment, and its copies so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConcurrencySnapshot {
    /// The number of copies under way.
    pub under_way: usize,
    /// The maximum of `under_way`.
    pub max_at_once: usize,
    /// The number of copies that wait for a permit.
    pub waiting: usize,
    /// The copies made so far.
    pub copies: CopyCounts,
    /// The number of reads that got their contents from the source, because the copy failed or took too long.
    pub reads_from_source: u64,
}

impl<A, B, R> ConcurrencyLimitingReplicator<A, B, R>
where
    A: BlobAccess + ?Sized,
    B: BlobAccess<Kind = A::Kind> + ?Sized,
    R: Replicator<Kind = A::Kind>,
{
    /// Lets `base`, which copies from `source` into `sink`, make up to `max_at_once` copies at a time.
    ///
    /// With too few, copies queue while the network is idle: begin with as many as the slower of the two stores serves
    /// at a time.
    #[must_use]
    pub fn new(source: Arc<A>, sink: Arc<B>, base: R, max_at_once: NonZeroUsize) -> Self {
        let max_at_once = max_at_once.get().min(Semaphore::MAX_PERMITS);
        Self {
            reads: CopiedReads::new(source, sink),
            base,
            permits: Semaphore::new(max_at_once),
            max_at_once,
            digests_per_permit: NonZeroUsize::MIN,
            waiting: AtomicUsize::new(0),
            copies: CopyCounter::default(),
        }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.reads.clock = clock;
        self
    }

    /// Sets the number of blobs that one call of the replicator beneath copies under one permit: 1 unless set.
    ///
    /// With 1, permits count blobs. A replicator to which each call costs a round trip is better given hundreds.
    #[must_use]
    pub const fn with_digests_per_permit(mut self, digests: NonZeroUsize) -> Self {
        self.digests_per_permit = digests;
        self
    }

    /// Sets the time that a reader of contents waits for its copy before it reads from the source: one minute unless
    /// set.
    ///
    /// If it is too short, reads of large blobs give up their copies. If it is too long, a sink that hangs holds readers
    /// up. Zero makes every reader read from the source, unless the copy is made at once.
    #[must_use]
    pub const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.reads.max_wait = max_wait;
        self
    }

    /// Returns the replicator beneath.
    #[must_use]
    pub const fn inner(&self) -> &R {
        &self.base
    }

    /// Returns the number of copies under way, waiting and made.
    #[must_use]
    pub fn snapshot(&self) -> ConcurrencySnapshot {
        ConcurrencySnapshot {
            under_way: self.max_at_once.saturating_sub(self.permits.available_permits()),
            max_at_once: self.max_at_once,
            waiting: self.waiting.load(Ordering::Relaxed),
            copies: self.copies.counts(),
            reads_from_source: self.reads.reads_from_source(),
        }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        // Nobody closes it.
        self.permits.acquire().await.map_err(|closed| Error::internal("no more permits").with_source(closed))
    }

    /// Copies `digests` under one permit.
    async fn copy(&self, ctx: &Context, digests: DigestSet) -> Result<()> {
        let _permit = self.permit().await?;
        let result = self.base.replicate_all(ctx, &digests).await;
        self.copies.count(&digests, &result);
        result
    }

    /// Waits for `work`, up to the deadline of the caller.
    async fn in_time<T>(&self, ctx: &Context, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let done = self.reads.clock.timeout(ctx.deadline(), work).await;
        done.unwrap_or_else(|elapsed| Err(Error::deadline_exceeded("copies have not ended").with_source(elapsed)))
    }
}

#[async_trait]
impl<A, B, R> Replicator for ConcurrencyLimitingReplicator<A, B, R>
where
    A: BlobAccess + ?Sized,
    B: BlobAccess<Kind = A::Kind> + ?Sized,
    R: Replicator<Kind = A::Kind>,
{
    type Kind = A::Kind;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        if A::Kind::STORAGE_TYPE.is_mutable() {
            // The base knows which value is newer. It has read the message whole when it returns.
            let copied = async {
                let _permit = self.permit().await?;
                self.base.replicate(ctx, request).await
            };
            let blob = self.in_time(ctx, copied).await?;
            self.copies.add(1, blob.size_bytes());
            return Ok(blob);
        }
        self.reads.read(ctx, request, self.copy(ctx, request.digest().clone().into())).await
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let sets = digests.as_slice().chunks(self.digests_per_permit.get()).map(<[Digest]>::to_vec);
        let copies = stream::iter(sets.map(|set| Ok(self.copy(ctx, set.into()))));
        self.in_time(ctx, copies.try_buffer_unordered(self.max_at_once).try_collect::<()>()).await
    }

    fn copies(&self) -> bool {
        self.base.copies()
    }
}

impl<A: ?Sized, B: ?Sized, R: Display> Display for ConcurrencyLimitingReplicator<A, B, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "concurrency_limiting({})", self.base)
    }
}
