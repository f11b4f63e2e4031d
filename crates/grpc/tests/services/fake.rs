//! A store that does as it is told.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, MemoryStore,
    PutOutcome, Result, Slicer,
};
use tokio::sync::Semaphore;

/// A store in memory that can be made to fail and to hang.
#[derive(Debug)]
pub(crate) struct Fake<K: Kind> {
    pub(crate) inner: MemoryStore<K>,
    /// The error of each call.
    pub(crate) error: Mutex<Option<Error>>,
    /// The errors of `find_missing`, in the order of the calls. A `None` hangs.
    pub(crate) finds: Mutex<Vec<Option<Error>>>,
    /// The digests that `find_missing` was asked about.
    pub(crate) asked: Mutex<Vec<Digest>>,
    /// Each `get` takes one, and waits for it.
    pub(crate) gets: Semaphore,
    pub(crate) waiting: AtomicUsize,
    /// The number of puts to come of which each takes longer than the next.
    pub(crate) slow_puts: AtomicUsize,
    pub(crate) capabilities: Mutex<Result<Capabilities>>,
}

impl<K: Kind> Fake<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(64 << 20),
            error: Mutex::default(),
            finds: Mutex::default(),
            asked: Mutex::default(),
            gets: Semaphore::new(1000),
            waiting: AtomicUsize::new(0),
            slow_puts: AtomicUsize::new(0),
            capabilities: Mutex::new(Ok(Capabilities::unlimited())),
        })
    }

    /// Makes every `get` hang until `gets` is given permits.
    pub(crate) fn hang(&self) {
        self.gets.forget_permits(1000);
    }

    fn fail(&self) -> Result<()> {
        self.error.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl<K: Kind> BlobAccess for Fake<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.fail()?;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.gets.acquire().await.unwrap().forget();
        self.inner.get(ctx, digest).await
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
        self.fail()?;
        let turns = self.slow_puts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        for _ in 0..turns.unwrap_or(0) {
            tokio::task::yield_now().await;
        }
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.asked.lock().unwrap().extend(digests.iter().cloned());
        let next = {
            let mut finds = self.finds.lock().unwrap();
            if finds.is_empty() { None } else { Some(finds.remove(0)) }
        };
        match next {
            Some(Some(error)) => return Err(error),
            Some(None) => std::future::pending::<()>().await,
            None => self.fail()?,
        }
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        self.capabilities.lock().unwrap().clone()
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<K: Kind> Display for Fake<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}
