//! Ends a call that takes too long.

use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Operation,
    PutOutcome, Result, Slicer, SystemClock,
};

/// A [`BlobAccess`] that ends each call with `DeadlineExceeded` once it has taken a given time.
///
/// The inner store is told of the deadline in its [`Context`]. A store that does not look at it is ended all the same:
/// its future is dropped. So a peer that hangs costs its callers a bounded time, and a layer above can turn to another
/// store. A deadline that the caller set earlier is kept to in the same way.
///
/// Reading a blob counts: one that was returned can be read until the deadline of its `get`, and fails from then on.
/// So the time allowed must suffice for the largest blob and the slowest reader.
///
/// # Order
///
/// Around the store that may hang, inside what caches its answers or turns to another store.
///
/// # Weakens
///
/// The time is looked at when a call waits. A store that blocks its thread is not ended.
///
/// # Cancel safety
///
/// A call that is ended is dropped, which every store allows. Whether a put that was ended has stored its blob is not
/// known, and its error says so; one whose time had run out before it began has stored nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::time::Duration;
///
/// use blobaccess::decorators::DeadlineEnforcing;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore};
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// let store = DeadlineEnforcing::new(MemoryStore::<Cas>::new(1 << 20), Duration::from_secs(30));
/// store.put_bytes(&ctx, &digest, "hello").await?;
///
/// let hurried = DeadlineEnforcing::new(store, Duration::ZERO);
/// let late = hurried.get_bytes(&ctx, &digest, 1024).await;
/// assert!(late.is_err_and(|error| error.kind() == ErrorKind::DeadlineExceeded));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DeadlineEnforcing<B> {
    inner: B,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl<B: BlobAccess> DeadlineEnforcing<B> {
    /// Ends calls of `inner` after `timeout`. A zero `timeout` fails every call.
    pub fn new(inner: B, timeout: Duration) -> Self {
        Self { inner, timeout, clock: Arc::new(SystemClock) }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Begins to count the time of a call of `operation` about `subject`.
    ///
    /// # Errors
    ///
    /// If the time has run out before.
    fn begin(&self, ctx: &Context, operation: Operation, subject: Option<&Digest>) -> Result<Limited> {
        let now = self.clock.monotonic();
        // A timeout beyond the end of time is none.
        let own = now.checked_add(self.timeout);
        let Some(deadline) = [own, ctx.deadline()].into_iter().flatten().min() else {
            return Ok(Limited { ctx: ctx.clone(), clock: Arc::clone(&self.clock), limit: None });
        };
        let after = deadline.saturating_duration_since(now);
        let limit = Limit { deadline, operation, subject: subject.cloned(), after };
        if after.is_zero() {
            return Err(limit.error().not_stored());
        }
        let ctx = ctx.clone().with_deadline(deadline);
        Ok(Limited { ctx, clock: Arc::clone(&self.clock), limit: Some(limit) })
    }
}

/// A call whose time is limited.
struct Limited {
    ctx: Context,
    clock: Arc<dyn Clock>,
    /// `None` if the limit lies beyond the end of time.
    limit: Option<Limit>,
}

/// The end of the time for a call, and what the error names.
struct Limit {
    deadline: Instant,
    operation: Operation,
    subject: Option<Digest>,
    after: Duration,
}

impl Limit {
    #[cold]
    fn error(&self) -> Error {
        let Self { operation, subject, after, .. } = self;
        Error::deadline_exceeded(match subject {
            Some(digest) => format!("{operation} of blob {digest} timed out after {after:?}"),
            None => format!("{operation} timed out after {after:?}"),
        })
    }
}

impl Limited {
    /// Waits for `call`, up to the limit.
    async fn finish<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Some(limit) = &self.limit else { return call.await };
        self.clock.timeout(Some(limit.deadline), call).await.unwrap_or_else(|_| Err(limit.error()))
    }

    /// Lets `blob` be read up to the limit.
    fn limit_reading(self, blob: Blob) -> Blob {
        let Self { clock, limit: Some(limit), .. } = self else { return blob };
        blob.with_interruption(async move {
            clock.sleep_until(limit.deadline).await;
            limit.error()
        })
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for DeadlineEnforcing<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let call = self.begin(ctx, Operation::Get, Some(digest))?;
        let blob = call.finish(self.inner.get(&call.ctx, digest)).await?;
        Ok(call.limit_reading(blob))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let call = self.begin(ctx, Operation::GetFromComposite, Some(child))?;
        let blob = call.finish(self.inner.get_from_composite(&call.ctx, parent, child, slicer)).await?;
        Ok(call.limit_reading(blob))
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let call = self.begin(ctx, Operation::Put, Some(digest))?;
        call.finish(self.inner.put(&call.ctx, digest, blob)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let call = self.begin(ctx, Operation::FindMissing, None)?;
        call.finish(self.inner.find_missing(&call.ctx, digests)).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let call = self.begin(ctx, Operation::GetCapabilities, None)?;
        call.finish(self.inner.capabilities(&call.ctx, instance_name)).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for DeadlineEnforcing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "deadline_enforcing({})", self.inner)
    }
}
