//! Remembers which blobs were found recently, so that they need not be looked for again.

mod found;

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::found::Forgets;
pub(crate) use self::found::Found;
use crate::locks::{Mutex, MutexGuard};
use crate::{
    Blob, BlobAccess, Capabilities, Cas, Clock, Context, Digest, DigestSet, ErrorKind, Event, InstanceName, KeyFormat,
    NoObserver, Observer, PutOutcome, Result, Slicer, SystemClock,
};

/// The number of digests that are looked up before others get a turn at the lock. One look-up among 200,000 took up to
/// 1 µs on a loaded machine.
const DIGESTS_PER_LOCK: usize = 256;

/// A [`BlobAccess`] that answers [`find_missing`](BlobAccess::find_missing) from memory for digests found recently.
///
/// Build clients ask about the same digests again and again, some of them many times within one build. In front of a
/// sharded, mirrored or remote store, this layer answers most such queries without reaching the store. Around a
/// [`QueryCoalescing`](super::QueryCoalescing), callers that ask at the same moment share one query too.
///
/// Only presence is remembered. A blob that this layer has [`Created`](PutOutcome::Created) counts as found when its
/// put began. After any other outcome, the next query reaches the store, as it is not known whether the put counted as
/// use there. A digest is forgotten when a [`get`](BlobAccess::get) does not find its blob, or finds it damaged.
///
/// # Order
///
/// Outside layers that fan out or go over a network, to spare them the call. Inside layers that check a caller's rights,
/// since what is remembered is the same for every caller.
///
/// # Weakens
///
/// An answer from memory does not reach the store, so it does not count as use there, and the blob may have been evicted
/// since. Keep `duration` well below the time that the store keeps a blob which nobody uses.
///
/// # Memory
///
/// About 170 bytes for each digest remembered (measured over 200,000 of them), up to `capacity` of them. Nothing is
/// allocated in advance.
///
/// # Cancel safety
///
/// A dropped query is not remembered.
///
/// # Default
///
/// Puts are passed on ([`answering_puts`](Self::answering_puts)).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::time::Duration;
///
/// use blobaccess::decorators::{ExistenceCaching, QueryCoalescing};
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let remote = MemoryStore::<Cas>::new(1 << 20);
/// let store = ExistenceCaching::new(QueryCoalescing::new(remote), 100_000, Duration::from_mins(1));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// // From memory: the put has created the blob.
/// assert!(store.find_missing(&ctx, &digest.into()).await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// Over messages, which may change, it does not compile:
///
/// ```compile_fail,E0271
/// # use std::time::Duration;
/// # use blobaccess::decorators::ExistenceCaching;
/// # use blobaccess::{Ac, MemoryStore};
/// let store = ExistenceCaching::new(MemoryStore::<Ac>::new(1 << 20), 100_000, Duration::from_mins(1));
/// ```
#[derive(Debug)]
pub struct ExistenceCaching<B> {
    inner: B,
    found: Mutex<Found>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    answers_puts: bool,
}

impl<B: BlobAccess<Kind = Cas>> ExistenceCaching<B> {
    /// Remembers up to `capacity` digests that `inner` was found to have, each for `duration` after the query, that
    /// moment included. With a capacity of 0, nothing is remembered.
    ///
    /// A full memory gives up the least recently used digest. If `capacity` is too small, queries about one build push
    /// those of another out; [`Event::ExistenceCacheAsked`] then counts more misses than hits. Begin with the number of
    /// blobs of the largest build. If `duration` is too long, clients are told of blobs that are gone; a minute is
    /// common, and spares most of what can be spared.
    pub fn new(inner: B, capacity: usize, duration: Duration) -> Self {
        Self {
            inner,
            found: Mutex::new(Found::new(capacity, duration)),
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
            answers_puts: false,
        }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Notifies `observer` of the number of digests that were answered for from memory.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Answers a put of a digest found recently with [`AlreadyExists`](PutOutcome::AlreadyExists), without reading the
    /// blob. Off unless it is called.
    ///
    /// The stored size is then given as that of the blob, which a store that compresses would contradict. And a put is
    /// how a client makes sure: with this, one that uploads an evicted blob again is sent away for as long as the digest
    /// is remembered.
    #[must_use]
    pub fn answering_puts(mut self) -> Self {
        self.answers_puts = true;
        self
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store, and forgets what was found.
    pub fn into_inner(self) -> B {
        self.inner
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // Each change is of one digest, and complete by itself.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those of `digests` that were not found recently.
    fn unknown(&self, digests: &DigestSet, now: Instant) -> DigestSet {
        let format = self.inner.key_format();
        let mut unknown = Vec::new();
        for chunk in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut found = self.found();
            unknown.extend(chunk.iter().filter(|digest| !found.contains(&digest.cache_key(format), now)));
        }
        if unknown.len() == digests.len() { digests.clone() } else { unknown.into_iter().cloned().collect() }
    }

    /// Notes the answer to a query about `digests` that began at `began`.
    fn note(&self, digests: &DigestSet, missing: &DigestSet, began: Instant, since: Forgets) {
        let format = self.inner.key_format();
        for chunk in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut found = self.found();
            let present = chunk.iter().filter(|digest| !missing.contains(digest));
            found.add_all(present.map(|digest| digest.cache_key(format)), began, since);
        }
        for chunk in missing.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut found = self.found();
            for digest in chunk {
                found.remove(&digest.cache_key(format));
            }
        }
    }

    /// Forgets a blob that a failed read shows to be absent or damaged.
    fn forget_after<T>(&self, result: &Result<T>, digest: &Digest) {
        if let Err(error) = result
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss)
            && !error.is_part_missing()
        {
            self.found().forget(&digest.cache_key(self.inner.key_format()));
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for ExistenceCaching<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let result = self.inner.get(ctx, digest).await;
        self.forget_after(&result, digest);
        result
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let result = self.inner.get_from_composite(ctx, parent, child, slicer).await;
        self.forget_after(&result, parent);
        result
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let key = digest.cache_key(self.inner.key_format());
        let began = self.clock.monotonic();
        if self.answers_puts && self.found().contains(&key, began) {
            return Ok(PutOutcome::AlreadyExists { stored_bytes: digest.size_bytes() });
        }
        let outcome = self.inner.put(ctx, digest, blob).await?;
        if matches!(outcome, PutOutcome::Created { .. }) {
            self.found().add(key, began);
        }
        Ok(outcome)
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let (began, since) = (self.clock.monotonic(), self.found().forgets());
        let unknown = self.unknown(digests, began);
        self.observer.event(&Event::ExistenceCacheAsked {
            hits: count(digests.len() - unknown.len()),
            misses: count(unknown.len()),
        });
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let missing = self.inner.find_missing(ctx, &unknown).await?;
        self.note(&unknown, &missing, began, since);
        Ok(missing)
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

fn count(digests: usize) -> u64 {
    u64::try_from(digests).unwrap_or(u64::MAX)
}

impl<B: Display> Display for ExistenceCaching<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "existence_caching({})", self.inner)
    }
}
