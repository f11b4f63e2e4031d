//! The contracts of stores, for the queue and for the pair of stores around it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, MemoryStore,
    PutOutcome, Result, Slicer,
};
use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
use blobaccess_testkit::{Layered, Promises, Volatile, conformance};
use blobaccess_write_behind::{Acknowledge, QueueOptions, UploadQueue, WriteBehind};

const MAX_BLOB_SIZE_BYTES: u64 = 8 << 20;

conformance! {
    queue =>
        Layered::<Cas, _>::new(|beneath| Running::queue(beneath.store("inner")))
            .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES))),
    // A value that replaces one that still waits cannot be told from it.
    queue_of_messages: Ac =>
        Layered::<Ac, _>::new(|beneath| Running::queue(beneath.store("inner")))
            .promising(|promises| {
                promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES)).with_exact_outcomes(false)
            }),
    write_behind => Layered::<Cas, _>::new(|beneath| Running::behind(beneath.store("fast"), beneath.store("slow"))),
    write_behind_of_messages: Ac =>
        Layered::<Ac, _>::new(|beneath| Running::behind(beneath.store("fast"), beneath.store("slow")))
            .promising(|promises| {
                promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES)).with_exact_outcomes(false)
            }),
    // A queue that lost its contents leaves nothing for sure, and neither do the stores beneath.
    write_behind_when_queued => Volatile::new(behind_queued::<Cas>).promising(promises_when_queued()),
    write_behind_of_messages_when_queued: Ac =>
        Volatile::new(behind_queued::<Ac>)
            .promising(promises_when_queued().with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES))),
}

fn accounts() -> Arc<Accounts> {
    Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap()
}

fn promises_when_queued() -> Promises {
    // A read from the fast store does not count as use in the slow one, which evicts.
    let promises = Promises::for_memory_store(CAPACITY_BYTES).with_keeps_bytes(Some(1 << 20));
    promises.with_capacity_bytes(None).with_exact_outcomes(false)
}

const CAPACITY_BYTES: u64 = 16 << 20;

fn behind_queued<K: Kind>() -> Running<WriteBehind<MemoryStore<K>, MemoryStore<K>>> {
    let options = QueueOptions::new().with_max_blob_size_bytes(MAX_BLOB_SIZE_BYTES);
    Running::behind_with(MemoryStore::new(CAPACITY_BYTES), MemoryStore::new(CAPACITY_BYTES), options)
}

/// A store with a queue, which is run for as long as the store is there.
#[derive(Debug)]
struct Running<S> {
    store: S,
    task: tokio::task::JoinHandle<()>,
}

impl<B: BlobAccess> Running<Arc<UploadQueue<B>>> {
    fn queue(inner: B) -> Self {
        Self::over(inner, acknowledging_uploads(), |queue| queue)
    }
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> Running<WriteBehind<F, S>> {
    fn behind(fast: F, slow: S) -> Self {
        Self::behind_with(fast, slow, acknowledging_uploads())
    }

    fn behind_with(fast: F, slow: S, options: QueueOptions) -> Self {
        Self::over(slow, options, |queue| WriteBehind::new(fast, queue))
    }
}

impl<S> Running<S> {
    fn over<B: BlobAccess>(inner: B, options: QueueOptions, store: impl FnOnce(Arc<UploadQueue<B>>) -> S) -> Self {
        let queue = Arc::new(UploadQueue::new(inner, accounts(), options));
        let running = Arc::clone(&queue);
        Self { store: store(queue), task: tokio::spawn(async move { running.run().await }) }
    }
}

fn acknowledging_uploads() -> QueueOptions {
    QueueOptions::new().with_acknowledge(Acknowledge::Uploaded).with_max_blob_size_bytes(MAX_BLOB_SIZE_BYTES)
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Display> Display for Running<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.store, f)
    }
}

#[async_trait]
impl<S: BlobAccess> BlobAccess for Running<S> {
    type Kind = S::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.store.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.store.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.store.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.store.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.store.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.store.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.store.finds_in_bulk()
    }
}
