//! The cost of calls, in requests.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{BucketOptions, BucketStore, RequestCounts};

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn numbered(number: u64) -> Digest {
    digest_of(&number.to_le_bytes())
}

async fn open(sim: &SimS3) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), BucketOptions::default().with_probe(false)).await.unwrap()
}

/// Returns the requests that `work` costs.
async fn cost<T>(store: &BucketStore<Cas>, work: impl Future<Output = T>) -> (T, RequestCounts) {
    let before = store.snapshot().requests;
    let done = work.await;
    let after = store.snapshot().requests;
    let mut cost = RequestCounts::default();
    cost.head = after.head - before.head;
    cost.get = after.get - before.get;
    cost.put = after.put - before.put;
    cost.list = after.list - before.list;
    (done, cost)
}

#[tokio::test(start_paused = true)]
async fn a_blob_costs_what_is_documented() {
    let store = open(&SimS3::new(1)).await;
    let ctx = Context::background();
    let small = digest_of(b"small");
    let put = || store.put(&ctx, &small, Blob::from_bytes("small"));
    let (_, new) = cost(&store, put()).await;
    assert_eq!((new.put, new.head, new.total()), (1, 0, 1));
    let (_, again) = cost(&store, put()).await;
    assert_eq!((again.put, again.head, again.total()), (1, 1, 2));
    let (read, got) = cost(&store, async { store.get(&ctx, &small).await?.into_bytes(10).await }).await;
    assert_eq!((read.unwrap(), got.get, got.total()), ("small".into(), 1, 1));
    let contents = vec![1; 100_000];
    let large = digest_of(&contents);
    let put = || store.put(&ctx, &large, Blob::from_bytes(contents.clone()));
    let (_, new) = cost(&store, put()).await;
    assert_eq!((new.put, new.head, new.total()), (1, 1, 2));
    let (_, again) = cost(&store, put()).await;
    assert_eq!((again.head, again.total()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn finding_many_among_few_lists_them() {
    let sim = SimS3::new(1);
    let store = open(&sim).await;
    for number in 0..5_000 {
        let hash = numbered(number).hash().to_string();
        sim.insert(&format!("cas/sha256/{}/{hash}-8", hash.get(..2).unwrap()), vec![0; 8]);
    }
    let ctx = Context::background();
    let asked: DigestSet = (2_500..12_500).map(numbered).collect();
    let (missing, cost) = cost(&store, store.find_missing(&ctx, &asked)).await;
    let expected: DigestSet = (5_000..12_500).map(numbered).collect();
    assert_eq!(missing.unwrap(), expected);
    assert_eq!(cost.head, 0);
    assert!(cost.list <= 40, "{} pages of 1,000 for 5,000 objects", cost.list);
}

#[tokio::test(start_paused = true)]
async fn finding_few_among_many_asks_for_each() {
    let sim = SimS3::new(1);
    let store = open(&sim).await;
    for number in 0..60_000 {
        let hash = numbered(number).hash().to_string();
        sim.insert(&format!("cas/sha256/{}/{hash}-8", hash.get(..2).unwrap()), vec![0; 8]);
    }
    let ctx = Context::background();
    let asked: DigestSet = (59_900..60_020).map(numbered).collect();
    let (missing, cost) = cost(&store, store.find_missing(&ctx, &asked)).await;
    assert_eq!(missing.unwrap(), (60_000..60_020).map(numbered).collect());
    assert!(cost.list <= 1 && cost.head <= 120, "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_counts_as_a_request() {
    let sim = SimS3::new(1);
    let store = open(&sim).await;
    sim.set_broken(true);
    let ctx = Context::background();
    let (found, cost) = cost(&store, store.find_missing(&ctx, &numbered(1).into())).await;
    assert!(found.is_err());
    assert_eq!(cost.head, 6);
}
