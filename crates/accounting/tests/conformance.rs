//! What stands in front of a store here, held to the contracts of stores.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind,
    MemoryBlobAccess, PutOutcome, Result, Slicer,
};
use blobaccess_accounting::{
    Accounted, Accounts, AccountsOptions, Acknowledge, QueueOptions, Reporter, UploadQueue, WriteBehind,
};
use blobaccess_testkit::{Layered, Promises, Volatile, conformance};

const MAX_BLOB_SIZE_BYTES: u64 = 8 << 20;

conformance! {
    accounted => Layered::<Cas, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
    accounted_messages: Ac => Layered::<Ac, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
    queue =>
        Layered::<Cas, _>::new(|beneath| Running::new(beneath.store("inner")))
            .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES))),
    // A value that takes the place of one that still waits is not told apart from it.
    queue_of_messages: Ac =>
        Layered::<Ac, _>::new(|beneath| Running::new(beneath.store("inner")))
            .promising(|promises| {
                promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES)).with_exact_outcomes(false)
            }),
    write_behind => Layered::<Cas, _>::new(|beneath| Behind::new(beneath.store("fast"), beneath.store("slow"))),
    write_behind_of_messages: Ac =>
        Layered::<Ac, _>::new(|beneath| Behind::new(beneath.store("fast"), beneath.store("slow")))
            .promising(|promises| {
                promises.with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES)).with_exact_outcomes(false)
            }),
    // Nothing is promised to be left by a queue that lost what it held, so neither is what is beneath.
    write_behind_when_queued => Volatile::new(behind_queued::<Cas>).promising(promises_when_queued()),
    write_behind_of_messages_when_queued: Ac =>
        Volatile::new(behind_queued::<Ac>)
            .promising(promises_when_queued().with_max_blob_size_bytes(Some(MAX_BLOB_SIZE_BYTES))),
}

fn accounts() -> Arc<Accounts> {
    Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap()
}

fn promises_when_queued() -> Promises {
    // What is read from the fast store is not used in the slow one, which evicts.
    let promises = Promises::of_memory(CAPACITY_BYTES).with_keeps_bytes(Some(1 << 20));
    promises.with_capacity_bytes(None).with_exact_outcomes(false)
}

const CAPACITY_BYTES: u64 = 16 << 20;

fn behind_queued<K: Kind>() -> Behind<MemoryBlobAccess<K>, MemoryBlobAccess<K>> {
    let options = QueueOptions::new().with_max_blob_size_bytes(MAX_BLOB_SIZE_BYTES);
    Behind::acknowledging(MemoryBlobAccess::new(CAPACITY_BYTES), MemoryBlobAccess::new(CAPACITY_BYTES), options)
}

/// A fast store in front of a slow one, whose queue is run for as long as it is there.
#[derive(Debug)]
struct Behind<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> {
    store: WriteBehind<F, S>,
    task: tokio::task::JoinHandle<()>,
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> Behind<F, S> {
    fn new(fast: F, slow: S) -> Self {
        let options =
            QueueOptions::new().with_acknowledge(Acknowledge::Uploaded).with_max_blob_size_bytes(MAX_BLOB_SIZE_BYTES);
        Self::acknowledging(fast, slow, options)
    }

    fn acknowledging(fast: F, slow: S, options: QueueOptions) -> Self {
        let queue = Arc::new(UploadQueue::new(slow, accounts(), options));
        let running = Arc::clone(&queue);
        Self { store: WriteBehind::new(fast, queue), task: tokio::spawn(async move { running.run().await }) }
    }
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> Drop for Behind<F, S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> Display for Behind<F, S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.store, f)
    }
}

#[async_trait]
impl<F: BlobAccess, S: BlobAccess<Kind = F::Kind>> BlobAccess for Behind<F, S> {
    type Kind = F::Kind;

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
}

/// A queue that is run for as long as it is there, and acknowledges what it has uploaded.
#[derive(Debug)]
struct Running<B: BlobAccess> {
    queue: Arc<UploadQueue<B>>,
    task: tokio::task::JoinHandle<()>,
}

impl<B: BlobAccess> Running<B> {
    fn new(inner: B) -> Self {
        let options =
            QueueOptions::new().with_acknowledge(Acknowledge::Uploaded).with_max_blob_size_bytes(MAX_BLOB_SIZE_BYTES);
        let queue = Arc::new(UploadQueue::new(inner, accounts(), options));
        let running = Arc::clone(&queue);
        Self { queue, task: tokio::spawn(async move { running.run().await }) }
    }
}

impl<B: BlobAccess> Drop for Running<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<B: BlobAccess> Display for Running<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.queue, f)
    }
}

#[async_trait]
impl<B: BlobAccess> BlobAccess for Running<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.queue.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.queue.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.queue.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.queue.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.queue.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.queue.key_format()
    }
}
