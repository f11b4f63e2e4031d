//! The cost of reading through a reference, for each kind of source: time, and allocations.

#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails loudly")]

#[path = "../tests/expanding/server.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod server;

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;

use blobaccess::{BlobAccess, BlobAccessExt, Cas, Compressor, Context, Digest, Icas, InstanceName, MemoryStore};
use blobaccess_icas::object_store::ObjectStoreExt;
use blobaccess_icas::object_store::memory::InMemory;
use blobaccess_icas::{AllowedHosts, BucketSource, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_testkit::allocations::{Counting, counting};
use blobaccess_testkit::{Numbers, digest_of};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

use crate::server::{Answer, Server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Store = Arc<dyn BlobAccess<Kind = Cas>>;

/// Makes contents of `size` bytes, half of which compresses.
fn contents(size: usize) -> Vec<u8> {
    let noise = Numbers::new(1).bytes(size);
    noise.into_iter().enumerate().map(|(at, byte)| if at % 4096 < 2048 { byte } else { 7 }).collect()
}

fn deflated(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

/// Returns stores that read the same blob: straight from memory, and through a reference to each kind of source.
async fn stores(contents: Vec<u8>) -> (Digest, Vec<(&'static str, Store)>) {
    let (ctx, digest) = (Context::background(), digest_of(&contents));
    let memory = Arc::new(MemoryStore::<Cas>::new(256 << 20));
    memory.put_bytes(&ctx, &digest, contents.clone()).await.unwrap();
    let bucket = Arc::new(InMemory::new());
    bucket.put(&"plain".into(), contents.clone().into()).await.unwrap();
    bucket.put(&"zstd".into(), zstd::bulk::compress(&contents, 3).unwrap().into()).await.unwrap();
    bucket.put(&"deflate".into(), deflated(&contents).into()).await.unwrap();
    let server = Arc::new(Server::start(move |request| Answer::file(request, &contents)).await);
    let url = server.url("/a");
    let address = server.address.to_string();
    // It serves for as long as the benchmark runs.
    Box::leak(Box::new(server));

    let direct: Store = Arc::<MemoryStore<Cas>>::clone(&memory);
    let mut stores = vec![("no reference", direct)];
    for (name, reference) in [
        ("another store", Reference::blob(&digest)),
        ("bucket", Reference::s3("bucket", "plain")),
        ("bucket, zstd", Reference::s3("bucket", "zstd").with_compressor(Compressor::Zstd)),
        ("bucket, deflate", Reference::s3("bucket", "deflate").with_compressor(Compressor::Deflate)),
        ("web server", Reference::http(url)),
    ] {
        let hosts = AllowedHosts::none().with_host(&address).unwrap();
        let store = ReferenceExpanding::new(MemoryStore::<Icas>::new(1 << 20), ExpandingOptions::new(hosts)).unwrap();
        let store = store
            .with_s3_bucket("bucket", BucketSource::new(Arc::<InMemory>::clone(&bucket)))
            .with_store(&InstanceName::empty(), Arc::<MemoryStore<Cas>>::clone(&memory));
        store.references().put_bytes(&ctx, &digest, reference.to_bytes()).await.unwrap();
        stores.push((name, Arc::new(store)));
    }
    (digest, stores)
}

fn expanding(c: &mut Criterion) {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ctx = Context::background();
    for (size_name, size) in [("1 KiB", 1 << 10), ("16 MiB", 16 << 20)] {
        let (digest, stores) = runtime.block_on(stores(contents(size)));
        let mut group = c.benchmark_group(size_name);
        group.throughput(Throughput::Bytes(digest.size_bytes()));
        if size > 1 << 20 {
            group.sample_size(10);
        }
        for (name, store) in stores {
            let get = async || {
                // The last piece is verified with all others, and nothing is joined.
                let blob = store.get(&ctx, &digest).await.unwrap();
                blob.verify().await.unwrap();
                black_box(());
            };
            runtime.block_on(get());
            let (counted, ()) = counting(|| (0..10).for_each(|_| runtime.block_on(get())));
            println!("{size_name}, {name}: {} allocations a get", counted.calls / 10);
            group.bench_function(name, |b| b.iter(|| runtime.block_on(get())));
        }
        group.finish();
    }
}

criterion_group!(benches, expanding);
criterion_main!(benches);
