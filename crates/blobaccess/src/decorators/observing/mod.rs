//! Notifies an observer of every call, for metrics, logs and traces.

mod ongoing;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use tracing::Instrument;

use self::ongoing::{Ongoing, Told};
use crate::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, Observer,
    Operation, PutOutcome, Result, Slicer, SystemClock,
};

/// A [`BlobAccess`] that notifies an [`Observer`] of every call, and `tracing` too.
///
/// The observer is told once of each call, when it has ended: how long it took, how it ended, how large the blob was
/// or how many digests were asked about, and what a put came to. A `get` that returns a blob has ended when the blob
/// is finished: read to its end, failed, or dropped. A call whose future is dropped has ended as `Cancelled`.
///
/// A question about no digests is answered by itself, and told to nobody.
///
/// # Tracing
///
/// Each call runs in a span `blob_access` of level debug, with the fields `operation`, `backend`, `storage_type`,
/// `digest` (of a part of a composite, that of the part), `caller` and `trace_parent`. When it has ended, there is an
/// event of level debug; of level warn if it failed because the store itself is in trouble
/// ([`is_infrastructure`](crate::Error::is_infrastructure)) or its data is damaged. The event carries the fields too,
/// so that it can be read where spans are not kept.
///
/// # Order
///
/// Anywhere, and more than once: around a store that is to be told apart from others by its label. What is observed is
/// what the layers outside let pass.
///
/// # Memory
///
/// About 200 bytes for a call while it runs. Five allocations for a blob that is read (measured): that of the layer
/// itself, and those of being told of the end, for which even bytes at hand are read as a stream.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use blobaccess::decorators::Observing;
/// use blobaccess::{BlobAccessExt, Call, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, Observer};
///
/// #[derive(Debug, Default)]
/// struct Calls(AtomicU64);
///
/// impl Observer for Calls {
///     fn call_ended(&self, _call: &Call) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let calls = Arc::new(Calls::default());
/// let store = Observing::new(MemoryStore::<Cas>::new(1 << 20), "memory", Arc::clone(&calls));
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// store.put_bytes(&Context::background(), &digest, "hello").await?;
/// assert_eq!(calls.0.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Observing<B> {
    inner: B,
    told: Arc<Told>,
}

impl<B: BlobAccess> Observing<B> {
    /// Notifies `observer` of the calls of `inner`, under the label `backend`: `local`, `grpc`.
    ///
    /// An `Arc` of an observer is an observer too, so that several layers can share one.
    pub fn new(inner: B, backend: &'static str, observer: impl Observer) -> Self {
        let (observer, clock) = (Arc::new(observer), Arc::new(SystemClock));
        Self { inner, told: Arc::new(Told { backend, storage_type: B::Kind::STORAGE_TYPE, observer, clock }) }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.told = Arc::new(self.told.with_clock(clock));
        self
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store, which is not observed any more.
    pub fn into_inner(self) -> B {
        self.inner
    }

    fn begin(&self, operation: Operation, ctx: &Context, digest: Option<&Digest>) -> Ongoing {
        Ongoing::begin(Arc::clone(&self.told), operation, ctx, digest)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for Observing<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let ongoing = self.begin(Operation::Get, ctx, Some(digest));
        let result = self.inner.get(ctx, digest).instrument(ongoing.span()).await;
        ongoing.until_finished(result)
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let ongoing = self.begin(Operation::GetFromComposite, ctx, Some(child));
        let got = self.inner.get_from_composite(ctx, parent, child, slicer);
        let result = got.instrument(ongoing.span()).await;
        ongoing.until_finished(result)
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let mut ongoing = self.begin(Operation::Put, ctx, Some(digest));
        ongoing.blob_size_bytes = Some(blob.size_bytes());
        let result = self.inner.put(ctx, digest, blob).instrument(ongoing.span()).await;
        ongoing.outcome = result.as_ref().ok().copied();
        ongoing.end(result)
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let mut ongoing = self.begin(Operation::FindMissing, ctx, None);
        ongoing.digests = Some(digests.len());
        let result = self.inner.find_missing(ctx, digests).instrument(ongoing.span()).await;
        ongoing.missing = result.as_ref().ok().map(DigestSet::len);
        ongoing.end(result)
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let ongoing = self.begin(Operation::GetCapabilities, ctx, None);
        let result = self.inner.capabilities(ctx, instance_name).instrument(ongoing.span()).await;
        ongoing.end(result)
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for Observing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "observing({})", self.inner)
    }
}
