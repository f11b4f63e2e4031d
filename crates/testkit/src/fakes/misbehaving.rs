//! A store that ends its puts in every way that a put can end.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, MemoryStore,
    PutOutcome, Result, Slicer, get_and_slice,
};

/// A store that loses, refuses, panics in, never ends, delays or stores one put after another, in turns of eight.
///
/// Use it to show that what counts puts counts each of them once, however it ends.
#[derive(Debug)]
pub struct MisbehavingStore {
    inner: MemoryStore<Cas>,
    puts: AtomicU64,
}

impl MisbehavingStore {
    /// Makes a store that takes up to `capacity_bytes` of memory.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self { inner: MemoryStore::new(capacity_bytes), puts: AtomicU64::new(0) }
    }

    /// Returns the store beneath, whose calls all succeed.
    #[must_use]
    pub const fn inner(&self) -> &MemoryStore<Cas> {
        &self.inner
    }
}

impl Display for MisbehavingStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("misbehaving")
    }
}

#[async_trait]
impl BlobAccess for MisbehavingStore {
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
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        match self.puts.fetch_add(1, Ordering::Relaxed) % 8 {
            0 => return Err(Error::unavailable("lost")),
            1 => return Err(Error::unavailable("refused").not_stored()),
            2 => std::panic::resume_unwind(Box::new("a panic")),
            3 | 4 => futures::future::pending().await,
            5 => tokio::task::yield_now().await,
            _ => {}
        }
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
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
