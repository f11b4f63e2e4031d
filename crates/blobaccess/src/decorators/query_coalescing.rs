//! Asks about each digest once, however many callers ask at the same time.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::{
    Blob, BlobAccess, Capabilities, Cas, Clock, Context, Digest, DigestKey, DigestSet, Error, InstanceName, Joined,
    KeyFormat, PutOutcome, Result, SingleFlight, Slicer, SystemClock,
};

/// The digests of a query that are missing, sorted.
type Answer = Result<Arc<[DigestKey]>>;

/// A [`BlobAccess`] that asks the inner store about each digest once, however many callers ask
/// [`find_missing`](BlobAccess::find_missing) at the same time.
///
/// Many build clients ask about the same digests at the same moment: when a build begins on all of them, or when one
/// asks again because it was not answered. A digest that is being asked about is not asked about by a second caller,
/// which waits for the same answer. Answers are not remembered: that is
/// [`ExistenceCaching`](super::ExistenceCaching).
///
/// # Order
///
/// Inside an [`ExistenceCaching`](super::ExistenceCaching), around a store that fans out or lies behind a network. Inside
/// layers that check a caller's rights, since an answer is the same for every caller.
///
/// # Weakens
///
/// * An answer that is waited for is as old as its query. A blob that is put meanwhile, and not through this layer, may
///   be called missing.
/// * A query runs in the [`Context`] of the caller that began it, and serves others too.
///
/// # Memory
///
/// About 200 bytes for each digest that is being asked about.
///
/// # Cancel safety
///
/// Whichever caller waits for an answer drives the query on. So it does not matter if the caller that began it goes
/// away or stops polling. The query is dropped with its last waiter. If it fails, the caller that began it gets the
/// error and the others ask for themselves.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::QueryCoalescing;
/// use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = QueryCoalescing::new(MemoryStore::<Cas>::new(1 << 20));
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let (ctx, digests) = (Context::background(), digest.into());
/// // The store is asked once if it takes any time to answer.
/// let (first, second) = futures::join!(store.find_missing(&ctx, &digests), store.find_missing(&ctx, &digests));
/// assert_eq!(first?, second?);
/// # Ok(())
/// # }
/// ```
///
/// Over messages, which may change, it does not compile:
///
/// ```compile_fail,E0271
/// # use blobaccess::decorators::QueryCoalescing;
/// # use blobaccess::{Ac, MemoryStore};
/// let store = QueryCoalescing::new(MemoryStore::<Ac>::new(1 << 20));
/// ```
#[derive(Debug)]
pub struct QueryCoalescing<B> {
    inner: Arc<B>,
    queries: SingleFlight<DigestKey, Answer>,
    clock: Arc<dyn Clock>,
}

impl<B: BlobAccess<Kind = Cas>> QueryCoalescing<B> {
    /// Makes a layer around `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner: Arc::new(inner), queries: SingleFlight::new(), clock: Arc::new(SystemClock) }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the inner store.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Asks about `digests`: waits for whichever caller asks about a digest already, and begins a query about the rest.
    async fn ask(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let format = self.inner.key_format();
        let items = digests.iter().map(|digest| (digest.cache_key(format), digest.clone()));
        let joined = self
            .queries
            .join_all(items, |own| query(Arc::clone(&self.inner), ctx.clone(), own.iter().cloned().collect(), format));
        let mut answers: FuturesUnordered<_> = joined
            .into_iter()
            .map(|Joined { is_own, items, flight }| async move { (is_own, items, flight.await) })
            .collect();
        let (mut missing, mut unanswered) = (Vec::new(), Vec::new());
        while let Some((is_own, digests, answer)) = answers.next().await {
            match answer {
                Ok(keys) => missing
                    .extend(digests.into_iter().filter(|digest| keys.binary_search(&digest.cache_key(format)).is_ok())),
                Err(error) if is_own => return Err(error),
                Err(_) => unanswered.extend(digests),
            }
        }
        if !unanswered.is_empty() {
            // Another caller's query failed, perhaps for reasons of its own. To wait for no third caller bounds how long
            // this takes.
            missing.extend(self.inner.find_missing(ctx, &DigestSet::from(unanswered)).await?.iter().cloned());
        }
        Ok(DigestSet::from(missing))
    }
}

async fn query<B: BlobAccess>(store: Arc<B>, ctx: Context, digests: DigestSet, format: KeyFormat) -> Answer {
    let missing = store.find_missing(&ctx, &digests).await?;
    Ok(missing.iter().map(|digest| digest.cache_key(format)).collect())
}

/// Lets no caller join a query about `key` that began before this is dropped.
struct Outdating<'a> {
    queries: &'a SingleFlight<DigestKey, Answer>,
    key: DigestKey,
}

impl Drop for Outdating<'_> {
    fn drop(&mut self) {
        self.queries.forget(&self.key);
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for QueryCoalescing<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        // However the put ends, an answer to a query from before must not reach callers that ask later.
        let _outdating = Outdating { queries: &self.queries, key: digest.cache_key(self.inner.key_format()) };
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        // The query may be that of a caller with a later deadline.
        let asked = self.clock.timeout(ctx.deadline(), self.ask(ctx, digests)).await;
        asked.unwrap_or_else(|_| Err(late(digests.len())))
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

#[cold]
fn late(digests: usize) -> Error {
    Error::deadline_exceeded(format!("no answer about {digests} blobs by the caller's deadline"))
}

impl<B: Display> Display for QueryCoalescing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "query_coalescing({})", self.inner)
    }
}
