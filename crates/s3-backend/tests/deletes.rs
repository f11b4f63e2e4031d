//! Deletions of single blobs, and the accounts that objects keep.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::time::Duration;

use blobaccess::{
    Ac, AccountName, Blob, BlobAccess, Cas, Context, DeleteBlob, DeleteOutcome, Digest, DigestFunction, ErrorKind,
    InstanceName, Inventory, Kind, StoredBlob, UploadToken,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, DigestSizes, Layout};
use blobaccess_testkit::list_all;
use tempfile::TempDir;

fn options() -> BucketOptions {
    BucketOptions::default().with_backoff(Duration::ZERO, Duration::ZERO).with_attempts(4)
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new("acme/main").unwrap(), DigestFunction::Sha256, contents)
}

fn upload(number: u8, account: &str) -> Context {
    Context::background()
        .with_upload_token(UploadToken::from_bytes([number; 16]))
        .with_counted_account(AccountName::new(account))
}

async fn open<K: Kind>(bucket: Bucket, options: BucketOptions) -> BucketStore<K> {
    BucketStore::open(bucket, options).await.unwrap()
}

async fn stored<K: Kind>(store: &BucketStore<K>, digest: &Digest) -> Option<StoredBlob> {
    store.stored_blob(&Context::background(), digest).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_object_keeps_the_account_of_its_upload_whole_or_in_parts() {
    let contents = vec![7; 6 << 20];
    for claims in [false, true] {
        let sim = SimS3::new(1);
        let sim = if claims { sim.completing_unconditionally() } else { sim };
        let store: BucketStore<Cas> =
            open(sim.bucket().unwrap(), options().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20)).await;
        for (number, contents, account) in [(1, b"small".to_vec(), "日本/ä b"), (2, contents.clone(), "acme")] {
            let digest = digest(&contents);
            store.put(&upload(number, account), &digest, Blob::from_bytes(contents)).await.unwrap();
            let found = stored(&store, &digest).await.unwrap();
            assert_eq!(found.account_name, Some(AccountName::new(account)));
            assert_eq!(found.upload_token, Some(UploadToken::from_bytes([number; 16])));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_nobody_counts_for_is_not_kept() {
    let store: BucketStore<Cas> = open(SimS3::new(1).bucket().unwrap(), options()).await;
    // A peer may name any account, and a put may come without a layer that counts.
    let ctx = Context::background().with_account_name(AccountName::new("peer"));
    let digest = digest(b"hello");
    store.put(&ctx, &digest, Blob::from_bytes("hello")).await.unwrap();
    assert_eq!(stored(&store, &digest).await.unwrap().account_name, None);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_result_has_the_account_of_the_last_upload() {
    let store: BucketStore<Ac> = open(SimS3::new(1).bucket().unwrap(), options()).await;
    let digest = digest(b"action");
    for (number, account) in [(1, "first"), (2, "second")] {
        store.put(&upload(number, account), &digest, Blob::from_bytes(vec![number; 9])).await.unwrap();
        assert_eq!(stored(&store, &digest).await.unwrap().account_name, Some(AccountName::new(account)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_deleted_once_in_every_bucket_and_layout() {
    let root = TempDir::new().unwrap();
    let buckets = [
        Bucket::memory(),
        Bucket::directory(root.path(), false).unwrap(),
        SimS3::new(1).bucket().unwrap(),
        SimS3::new(1).deleting_unconditionally().bucket().unwrap(),
    ];
    for (bucket, layout) in
        buckets.iter().flat_map(|bucket| [(bucket, Layout::own()), (bucket, Layout::bazel_remote())])
    {
        let store: BucketStore<Cas> = open(bucket.clone(), options().with_layout(layout)).await;
        let ctx = Context::background();
        let digest = digest(b"hello");
        assert_eq!(stored(&store, &digest).await, None);
        store.put(&upload(1, "acme"), &digest, Blob::from_bytes("hello")).await.unwrap();
        let found = stored(&store, &digest).await.unwrap();
        assert_eq!(
            store.delete_blob(&ctx, &digest, &found).await.unwrap(),
            DeleteOutcome::Deleted,
            "{bucket} {layout}"
        );
        assert_eq!(store.get(&ctx, &digest).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(stored(&store, &digest).await, None);
        let again = store.delete_blob(&ctx, &digest, &found).await.unwrap();
        // A server does not tell whether there was anything.
        assert!(matches!(again, DeleteOutcome::Absent | DeleteOutcome::Deleted), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_replaced_meanwhile_is_not_deleted() {
    for bucket in
        [Bucket::memory(), SimS3::new(1).bucket().unwrap(), SimS3::new(1).comparing_bare_e_tags().bucket().unwrap()]
    {
        let store: BucketStore<Ac> = open(bucket, options()).await;
        let digest = digest(b"action");
        store.put(&upload(1, "first"), &digest, Blob::from_bytes("one")).await.unwrap();
        let before = stored(&store, &digest).await.unwrap();
        store.put(&upload(2, "second"), &digest, Blob::from_bytes("two")).await.unwrap();
        let ctx = Context::background();
        assert_eq!(store.delete_blob(&ctx, &digest, &before).await.unwrap(), DeleteOutcome::Replaced);
        let now = stored(&store, &digest).await.unwrap();
        assert_eq!(now.account_name, Some(AccountName::new("second")));
        assert_eq!(store.delete_blob(&ctx, &digest, &now).await.unwrap(), DeleteOutcome::Deleted);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_no_absence_and_a_lost_answer_no_failure() {
    let sim = SimS3::new(1);
    let store: BucketStore<Cas> = open(sim.bucket().unwrap(), options()).await;
    let (ctx, digest) = (Context::background(), digest(b"hello"));
    store.put(&upload(1, "acme"), &digest, Blob::from_bytes("hello")).await.unwrap();
    let found = stored(&store, &digest).await.unwrap();
    sim.set_broken(true);
    assert_eq!(store.stored_blob(&ctx, &digest).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.delete_blob(&ctx, &digest, &found).await.unwrap_err().kind(), ErrorKind::Unavailable);
    sim.set_broken(false);
    sim.set_deleted(true);
    assert!(store.stored_blob(&ctx, &digest).await.is_err(), "the bucket is gone, not the blob");
    assert!(store.delete_blob(&ctx, &digest, &found).await.is_err());
    sim.set_deleted(false);
    sim.set_faults(FaultPlan::NONE.with_error_after_commit(400).with_lost_after_commit(300));
    let mut outcome = store.delete_blob(&ctx, &digest, &found).await;
    for _ in 0..20 {
        if outcome.is_ok() {
            break;
        }
        outcome = store.delete_blob(&ctx, &digest, &found).await;
    }
    assert!(matches!(outcome.unwrap(), DeleteOutcome::Deleted | DeleteOutcome::Absent));
    assert!(sim.objects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_shows_a_blob_under_its_listed_digest() {
    async fn check<K: Kind>(layout: Layout) {
        let store: BucketStore<K> = open(SimS3::new(1).bucket().unwrap(), options().with_layout(layout)).await;
        let digest = digest(b"hello");
        store.put(&upload(1, "acme"), &digest, Blob::from_bytes("hello")).await.unwrap();
        let ctx = Context::background();
        let mut listed = Vec::new();
        for shard in store.shard_inventories(DigestSizes::Omit) {
            let entries = shard.inventory(&ctx, None).await.unwrap().entries;
            let covered = shard.shard().digests().unwrap();
            assert!(entries.iter().all(|entry| (entry.digest.function(), entry.digest.hash_bytes()[0]) == covered));
            listed.extend(entries);
        }
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].digest, store.listed_digest(&digest));
        for entry in list_all(&store, &ctx).await.unwrap() {
            assert_eq!(store.listed_digest(&entry.digest), listed[0].digest);
            // The listed digest is enough to ask for the blob.
            assert_eq!(stored(&store, &listed[0].digest).await.unwrap().account_name, Some(AccountName::new("acme")));
        }
    }
    check::<Cas>(Layout::own()).await;
    check::<Cas>(Layout::bazel_remote()).await;
    check::<Ac>(Layout::own()).await;
    check::<Ac>(Layout::bazel_remote()).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_asks_whether_the_object_is_another() {
    let sim = SimS3::new(1);
    let store: BucketStore<Cas> = open(sim.bucket().unwrap(), options()).await;
    let (ctx, digest) = (Context::background(), digest(b"hello"));
    store.put(&upload(1, "acme"), &digest, Blob::from_bytes("hello")).await.unwrap();
    let found = stored(&store, &digest).await.unwrap();
    sim.set_faults(FaultPlan::NONE.with_conflict(1000));
    let error = store.delete_blob(&ctx, &digest, &found).await.unwrap_err();
    assert!(error.is_retryable(), "it collided with another request: {error}");
    let key = sim.objects().into_keys().next().unwrap();
    sim.remove(&key);
    assert_eq!(store.delete_blob(&ctx, &digest, &found).await.unwrap(), DeleteOutcome::Absent);
    sim.insert(&key, "other");
    assert_eq!(store.delete_blob(&ctx, &digest, &found).await.unwrap(), DeleteOutcome::Replaced);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_compares_in_another_way_has_not_replaced_the_object() {
    let sim = SimS3::new(1).comparing_bare_e_tags();
    let store: BucketStore<Cas> = open(sim.bucket().unwrap(), options().with_probe(false)).await;
    let digest = digest(b"hello");
    store.put(&upload(1, "acme"), &digest, Blob::from_bytes("hello")).await.unwrap();
    let found = stored(&store, &digest).await.unwrap();
    let error = store.delete_blob(&Context::background(), &digest, &found).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}
