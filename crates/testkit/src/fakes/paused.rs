//! A store that holds calls until a test releases them.

use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, PutOutcome, Result, Slicer,
};
use tokio::sync::{Semaphore, watch};

/// A store that holds every call until it is released, and then passes it on to `inner`.
///
/// It is for tests of concurrent calls: which calls join one another, which wait, and how the end of one affects them.
///
/// # Cancel safety
///
/// A held call that is dropped no longer counts as waiting, and takes no release with it.
#[derive(Debug)]
pub struct PausedStore<B> {
    inner: B,
    releases: Semaphore,
    waiting: watch::Sender<usize>,
}

impl<B> PausedStore<B> {
    /// Makes a store that holds each call of `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner, releases: Semaphore::new(0), waiting: watch::Sender::new(0) }
    }

    /// Returns the store that calls are passed on to, which holds none.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the number of calls that are held.
    pub fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    /// Waits until at least `count` calls are held.
    pub fn until_waiting(&self, count: usize) -> impl Future<Output = ()> + Send + use<B> {
        let mut waiting = self.waiting.subscribe();
        async move {
            // When this store is dropped, the wait ends.
            drop(waiting.wait_for(|waiting| *waiting >= count).await);
        }
    }

    /// Releases one call: the one that was held first, or otherwise the next one.
    pub fn release_one(&self) {
        self.releases.add_permits(1);
    }

    /// Releases all calls that are held, and all later ones.
    pub fn release_all(&self) {
        self.releases.close();
    }

    async fn hold(&self)
    where
        B: Sync,
    {
        let _held = Held::new(&self.waiting);
        // Once the semaphore is closed, no call is held any more.
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }
}

/// A guard that counts a call as held.
struct Held<'a>(&'a watch::Sender<usize>);

impl<'a> Held<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for PausedStore<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.hold().await;
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.hold().await;
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.hold().await;
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.hold().await;
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.hold().await;
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for PausedStore<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "paused({})", self.inner)
    }
}
