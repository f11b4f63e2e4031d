//! Objects whose metadata was lost: by a server that keeps it in memory, by a proxy, or by a copy of the bucket. None of them
//! is taken for another's unless it is older than the put.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail so; the time is that of a paused runtime"
)]

use std::time::Duration;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Kind, PutCertainty, PutOutcome,
    ResolveUpload, Result, UploadResolution, UploadToken,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore, Mutability};

const LARGE: u16 = 1000;
const TOKEN: UploadToken = UploadToken::from_bytes([7; 16]);

/// The sizes of a blob that is put at once, of one that is asked about first, and of one in parts.
const SIZES: [usize; 3] = [100, 20 << 10, 6 << 20];

fn options() -> BucketOptions {
    BucketOptions::default()
        .with_single_put_max_bytes(0)
        .with_part_size_bytes(5 << 20)
        .with_attempts(2)
        .with_backoff(Duration::ZERO, Duration::ZERO)
}

fn digest(size: usize) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &vec![1; size])
}

async fn put<K: Kind>(store: &BucketStore<K>, size: usize, token: UploadToken) -> Result<PutOutcome> {
    let ctx = Context::background().with_upload_token(token);
    store.put(&ctx, &digest(size), Blob::from_bytes(vec![1; size])).await
}

async fn open<K: Kind>(sim: &SimS3) -> BucketStore<K> {
    BucketStore::open(sim.bucket().unwrap(), options()).await.unwrap()
}

fn unclassified(size: usize) -> PutOutcome {
    PutOutcome::Unclassified { stored_bytes: Some(u64::try_from(size).unwrap()) }
}

#[tokio::test(start_paused = true)]
async fn our_own_put_whose_token_a_proxy_strips_is_not_taken_for_anothers() {
    for size in SIZES {
        let sim = SimS3::new(1);
        let store = open::<Cas>(&sim).await;
        sim.set_stripping(true);
        sim.set_faults(FaultPlan::NONE.with_sent_twice(LARGE));
        assert_eq!(put(&store, size, TOKEN).await.unwrap(), unclassified(size), "{size}");
        assert!(sim.objects().len() == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_put_whose_token_a_restart_forgot_is_not_taken_for_anothers() {
    for size in [SIZES[0], SIZES[1]] {
        let sim = SimS3::new(1);
        let store = open::<Cas>(&sim).await;
        // The object is stored, no answer says so, and the server is away for a minute.
        sim.set_faults(FaultPlan::NONE.with_lost_after_commit(LARGE));
        let puts = async {
            tokio::select! {
                biased;
                result = put(&store, size, TOKEN) => Some(result),
                () = until_stored(&sim) => None,
            }
        };
        if let Some(result) = puts.await {
            assert_eq!(result.unwrap(), PutOutcome::Created { stored_bytes: u64::try_from(size).unwrap() });
        }
        sim.set_faults(FaultPlan::NONE);
        sim.forget_metadata();
        sim.advance(Duration::from_secs(2));
        // A queue repeats the put under the same token.
        assert_eq!(put(&store, size, TOKEN).await.unwrap(), unclassified(size), "{size}");
        assert_eq!(sim.objects().len(), 1);
    }
}

/// Waits until an object is stored.
async fn until_stored(sim: &SimS3) {
    while sim.objects().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_put_whose_token_is_gone_stays_unknown() {
    let sim = SimS3::new(1);
    let store = open::<Cas>(&sim).await;
    sim.set_stripping(true);
    sim.set_faults(FaultPlan::NONE.with_late(LARGE));
    let error = put(&store, 100, TOKEN).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
    sim.settle();
    sim.set_faults(FaultPlan::NONE);
    let resolve = async |token| store.resolve_upload(&Context::background(), &digest(100), &token).await.unwrap();
    assert_eq!(resolve(TOKEN).await, UploadResolution::Unknown);
    assert_eq!(
        resolve(UploadToken::from_bytes([8; 16])).await,
        UploadResolution::Unknown,
        "a put of an earlier process"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_there_before_is_anothers_also_without_a_token() {
    for size in SIZES {
        let sim = SimS3::new(1);
        let writer = open::<Cas>(&sim).await;
        put(&writer, size, UploadToken::from_bytes([9; 16])).await.unwrap();
        sim.forget_metadata();
        let expected = PutOutcome::AlreadyExists { stored_bytes: u64::try_from(size).unwrap() };
        let store = open::<Cas>(&sim).await;
        // Written within the last seconds, it may be anybody's.
        assert_eq!(put(&store, size, TOKEN).await.unwrap(), unclassified(size), "{size}");
        sim.advance(Duration::from_mins(1));
        assert_eq!(put(&store, size, TOKEN).await.unwrap(), expected, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_result_whose_token_is_gone_is_unclassified() {
    for mutability in [Mutability::Replace, Mutability::CreateOnly] {
        let sim = SimS3::new(1);
        let options = options().with_mutability(mutability);
        let store = BucketStore::<Ac>::open(sim.bucket().unwrap(), options).await.unwrap();
        sim.set_stripping(true);
        sim.set_faults(FaultPlan::NONE.with_sent_twice(LARGE));
        assert_eq!(put(&store, 100, TOKEN).await.unwrap(), unclassified(100), "{mutability:?}");
    }
}
