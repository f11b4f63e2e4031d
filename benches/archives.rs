//! A ZIP archive: puts while it is written, gets while it is written and from a finished one, and opening it.

#![expect(clippy::unwrap_used, reason = "a benchmark fails loudly")]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest};
use blobaccess_workbench::{blobs, scaled};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

async fn put(store: &impl BlobAccess, (digest, bytes): &(Digest, Bytes)) {
    let blob = Blob::from_verified_bytes(digest, bytes.clone());
    black_box(store.put(&Context::background(), digest, blob).await.unwrap());
}

async fn get(store: &impl BlobAccess, (digest, bytes): &(Digest, Bytes)) {
    let blob = store.get(&Context::background(), digest).await.unwrap();
    let max = u64::try_from(bytes.len()).unwrap();
    black_box(blob.into_bytes(max).await.unwrap());
}

fn archives(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (size, name) in [(1 << 10, "1 KiB"), (64 << 10, "64 KiB"), (4 << 20, "4 MiB")] {
        let all = blobs(1, scaled(100, 10).min((256 << 20) / size), size);
        let path = directory.path().join(format!("{size}.zip"));
        let written = runtime.block_on(ZipWritingStore::<Cas>::create(&path, ZipOptions::new())).unwrap();
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(all.len().try_into().unwrap()));
        let new = AtomicUsize::new(0);
        group.bench_function("put of each", |b| {
            // An archive keeps all, so each is used for a hundred puts.
            let store = || {
                let path = directory.path().join(format!("new {}.zip", new.fetch_add(1, Ordering::Relaxed)));
                let store = runtime.block_on(ZipWritingStore::<Cas>::create(&path, ZipOptions::new())).unwrap();
                std::fs::remove_file(path).unwrap();
                store
            };
            let puts = |store: ZipWritingStore<Cas>| {
                let all = &all;
                async move {
                    for blob in all {
                        put(&store, blob).await;
                    }
                    store
                }
            };
            // Not by `to_async`, which makes each archive within the runtime.
            b.iter_batched(store, |store| runtime.block_on(puts(store)), BatchSize::PerIteration);
        });
        for blob in &all {
            runtime.block_on(put(&written, blob));
        }
        group.throughput(Throughput::Bytes(size.try_into().unwrap()));
        let mut next = all.iter().cycle();
        group.bench_function("put of what is there", |b| {
            b.to_async(&runtime).iter(|| put(&written, next.next().unwrap()));
        });
        group.bench_function("get while it is written", |b| {
            b.to_async(&runtime).iter(|| get(&written, next.next().unwrap()));
        });
        runtime.block_on(written.finish()).unwrap();
        let read = runtime.block_on(ZipReadingStore::<Cas>::open(&path, ZipOptions::new())).unwrap();
        group.bench_function("get", |b| b.to_async(&runtime).iter(|| get(&read, next.next().unwrap())));
        group.finish();
    }
    open(c, &runtime);
}

/// Measures how long it takes to read the directory of an archive.
fn open(c: &mut Criterion, runtime: &Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive.zip");
    let entries = scaled(100_000, 100);
    runtime.block_on(async {
        let store = ZipWritingStore::<Cas>::create(&path, ZipOptions::new()).await.unwrap();
        for blob in &blobs(2, entries, 16) {
            put(&store, blob).await;
        }
        store.finish().await.unwrap();
    });
    let mut group = c.benchmark_group(format!("open an archive of {entries}"));
    group.throughput(Throughput::Elements(entries.try_into().unwrap()));
    group.sample_size(10);
    group.bench_function("open", |b| {
        b.to_async(runtime).iter(|| async {
            black_box(ZipReadingStore::<Cas>::open(&path, ZipOptions::new()).await.unwrap());
        });
    });
    group.finish();
}

criterion_group!(benches, archives);
criterion_main!(benches);
