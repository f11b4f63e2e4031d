//! A store that can be replaced by an empty one.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, MemoryStore,
    PutOutcome, Result, Slicer,
};

/// A store in memory that can be replaced by an empty one, as a server is whose disk has died, and that can lose the
/// answers to puts.
#[derive(Debug)]
pub(crate) struct ReplaceableStore<K: Kind> {
    store: Mutex<Arc<MemoryStore<K>>>,
    loses_answers: AtomicBool,
}

impl<K: Kind> ReplaceableStore<K> {
    pub(crate) fn new() -> Self {
        Self { store: Mutex::new(empty()), loses_answers: AtomicBool::new(false) }
    }

    /// Loses everything that is stored.
    pub(crate) fn replace(&self) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = empty();
    }

    /// Sets whether puts store their blob and then fail.
    pub(crate) fn set_loses_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::Relaxed);
    }

    /// Returns the contents of `digest`, whatever a layer or an outage in front of this store would answer.
    pub(crate) async fn contents(&self, digest: &Digest) -> Option<bytes::Bytes> {
        let blob = self.store().get(&Context::background(), digest).await.ok()?;
        blob.into_bytes(1 << 20).await.ok()
    }

    fn store(&self) -> Arc<MemoryStore<K>> {
        Arc::clone(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn empty<K: Kind>() -> Arc<MemoryStore<K>> {
    Arc::new(MemoryStore::new(64 << 20))
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for ReplaceableStore<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.store().get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.store().get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let outcome = self.store().put(ctx, digest, blob).await?;
        if self.loses_answers.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the answer was lost"));
        }
        Ok(outcome)
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.store().find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.store().capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.store().key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for ReplaceableStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("replaceable")
    }
}
