//! Reads from a fast store what it has of a slow one.

mod options;
mod put;
mod used;

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use self::used::Used;
use super::pair::{GoOn, Member, RepairSnapshot, Repairs, Rest, Wanted, read_and_copy};
use crate::replication::{EntryLocks, Replicator};
use crate::{
    BackgroundWork, Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat,
    Kind, PutOutcome, RECOMMENDED_FIND_MISSING_DIGESTS, ReadRequest, Result, Slicer, SystemClock,
};

pub use self::options::ReadCachingOptions;

/// The minimum time between two refreshes: each asks the slow store about all uses since.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A [`BlobAccess`] that reads from a fast store what it has of a slow one, and keeps there what is read and put.
///
/// Use it for a disk in front of a bucket, or a store nearby in front of one far away. The slow store decides about
/// existence. The fast one may lose anything at any time, and may be down.
///
/// * **get**: from the fast store; what it lacks, through the replicator, which copies it from the slow one. If the fast
///   store [is at fault](crate::Error::is_store_fault), from the slow one: from the start, or going on midway.
/// * **put**: into the slow store, whose outcome counts. The fast store gets the contents while they pass
///   ([by option](ReadCachingOptions::with_writes_through)), and has them only once the slow store does. If it is
///   more than 4 MiB behind, takes 2 s longer, or fails, that copy is given up.
/// * **find missing**, **capabilities**: those of the slow store.
///
/// # Uses
///
/// A blob that is read from the fast store alone would age in the slow one until it is evicted. So such reads are noted,
/// and [`refresh`](Self::refresh) asks the slow store about them, which counts as use. A program calls that regularly, or
/// spawns [`run`](Self::run). Nothing runs by itself.
///
/// # Order
///
/// Inside layers that cache existence. A deadline around the fast store keeps one that hangs from holding up reads. The
/// fast store must tell instance names apart wherever the slow one does, or a blob of one is read in another.
///
/// # Weakens
///
/// * What the fast store has can be read although the slow store has evicted it and reports it missing. While the fast
///   store is down, it is `NotFound`.
/// * Of a mutable kind, a value that is put into the slow store other than through this layer is not seen while the fast
///   store has an older one. A put that the fast store misses is noted, and the entry is read from the slow store until
///   it has been copied; but a fast store that outlives the process has the older value after a restart. If the slow
///   store evicts the newer value before it is copied, the older one is read again.
///
/// # Memory
///
/// Up to 4 MiB for each put of contents that arrive in pieces, that of the replicator, some 130 bytes for each use that
/// is noted, and some 350 for each entry that is outdated in the fast store.
///
/// # Cancel safety
///
/// A dropped put has stored the blob in the slow store, or not at all.
///
/// # Errors
///
/// Those of the slow store, with the place `slow`. Those of the fast store that are no fault of it, such as a part that
/// its composite lacks.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::ReadCaching;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (bucket, disk) = (Arc::new(MemoryStore::<Cas>::new(1 << 30)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let replicator = LocalReplicator::new(Arc::clone(&bucket), Arc::clone(&disk));
/// let store = ReadCaching::new(Arc::clone(&bucket), Arc::clone(&disk), replicator);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// bucket.put_bytes(&ctx, &digest, "hello").await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert!(disk.contains(&ctx, &digest).await?);
///
/// // The next read does not reach the bucket, which is told of it later.
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert_eq!(store.snapshot().used, 1);
/// store.refresh(&ctx).await?;
/// assert_eq!(store.snapshot().uses_told, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadCaching<S, F, R> {
    slow: Member<S>,
    fast: Member<F>,
    replicator: R,
    options: ReadCachingOptions,
    clock: Arc<dyn Clock>,
    locks: Arc<EntryLocks>,
    used: Used,
    /// The entries whose values in the fast store are older than those in the slow one.
    stale: Repairs,
    uses_told: AtomicU64,
    gone: AtomicU64,
    filled: AtomicU64,
    fills_failed: AtomicU64,
}

/// The state of a [`ReadCaching`], and its work so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadCachingSnapshot {
    /// Whether the fast store failed recently, and has not been asked successfully since.
    pub fast_rests: bool,
    /// The number of blobs that are noted as used.
    pub used: usize,
    /// The number of uses that were not noted for want of room.
    pub uses_dropped: u64,
    /// The number of used blobs that the slow store was told of.
    pub uses_told: u64,
    /// The number of used blobs that the slow store turned out to lack.
    pub gone: u64,
    /// The number of puts whose blob the fast store has got too.
    pub filled: u64,
    /// The number of puts whose blob the fast store failed to take, or was too slow to.
    pub fills_failed: u64,
    /// The entries that are outdated in the fast store, and their repairs.
    pub stale: RepairSnapshot,
}

impl<S, F, R> ReadCaching<S, F, R>
where
    S: BlobAccess,
    F: BlobAccess<Kind = S::Kind>,
    R: Replicator<Kind = S::Kind>,
{
    /// Makes a layer that keeps in `fast` what is used of `slow`, with default options. `replicator` copies from `slow`
    /// into `fast`.
    pub fn new(slow: S, fast: F, replicator: R) -> Self {
        let (options, locks) = (ReadCachingOptions::new(), Arc::<EntryLocks>::default());
        let used = Used::new(options.max_used);
        let (slow, fast) = (Member::new("slow", Arc::new(slow)), Member::new("fast", Arc::new(fast)));
        let [uses_told, gone, filled, fills_failed] = [0; 4].map(AtomicU64::new);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (format, shared) = (KeyFormat::WithInstanceName, Arc::clone(&locks));
        let stale = Repairs::new(options.max_stale, 1, format, shared, Arc::clone(&clock));
        let made =
            Self { slow, fast, replicator, options, clock, locks, used, stale, uses_told, gone, filled, fills_failed };
        made.prepared()
    }

    /// Sets the options. Call this before the store is used: what was noted is forgotten.
    #[must_use]
    pub fn with_options(self, options: ReadCachingOptions) -> Self {
        Self { options, ..self }.prepared()
    }

    /// Takes the time from `clock`. Call this before the store is used: what was noted is forgotten.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }.prepared()
    }

    /// Takes the locks of entries from `locks`, which the replicator shares
    /// ([`LocalReplicator::with_entry_locks`](crate::replication::LocalReplicator::with_entry_locks)). Call this before
    /// the store is used: what was noted is forgotten.
    ///
    /// Of a mutable kind, no copy that a read makes then replaces a newer value in the fast store.
    #[must_use]
    pub fn with_entry_locks(self, locks: Arc<EntryLocks>) -> Self {
        Self { locks, ..self }.prepared()
    }

    /// Remakes what depends on the settings.
    fn prepared(mut self) -> Self {
        /// The number of outdated entries that are copied concurrently.
        const REPAIRS_AT_ONCE: usize = 16;

        self.fast.rest = Arc::new(Rest::new(Arc::clone(&self.clock), self.options.rest));
        let format = self.slow.store.key_format().combine(self.fast.store.key_format());
        let (locks, clock) = (Arc::clone(&self.locks), Arc::clone(&self.clock));
        self.stale = Repairs::new(self.options.max_stale, REPAIRS_AT_ONCE, format, locks, clock);
        self.used = Used::new(if self.slow.store.finds_in_bulk() { self.options.max_used } else { 0 });
        self
    }

    /// Returns the store that decides about existence.
    pub fn slow(&self) -> &S {
        &self.slow.store
    }

    /// Returns the store that is read first.
    pub fn fast(&self) -> &F {
        &self.fast.store
    }

    /// Returns the state, and the work so far.
    #[must_use]
    pub fn snapshot(&self) -> ReadCachingSnapshot {
        ReadCachingSnapshot {
            fast_rests: self.fast.rest.is_resting(),
            used: self.used.len(),
            uses_dropped: self.used.dropped(),
            uses_told: self.uses_told.load(Ordering::Relaxed),
            gone: self.gone.load(Ordering::Relaxed),
            filled: self.filled.load(Ordering::Relaxed),
            fills_failed: self.fills_failed.load(Ordering::Relaxed),
            stale: self.stale.snapshot(),
        }
    }

    /// Asks the slow store about all blobs that were read from the fast one since, so that it keeps them, and copies
    /// entries that are outdated in the fast store.
    ///
    /// # Errors
    ///
    /// Those of the two stores, with their places. Uses that the slow store was not told of are noted again.
    ///
    /// # Cancel safety
    ///
    /// Uses that were about to be told are forgotten.
    pub async fn refresh(&self, ctx: &Context) -> Result<()> {
        let told = self.tell_uses(ctx).await;
        let repaired = self.stale.repair(ctx, &self.slow, &self.fast, &self.replicator).await;
        told.and(repaired)
    }

    /// Refreshes after each [interval](ReadCachingOptions::with_refresh_interval), for as long as the future is polled.
    /// It does not end.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and another be made.
    pub async fn run(&self) {
        let _running = self.stale.begin_to_run();
        loop {
            self.clock.sleep(self.options.refresh_interval.max(MIN_INTERVAL)).await;
            if let Err(error) = self.refresh(&Context::background()).await {
                tracing::debug!(%error, "a refresh of a cached store has failed");
            }
        }
    }

    async fn tell_uses(&self, ctx: &Context) -> Result<()> {
        let used = self.used.take();
        let mut chunks = used.chunks(RECOMMENDED_FIND_MISSING_DIGESTS);
        while let Some(chunk) = chunks.next() {
            let digests = DigestSet::from(chunk.to_vec());
            match self.slow.store.find_missing(ctx, &digests).await {
                Ok(missing) => {
                    self.uses_told.fetch_add(count(&digests), Ordering::Relaxed);
                    self.gone.fetch_add(count(&missing), Ordering::Relaxed);
                }
                Err(error) => {
                    chunk.iter().chain(chunks.flatten()).for_each(|digest| self.used.note(digest));
                    return Err(error.at(self.slow.name));
                }
            }
        }
        Ok(())
    }

    async fn read(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        if S::Kind::STORAGE_TYPE.is_mutable()
            && self.stale.is_outdated(wanted.digest())
            && let Some(result) = Box::pin(self.read_newer(ctx, wanted.to_request())).await
        {
            return result;
        }
        if !self.fast.rest.admits() {
            return Box::pin(self.read_slow(ctx, wanted)).await;
        }
        let read = wanted.read_from(&*self.fast.store, ctx).await;
        if read.is_ok() {
            self.used.note(wanted.digest());
        }
        if self.fast.is_final(ctx, &read) {
            return read;
        }
        match read {
            Ok(blob) => Ok(blob.with_error_handler(GoOn::new(&self.fast, &self.slow, ctx, wanted.to_request()))),
            // In a box, as are the others, so that the future of a read that ends here is small.
            Err(error) => Box::pin(self.read_after(ctx, wanted, error)).await,
        }
    }

    /// Reads an entry that is outdated in the fast store. Returns `None` if it may be read from there after all.
    async fn read_newer(&self, ctx: &Context, request: ReadRequest) -> Option<Result<Blob>> {
        self.stale.read_newer(ctx, &request, &self.slow, &self.fast).await
    }

    /// Reads what the fast store has failed to return, for the reason `error`.
    async fn read_after(&self, ctx: &Context, wanted: Wanted<'_>, error: Error) -> Result<Blob> {
        if error.is_blob_missing() {
            return read_and_copy(&self.replicator, &self.slow, ctx, &wanted.to_request()).await;
        }
        if error.is_store_fault() {
            tracing::debug!(%error, fast = %self.fast.store, "reading from the slow store");
            return self.read_slow(ctx, wanted).await;
        }
        Err(self.fast.at(error))
    }

    async fn read_slow(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        self.slow.read(ctx, wanted).await.map_err(|error| self.slow.at(error))
    }
}

fn count(digests: &DigestSet) -> u64 {
    u64::try_from(digests.len()).unwrap_or(u64::MAX)
}

#[async_trait]
impl<S, F, R> BackgroundWork for ReadCaching<S, F, R>
where
    S: BlobAccess,
    F: BlobAccess<Kind = S::Kind>,
    R: Replicator<Kind = S::Kind>,
{
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S, F, R> BlobAccess for ReadCaching<S, F, R>
where
    S: BlobAccess,
    F: BlobAccess<Kind = S::Kind>,
    R: Replicator<Kind = S::Kind>,
{
    type Kind = S::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, Wanted::Blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, Wanted::Part { parent, child, slicer: &slicer }).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if S::Kind::STORAGE_TYPE.is_mutable() {
            self.put_message(ctx, digest, blob).await
        } else {
            self.put_contents(ctx, digest, blob).await
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.slow.store.find_missing(ctx, digests).await.map_err(|error| error.at(self.slow.name))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.slow.store.capabilities(ctx, instance_name).await.map_err(|error| error.at(self.slow.name))
    }

    fn key_format(&self) -> KeyFormat {
        self.slow.store.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.slow.store.finds_in_bulk()
    }
}

impl<S: Display, F: Display, R> Display for ReadCaching<S, F, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "read_caching({}, {})", self.slow.store, self.fast.store)
    }
}
