//! A store for tests that counts its calls and fails as told.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Compressor, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind,
    InstanceName, KeyFormat, MemoryStore, Provenance, PutOutcome, Result, Slicer,
};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// A store of contents in memory, which hands out compressed forms that it was given.
#[derive(Debug)]
pub(super) struct WatchedStore {
    inner: MemoryStore<Cas>,
    /// The digests whose calls fail, and the kinds of their errors.
    failing: Mutex<Vec<(Digest, ErrorKind)>>,
    /// The blobs that are also there as zstd.
    encoded: Mutex<Vec<(Digest, Bytes)>>,
    gets: AtomicUsize,
    open_gets: AtomicUsize,
    most_open_gets: AtomicUsize,
}

impl WatchedStore {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(1 << 30),
            failing: Mutex::default(),
            encoded: Mutex::default(),
            gets: AtomicUsize::new(0),
            open_gets: AtomicUsize::new(0),
            most_open_gets: AtomicUsize::new(0),
        })
    }

    /// Stores `contents`, under SHA-256 and no instance name.
    pub(super) async fn add(&self, contents: impl Into<Bytes>) -> Digest {
        let contents = contents.into();
        let digest = sha256(&contents);
        self.inner.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
        digest
    }

    /// Stores `contents`, and hands them out as the zstd frames that `encoded` are.
    pub(super) async fn add_encoded(&self, contents: impl Into<Bytes>, encoded: impl Into<Bytes>) -> Digest {
        let digest = self.add(contents).await;
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner).push((digest.clone(), encoded.into()));
        digest
    }

    pub(super) fn fail(&self, digest: &Digest, kind: ErrorKind) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).push((digest.clone(), kind));
    }

    pub(super) async fn has(&self, digest: &Digest) -> bool {
        self.inner.get(&Context::background(), digest).await.is_ok()
    }

    /// Returns the number of gets so far.
    pub(super) fn gets(&self) -> usize {
        self.gets.load(Ordering::Relaxed)
    }

    /// Returns the largest number of concurrent gets.
    pub(super) fn most_open_gets(&self) -> usize {
        self.most_open_gets.load(Ordering::Relaxed)
    }

    fn encoding(&self, digest: &Digest) -> Option<Bytes> {
        let encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        encoded.iter().find(|(known, _)| known == digest).map(|(_, bytes)| bytes.clone())
    }

    fn check(&self, digest: &Digest) -> Result<()> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failing.iter().find(|(failing, _)| failing == digest) {
            Some((_, kind)) => Err(Error::new(*kind, "disk on fire")),
            None => Ok(()),
        }
    }
}

pub(super) fn sha256(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

#[async_trait]
impl BlobAccess for WatchedStore {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let open = self.open_gets.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open_gets.fetch_max(open, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.open_gets.fetch_sub(1, Ordering::Relaxed);
        self.check(digest)?;
        match self.encoding(digest) {
            None => self.inner.get(ctx, digest).await,
            Some(bytes) => {
                let size = u64::try_from(bytes.len()).ok();
                let decode = |stream| crate::compression::decode(stream, ErrorKind::DataLoss);
                let pieces = bytes.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
                let stream = stream::iter(pieces).boxed();
                Ok(Blob::from_encoded(digest, Compressor::Zstd, size, stream, decode, Provenance::store()))
            }
        }
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
        self.check(digest)?;
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        for digest in digests {
            self.check(digest)?;
        }
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

impl Display for WatchedStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "watched({})", self.inner)
    }
}
