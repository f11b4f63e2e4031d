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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, TryStreamExt, stream};

    use super::*;
    use crate::decorators::fakes::{Beginning, Noting, digest_of};
    use crate::{Cas, ErrorKind, Provenance, PutCertainty};

    static CTX: Context = Context::background();
    const TIMEOUT: Duration = Duration::from_secs(5);

    fn stack() -> (Arc<Noting<Cas>>, DeadlineEnforcing<Arc<Noting<Cas>>>) {
        let inner = Noting::new();
        (Arc::clone(&inner), DeadlineEnforcing::new(inner, TIMEOUT).with_clock(Arc::new(SystemClock)))
    }

    async fn call_each(store: &impl BlobAccess, ctx: &Context, digest: &Digest) -> [Result<()>; 5] {
        let child = digest_of("he");
        [
            store.get(ctx, digest).await.map(drop),
            store.get_from_composite(ctx, digest, &child, Arc::new(Beginning)).await.map(drop),
            store.put(ctx, digest, Blob::from_bytes("hello")).await.map(drop),
            store.find_missing(ctx, &digest.clone().into()).await.map(drop),
            store.capabilities(ctx, &InstanceName::empty()).await.map(drop),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_a_store_that_never_looks_at_the_time_are_ended() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        inner.set_held(true);
        let began = SystemClock.monotonic();
        let results = call_each(&store, &CTX, &digest).await;
        let took = SystemClock.monotonic() - began;
        assert!(took >= 5 * TIMEOUT && took < 5 * TIMEOUT + Duration::from_secs(1), "{took:?}");
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
            assert!(error.to_string().ends_with("has not ended after 5s"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_names_the_operation_and_the_digest() {
        let (inner, store) = stack();
        inner.set_held(true);
        let digest = digest_of("hello");
        let error = store.get(&CTX, &digest).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Get of blob {digest} has not ended after 5s"));
        let error = store.find_missing(&CTX, &digest.into()).await.unwrap_err();
        assert_eq!(error.to_string(), "FindMissing has not ended after 5s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_inner_store_is_told_of_the_earlier_deadline() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        let now = SystemClock.monotonic();
        for (callers, expected) in [(TIMEOUT * 2, TIMEOUT), (TIMEOUT / 2, TIMEOUT / 2)] {
            let ctx = CTX.clone().with_deadline(now + callers);
            assert!(call_each(&store, &ctx, &digest).await.iter().all(Result::is_ok));
            for noted in inner.noted().split_off(inner.noted().len() - 5) {
                assert_eq!(noted.ctx.deadline(), Some(now + expected), "{noted:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_of_the_caller_ends_a_call() {
        let (inner, store) = stack();
        inner.set_held(true);
        let ctx = CTX.clone().with_deadline(SystemClock.monotonic() + Duration::from_secs(2));
        let error = store.get(&ctx, &digest_of("hello")).await.unwrap_err();
        assert!(error.to_string().ends_with("after 2s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_time_has_run_out_before_the_inner_store_is_not_asked() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        let ctx = CTX.clone().with_deadline(SystemClock.monotonic());
        for result in call_each(&store, &ctx, &digest).await {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(error.put_certainty(), PutCertainty::NotStored);
        }
        assert!(inner.noted().is_empty());
        assert!(store.find_missing(&ctx, &DigestSet::new()).await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_beyond_the_end_of_time_is_none() {
        let inner: Arc<Noting<Cas>> = Noting::new();
        let digest = inner.hold_contents("hello").await;
        let store = DeadlineEnforcing::new(Arc::clone(&inner), Duration::MAX);
        assert!(call_each(&store, &CTX, &digest).await.iter().all(Result::is_ok));
        assert!(inner.noted().iter().all(|noted| noted.ctx.deadline().is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blob_can_be_read_until_the_deadline_of_its_get() {
        let (inner, store) = stack();
        let digest = digest_of("hello");
        let pieces = stream::iter(["he", "llo"]).then(|piece| async move {
            SystemClock.sleep_until(SystemClock.monotonic() + TIMEOUT * 2 / 3).await;
            Ok(Bytes::from_static(piece.as_bytes()))
        });
        inner.return_next(Blob::from_untrusted_stream(&digest, pieces, Provenance::store()));
        let mut reader = store.get(&CTX, &digest).await.unwrap().into_stream(..).unwrap();
        assert_eq!(reader.try_next().await.unwrap().unwrap(), "he");
        let error = reader.try_next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.to_string(), format!("Get of blob {digest} has not ended after 5s"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blob_that_nobody_began_to_read_in_time_fails() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        let parent = digest.clone();
        let blobs = [
            store.get(&CTX, &digest).await.unwrap(),
            store.get_from_composite(&CTX, &parent, &digest_of("he"), Arc::new(Beginning)).await.unwrap(),
        ];
        tokio::time::advance(TIMEOUT).await;
        for blob in blobs {
            assert_eq!(blob.into_bytes(9).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_and_errors_in_time_are_passed_on_unchanged() {
        let (inner, store) = stack();
        let digest = inner.hold_contents("hello").await;
        assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
        inner.fail_with(Error::unavailable("gone fishing"));
        for result in call_each(&store, &CTX, &digest).await {
            assert_eq!(result.unwrap_err().to_string(), "gone fishing");
        }
    }

    #[test]
    fn it_names_the_stack_and_keeps_the_key_format() {
        let (inner, store) = stack();
        assert_eq!(store.to_string(), "deadline_enforcing(noting)");
        assert_eq!(store.key_format(), inner.key_format());
    }
}
