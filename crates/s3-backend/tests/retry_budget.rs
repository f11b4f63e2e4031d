//! Retries of a bucket that fails, by all callers together.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use futures::future::join_all;

async fn open(sim: &SimS3) -> BucketStore<Cas> {
    let bucket =
        Bucket::s3(sim.builder(), &Connection::default().with_connector(sim.clone()).with_allow_http(true)).unwrap();
    BucketStore::open(bucket, BucketOptions::default().with_probe(false)).await.unwrap()
}

fn numbered(number: u32) -> (Digest, Vec<u8>) {
    let contents = number.to_le_bytes().to_vec();
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

/// Puts and asks for `calls` blobs, and returns how many of these calls succeeded.
async fn call(store: &BucketStore<Cas>, calls: u32) -> usize {
    let ctx = Context::background();
    let calls = (0..calls).map(|number| {
        let ((digest, contents), ctx) = (numbered(number), &ctx);
        async move {
            let put = store.put(ctx, &digest, Blob::from_bytes(contents)).await.is_ok();
            let found = store.find_missing(ctx, &digest.into()).await.is_ok();
            usize::from(put) + usize::from(found)
        }
    });
    join_all(calls).await.into_iter().sum()
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_down_does_not_get_eight_times_the_traffic() {
    let sim = SimS3::new(1);
    let store = open(&sim).await;
    sim.set_broken(true);
    assert_eq!(call(&store, 1000).await, 0);
    let sent = store.snapshot().requests.total();
    // Each put asks a last time what became of it.
    assert!(sent <= 3_200, "{sent} requests for 2,000 calls");
    assert!(store.snapshot().retry_budget_left.unwrap() < 10);
    sim.set_broken(false);
    assert_eq!(call(&store, 1000).await, 2000);
    assert!(store.snapshot().retry_budget_left.unwrap() >= 490);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_fails_now_and_then_has_all_sent_again() {
    let sim = SimS3::new(2);
    let store = open(&sim).await;
    sim.set_faults(FaultPlan::NONE.with_throttled(100));
    for _ in 0..10 {
        assert_eq!(call(&store, 200).await, 400);
    }
    assert!(sim.faults() > 200);
}
