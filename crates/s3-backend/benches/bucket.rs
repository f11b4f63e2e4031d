//! The cost of a bucket: requests to find, and throughput compared with the plain client library.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::env;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::ExistenceCaching;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_s3_backend::object_store::path::Path;
use blobaccess_s3_backend::object_store::{self, ClientOptions, ObjectStore, PutMode, PutOptions, client};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use uuid::Uuid;

const CONCURRENT: usize = 8;

const REMEMBERED: usize = 100_000;

fn is_test() -> bool {
    env::args().any(|argument| argument == "--test")
}

fn numbered(number: u64) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes())
}

/// Requests for 10,000 digests, half of them there, among as many others as the line says: cold, and again below an
/// existence cache, which remembers those that are there.
fn finding(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("find_missing");
    group.sample_size(10);
    let asked_count: u64 = if is_test() { 1_000 } else { 10_000 };
    for others in [0, 100_000] {
        let others = if is_test() { others / 100 } else { others };
        let sim = SimS3::new(1);
        for number in (0..asked_count / 2).chain(1_000_000..1_000_000 + others) {
            let hash = numbered(number).hash().to_string();
            sim.insert(&format!("cas/sha256/{}/{hash}-8", hash.get(..2).unwrap()), vec![0; 8]);
        }
        let asked: DigestSet = (0..asked_count).map(numbered).collect();
        for (name, list_from) in [("listing", 64), ("asking", usize::MAX)] {
            let options = BucketOptions::default().with_probe(false).with_list_from_digests(list_from);
            let store = Arc::new(runtime.block_on(BucketStore::<Cas>::open(sim.bucket().unwrap(), options)).unwrap());
            let before = store.snapshot().requests.total();
            let missing = runtime.block_on(store.find_missing(&Context::background(), &asked)).unwrap();
            assert_eq!(u64::try_from(missing.len()).unwrap(), asked_count / 2);
            let requests = store.snapshot().requests.total() - before;
            println!("find_missing of {asked_count} beside {others} others, {name}: {requests} requests");
            let cached = ExistenceCaching::new(Arc::clone(&store), REMEMBERED, Duration::from_hours(1));
            runtime.block_on(cached.find_missing(&Context::background(), &asked)).unwrap();
            let before = store.snapshot().requests.total();
            runtime.block_on(cached.find_missing(&Context::background(), &asked)).unwrap();
            let requests = store.snapshot().requests.total() - before;
            println!("the same below an existence cache that is warm: {requests} requests");
            group.bench_function(format!("{name} beside {others} others"), |bencher| {
                bencher.iter(|| runtime.block_on(store.find_missing(&Context::background(), &asked)).unwrap());
            });
        }
    }
    group.finish();
}

/// Uploads over loopback: ours, and those of the plain client library over the same server.
fn uploading(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let sim = SimS3::new(1);
    let served = sim.clone();
    runtime.spawn(async move { served.serve(listener).await });
    let connection = Connection::default().with_allow_http(true);
    let store = runtime
        .block_on(BucketStore::<Cas>::open(
            Bucket::s3(SimS3::builder_at(&endpoint), &connection).unwrap(),
            BucketOptions::default().with_ask_first_from_bytes(u64::MAX),
        ))
        .unwrap();
    let store = Arc::new(store);
    let plain = Arc::new(SimS3::builder_at(&endpoint).with_http_connector(Reqwest).build().unwrap());
    for size in [4 << 10, 1 << 20] {
        let count = if is_test() { 4 } else { 64 };
        let mut group = criterion.benchmark_group(format!("upload {count} of {size} bytes"));
        group.sample_size(20).throughput(Throughput::Bytes(u64::try_from(size * count).unwrap()));
        let fresh = || {
            for key in sim.objects().into_keys() {
                sim.remove(&key);
            }
            (0..count)
                .map(|_| {
                    let mut contents = vec![0; size];
                    contents.iter_mut().zip(Uuid::new_v4().as_bytes()).for_each(|(byte, drawn)| *byte = *drawn);
                    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
                    (digest, Bytes::from(contents))
                })
                .collect::<Vec<_>>()
        };
        group.bench_function("ours", |bencher| {
            bencher.iter_batched(
                fresh,
                |blobs| {
                    runtime.block_on(stream::iter(blobs).for_each_concurrent(CONCURRENT, |(digest, contents)| {
                        let store = Arc::clone(&store);
                        async move {
                            // Verified by whoever received it: the client library does not hash either.
                            let blob = Blob::from_verified_bytes(&digest, contents);
                            let outcome = store.put(&Context::background(), &digest, blob).await.unwrap();
                            assert_eq!(outcome.name(), "created");
                        }
                    }));
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function("plain client library", |bencher| {
            bencher.iter_batched(
                fresh,
                |blobs| {
                    runtime.block_on(stream::iter(blobs).for_each_concurrent(CONCURRENT, |(digest, contents)| {
                        let plain = Arc::clone(&plain);
                        async move {
                            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                            let path = Path::from(digest.hash().to_string());
                            plain.put_opts(&path, contents.into(), options).await.unwrap();
                        }
                    }));
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

/// The client library's own HTTP client: its connector would want a provider of cryptography.
#[derive(Debug)]
struct Reqwest;

impl client::HttpConnector for Reqwest {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<client::HttpClient> {
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
        Ok(client::HttpClient::new(client))
    }
}

criterion_group!(benches, finding, uploading);
criterion_main!(benches);
