//! A store that is down while a test wants it to be.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome, Result,
    Slicer,
};

/// An outage that a test begins and ends, and the error of calls meanwhile. Clones are the same outage.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<Option<Error>>>);

impl Outage {
    /// Begins the outage: every call fails with `error` until it ends.
    pub fn begin(&self, error: Error) {
        self.set(Some(error));
    }

    /// Ends the outage: calls are passed on again.
    pub fn end(&self) {
        self.set(None);
    }

    fn set(&self, error: Option<Error>) {
        // Each use of the lock is one assignment or one clone.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn check(&self) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

/// A store that passes calls on to `inner`, except during an [`Outage`].
///
/// It prints as `inner` does. `find_missing` of no digests does not fail, and a blob that was returned before can still
/// be read.
#[derive(Debug)]
pub struct InterruptibleStore<B> {
    inner: B,
    outage: Outage,
}

impl<B> InterruptibleStore<B> {
    /// Makes a store that passes calls on to `inner` except during `outage`.
    pub const fn new(inner: B, outage: Outage) -> Self {
        Self { inner, outage }
    }

    /// Returns the store that calls are passed on to, which is never down.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the outage during which calls fail.
    pub const fn outage(&self) -> &Outage {
        &self.outage
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for InterruptibleStore<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.outage.check()?;
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.outage.check()?;
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.outage.check()?;
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if !digests.is_empty() {
            self.outage.check()?;
        }
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.outage.check()?;
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for InterruptibleStore<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
