//! The cost of each layer for one call: time, and allocations, which are the same in every run.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and fails loudly")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    Authorizers, Authorizing, DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching, Observing, QueryCoalescing,
    StaticAuthorizer,
};
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestSet, MemoryStore, NoObserver};
use blobaccess_testkit::allocations::{Counting, counting};
use blobaccess_workbench::{blobs, real, scaled};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Store = Arc<dyn BlobAccess<Kind = Cas>>;

/// Returns each layer around a store in memory, and a stack of all of them.
fn stacks() -> Vec<(&'static str, Store)> {
    let memory = || MemoryStore::<Cas>::new(1 << 30);
    let capacity = 100_000;
    let allow = || Authorizers::all(Arc::new(StaticAuthorizer::Allow));
    let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
    let all = Observing::new(memory(), "memory", NoObserver);
    let all = ExistenceCaching::new(all, capacity, minute);
    let all = DeadlineEnforcing::new(Authorizing::new(EmptyBlobInjecting::new(all), allow()), hour);
    let pointer: Store = Arc::new(memory());
    vec![
        ("none", Arc::new(memory())),
        ("pointer", Arc::new(pointer)),
        ("empty_blob_injecting", Arc::new(EmptyBlobInjecting::new(memory()))),
        ("existence_caching", Arc::new(ExistenceCaching::new(memory(), capacity, minute))),
        ("authorizing", Arc::new(Authorizing::new(memory(), allow()))),
        ("deadline_enforcing", Arc::new(DeadlineEnforcing::new(memory(), hour))),
        ("observing", Arc::new(Observing::new(memory(), "memory", NoObserver))),
        ("query_coalescing", Arc::new(QueryCoalescing::new(memory()))),
        ("all five", Arc::new(all)),
    ]
}

/// A call with its arguments.
struct Calls {
    ctx: Context,
    digest: Digest,
    blob: bytes::Bytes,
    asked: DigestSet,
}

impl Calls {
    fn new(runtime: &Runtime, store: &Store) -> Self {
        let all = blobs(1, scaled(100, 10), 1024);
        let ctx = Context::background();
        for (digest, bytes) in &all {
            let blob = Blob::from_verified_bytes(digest, bytes.clone());
            runtime.block_on(store.put(&ctx, digest, blob)).unwrap();
        }
        let asked = all.iter().map(|(digest, _)| digest.clone()).collect();
        let (digest, blob) = all.into_iter().next().unwrap();
        Self { ctx, digest, blob, asked }
    }

    async fn get(&self, store: &Store) {
        black_box(store.get(&self.ctx, &self.digest).await.unwrap().into_bytes(1 << 20).await.unwrap());
    }

    async fn put(&self, store: &Store) {
        let blob = Blob::from_untrusted_bytes(&self.digest, self.blob.clone(), blobaccess::Provenance::client());
        black_box(store.put(&self.ctx, &self.digest, blob).await.unwrap());
    }

    async fn find_missing(&self, store: &Store) {
        black_box(store.find_missing(&self.ctx, &self.asked).await.unwrap());
    }
}

/// Returns the number of allocations of one `call`, averaged over a hundred.
fn allocations_of(mut call: impl FnMut()) -> f64 {
    let (counted, ()) = counting(|| (0..100).for_each(|_| call()));
    real(counted.calls) / 100.0
}

fn layers(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:<22} {:>6} {:>22} {:>18}", "allocations a call", "get", "put of what is there", "find_missing, 100");
    for (name, store) in stacks() {
        let calls = Calls::new(&runtime, &store);
        let get = allocations_of(|| runtime.block_on(calls.get(&store)));
        let put = allocations_of(|| runtime.block_on(calls.put(&store)));
        let find = allocations_of(|| runtime.block_on(calls.find_missing(&store)));
        println!("{name:<22} {get:>6.1} {put:>22.1} {find:>18.1}");
    }
    for (name, store) in stacks() {
        let calls = Calls::new(&runtime, &store);
        let mut group = c.benchmark_group(name);
        group.bench_function("get", |b| b.to_async(&runtime).iter(|| calls.get(&store)));
        group.bench_function("put of what is there", |b| b.to_async(&runtime).iter(|| calls.put(&store)));
        group.bench_function("find_missing of 100", |b| b.to_async(&runtime).iter(|| calls.find_missing(&store)));
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
