//! Servers that somebody else has written. Each test is ignored unless it is asked for, and needs an address:
//!
//! | variable | is |
//! |---|---|
//! | `BLOBACCESS_S3_ENDPOINT` | that of a server whose creates are atomic, such as Ceph RGW: `http://127.0.0.1:8000` |
//! | `BLOBACCESS_MOTO_ENDPOINT` | that of moto, whose completions heed conditions |
//! | `BLOBACCESS_S3_BUCKET` | a bucket that exists on each of them (`blobaccess`) |
//! | `BLOBACCESS_S3_ACCESS_KEY_ID`, `BLOBACCESS_S3_SECRET_ACCESS_KEY` | who asks (`AKIDTEST`, `SECRETTEST`) |
//!
//! What they leave lies below a prefix of its own.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::env;
use std::marker::PhantomData;
use std::sync::Arc;

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Kind, PutOutcome, Result};
use blobaccess_s3_backend::object_store::aws::AmazonS3Builder;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection, Layout, OnMissingConditions, ProbeRaces};
use blobaccess_testkit::{Fixture, Promises, conformance};
use bytes::Bytes;
use futures::future::join_all;
use uuid::Uuid;

conformance! {
    #[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
    contents: Cas + ResolveUpload + Inventory => Server::<Cas>::new(small_probe()),
    #[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
    contents_in_parts: Cas + ResolveUpload + Inventory => Server::<Cas>::new(in_parts()),
    #[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
    contents_of_bazel_remote: Cas + ResolveUpload + Inventory =>
        Server::<Cas>::new(in_parts().with_layout(Layout::bazel_remote())),
    #[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
    action_results: Ac + ResolveUpload + Inventory => Server::<Ac>::new(small_probe()),
}

const MAX_MESSAGE_BYTES: u64 = 1 << 20;

fn in_parts() -> BucketOptions {
    small_probe().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20)
}

/// Returns options without races: each test has a prefix of its own, below which no result is remembered.
fn small_probe() -> BucketOptions {
    BucketOptions::default().with_probe_races(ProbeRaces::Never)
}

fn variable(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

fn bucket(endpoint: &str) -> Bucket {
    let endpoint = env::var(endpoint).unwrap_or_else(|_| unreachable!("{endpoint} is to be set"));
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(variable("BLOBACCESS_S3_BUCKET", "blobaccess"))
        .with_region("us-east-1")
        .with_access_key_id(variable("BLOBACCESS_S3_ACCESS_KEY_ID", "AKIDTEST"))
        .with_secret_access_key(variable("BLOBACCESS_S3_SECRET_ACCESS_KEY", "SECRETTEST"));
    let bucket = Bucket::s3(builder, &Connection::default().with_allow_http(true)).unwrap();
    bucket.with_prefix(&format!("test-{}", Uuid::new_v4())).unwrap()
}

/// A prefix of the bucket, which outlives its stores.
struct Server<K> {
    bucket: Bucket,
    options: BucketOptions,
    kind: PhantomData<K>,
}

impl<K> Server<K> {
    fn new(options: BucketOptions) -> Self {
        let options = options.with_max_message_size_bytes(MAX_MESSAGE_BYTES);
        Self { bucket: bucket("BLOBACCESS_S3_ENDPOINT"), options, kind: PhantomData }
    }
}

impl<K: Kind> Fixture for Server<K> {
    type Store = BucketStore<K>;

    fn promises(&self) -> Promises {
        let contents = !K::STORAGE_TYPE.is_mutable();
        Promises::IN_MEMORY
            .with_durable(true)
            // Ceph RGW 16 answers some updates that race in a way that says nothing of what became of them.
            .with_exact_outcomes(contents)
            .with_max_blob_size_bytes((!contents).then_some(MAX_MESSAGE_BYTES))
            .with_empty_blob_exists(contents && self.options.layout() != Layout::own())
    }

    async fn open(&self) -> Result<BucketStore<K>> {
        BucketStore::open(self.bucket.clone(), self.options.clone()).await
    }
}

fn random(size: usize) -> (Digest, Bytes) {
    let contents: Bytes = Uuid::new_v4().as_bytes().iter().copied().cycle().take(size).collect::<Vec<_>>().into();
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

async fn race(store: &Arc<BucketStore<Cas>>, size: usize) -> usize {
    let (digest, contents) = random(size);
    let tasks = (0..8).map(|_| {
        let (store, digest, contents) = (Arc::clone(store), digest.clone(), contents.clone());
        tokio::spawn(async move { store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await })
    });
    let outcomes = join_all(tasks).await;
    outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Ok(PutOutcome::Created { .. })))).count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn of_eight_that_race_one_creates() {
    for (options, size, rounds) in [(BucketOptions::default(), 1000, 50), (in_parts(), 6 << 20, 3)] {
        let store = Arc::new(BucketStore::<Cas>::open(bucket("BLOBACCESS_S3_ENDPOINT"), options).await.unwrap());
        println!("{}", store.snapshot().findings);
        for round in 0..rounds {
            assert_eq!(race(&store, size).await, 1, "round {round} of {size} bytes");
        }
    }
}

#[tokio::test]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn what_is_uploaded_again_already_exists() {
    let store = BucketStore::<Cas>::open(bucket("BLOBACCESS_S3_ENDPOINT"), BucketOptions::default()).await.unwrap();
    uploads_twice(&store, 1000).await;
}

#[tokio::test]
#[ignore = "needs moto at BLOBACCESS_MOTO_ENDPOINT"]
async fn a_completion_that_heeds_its_condition_creates_once() {
    let store = BucketStore::<Cas>::open(bucket("BLOBACCESS_MOTO_ENDPOINT"), in_parts()).await.unwrap();
    assert!(store.snapshot().findings.conditional_completion, "{}", store.snapshot().findings);
    uploads_twice(&store, 11 << 20).await;
}

#[tokio::test]
#[ignore = "needs moto at BLOBACCESS_MOTO_ENDPOINT"]
async fn completions_that_race_are_seen_at_the_start() {
    // It lets several succeed in most races, but not in all.
    for _ in 0..5 {
        let options = BucketOptions::default().with_on_missing_conditions(OnMissingConditions::Degrade);
        let store = BucketStore::<Cas>::open(bucket("BLOBACCESS_MOTO_ENDPOINT"), options).await.unwrap();
        let findings = store.snapshot().findings;
        assert!(findings.raced, "{findings}");
        if !findings.conditional_completion {
            assert!(findings.shortcomings().contains(&"completions ignore their condition"), "{findings}");
            return;
        }
    }
    unreachable!("no race of five was won by two");
}

#[tokio::test]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn creates_that_race_are_told_apart_and_that_is_remembered() {
    let bucket = bucket("BLOBACCESS_S3_ENDPOINT");
    for raced in [true, false] {
        let before = bucket.requests().total();
        let store = BucketStore::<Cas>::open(bucket.clone(), BucketOptions::default()).await.unwrap();
        let findings = store.snapshot().findings;
        assert!(findings.raced && findings.conditional_put, "{findings}");
        let probe_key = findings.shortcomings().join("; ");
        println!("races run: {raced}, {} requests; lacks: {probe_key}", bucket.requests().total() - before);
    }
}

async fn uploads_twice(store: &BucketStore<Cas>, size: usize) {
    let (digest, contents) = random(size);
    let stored_bytes = digest.size_bytes();
    let ctx = Context::background();
    for expected in [PutOutcome::Created { stored_bytes }, PutOutcome::AlreadyExists { stored_bytes }] {
        let outcome = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
        assert_eq!(outcome, expected);
    }
    assert!(store.get(&ctx, &digest).await.unwrap().into_bytes(stored_bytes).await.unwrap() == contents);
}
