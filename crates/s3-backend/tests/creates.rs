//! How a put of one request ends when its answers go wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::time::Duration;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, PutCertainty,
    PutOutcome, ResolveUpload as _, Result, SystemClock, UploadResolution, UploadToken,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Mutability, OnMissingConditions};
use futures::future::join_all;
use futures::poll;

const HELLO: &[u8] = b"hello";
const ALL: u16 = 1000;

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

async fn store_of_one_attempt(sim: &SimS3) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), BucketOptions::default().with_attempts(1)).await.unwrap()
}

async fn store(sim: &SimS3) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), BucketOptions::default()).await.unwrap()
}

async fn put(store: &BucketStore<Cas>, contents: &'static [u8]) -> Result<PutOutcome> {
    store.put(&Context::background(), &digest_of(contents), Blob::from_bytes(contents)).await
}

async fn failed(plan: FaultPlan) -> (Error, SimS3) {
    let sim = SimS3::new(1);
    let store = store(&sim).await;
    sim.set_faults(plan);
    let error = put(&store, HELLO).await.unwrap_err();
    sim.set_faults(FaultPlan::NONE);
    (error, sim)
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_tried_again_and_never_taken_for_a_blob_that_exists() {
    let (error, sim) = failed(FaultPlan::NONE.with_conflict(ALL)).await;
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Aborted, PutCertainty::NotStored));
    assert!(error.is_retryable());
    assert!(error.to_string().contains("8. after"), "the history of all attempts: {error}");
    assert!(sim.objects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_was_not_stored() {
    let (error, _) = failed(FaultPlan::NONE.with_not_connected(ALL)).await;
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_resolved() {
    for plan in [
        FaultPlan::NONE.with_lost_after_commit(ALL),
        FaultPlan::NONE.with_reset_after_commit(ALL),
        FaultPlan::NONE.with_error_after_commit(ALL),
        FaultPlan::NONE.with_unavailable_after_commit(ALL),
        FaultPlan::NONE.with_hang_after_commit(ALL),
        FaultPlan::NONE.with_sent_twice(ALL),
    ] {
        let sim = SimS3::new(1);
        let store = store(&sim).await;
        sim.set_faults(plan);
        assert_eq!(put(&store, HELLO).await.unwrap(), PutOutcome::Created { stored_bytes: 5 }, "{plan:?}");
        assert_eq!(put(&store, HELLO).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 }, "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_arrive_late_may_be_stored() {
    let sim = SimS3::new(1);
    let store = store_of_one_attempt(&sim).await;
    sim.set_faults(FaultPlan::NONE.with_late(ALL));
    let error = put(&store, HELLO).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::MaybeStored, "{error}");
    sim.settle();
    assert_eq!(sim.objects().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_says_whether_the_blob_may_be_stored() {
    let (error, _) = failed(FaultPlan::NONE.with_throttled(ALL)).await;
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::MaybeStored));
    let (error, _) = failed(FaultPlan::NONE.with_too_many(ALL)).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ResourceExhausted, true));
}

#[tokio::test(start_paused = true)]
async fn a_put_ends_with_the_deadline_of_its_caller() {
    let sim = SimS3::new(1);
    let store = store(&sim).await;
    sim.set_faults(FaultPlan::NONE.with_hang_after_commit(ALL));
    let begin = SystemClock.monotonic();
    let ctx = Context::background().with_deadline(begin + Duration::from_secs(3));
    let error = store.put(&ctx, &digest_of(HELLO), Blob::from_bytes(HELLO)).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::DeadlineExceeded, PutCertainty::MaybeStored));
    assert_eq!(SystemClock.monotonic() - begin, Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_bucket_that_fails_are_no_misses() {
    let sim = SimS3::new(1);
    let store = store(&sim).await;
    let (ctx, digest) = (Context::background(), digest_of(HELLO));
    for (plan, kind) in [
        (FaultPlan::NONE.with_throttled(ALL), ErrorKind::Unavailable),
        (FaultPlan::NONE.with_too_many(ALL), ErrorKind::ResourceExhausted),
        (FaultPlan::NONE.with_not_connected(ALL), ErrorKind::Unavailable),
    ] {
        sim.set_faults(plan);
        assert_eq!(store.get(&ctx, &digest).await.unwrap_err().kind(), kind);
        assert_eq!(store.find_missing(&ctx, &digest.clone().into()).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn who_tries_again_under_the_same_token_learns_that_it_was_stored() {
    let sim = SimS3::new(1);
    let store = store_of_one_attempt(&sim).await;
    let contents = vec![7; 100_000];
    let digest = digest_of(&contents);
    let ctx = Context::background().with_upload_token(UploadToken::from_bytes([9; 16]));
    sim.set_faults(FaultPlan::NONE.with_late(ALL));
    let error = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
    sim.set_faults(FaultPlan::NONE);
    sim.settle();
    let again = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
    assert_eq!(again, PutOutcome::Created { stored_bytes: 100_000 });
    let another = Context::background().with_upload_token(UploadToken::from_bytes([8; 16]));
    let other = store.put(&another, &digest, Blob::from_bytes(contents)).await.unwrap();
    assert_eq!(other, PutOutcome::AlreadyExists { stored_bytes: 100_000 });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_conditions_is_refused_unless_that_is_settled_for() {
    let sim = SimS3::new(1).ignoring_conditions();
    let error = BucketStore::<Cas>::open(sim.bucket().unwrap(), BucketOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let options = BucketOptions::default().with_on_missing_conditions(OnMissingConditions::Degrade);
    let store = BucketStore::<Cas>::open(sim.bucket().unwrap(), options).await.unwrap();
    assert!(!store.snapshot().findings.conditional_put);
    assert_eq!(put(&store, HELLO).await.unwrap(), PutOutcome::Unclassified { stored_bytes: Some(5) });
    assert_eq!(put(&store, HELLO).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 });
}

#[tokio::test(start_paused = true)]
async fn the_probe_finds_out_what_a_server_does_and_leaves_nothing() {
    for (sim, completion, tokens) in [
        (SimS3::new(1), true, true),
        (SimS3::new(1).answering_not_modified(), true, true),
        (SimS3::new(1).completing_unconditionally(), false, true),
        (SimS3::new(1).dropping_metadata(), true, false),
    ] {
        let findings = store(&sim).await.snapshot().findings;
        assert!(findings.probed && findings.conditional_put && findings.conditional_update);
        assert_eq!((findings.conditional_completion, findings.keeps_tokens), (completion, tokens));
        assert!(sim.objects().is_empty(), "{:?}", sim.objects());
        assert_eq!(sim.unfinished_uploads(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_loses_answers_is_opened() {
    for seed in 0..50 {
        let sim = SimS3::new(seed);
        sim.set_faults(FaultPlan::NONE.with_reset_after_commit(80));
        let findings = store(&sim).await.snapshot().findings;
        assert!(findings.conditional_put && findings.conditional_update && findings.conditional_completion);
    }
}

#[tokio::test(start_paused = true)]
async fn without_tokens_what_was_lost_is_unclassified() {
    let sim = SimS3::new(1).dropping_metadata();
    let store = store(&sim).await;
    sim.set_faults(FaultPlan::NONE.with_lost_after_commit(ALL));
    assert_eq!(put(&store, HELLO).await.unwrap(), PutOutcome::Unclassified { stored_bytes: Some(5) });
    sim.set_faults(FaultPlan::NONE);
    assert_eq!(put(&store, b"other").await.unwrap(), PutOutcome::Created { stored_bytes: 5 });
}

#[tokio::test(start_paused = true)]
async fn of_eight_that_race_one_creates() {
    let sim = SimS3::new(1);
    let store = store(&sim).await;
    let outcomes = join_all((0..8).map(|_| put(&store, HELLO))).await;
    let created = outcomes.iter().filter(|outcome| matches!(outcome, Ok(PutOutcome::Created { .. }))).count();
    assert_eq!(created, 1, "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_may_be_kept_from_being_replaced() {
    let options = BucketOptions::default().with_mutability(Mutability::CreateOnly);
    let store = BucketStore::<Ac>::open(SimS3::new(1).bucket().unwrap(), options).await.unwrap();
    let (ctx, digest) = (Context::background(), digest_of(b"action"));
    let first = store.put(&ctx, &digest, Blob::from_bytes("first")).await.unwrap();
    assert_eq!(first, PutOutcome::Created { stored_bytes: 5 });
    let second = store.put(&ctx, &digest, Blob::from_bytes("second")).await.unwrap();
    assert_eq!(second, PutOutcome::AlreadyExists { stored_bytes: 5 });
    assert_eq!(store.get(&ctx, &digest).await.unwrap().into_bytes(10).await.unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_an_update_is_resolved() {
    let sim = SimS3::new(1);
    let store = BucketStore::<Ac>::open(sim.bucket().unwrap(), BucketOptions::default()).await.unwrap();
    let (ctx, digest) = (Context::background(), digest_of(b"action"));
    store.put(&ctx, &digest, Blob::from_bytes("first")).await.unwrap();
    sim.set_faults(FaultPlan::NONE.with_lost_after_commit(ALL));
    let outcome = store.put(&ctx, &digest, Blob::from_bytes("longer")).await.unwrap();
    assert_eq!(outcome, PutOutcome::Replaced { stored_bytes: 6, old_bytes: 5 });
}

#[tokio::test(start_paused = true)]
async fn an_update_that_was_undone_before_it_was_asked_about_is_not_taken_for_one_that_never_was() {
    let sim = SimS3::new(1);
    let store = BucketStore::<Ac>::open(sim.bucket().unwrap(), BucketOptions::default()).await.unwrap();
    let (ctx, digest) = (Context::background(), digest_of(b"action"));
    let put = |value: &'static str| store.put(&ctx, &digest, Blob::from_bytes(value));
    put("first").await.unwrap();
    sim.set_faults(FaultPlan::NONE.with_lost_after_commit(ALL));
    let mut lost = put("longer");
    assert!(poll!(&mut lost).is_pending(), "it waits before it asks");
    sim.set_faults(FaultPlan::NONE);
    for value in ["another", "first"] {
        assert_eq!(put(value).await.unwrap().name(), "replaced");
    }
    assert_eq!(lost.await.unwrap(), PutOutcome::Unclassified { stored_bytes: Some(6) });
}

#[test]
fn a_directory_is_refused_to_a_second_bucket() {
    let root = tempfile::tempdir().unwrap();
    let first = Bucket::directory(root.path(), true).unwrap();
    let error = Bucket::directory(root.path(), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    drop(first);
    drop(Bucket::directory(root.path(), true).unwrap());
}

#[tokio::test]
async fn a_directory_tells_whose_upload_an_object_was_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let options = BucketOptions::default().with_single_put_max_bytes(1 << 20).with_part_size_bytes(5 << 20);
    let open = || BucketStore::<Cas>::open(Bucket::directory(root.path(), false).unwrap(), options.clone());
    let store = open().await.unwrap();
    if !store.snapshot().findings.keeps_tokens {
        // The file system of this folder has no extended attributes.
        return;
    }
    let tokens = [UploadToken::from_bytes([1; 16]), UploadToken::from_bytes([2; 16])];
    // In one piece, and in parts.
    for contents in [vec![1; 5], vec![2; 6 << 20]] {
        let digest = digest_of(&contents);
        for (token, expected) in tokens.iter().zip(["created", "already_exists"]) {
            let ctx = Context::background().with_upload_token(*token);
            assert_eq!(store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap().name(), expected);
        }
    }
    drop(store);
    let store = open().await.unwrap();
    for contents in [vec![1; 5], vec![2; 6 << 20]] {
        let (ctx, digest) = (Context::background(), digest_of(&contents));
        let stored_bytes = u64::try_from(contents.len()).unwrap();
        let [mine, anothers] = &tokens;
        let resolved = store.resolve_upload(&ctx, &digest, mine).await.unwrap();
        assert_eq!(resolved, UploadResolution::Mine { stored_bytes });
        let resolved = store.resolve_upload(&ctx, &digest, anothers).await.unwrap();
        assert_eq!(resolved, UploadResolution::Anothers { stored_bytes });
    }
}
