//! A replicator that copies each blob once, however many callers ask for it at the same time.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt, stream};

use super::Replicator;
use super::copied_reads::CopiedReads;
use super::copy_counts::{CopyCounter, CopyCounts};
use crate::{
    Blob, BlobAccess, BulkKind, Clock, Context, Digest, DigestKey, DigestSet, Error, Joined, ReadRequest, Result,
    SingleFlight,
};

/// The number of blobs that are looked for and copied together, so that a caller that wants one of them waits for no
/// more than these. A query about 64 takes a remote sink about as long as one about 1.
const DIGESTS_PER_FLIGHT: usize = 64;

/// The number of such groups that one call has under way.
const FLIGHTS_AT_ONCE: usize = 4;

/// A [`Replicator`] that copies each blob once, however many callers ask for it at the same time.
///
/// When a build begins on a thousand machines, all read the same tools. If their store has just been replaced by an
/// empty one, each read wants a copy. This layer makes one, for which all others wait. It asks the sink first, so a
/// caller that comes just after another's copy makes none either.
///
/// * **replicate**: copies the blob, and reads it from the sink then. If the copy fails or
///   [takes too long](Self::with_max_wait), the reader gets the contents from the source.
/// * **replicate all**: asks the sink which blobs it lacks, and copies those. Blobs that others copy are waited for.
///
/// Two digests are the same blob if their keys in the sink's format are equal.
///
/// A failure is not shared at once. The caller that began the copy gets the error, and one of those that waited tries
/// again, with rights of its own. If that attempt ends in a fault of a store too, all others get that error: a source
/// that is down is asked twice, not a thousand times.
///
/// # Order
///
/// Outermost among replicators. It asks the sink which blobs are missing, so it is for the kinds whose stores
/// [answer that](BulkKind): a stack over an action cache does not compile.
///
/// ```compile_fail,E0277
/// use std::sync::Arc;
///
/// use blobaccess::replication::{DeduplicatingReplicator, LocalReplicator};
/// use blobaccess::{Ac, MemoryStore};
///
/// let (source, sink) = (Arc::new(MemoryStore::<Ac>::new(1 << 20)), Arc::new(MemoryStore::<Ac>::new(1 << 20)));
/// let local = LocalReplicator::new(source.clone(), sink.clone());
/// let replicator = DeduplicatingReplicator::new(source, sink, local);
/// ```
///
/// # Weakens
///
/// * The first byte comes after the copy of all contents.
/// * A copy is made in the [`Context`] of the caller that began it, without its deadline, and serves others too.
/// * To ask the sink counts as use of what it has.
/// * While the sink fails, references come from the source even if the sink has newer ones.
///
/// # Memory
///
/// About 500 bytes for each blob that is being copied, 3 KB for each call, and that of the replicator beneath.
///
/// # Cancel safety
///
/// Whichever caller waits for a copy drives it on. If the caller that began it goes away, stops polling or meets its
/// deadline, the others still get their blob. A copy is dropped with its last waiter.
///
/// # Errors
///
/// Those of the replicator beneath. Those of asking the sink, with the place `sink`. `DeadlineExceeded` if the caller's
/// deadline comes before the copies have ended.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::replication::{DeduplicatingReplicator, LocalReplicator, Replicator};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, ReadRequest};
///
/// let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let sink = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
/// let replicator = DeduplicatingReplicator::new(Arc::clone(&source), Arc::clone(&sink), local);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// source.put_bytes(&ctx, &digest, "hello").await?;
/// for _ in 0..3 {
///     let blob = replicator.replicate(&ctx, &ReadRequest::blob(&digest)).await?;
///     assert_eq!(blob.into_bytes(1024).await?, "hello");
/// }
/// let snapshot = replicator.snapshot();
/// assert_eq!((snapshot.copies.blobs, snapshot.found_present), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DeduplicatingReplicator<A: ?Sized, B: ?Sized, R> {
    reads: CopiedReads<A, B>,
    base: Arc<R>,
    flights: SingleFlight<DigestKey, Result<()>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    copies: CopyCounter,
    found_present: AtomicU64,
    shared: AtomicU64,
}

/// The copies of a [`DeduplicatingReplicator`] under way at one moment, and those made so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeduplicationSnapshot {
    /// The number of blobs that are being looked for or copied.
    pub under_way: usize,
    /// The copies made so far.
    pub copies: CopyCounts,
    /// The number of blobs that the sink was found to have, so that they were not copied.
    pub found_present: u64,
    /// The number of times that a caller got a blob copied by waiting for another caller's copy.
    pub shared: u64,
    /// The number of reads that got their contents from the source, because the copy failed or took too long.
    pub reads_from_source: u64,
}

impl<A, B, R> DeduplicatingReplicator<A, B, R>
where
    A: BlobAccess<Kind: BulkKind> + ?Sized,
    B: BlobAccess<Kind = A::Kind> + ?Sized,
    R: Replicator<Kind = A::Kind>,
{
    /// Makes a replicator that has `base`, which copies from `source` into `sink`, copy each blob once.
    #[must_use]
    pub fn new(source: Arc<A>, sink: Arc<B>, base: R) -> Self {
        Self {
            reads: CopiedReads::new(source, sink),
            base: Arc::new(base),
            flights: SingleFlight::new(),
            counters: Arc::default(),
        }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.reads.clock = clock;
        self
    }

    /// Sets the time that a reader of contents waits for its copy before it reads from the source: one minute unless
    /// set.
    ///
    /// If it is too short, reads of large blobs give up their copies. If it is too long, a sink that hangs holds readers
    /// up.
    #[must_use]
    pub const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.reads.max_wait = max_wait;
        self
    }

    /// Returns the replicator beneath.
    #[must_use]
    pub fn inner(&self) -> &R {
        &self.base
    }

    /// Returns the number of copies under way and made.
    #[must_use]
    pub fn snapshot(&self) -> DeduplicationSnapshot {
        DeduplicationSnapshot {
            under_way: self.flights.len(),
            copies: self.counters.copies.counts(),
            found_present: self.counters.found_present.load(Ordering::Relaxed),
            shared: self.counters.shared.load(Ordering::Relaxed),
            reads_from_source: self.reads.reads_from_source(),
        }
    }

    /// Copies those of `digests` that the sink lacks, or waits for the copies that others make.
    async fn copy(&self, ctx: &Context, mut digests: Vec<Digest>) -> Result<()> {
        let format = self.reads.sink.key_format();
        let mut is_confirmed = false;
        loop {
            let items = digests.iter().map(|digest| (digest.cache_key(format), digest.clone()));
            let joined = self.flights.join_all(items, |own| self.flight(ctx, own));
            let mut results: FuturesUnordered<_> = joined
                .into_iter()
                .map(|Joined { is_own, items, flight }| async move { (is_own, items, flight.await) })
                .collect();
            digests = Vec::new();
            let mut failure = None;
            while let Some((is_own, items, result)) = results.next().await {
                match result {
                    Ok(()) if is_own => {}
                    Ok(()) => {
                        let shared = u64::try_from(items.len()).unwrap_or(u64::MAX);
                        self.counters.shared.fetch_add(shared, Ordering::Relaxed);
                    }
                    Err(error) if is_own => return Err(error),
                    Err(error) => {
                        digests.extend(items);
                        failure = Some(error);
                    }
                }
            }
            let Some(error) = failure else { return Ok(()) };
            // Each attempt is that of another caller, whose rights may be less than those of this one.
            if error.is_store_fault() && std::mem::replace(&mut is_confirmed, true) {
                return Err(error);
            }
        }
    }

    /// Makes the work that looks for `digests` in the sink and copies those that it lacks.
    fn flight(&self, ctx: &Context, digests: &[Digest]) -> impl Future<Output = Result<()>> + Send + use<A, B, R> {
        let (sink, base, counters) = (Arc::clone(&self.reads.sink), Arc::clone(&self.base), Arc::clone(&self.counters));
        let (ctx, digests) = (ctx.clone().without_deadline(), digests.to_vec());
        async move {
            let digests = DigestSet::from(digests);
            let mut lacking = digests.clone();
            if sink.finds_in_bulk() {
                let missing = sink.find_missing(&ctx, &digests).await;
                lacking = missing.map_err(|error| error.into_inconsistency().at("sink"))?;
                let present = u64::try_from(digests.len() - lacking.len()).unwrap_or(u64::MAX);
                counters.found_present.fetch_add(present, Ordering::Relaxed);
            }
            if lacking.is_empty() {
                return Ok(());
            }
            let result = base.replicate_all(&ctx, &lacking).await;
            counters.copies.count(&lacking, &result);
            result
        }
    }
}

#[async_trait]
impl<A, B, R> Replicator for DeduplicatingReplicator<A, B, R>
where
    A: BlobAccess<Kind: BulkKind> + ?Sized,
    B: BlobAccess<Kind = A::Kind> + ?Sized,
    R: Replicator<Kind = A::Kind>,
{
    type Kind = A::Kind;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        self.reads.read(ctx, request, self.copy(ctx, vec![request.digest().clone()])).await
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let groups = digests.as_slice().chunks(DIGESTS_PER_FLIGHT).map(<[Digest]>::to_vec);
        let copies = stream::iter(groups.map(|group| Ok(self.copy(ctx, group))));
        let copies = copies.try_buffer_unordered(FLIGHTS_AT_ONCE).try_collect::<()>();
        let done = self.reads.clock.timeout(ctx.deadline(), copies).await;
        done.unwrap_or_else(|elapsed| Err(Error::deadline_exceeded("copies have not ended").with_source(elapsed)))
    }

    fn copies(&self) -> bool {
        self.base.copies()
    }
}

impl<A: ?Sized, B: ?Sized, R: Display> Display for DeduplicatingReplicator<A, B, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "deduplicating({})", self.base)
    }
}
