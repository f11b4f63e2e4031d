//! The cost of each replicator for one call, between stores in memory: time, and allocations, which are the same in
//! every run.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and fails loudly")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::replication::{
    ConcurrencyLimitingReplicator, DeduplicatingReplicator, LocalReplicator, NoopReplicator, QueuedOptions,
    QueuedReplicator, Replicator,
};
use blobaccess::{BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestSet, MemoryStore, ReadRequest};
use blobaccess_testkit::allocations::{Counting, counting};
use blobaccess_workbench::{blobs, real, scaled};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Store = Arc<MemoryStore<Cas>>;

type AnyReplicator = Arc<dyn Replicator<Kind = Cas>>;

/// Returns each replicator from `source` into `sink`, and the recommended nesting.
fn replicators(source: &Store, sink: &Store) -> Vec<(&'static str, AnyReplicator)> {
    let eight = NonZeroUsize::MIN.saturating_add(7);
    let stores = || (Arc::clone(source), Arc::clone(sink));
    let local = || LocalReplicator::new(stores().0, stores().1);
    let limiting = || ConcurrencyLimitingReplicator::new(stores().0, stores().1, local(), eight);
    let not_remembering = QueuedOptions::new().with_remembered(0, Duration::ZERO);
    vec![
        ("noop", Arc::new(NoopReplicator::new(stores().0))),
        ("local", Arc::new(local())),
        ("concurrency_limiting", Arc::new(limiting())),
        ("deduplicating", Arc::new(DeduplicatingReplicator::new(stores().0, stores().1, local()))),
        ("queued", Arc::new(QueuedReplicator::new(stores().0, local(), sink.key_format(), not_remembering))),
        ("all", Arc::new(DeduplicatingReplicator::new(stores().0, stores().1, limiting()))),
    ]
}

/// A call with its arguments. The sink has the blobs, whose put then costs least.
struct Calls {
    ctx: Context,
    digest: Digest,
    all: DigestSet,
}

impl Calls {
    fn new(runtime: &Runtime, source: &Store, sink: &Store) -> Self {
        let (ctx, all) = (Context::background(), blobs(1, scaled(100, 10), 1024));
        for (digest, bytes) in &all {
            for store in [source, sink] {
                runtime.block_on(store.put_bytes(&ctx, digest, bytes.clone())).unwrap();
            }
        }
        let digest = all.first().unwrap().0.clone();
        Self { ctx, digest, all: all.into_iter().map(|(digest, _)| digest).collect() }
    }

    async fn read(&self, replicator: &AnyReplicator) {
        let blob = replicator.replicate(&self.ctx, &ReadRequest::blob(&self.digest)).await.unwrap();
        black_box(blob.into_bytes(1 << 20).await.unwrap());
    }

    async fn copy(&self, replicator: &AnyReplicator) {
        replicator.replicate_all(&self.ctx, &self.all).await.unwrap();
    }
}

/// Returns the number of allocations of one `call`, averaged over a hundred.
fn allocations_of(mut call: impl FnMut()) -> f64 {
    let (counted, ()) = counting(|| (0..100).for_each(|_| call()));
    real(counted.calls) / 100.0
}

fn measure(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (source, sink) = (Arc::new(MemoryStore::new(1 << 30)), Arc::new(MemoryStore::new(1 << 30)));
    let calls = Calls::new(&runtime, &source, &sink);
    println!("{:<22} {:>6} {:>14}", "allocations a call", "read", "copy of 100");
    for (name, replicator) in replicators(&source, &sink) {
        let read = allocations_of(|| runtime.block_on(calls.read(&replicator)));
        let copy = allocations_of(|| runtime.block_on(calls.copy(&replicator)));
        println!("{name:<22} {read:>6.1} {copy:>14.1}");
    }
    for (name, replicator) in replicators(&source, &sink) {
        let mut group = c.benchmark_group(format!("replicators/{name}"));
        group.bench_function("read", |b| b.to_async(&runtime).iter(|| calls.read(&replicator)));
        group.bench_function("copy of 100", |b| b.to_async(&runtime).iter(|| calls.copy(&replicator)));
        group.finish();
    }
}

criterion_group!(benches, measure);
criterion_main!(benches);
