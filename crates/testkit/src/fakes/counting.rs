//! Counts what a store is asked to do.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, PutOutcome, Result, Slicer,
};

/// A store that passes calls on to `inner` and counts them.
///
/// Behind an [`Arc`], one clone goes beneath the layer under test and another is asked for its
/// [`counts`](Self::counts).
#[derive(Debug)]
pub struct CountingStore<B> {
    inner: B,
    counts: Mutex<Counts>,
}

/// What a [`CountingStore`] was asked to do. Calls that failed count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of `get`.
    pub gets: u64,
    /// Calls of `get_from_composite`.
    pub gets_from_composite: u64,
    /// Calls of `put`.
    pub puts: u64,
    /// Calls of `find_missing`.
    pub finds: u64,
    /// Calls of `capabilities`.
    pub capabilities: u64,
    /// Digests of all calls of `find_missing`.
    pub digests_asked: u64,
    /// The sizes of the blobs that were handed out, in bytes, whether or not they were read.
    pub bytes_got: u64,
    /// The sizes of the blobs that were brought, in bytes, whether or not they were read.
    pub bytes_put: u64,
}

impl Counts {
    /// Calls of any method.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.gets + self.gets_from_composite + self.puts + self.finds + self.capabilities
    }
}

impl<B> CountingStore<B> {
    /// Counts what is asked of `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner, counts: Mutex::default() }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        // Each use of the lock is a few additions.
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that is counted.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for CountingStore<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.count(|counts| counts.gets += 1);
        let blob = self.inner.get(ctx, digest).await?;
        self.count(|counts| counts.bytes_got += blob.size_bytes());
        Ok(blob)
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.count(|counts| counts.gets_from_composite += 1);
        let blob = self.inner.get_from_composite(ctx, parent, child, slicer).await?;
        self.count(|counts| counts.bytes_got += blob.size_bytes());
        Ok(blob)
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.count(|counts| {
            counts.puts += 1;
            counts.bytes_put += blob.size_bytes();
        });
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.count(|counts| {
            counts.finds += 1;
            counts.digests_asked += u64::try_from(digests.len()).unwrap_or(u64::MAX);
        });
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.count(|counts| counts.capabilities += 1);
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for CountingStore<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "counting({})", self.inner)
    }
}
