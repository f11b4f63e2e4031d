//! The cost of each layer for one call: time, and allocations, which are the same in every run.
//!
//! On a busy machine, compare layers within one run, each in its turn and by the best of many rounds, or count the
//! instructions of a thousand gets:
//!
//! ```text
//! cargo bench --bench layers -- in-turns
//! cargo bench --bench layers --no-run
//! valgrind --tool=callgrind --toggle-collect='*measured*' <the executable> counted read_caching
//! ```

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and fails loudly")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultExpiring, Authorizers, Authorizing, DeadlineEnforcing, Demultiplexing, EmptyBlobInjecting,
    ExistenceCaching, ExpiryOptions, HierarchicalInstanceNames, Mirrored, Observing, QueryCoalescing, ReadCaching,
    ReadCanarying, ReadFallback, Route, Shard, Sharding, StaticAuthorizer,
};
use blobaccess::replication::LocalReplicator;
use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestSet, InstanceName, Kind, MemoryStore, NoObserver,
    SystemClock,
};
use blobaccess_proto::remote_execution::{ActionResult, ExecutedActionMetadata};
use blobaccess_testkit::allocations::{Counting, counting};
use blobaccess_workbench::{blobs, real, scaled};
use criterion::{Criterion, criterion_group};
use prost::Message;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

type Stacks<K> = Vec<(&'static str, Store<K>)>;

/// Returns each layer around a store of contents in memory, a stack of five, and the layers over two stores.
fn stacks_of_contents() -> Stacks<Cas> {
    let memory = || MemoryStore::<Cas>::new(1 << 30);
    let capacity = 100_000;
    let allow = || Authorizers::all(Arc::new(StaticAuthorizer::Allow));
    let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
    let all = Observing::new(memory(), "memory", NoObserver);
    let all = ExistenceCaching::new(all, capacity, minute);
    let all = DeadlineEnforcing::new(Authorizing::new(EmptyBlobInjecting::new(all), allow()), hour);
    let pointer: Store<Cas> = Arc::new(memory());
    let mut stacks: Stacks<Cas> = vec![
        ("none", Arc::new(memory())),
        ("pointer", Arc::new(pointer)),
        ("empty_blob_injecting", Arc::new(EmptyBlobInjecting::new(memory()))),
        ("existence_caching", Arc::new(ExistenceCaching::new(memory(), capacity, minute))),
        ("authorizing", Arc::new(Authorizing::new(memory(), allow()))),
        ("deadline_enforcing", Arc::new(DeadlineEnforcing::new(memory(), hour))),
        ("observing", Arc::new(Observing::new(memory(), "memory", NoObserver))),
        ("query_coalescing", Arc::new(QueryCoalescing::new(memory()))),
        ("sharding over 1", sharding(1)),
        ("sharding over 16", sharding(16)),
        ("all five", Arc::new(all)),
    ];
    stacks.extend(stacks_over_two());
    stacks
}

/// Returns the layers over two stores of contents in memory. For the canary, one store has two names, so that the replica
/// has what is put.
fn stacks_over_two() -> Stacks<Cas> {
    let memory = || Arc::new(MemoryStore::<Cas>::new(1 << 30));
    // The first store answers, so no copies are made.
    let copies = || LocalReplicator::new(memory(), memory());
    let (both, minute) = (memory(), Duration::from_mins(1));
    vec![
        ("mirrored", Arc::new(Mirrored::new(memory(), memory(), Arc::new(copies()), Arc::new(copies())))),
        ("read_caching", Arc::new(ReadCaching::new(memory(), memory(), copies()))),
        ("read_canarying", Arc::new(ReadCanarying::new(Arc::clone(&both), both, 256, minute))),
        ("read_fallback", Arc::new(ReadFallback::new(memory(), memory(), copies()))),
    ]
}

/// Returns the layers that tell instance names apart, around a store of contents in memory.
fn stacks_by_name() -> Stacks<Cas> {
    let route = || Route::new(name("ci"), Arc::new(MemoryStore::<Cas>::new(1 << 30)));
    let by = |route| Arc::new(Demultiplexing::new([route]).unwrap());
    vec![
        ("none, in a name", Arc::new(MemoryStore::<Cas>::new(1 << 30))),
        ("demultiplexing", by(route())),
        ("demultiplexing, renamed", by(route().with_added_prefix(name("builds")))),
    ]
}

/// Returns the layers for action results around a store in memory.
fn stacks_of_messages() -> Stacks<Ac> {
    let memory = || MemoryStore::<Ac>::new(1 << 30);
    let ages = ExpiryOptions::new(Duration::from_hours(1 << 20)).with_max_validity_jitter(Duration::from_hours(1));
    vec![
        ("none, of messages", Arc::new(memory())),
        ("action_result_expiring", Arc::new(ActionResultExpiring::new(memory(), ages))),
        ("hierarchical_names", Arc::new(HierarchicalInstanceNames::new(memory()))),
    ]
}

fn name(name: &str) -> InstanceName {
    name.parse().unwrap()
}

/// Returns a layer over `shards` stores in memory.
fn sharding(shards: usize) -> Store<Cas> {
    let shards = (0..shards).map(|shard| Shard::new(shard.to_string(), MemoryStore::<Cas>::new(1 << 30)));
    Arc::new(Sharding::new(shards).unwrap())
}

/// A call with its arguments.
struct Calls {
    ctx: Context,
    digest: Digest,
    blob: bytes::Bytes,
    asked: DigestSet,
}

impl Calls {
    /// Puts some blobs into `store`, for calls about them.
    fn new<K: Kind>(runtime: &Runtime, store: &Store<K>, name: &InstanceName) -> Self {
        let all: Vec<_> = blobs(1, scaled(100, 10), 1024)
            .into_iter()
            .map(|(digest, bytes)| {
                let value = if K::STORAGE_TYPE.is_mutable() { result_with(bytes) } else { bytes };
                (digest.with_instance_name(name.clone()), value)
            })
            .collect();
        let ctx = Context::background();
        for (digest, value) in &all {
            runtime.block_on(store.put(&ctx, digest, Blob::from_bytes(value.clone()))).unwrap();
        }
        let asked = all.iter().map(|(digest, _)| digest.clone()).collect();
        let (digest, blob) = all.into_iter().next().unwrap();
        Self { ctx, digest, blob, asked }
    }

    async fn get(&self, store: &Store<impl Kind>) {
        black_box(store.get(&self.ctx, &self.digest).await.unwrap().into_bytes(1 << 20).await.unwrap());
    }

    async fn get_often(&self, store: &Store<impl Kind>, times: usize) {
        for _ in 0..times {
            self.get(store).await;
        }
    }

    async fn put<K: Kind>(&self, store: &Store<K>) {
        let blob = if K::STORAGE_TYPE.is_mutable() {
            Blob::from_bytes(self.blob.clone())
        } else {
            Blob::from_untrusted_bytes(&self.digest, self.blob.clone(), blobaccess::Provenance::client())
        };
        black_box(store.put(&self.ctx, &self.digest, blob).await.unwrap());
    }

    async fn find_missing(&self, store: &Store<impl Kind>) {
        black_box(store.find_missing(&self.ctx, &self.asked).await.unwrap());
    }
}

/// Makes an action result of a bit more than the size of `stdout`, with the time of its completion.
fn result_with(stdout: bytes::Bytes) -> bytes::Bytes {
    let mut metadata = ExecutedActionMetadata::default();
    metadata.worker_completed_timestamp.get_or_insert_default().seconds = 1_600_000_000;
    let result = ActionResult { stdout_raw: stdout, execution_metadata: Some(metadata), ..ActionResult::default() };
    result.encode_to_vec().into()
}

/// Returns the number of allocations of one `call`, averaged over a hundred.
fn allocations_of(mut call: impl FnMut()) -> f64 {
    let (counted, ()) = counting(|| (0..100).for_each(|_| call()));
    real(counted.calls) / 100.0
}

fn layers(c: &mut Criterion) {
    println!("{:<24} {:>6} {:>22} {:>18}", "allocations a call", "get", "put of what is there", "find_missing, 100");
    measure(c, stacks_of_contents(), &InstanceName::empty());
    measure(c, stacks_by_name(), &name("ci/tests"));
    measure(c, stacks_of_messages(), &name("ci/tests"));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn measure<K: Kind>(c: &mut Criterion, stacks: Stacks<K>, name: &InstanceName) {
    let runtime = runtime();
    for (stack, store) in &stacks {
        let calls = Calls::new(&runtime, store, name);
        let get = allocations_of(|| runtime.block_on(calls.get(store)));
        let put = allocations_of(|| runtime.block_on(calls.put(store)));
        let find = allocations_of(|| runtime.block_on(calls.find_missing(store)));
        println!("{stack:<24} {get:>6.1} {put:>22.1} {find:>18.1}");
    }
    for (stack, store) in stacks {
        let calls = Calls::new(&runtime, &store, name);
        let mut group = c.benchmark_group(stack);
        group.bench_function("get", |b| b.to_async(&runtime).iter(|| calls.get(&store)));
        group.bench_function("put of what is there", |b| b.to_async(&runtime).iter(|| calls.put(&store)));
        group.bench_function("find_missing of 100", |b| b.to_async(&runtime).iter(|| calls.find_missing(&store)));
        group.finish();
    }
}

/// Prints the time of a get through each of `stacks`, and how much more that is than through the first, by the best of many
/// rounds. All take their turns in each round, so that a busy machine slows each as much.
fn compare<K: Kind>(stacks: &Stacks<K>, name: &InstanceName) {
    let (rounds, gets) = (scaled(400, 2), scaled(2_000, 2));
    let (runtime, clock) = (runtime(), SystemClock);
    let mut times: Vec<_> =
        stacks.iter().map(|(_, store)| (Calls::new(&runtime, store, name), Duration::MAX)).collect();
    for _ in 0..rounds {
        for ((_, store), (calls, best)) in stacks.iter().zip(&mut times) {
            let begin = clock.monotonic();
            runtime.block_on(calls.get_often(store, gets));
            *best = clock.monotonic().duration_since(begin).min(*best);
        }
    }
    let of_one = |best: Duration| best.as_secs_f64() * 1e9 / real(u64::try_from(gets).unwrap());
    let first = of_one(times.first().unwrap().1);
    for ((stack, _), (_, best)) in stacks.iter().zip(times) {
        println!("{stack:<24} {:>8.1} ns {:>+8.1} ns", of_one(best), of_one(best) - first);
    }
}

/// Gets a thousand times through the one of `stacks` that is called `wanted`, if there is one.
fn count<K: Kind>(stacks: Stacks<K>, name: &InstanceName, wanted: &str) {
    let runtime = runtime();
    for (_, store) in stacks.into_iter().filter(|(stack, _)| *stack == wanted) {
        let calls = Calls::new(&runtime, &store, name);
        runtime.block_on(calls.get_often(&store, 10));
        measured(|| runtime.block_on(calls.get_often(&store, 1_000)));
    }
}

/// Runs `calls`. Callgrind counts what happens in here, and nothing else.
#[inline(never)]
fn measured(calls: impl FnOnce()) {
    calls();
}

criterion_group!(benches, layers);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (contents, messages) = (stacks_of_contents, stacks_of_messages);
    match arguments.next().as_deref() {
        Some("in-turns") => {
            compare(&contents(), &InstanceName::empty());
            compare(&stacks_by_name(), &name("ci/tests"));
            compare(&messages(), &name("ci/tests"));
        }
        Some("counted") => {
            let wanted = arguments.next().unwrap_or_default();
            count(contents(), &InstanceName::empty(), &wanted);
            count(stacks_by_name(), &name("ci/tests"), &wanted);
            count(messages(), &name("ci/tests"), &wanted);
        }
        _ => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
