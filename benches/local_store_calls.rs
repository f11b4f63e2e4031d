//! One call of the local store at a time: `cargo bench --bench local_store_calls`, then `--` and a part of a name.
//!
//! Whole workloads, with the limit of the machine for each, are in `local_store_workloads`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that fails has no result")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, Provenance};
use blobaccess_local_store::{BlockGroup, LocalStore, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use blobaccess_workbench::contest::Objects;
use blobaccess_workbench::local_store::{open, put_all};
use blobaccess_workbench::{contents, is_test_run, scaled, temporary_directory};
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;

/// The seed of everything that is drawn.
const SEED: u64 = 1;

/// The place where a store keeps its blobs.
#[derive(Clone, Copy)]
enum Place {
    Memory,
    File,
}

impl Place {
    const ALL: [Self; 2] = [Self::Memory, Self::File];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
        }
    }

    fn options(self, directory: &Path, capacity_bytes: u64) -> Options {
        let options = match self {
            Self::Memory => Options::in_memory(capacity_bytes),
            Self::File => Options::in_file(directory.join("blocks"), capacity_bytes).persistent(SyncPolicy::OnClose),
        };
        options.with_blocks(4, 16, 1)
    }
}

fn gets(c: &mut Criterion) {
    let ctx = Context::background();
    for place in Place::ALL {
        let mut group = c.benchmark_group(format!("get, {}", place.name()));
        for size in [128, 4 << 10, 64 << 10] {
            let directory = temporary_directory();
            let store = open(place.options(directory.path(), scaled(256 << 20, 64 << 20).try_into().unwrap()));
            let objects = Objects::unverified(SEED, &vec![size; scaled(1000, 20)]);
            put_all(&store, &objects);
            // Chunks that are not full are read from memory, not from the file.
            put_all(&store, &Objects::unverified(SEED + 1, &[64 << 10; 128]));
            store.sync_blocking().unwrap();
            let digests = objects.shuffled_digests(SEED);
            let mut turns = digests.iter().cycle();
            group.throughput(Throughput::Bytes(size));
            group.bench_function(BenchmarkId::new("get_blocking", size), |b| {
                b.iter(|| black_box(store.get_blocking(turns.next().unwrap()).unwrap().unwrap().first().copied()));
            });
            group.bench_function(BenchmarkId::new("by the trait", size), |b| {
                b.iter(|| {
                    let blob = block_on(store.get(&ctx, turns.next().unwrap())).unwrap();
                    black_box(block_on(blob.into_bytes(1 << 20)).unwrap().first().copied())
                });
            });
        }
        group.finish();
    }
}

/// Draws `count` stored digests, `old_percent` of them in old blocks, and as many absent ones, unordered.
fn asked(store: &LocalStore<Cas>, stored: &Objects, count: usize, old_percent: usize) -> Vec<Digest> {
    let blocks = store.snapshot().blocks;
    let is_old =
        |digest: &&Digest| store.block_of(digest).is_some_and(|position| blocks[position].group == BlockGroup::Old);
    let there = stored.shuffled_digests(SEED);
    let (old, others): (Vec<&Digest>, Vec<&Digest>) =
        there.iter().filter(|digest| store.is_stored(digest)).partition(is_old);
    let old_count = count * old_percent / 100;
    assert!(old.len() >= old_count && others.len() >= count - old_count, "{} and {}", old.len(), others.len());
    let absent = Objects::unverified(SEED + 1, &vec![128; count]).shuffled_digests(SEED);
    let there = old[..old_count].iter().chain(&others[..count - old_count]).copied().cloned();
    let mut asked: Vec<Digest> = there.chain(absent).collect();
    Numbers::new(SEED).shuffle(&mut asked);
    asked
}

fn finds(c: &mut Criterion) {
    let ctx = Context::background();
    // 10,000 entries. If half are to be old, half of them are in old blocks.
    let entries = 10_000;
    let store = open(Options::in_memory(64 << 20).with_blocks(15, 15, 1).with_entries(1 << 20));
    // Their size is such that they fill all blocks.
    let objects = Objects::unverified(SEED, &vec![4 << 10; 16_000]);
    put_all(&store, &objects);
    let mut group = c.benchmark_group("find_missing, half there");
    for old_percent in [0, 10, 50] {
        let asked = asked(&store, &objects, entries / 2, old_percent);
        for batch in [1, 32, 1_000, 10_000] {
            let mut batches = asked.chunks(batch).cycle();
            group.throughput(Throughput::Elements(batch.try_into().unwrap()));
            let id = |how: &str| BenchmarkId::new(format!("{how}, {old_percent} % old"), batch);
            group.bench_function(id("find_missing_blocking"), |b| {
                b.iter(|| {
                    let mut missing = 0;
                    store.find_missing_blocking(batches.next().unwrap(), |_| missing += 1).unwrap();
                    black_box(missing)
                });
            });
            let sets: Vec<DigestSet> = asked.chunks(batch).map(|batch| batch.iter().cloned().collect()).collect();
            let mut sets = sets.iter().cycle();
            group.bench_function(id("by the trait"), |b| {
                b.iter(|| black_box(block_on(store.find_missing(&ctx, sets.next().unwrap())).unwrap()));
            });
        }
    }
    group.finish();
}

/// Puts contents, verified by `function` or as they are.
fn put(store: &LocalStore<Cas>, function: Option<DigestFunction>, digest: &Digest, contents: Bytes) {
    if function.is_none() {
        store.put_blocking(digest, contents).unwrap();
    } else {
        let blob = Blob::from_untrusted_bytes(digest, contents, Provenance::client());
        block_on(store.put(&Context::background(), digest, blob)).unwrap();
    }
}

/// Draws `count` objects, none of which was put before.
fn new_objects(
    numbers: &mut Numbers,
    function: Option<DigestFunction>,
    size: usize,
    count: u64,
) -> Vec<(Digest, Bytes)> {
    let objects = (0..count).map(|_| {
        let contents = contents(numbers.draw(), size);
        let digest = if let Some(function) = function {
            Digest::of(InstanceName::empty(), function, &contents)
        } else {
            let (hash, size) = (numbers.bytes(32), size.try_into().unwrap());
            Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size).unwrap()
        };
        (digest, contents)
    });
    objects.collect()
}

fn puts_of(group: &mut BenchmarkGroup<'_, WallTime>, store: &LocalStore<Cas>, function: Option<DigestFunction>) {
    let how = function.map_or("no hash", |function| function.name());
    let mut numbers = Numbers::new(SEED);
    for size in [128, 4 << 10, 64 << 10, 1 << 20, 16 << 20] {
        if is_test_run() && size > 1 << 20 {
            continue;
        }
        group.throughput(Throughput::Bytes(size.try_into().unwrap()));
        group.bench_function(BenchmarkId::new(how, size), |b| {
            b.iter_custom(|count| {
                let mut took = Duration::ZERO;
                let mut left = count;
                // In parts that fit into memory, made before they are put.
                while left > 0 {
                    let part = left.min((256 << 20) / u64::try_from(size).unwrap()).min(100_000);
                    let objects = new_objects(&mut numbers, function, size, part);
                    #[expect(clippy::disallowed_methods, reason = "it is what a benchmark measures by")]
                    let begun = Instant::now();
                    for (digest, contents) in objects {
                        put(store, function, &digest, contents);
                    }
                    took += begun.elapsed();
                    left -= part;
                }
                took
            });
        });
    }
}

fn puts(c: &mut Criterion) {
    for place in Place::ALL {
        let mut group = c.benchmark_group(format!("put, {}", place.name()));
        for function in [None, Some(DigestFunction::Sha256), Some(DigestFunction::Blake3)] {
            let directory = temporary_directory();
            let capacity = scaled(2 << 30, 128 << 20).try_into().unwrap();
            let entries = scaled(1 << 20, 1 << 14).try_into().unwrap();
            let store = open(place.options(directory.path(), capacity).with_entries(entries));
            puts_of(&mut group, &store, function);
        }
        group.finish();
    }
}

fn syncs(c: &mut Criterion) {
    let mut group = c.benchmark_group("sync, by what was put since the last one");
    let directory = temporary_directory();
    let store = open(Place::File.options(directory.path(), scaled(1 << 30, 128 << 20).try_into().unwrap()));
    let mut numbers = Numbers::new(SEED);
    for dirty in [0_usize, 4 << 10, 64 << 10, 1 << 20, 16 << 20] {
        if is_test_run() && dirty > 1 << 20 {
            continue;
        }
        group.bench_function(BenchmarkId::from_parameter(dirty), |b| {
            b.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    for size in std::iter::repeat_n(dirty.min(64 << 10), dirty.div_ceil(64 << 10)) {
                        for (digest, contents) in new_objects(&mut numbers, None, size, 1) {
                            store.put_blocking(&digest, contents).unwrap();
                        }
                    }
                    #[expect(clippy::disallowed_methods, reason = "it is what a benchmark measures by")]
                    let begun = Instant::now();
                    store.sync_blocking().unwrap();
                    took += begun.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(
    name = benches;
    // A second each: there are some seventy.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = gets, finds, puts, syncs
);
criterion_main!(benches);
