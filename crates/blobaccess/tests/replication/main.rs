//! Tests of replicators: the contracts of all, and what each adds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod concurrency_limiting;
mod deduplicating;
mod local;
mod nested;
mod queued;
mod queued_outages;
mod turns;

use std::num::NonZeroUsize;
use std::sync::Arc;

use blobaccess::decorators::{Mirrored, ReadFallback};
use blobaccess::replication::{
    ConcurrencyLimitingReplicator, DeduplicatingReplicator, LocalReplicator, NoopReplicator, QueuedOptions,
    QueuedReplicator, Replicator,
};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, BulkKind, Cas, Context, Digest, Kind, MemoryStore, ReadRequest, Result,
};
use blobaccess_testkit::fakes::{CountingStore, InterruptibleStore, Outage, PausedStore};
use blobaccess_testkit::{AnyStore, Layered, Replicating, Stores, conformance, digest_of, replicator_conformance};
use bytes::Bytes;

static CTX: Context = Context::background();

replicator_conformance! {
    local_copies: Cas => Replicating::new(LocalReplicator::new),
    local_copies_of_messages: Ac => Replicating::new(LocalReplicator::new),
    no_copies: Cas => Replicating::new(|source, _| NoopReplicator::new(source)).copying_nothing(),
    no_copies_of_messages: Ac => Replicating::new(|source, _| NoopReplicator::new(source)).copying_nothing(),
    limited: Cas => Replicating::new(|source, sink| limited_to(4, source, sink)),
    limited_to_one: Cas => Replicating::new(|source, sink| limited_to(1, source, sink)),
    limited_messages: Ac => Replicating::new(|source, sink| limited_to(2, source, sink)),
    deduplicated: Cas => Replicating::new(deduplicated_over),
    deduplicated_references: Icas => Replicating::new(deduplicated_over),
    deduplicated_and_limited: Cas => Replicating::new(recommended),
    queued_copies: Cas => Replicating::new(queued_over),
    queued_copies_of_messages: Ac => Replicating::new(queued_over),
    of_any_type: Cas => Replicating::new(|source, sink| -> Arc<dyn Replicator<Kind = Cas>> {
        Arc::new(LocalReplicator::new(source, sink))
    }),
}

// The layers that use them are stores, whichever replicator they use.
conformance! {
    fallback_without_copies => Layered::<Cas, _>::new(|stores| {
        fallback(stores, |source, _| NoopReplicator::new(source))
    }),
    fallback_of_messages_without_copies: Ac => Layered::<Ac, _>::new(|stores| {
        fallback(stores, |source, _| NoopReplicator::new(source))
    }),
    fallback_limited => Layered::<Cas, _>::new(|stores| fallback(stores, |source, sink| limited_to(2, source, sink))),
    fallback_of_messages_limited: Ac => Layered::<Ac, _>::new(|stores| {
        fallback(stores, |source, sink| limited_to(2, source, sink))
    }),
    fallback_deduplicated => Layered::<Cas, _>::new(|stores| fallback(stores, deduplicated_over)),
    fallback_deduplicated_and_limited => Layered::<Cas, _>::new(|stores| fallback(stores, recommended)),
    fallback_queued => Layered::<Cas, _>::new(|stores| fallback(stores, queued_over)),
    mirrored_by_all => Layered::<Cas, _>::new(mirror_over),
}

/// Reads from a second store what the first lacks, by the replicator that `make` makes.
fn fallback<K: Kind, R: Replicator<Kind = K>>(
    stores: &Stores<K>,
    make: impl FnOnce(AnyStore<K>, AnyStore<K>) -> R,
) -> ReadFallback<AnyStore<K>, AnyStore<K>, R> {
    let [primary, secondary] = ["primary", "secondary"].map(|name| -> AnyStore<K> { Arc::new(stores.store(name)) });
    let replicator = make(Arc::clone(&secondary), Arc::clone(&primary));
    ReadFallback::new(primary, secondary, replicator)
}

fn mirror_over(stores: &Stores<Cas>) -> Mirrored<Cas> {
    let [a, b] = ["a", "b"].map(|name| -> AnyStore<Cas> { Arc::new(stores.store(name)) });
    let a_to_b = Arc::new(recommended(Arc::clone(&a), Arc::clone(&b)));
    let b_to_a = Arc::new(recommended(Arc::clone(&b), Arc::clone(&a)));
    Mirrored::new(a, b, a_to_b, b_to_a)
}

/// Makes the nesting that the documentation recommends.
fn recommended(source: AnyStore<Cas>, sink: AnyStore<Cas>) -> impl Replicator<Kind = Cas> {
    let base = limited_to(4, Arc::clone(&source), Arc::clone(&sink));
    DeduplicatingReplicator::new(source, sink, base)
}

fn limited_to<K: Kind>(max: usize, source: AnyStore<K>, sink: AnyStore<K>) -> impl Replicator<Kind = K> {
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    ConcurrencyLimitingReplicator::new(source, sink, base, NonZeroUsize::new(max).unwrap())
}

fn queued_over<K: Kind>(source: AnyStore<K>, sink: AnyStore<K>) -> impl Replicator<Kind = K> {
    let (key_format, base) = (sink.key_format(), LocalReplicator::new(Arc::clone(&source), sink));
    QueuedReplicator::new(source, base, key_format, QueuedOptions::new())
}

fn deduplicated_over<K: BulkKind>(source: AnyStore<K>, sink: AnyStore<K>) -> impl Replicator<Kind = K> {
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    DeduplicatingReplicator::new(source, sink, base)
}

/// A store in memory whose calls are counted, and which is down when a test wants it to be.
type Store<K> = CountingStore<InterruptibleStore<Arc<MemoryStore<K>>>>;

fn store<K: Kind>() -> Arc<Store<K>> {
    let memory = Arc::new(MemoryStore::new(64 << 20));
    Arc::new(CountingStore::new(InterruptibleStore::new(memory, Outage::default())))
}

/// Returns the store that neither counts nor fails.
fn memory<K: Kind>(store: &Store<K>) -> &MemoryStore<K> {
    store.inner().inner()
}

fn outage<K: Kind>(store: &Store<K>) -> &Outage {
    store.inner().outage()
}

/// Stores `contents` without a call that is counted.
async fn stored<K: Kind>(store: &Store<K>, contents: &str) -> Digest {
    let digest = digest_of(contents);
    memory(store).put_bytes(&CTX, &digest, Bytes::copy_from_slice(contents.as_bytes())).await.unwrap();
    digest
}

async fn has<K: Kind>(store: &Store<K>, digest: &Digest) -> bool {
    memory(store).get(&CTX, digest).await.is_ok()
}

async fn read(replicator: &impl Replicator, digest: &Digest) -> Result<Bytes> {
    replicator.replicate(&CTX, &ReadRequest::blob(digest)).await?.into_bytes(64 << 20).await
}

/// Returns a store that holds every call until it is released, around `inner`.
fn paused<B: BlobAccess>(inner: B) -> Arc<PausedStore<B>> {
    Arc::new(PausedStore::new(inner))
}

/// Lets everybody else run.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_copied_by_noop_and_everything_is_read() {
    let source = store::<Cas>();
    let digest = stored(&source, "hello").await;
    let replicator = NoopReplicator::new(Arc::clone(&source));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    replicator.replicate_all(&CTX, &digest.clone().into()).await.unwrap();
    assert_eq!(source.counts().calls(), 1);
    assert_eq!(replicator.to_string(), "noop(counting(memory))");
    let _: &Blob = &replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap();
}
