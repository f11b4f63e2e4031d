//! A bucket that was deleted is an error, and not a store without blobs.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{BucketOptions, BucketStore, Layout};

fn digest(size: usize) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &vec![7; size])
}

async fn open(sim: &SimS3, options: BucketOptions) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), options.with_probe(false)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_not_there_is_no_miss() {
    let sim = SimS3::new(1);
    sim.set_deleted(true);
    let ctx = Context::background();
    for options in [BucketOptions::default(), BucketOptions::default().with_layout(Layout::bazel_remote())] {
        let store = open(&sim, options).await;
        let one = store.find_missing(&ctx, &digest(5).into()).await;
        assert_eq!(one.unwrap_err().kind(), ErrorKind::Unavailable);
        let many: DigestSet = (1..200).map(digest).collect();
        assert_eq!(store.find_missing(&ctx, &many).await.unwrap_err().kind(), ErrorKind::Unavailable);
        for size in [5, 9 << 20] {
            let error = store.get(&ctx, &digest(size)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        let put = store.put(&ctx, &digest(5), Blob::from_bytes(vec![7; 5])).await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_deleted_is_noticed_in_ten_seconds() {
    let sim = SimS3::new(1);
    let store = open(&sim, BucketOptions::default()).await;
    let (ctx, asked) = (Context::background(), DigestSet::from(digest(5)));
    assert_eq!(store.find_missing(&ctx, &asked).await.unwrap(), asked);
    sim.set_deleted(true);
    tokio::time::advance(Duration::from_secs(10)).await;
    let error = store.find_missing(&ctx, &asked).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    sim.set_deleted(false);
    assert_eq!(store.find_missing(&ctx, &asked).await.unwrap(), asked);
}

#[tokio::test(start_paused = true)]
async fn whether_the_bucket_is_there_is_asked_once_in_ten_seconds() {
    let sim = SimS3::new(1);
    let store = open(&sim, BucketOptions::default().with_list_from_digests(usize::MAX)).await;
    let (ctx, asked) = (Context::background(), (1..100).map(digest).collect::<DigestSet>());
    for gets in [1, 1, 2] {
        assert_eq!(store.find_missing(&ctx, &asked).await.unwrap(), asked);
        assert_eq!(store.snapshot().requests.get, gets);
        tokio::time::advance(Duration::from_secs(6)).await;
    }
}
