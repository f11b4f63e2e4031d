//! Every bucket, in every layout, held to the suite.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blobaccess::{Ac, Cas, Digest, DigestFunction, InstanceName, Kind, Result};
use blobaccess_s3_backend::sim::{self, SimS3};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Layout, OnMissingConditions};
use blobaccess_testkit::foreign_answers::{AnswerEnd, ForeignAnswer};
use blobaccess_testkit::{Damage, Fixture, Promises, conformance};
use bytes::Bytes;
use tempfile::TempDir;

conformance! {
    memory: Cas + ResolveUpload + Inventory => Fixed::<Cas>::new(Bucket::memory(), own()),
    memory_compressed: Cas + ResolveUpload + Inventory => Fixed::<Cas>::new(Bucket::memory(), compressed()),
    memory_of_bazel_remote: Cas + ResolveUpload + Inventory => Fixed::<Cas>::new(Bucket::memory(), bazel_remote()),
    memory_of_action_results: Ac + ResolveUpload + Inventory => Fixed::<Ac>::new(Bucket::memory(), own()),
    memory_below_a_prefix: Cas + ResolveUpload + Inventory =>
        Fixed::<Cas>::new(Bucket::memory().with_prefix("a/b").unwrap(), own()),

    directory: Cas + Inventory => Directory::<Cas>::new(own()),
    directory_compressed: Cas + Inventory => Directory::<Cas>::new(compressed()),
    directory_of_bazel_remote: Cas + Inventory => Directory::<Cas>::new(bazel_remote()),
    directory_of_action_results: Ac + Inventory => Directory::<Ac>::new(own()),
    directory_of_action_results_of_bazel_remote: Ac => Directory::<Ac>::new(bazel_remote()),

    s3: Cas + ResolveUpload + Inventory => Sim::<Cas>::new(SimS3::new(1), own()),
    // So little that nearly every blob goes in parts, one at a time.
    s3_in_small_steps: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1), small(own()).with_list_from_digests(1).with_ask_first_from_bytes(0)),
    s3_that_asks_for_each: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1), own().with_list_from_digests(usize::MAX)),
    s3_compressed: Cas + ResolveUpload + Inventory => Sim::<Cas>::new(SimS3::new(1), small(compressed())),
    s3_of_bazel_remote: Cas + ResolveUpload + Inventory => Sim::<Cas>::new(SimS3::new(1), small(bazel_remote())),
    s3_that_claims: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1).completing_unconditionally(), small(own())),
    s3_that_claims_compressed: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1).completing_unconditionally(), small(compressed())),
    s3_that_answers_not_modified: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1).answering_not_modified(), own()),
    s3_degraded: Cas + Inventory =>
        Sim::<Cas>::new(SimS3::new(1).ignoring_conditions(), own().with_on_missing_conditions(OnMissingConditions::Degrade))
            .promising(|promises| promises.with_exact_outcomes(false)),
    s3_without_metadata: Cas + Inventory => Sim::<Cas>::new(SimS3::new(1).dropping_metadata(), own()),
    s3_like_ceph: Cas + ResolveUpload + Inventory =>
        Sim::<Cas>::new(SimS3::new(1).completing_unconditionally().comparing_bare_e_tags(), small(own())),
    s3_like_ceph_of_action_results: Ac + ResolveUpload + Inventory =>
        Sim::<Ac>::new(SimS3::new(1).comparing_bare_e_tags(), own()),
    s3_of_action_results: Ac + ResolveUpload + Inventory => Sim::<Ac>::new(SimS3::new(1), own()),
    s3_of_action_results_of_bazel_remote: Ac + ResolveUpload => Sim::<Ac>::new(SimS3::new(1), bazel_remote()),
    s3_of_action_results_degraded: Ac + Inventory =>
        Sim::<Ac>::new(SimS3::new(1).ignoring_conditions(), own().with_on_missing_conditions(OnMissingConditions::Degrade))
            .promising(|promises| promises.with_exact_outcomes(false)),
}

const MAX_MESSAGE_BYTES: u64 = 1 << 20;

fn own() -> BucketOptions {
    BucketOptions::default()
        .with_backoff(Duration::from_millis(1), Duration::from_millis(4))
        .with_max_message_size_bytes(MAX_MESSAGE_BYTES)
        .with_attempts(6)
}

fn compressed() -> BucketOptions {
    own().with_layout(Layout::own_compressed())
}

fn bazel_remote() -> BucketOptions {
    own().with_layout(Layout::bazel_remote())
}

/// Returns options that send the suite's large blobs, of a few MiB, in parts.
fn small(options: BucketOptions) -> BucketOptions {
    options.with_single_put_max_bytes(0).with_part_size_bytes(0).with_concurrent_parts(1)
}

fn promises<K: Kind>(options: &BucketOptions) -> Promises {
    let contents = !K::STORAGE_TYPE.is_mutable();
    Promises::IN_MEMORY
        .with_durable(true)
        .with_max_blob_size_bytes((!contents).then_some(MAX_MESSAGE_BYTES))
        .with_empty_blob_exists(contents && options.layout() != Layout::own())
}

/// A bucket that outlives its store.
struct Fixed<K> {
    bucket: Bucket,
    options: BucketOptions,
    kind: PhantomData<K>,
}

impl<K> Fixed<K> {
    fn new(bucket: Bucket, options: BucketOptions) -> Self {
        Self { bucket, options, kind: PhantomData }
    }
}

impl<K: Kind> Fixture for Fixed<K> {
    type Store = BucketStore<K>;

    fn promises(&self) -> Promises {
        promises::<K>(&self.options)
    }

    async fn open(&self) -> Result<BucketStore<K>> {
        BucketStore::open(self.bucket.clone(), self.options.clone()).await
    }

    fn layers(&self) -> Vec<String> {
        vec!["bucket(memory".to_owned()]
    }
}

/// A directory, whose lock each store takes anew.
struct Directory<K> {
    root: TempDir,
    options: BucketOptions,
    kind: PhantomData<K>,
}

impl<K> Directory<K> {
    fn new(options: BucketOptions) -> Self {
        Self { root: TempDir::new().unwrap(), options: small(options), kind: PhantomData }
    }
}

impl<K: Kind> Fixture for Directory<K> {
    type Store = BucketStore<K>;

    fn promises(&self) -> Promises {
        promises::<K>(&self.options)
    }

    async fn open(&self) -> Result<BucketStore<K>> {
        BucketStore::open(Bucket::directory(self.root.path(), false)?, self.options.clone()).await
    }

    fn damage(&self, digest: &Digest, _contents: &Bytes, damage: Damage) -> bool {
        let file = find_file(self.root.path(), &digest.hash().to_string());
        // A message has nothing to be verified by.
        let is_damaged = damage == Damage::Wrong && !K::STORAGE_TYPE.is_mutable();
        if is_damaged {
            let file = file.unwrap();
            let mut contents = std::fs::read(&file).unwrap();
            *contents.last_mut().unwrap() ^= 1;
            std::fs::write(&file, contents).unwrap();
        }
        is_damaged
    }

    fn layers(&self) -> Vec<String> {
        vec!["bucket(directory(".to_owned()]
    }
}

/// Returns the file within `folder` whose name has `hash` in it.
fn find_file(folder: &Path, hash: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return find_file(&path, hash);
        }
        path.file_name()?.to_str()?.contains(hash).then_some(path)
    })
}

/// An S3 within the process, which can break down.
struct Sim<K> {
    server: SimS3,
    options: BucketOptions,
    promises: Promises,
    kind: PhantomData<K>,
}

impl<K: Kind> Sim<K> {
    fn new(server: SimS3, options: BucketOptions) -> Self {
        Self { server, promises: promises::<K>(&options), options, kind: PhantomData }
    }

    fn promising(self, change: impl FnOnce(Promises) -> Promises) -> Self {
        Self { promises: change(self.promises), ..self }
    }
}

impl<K: Kind> Fixture for Sim<K> {
    type Store = BucketStore<K>;

    fn promises(&self) -> Promises {
        self.promises
    }

    async fn open(&self) -> Result<BucketStore<K>> {
        BucketStore::open(self.server.bucket()?, self.options.clone()).await
    }

    fn break_down(&self) -> bool {
        self.server.set_broken(true);
        true
    }

    fn answer_with(&self, answer: &ForeignAnswer) -> bool {
        let mut foreign = sim::ForeignAnswer::new(answer.status).with_body(answer.body.to_string());
        for (name, value) in &answer.headers {
            foreign = foreign.with_header(*name, value.as_ref());
        }
        self.server.set_foreign_answer(Some(match answer.end {
            AnswerEnd::Whole => foreign,
            AnswerEnd::Cut => foreign.cut(),
            AnswerEnd::Closed => foreign.closed(),
            AnswerEnd::Reset => foreign.reset(),
            AnswerEnd::NotConnected => foreign.not_connected(),
        }));
        true
    }

    fn mend(&self) {
        self.server.set_broken(false);
        self.server.set_foreign_answer(None);
    }

    fn damage(&self, digest: &Digest, _contents: &Bytes, _damage: Damage) -> bool {
        let hash = digest.hash().to_string();
        let object = self.server.objects().into_keys().find(|key| key.contains(&hash));
        // A message has nothing to be verified by.
        let Some(key) = object.filter(|_| !K::STORAGE_TYPE.is_mutable()) else { return false };
        let mut contents = self.server.object(&key).unwrap().to_vec();
        *contents.last_mut().unwrap() ^= 1;
        self.server.insert(&key, contents);
        true
    }

    fn layers(&self) -> Vec<String> {
        vec!["bucket(AmazonS3(bucket)".to_owned()]
    }
}

#[test]
fn the_layout_of_bazel_remote_takes_no_other_digest_function() {
    let name = InstanceName::empty();
    let digest = Digest::of(name, DigestFunction::Blake3, b"x");
    blobaccess_testkit::run(async {
        let store = Fixed::<Cas>::new(Bucket::memory(), bazel_remote()).open().await?;
        let ctx = blobaccess::Context::background();
        let put = blobaccess::BlobAccess::put(&store, &ctx, &digest, blobaccess::Blob::from_bytes("x")).await;
        assert_eq!(put.unwrap_err().kind(), blobaccess::ErrorKind::InvalidArgument);
        Ok(())
    });
}
