//! Ends a call that takes too long.

use std::fmt::{self, Debug, Display, Formatter};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, select};

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
pub struct DeadlineEnforcing<B> {
    inner: B,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl<B> DeadlineEnforcing<B> {
    /// Ends calls of `inner` after `timeout`. With none at all, every call fails.
    pub fn new(inner: B, timeout: Duration) -> Self {
        Self { inner, timeout, clock: Arc::new(SystemClock) }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
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
            return Ok(Limited { ctx: ctx.clone(), expiry: None });
        };
        let after = deadline.saturating_duration_since(now);
        let late = Late { operation, subject: subject.cloned(), after };
        if after.is_zero() {
            return Err(late.error().not_stored());
        }
        let ctx = ctx.clone().with_deadline(deadline);
        Ok(Limited { ctx, expiry: Some((self.clock.sleep_until(deadline), late)) })
    }
}

/// A call whose time is limited.
struct Limited {
    ctx: Context,
    expiry: Option<(BoxFuture<'static, ()>, Late)>,
}

/// What is said of a call that is ended.
struct Late {
    operation: Operation,
    subject: Option<Digest>,
    after: Duration,
}

impl Late {
    #[cold]
    fn error(&self) -> Error {
        let Self { operation, subject, after } = self;
        Error::deadline_exceeded(match subject {
            Some(digest) => format!("{operation} of blob {digest} has not ended after {after:?}"),
            None => format!("{operation} has not ended after {after:?}"),
        })
    }
}

/// What `call` comes to before `expiry`.
async fn before<T>(
    expiry: &mut Option<(BoxFuture<'static, ()>, Late)>,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let Some((sleep, late)) = expiry else {
        return call.await;
    };
    match select(pin!(call), sleep).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(late.error()),
    }
}

/// Lets `blob` be read until `expiry`.
fn readable_until(expiry: Option<(BoxFuture<'static, ()>, Late)>, blob: Blob) -> Blob {
    match expiry {
        None => blob,
        Some((sleep, late)) => blob.interrupted_by(async move {
            sleep.await;
            late.error()
        }),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for DeadlineEnforcing<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let Limited { ctx, mut expiry } = self.begin(ctx, Operation::Get, Some(digest))?;
        let blob = before(&mut expiry, self.inner.get(&ctx, digest)).await?;
        Ok(readable_until(expiry, blob))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let Limited { ctx, mut expiry } = self.begin(ctx, Operation::GetFromComposite, Some(child))?;
        let blob = before(&mut expiry, self.inner.get_from_composite(&ctx, parent, child, slicer)).await?;
        Ok(readable_until(expiry, blob))
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let Limited { ctx, mut expiry } = self.begin(ctx, Operation::Put, Some(digest))?;
        before(&mut expiry, self.inner.put(&ctx, digest, blob)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let Limited { ctx, mut expiry } = self.begin(ctx, Operation::FindMissing, None)?;
        before(&mut expiry, self.inner.find_missing(&ctx, digests)).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let Limited { ctx, mut expiry } = self.begin(ctx, Operation::GetCapabilities, None)?;
        before(&mut expiry, self.inner.capabilities(&ctx, instance_name)).await
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

impl<B: Debug> Debug for DeadlineEnforcing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineEnforcing")
            .field("inner", &self.inner)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
