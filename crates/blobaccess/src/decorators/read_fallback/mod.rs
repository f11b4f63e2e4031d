//! Reads from a second store what the first lacks.

mod options;

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::pair::{GoOn, Member, RepairSnapshot, Repairs, Wanted, read_and_copy};
use crate::replication::{EntryLocks, Replicator};
use crate::{
    BackgroundWork, Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, ErrorHandler,
    InstanceName, KeyFormat, Kind, PutOutcome, ReadRequest, Result, Slicer, SystemClock,
};

pub use self::options::ReadFallbackOptions;

/// The time between two attempts of [`ReadFallback::run`] if something is left to be copied.
const PAUSE: Duration = Duration::from_secs(5);

/// A [`BlobAccess`] that reads from a secondary store what its primary store lacks, and has it copied into the primary.
///
/// Use it to move from one store to another without a cold start: the new store is the primary, and clients find in it
/// what only the old one has.
///
/// * **get**: from the primary; what it lacks, through the replicator, which copies it from the secondary. Contents are
///   also read from the secondary if the primary [is at fault](Error::is_store_fault), from the start or midway, without
///   a copy.
/// * **put**: into the primary only.
/// * **find missing**: a digest is missing if both stores lack it. What only the secondary has is noted to be copied;
///   the answer does not wait for that unless it is [set to](ReadFallbackOptions::with_waits_for_copies).
///
/// # Copies
///
/// What the primary lacks gets there by a read of it, by [`copy_noted`](Self::copy_noted), which a program calls when it
/// likes, or by [`run`](Self::run), which a program spawns. Nothing runs by itself.
///
/// # While a store is down
///
/// Without the primary, contents that the secondary has can be read, and nothing else succeeds: messages may have newer
/// values in the primary. Without the secondary, whatever the primary has is served, and a get of anything else fails,
/// as does a query about it. No outage is reported as absence.
///
/// # Order
///
/// Inside layers that cache existence or enforce deadlines. A deadline of its own around each store keeps a secondary
/// that hangs from holding up the answers of the primary.
///
/// # Weakens
///
/// * If the secondary fails, a get of a blob that the primary lacks fails too, and so does a query about it.
/// * A put into the primary says `Created` for a blob that only the secondary has.
/// * A blob that was found in the secondary only stays for as long as the secondary keeps it, until it is copied.
/// * Of a mutable kind, a value that is copied at the moment of a put may replace the newer value, unless the replicator
///   has the [locks](Self::with_entry_locks) of this layer.
///
/// # Memory
///
/// That of the replicator, and some 350 bytes for each noted blob.
///
/// # Cancel safety
///
/// That of the replicator. A dropped query may leave some blobs copied.
///
/// # Errors
///
/// Those of the two stores, with the places `primary` and `secondary`. `Internal` if the secondary has reported a blob
/// present and then lacks it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::ReadFallback;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (new, old) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let replicator = LocalReplicator::new(Arc::clone(&old), Arc::clone(&new));
/// let store = ReadFallback::new(Arc::clone(&new), Arc::clone(&old), replicator);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// old.put_bytes(&ctx, &digest, "hello").await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert!(new.contains(&ctx, &digest).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadFallback<P, S, R> {
    primary: Member<P>,
    secondary: Member<S>,
    replicator: R,
    options: ReadFallbackOptions,
    clock: Arc<dyn Clock>,
    locks: Arc<EntryLocks>,
    copies: Repairs,
}

impl<P, S, R> ReadFallback<P, S, R>
where
    P: BlobAccess,
    S: BlobAccess<Kind = P::Kind>,
    R: Replicator<Kind = P::Kind>,
{
    /// Makes a layer over two stores. `replicator` copies from `secondary` into `primary`.
    pub fn new(primary: P, secondary: S, replicator: R) -> Self {
        let options = ReadFallbackOptions::new();
        let format = primary.key_format().combine(secondary.key_format());
        let primary = Member::new("primary", Arc::new(primary));
        let secondary = Member::new("secondary", Arc::new(secondary));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let copies = copies(&options, format, &clock);
        let locks = Arc::default();
        Self { primary, secondary, replicator, options, clock, locks, copies }
    }

    /// Sets the options. Call this before the store is used: what was noted is forgotten.
    #[must_use]
    pub fn with_options(mut self, options: ReadFallbackOptions) -> Self {
        self.copies = copies(&options, self.key_format(), &self.clock);
        self.options = options;
        self
    }

    /// Takes the time from `clock`, for the pauses of [`run`](Self::run). Call this before the store is used: what was noted
    /// is forgotten.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.copies = copies(&self.options, self.key_format(), &clock);
        self.clock = clock;
        self
    }

    /// Takes the locks of entries from `locks`, which the replicator shares
    /// ([`LocalReplicator::with_entry_locks`](crate::replication::LocalReplicator::with_entry_locks)).
    ///
    /// Of a mutable kind, no copy then replaces the newer value of a put through this layer.
    #[must_use]
    pub fn with_entry_locks(mut self, locks: Arc<EntryLocks>) -> Self {
        self.locks = locks;
        self
    }

    /// Returns the store that is asked first and written to.
    pub fn primary(&self) -> &P {
        &self.primary.store
    }

    /// Returns the store that is asked for what the primary lacks.
    pub fn secondary(&self) -> &S {
        &self.secondary.store
    }

    /// Returns the numbers of copies that were noted by queries and made by [`copy_noted`](Self::copy_noted).
    #[must_use]
    pub fn snapshot(&self) -> RepairSnapshot {
        self.copies.snapshot()
    }

    /// Copies what is noted so far from the secondary into the primary.
    ///
    /// # Errors
    ///
    /// The first error. It ends early if a store is down or busy; blobs that were not copied stay noted. A blob that the
    /// primary refuses for good, such as for its size, is counted as given up, and is no error.
    ///
    /// # Cancel safety
    ///
    /// Notes of what was copied are gone; the others stay.
    pub async fn copy_noted(&self, ctx: &Context) -> Result<()> {
        self.copies.repair(ctx, &self.secondary, &self.primary, &self.replicator).await
    }

    /// Copies whenever something is noted, for as long as the future is polled. It does not end. If anything is left
    /// noted, the next attempt is made after 5 s.
    ///
    /// At most one may run at a time.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and another be made.
    pub async fn run(&self) {
        let _running = self.copies.begin_to_run();
        loop {
            self.copies.until_noted().await;
            if let Err(error) = self.copy_noted(&Context::background()).await {
                tracing::debug!(%error, "copying from the secondary store has failed");
            }
            if self.snapshot().noted > 0 {
                self.clock.sleep(PAUSE).await;
            }
        }
    }

    async fn read(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        let read = wanted.read_from(&*self.primary.store, ctx).await;
        if self.primary.is_final(ctx, &read) {
            return read;
        }
        match read {
            Ok(blob) => Ok(blob.with_error_handler(self.go_on(ctx, wanted.to_request()))),
            // In a box, so that the future of a read that ends here is small.
            Err(error) => Box::pin(self.read_after(ctx, wanted.to_request(), error)).await,
        }
    }

    /// Reads what the primary has failed to return, for the reason `error`.
    async fn read_after(&self, ctx: &Context, request: ReadRequest, error: Error) -> Result<Blob> {
        if error.is_blob_missing() {
            return read_and_copy(&self.replicator, &self.secondary, ctx, &request).await;
        }
        if P::Kind::STORAGE_TYPE.is_mutable() {
            // The primary may have a newer message.
            return Err(self.primary.at(error));
        }
        self.go_on(ctx, request).on_error(error).await
    }

    fn go_on(&self, ctx: &Context, request: ReadRequest) -> GoOn<P, S> {
        GoOn::new(&self.primary, &self.secondary, ctx, request)
    }
}

fn copies(options: &ReadFallbackOptions, format: KeyFormat, clock: &Arc<dyn Clock>) -> Repairs {
    Repairs::new(options.max_noted, options.copies_at_once, format, Arc::default(), Arc::clone(clock))
}

#[async_trait]
impl<P, S, R> BackgroundWork for ReadFallback<P, S, R>
where
    P: BlobAccess,
    S: BlobAccess<Kind = P::Kind>,
    R: Replicator<Kind = P::Kind>,
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
impl<P, S, R> BlobAccess for ReadFallback<P, S, R>
where
    P: BlobAccess,
    S: BlobAccess<Kind = P::Kind>,
    R: Replicator<Kind = P::Kind>,
{
    type Kind = P::Kind;

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
        let (_guard, blob) = if P::Kind::STORAGE_TYPE.is_mutable() {
            let key = digest.cache_key(self.primary.store.key_format());
            let (guard, blob) = self.locks.lock_to_put(&key, blob).await?;
            (Some(guard), blob)
        } else {
            (None, blob)
        };
        self.primary.store.put(ctx, digest, blob).await.map_err(|error| error.at(self.primary.name))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one of the two stores does not find in bulk"));
        }
        let mark = self.copies.mark();
        let not_in_primary = self.primary.store.find_missing(ctx, digests).await;
        let not_in_primary = not_in_primary.map_err(|error| self.primary.at(error))?;
        if mark > 0 {
            self.copies.settle(&digests.difference(&not_in_primary), mark);
        }
        if not_in_primary.is_empty() {
            return Ok(not_in_primary);
        }
        let missing = self.secondary.store.find_missing(ctx, &not_in_primary).await;
        let missing = missing.map_err(|error| self.secondary.at(error))?;
        let only_in_secondary = not_in_primary.difference(&missing);
        if self.options.waits_for_copies {
            let replicated = self.replicator.replicate_all(ctx, &only_in_secondary).await;
            replicated.map_err(|error| error.into_inconsistency().at("replication"))?;
        } else {
            self.copies.note_missing(&only_in_secondary);
        }
        Ok(missing)
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.primary.store.capabilities(ctx, instance_name).await;
        capabilities.map_err(|error| error.at(self.primary.name))
    }

    fn key_format(&self) -> KeyFormat {
        self.primary.store.key_format().combine(self.secondary.store.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.primary.store.finds_in_bulk() && self.secondary.store.finds_in_bulk()
    }
}

impl<P: Display, S: Display, R> Display for ReadFallback<P, S, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "read_fallback({}, {})", self.primary.store, self.secondary.store)
    }
}
