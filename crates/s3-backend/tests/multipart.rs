//! Large blobs: in parts, claimed where need be, and never left behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, Inventory,
    Provenance, PutCertainty, PutOutcome, SystemClock, UploadToken,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore, LargeCreates, Layout};
use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt, poll, stream};

const MIB: usize = 1 << 20;

fn large() -> Bytes {
    let mut state = 1_u32;
    let bytes = (0..12 * MIB + 5).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [.., high] = state.to_le_bytes();
        high & 0x3f
    });
    bytes.collect::<Vec<_>>().into()
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Blake3, contents)
}

fn options() -> BucketOptions {
    BucketOptions::default().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20)
}

async fn open(sim: &SimS3, options: BucketOptions) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), options).await.unwrap()
}

async fn put(store: &BucketStore<Cas>, contents: &Bytes) -> blobaccess::Result<PutOutcome> {
    store.put(&Context::background(), &digest_of(contents), Blob::from_bytes(contents.clone())).await
}

/// Returns a stream of the beginning of `contents` that then never ends.
fn stalled(contents: &Bytes) -> Blob {
    let pieces = [Ok(contents.slice(..6 * MIB))];
    let stream = stream::iter(pieces).chain(stream::pending());
    Blob::from_untrusted_stream(&digest_of(contents), stream, Provenance::client())
}

#[tokio::test(start_paused = true)]
async fn of_several_at_once_one_creates_in_every_mode() {
    for sim in [SimS3::new(1), SimS3::new(1).completing_unconditionally(), SimS3::new(1).answering_not_modified()] {
        let contents = large();
        let store = open(&sim, options()).await;
        let outcomes = join_all((0..4).map(|_| put(&store, &contents))).await;
        let created = outcomes.iter().filter(|outcome| matches!(outcome, Ok(PutOutcome::Created { .. }))).count();
        let exist = outcomes.iter().filter(|outcome| matches!(outcome, Ok(PutOutcome::AlreadyExists { .. }))).count();
        assert_eq!((created, exist), (1, 3), "{outcomes:?}");
        assert_eq!(sim.unfinished_uploads(), 0);
        assert_eq!(sim.objects().values().sum::<u64>(), digest_of(&contents).size_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn without_claims_a_large_blob_is_unclassified_where_completion_is_unconditional() {
    let sim = SimS3::new(1).completing_unconditionally();
    let store = open(&sim, options().with_large_creates(LargeCreates::Unclassified)).await;
    let contents = large();
    let stored_bytes = Some(digest_of(&contents).size_bytes());
    assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::Unclassified { stored_bytes });
}

#[tokio::test(start_paused = true)]
async fn a_lost_completion_is_resolved() {
    for (sim, seed) in [(SimS3::new(3), 3), (SimS3::new(4).completing_unconditionally(), 4)] {
        let contents = large();
        let store = open(&sim, options()).await;
        sim.set_faults(FaultPlan::NONE.with_lost_after_commit(400).with_error_after_commit(200));
        match put(&store, &contents).await {
            Ok(outcome) => assert_eq!(outcome.name(), "created", "seed {seed}"),
            Err(error) => {
                assert!(!error.is_not_found(), "{error}");
                assert!(sim.objects().values().all(|size| *size < 100), "seed {seed}: {error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_leaves_nothing() {
    for sim in [SimS3::new(1), SimS3::new(1).completing_unconditionally()] {
        let contents = large();
        let store = open(&sim, options()).await;
        let broken = vec![Ok(contents.slice(..11 * MIB)), Err(Error::unavailable("gone"))];
        let blob = Blob::from_untrusted_stream(&digest_of(&contents), stream::iter(broken), Provenance::client());
        let error = store.put(&Context::background(), &digest_of(&contents), blob).await.unwrap_err();
        assert_eq!(error.message(), "gone");
        assert_eq!((sim.objects().len(), sim.unfinished_uploads()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_aborted_in_the_background() {
    for sim in [SimS3::new(1), SimS3::new(1).completing_unconditionally()] {
        let contents = large();
        let store = open(&sim, options()).await;
        let (ctx, digest) = (Context::background(), digest_of(&contents));
        let mut dropped = store.put(&ctx, &digest, stalled(&contents));
        for _ in 0..100 {
            assert!(poll!(&mut dropped).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(sim.unfinished_uploads(), 1);
        drop(dropped);
        assert_eq!(store.snapshot().uploads_to_abort, 1);
        assert!(store.run().now_or_never().is_none(), "it runs on");
        assert_eq!((sim.objects().len(), sim.unfinished_uploads(), store.snapshot().uploads_to_abort), (0, 0, 0));
    }
}

/// Polls `work`, with answers that take their time, until `happens` does. Later answers take none.
async fn until<T: Debug>(sim: &SimS3, work: &mut (impl Future<Output = T> + Unpin), mut happens: impl FnMut() -> bool) {
    sim.set_faults(FaultPlan::NONE.with_slow(1000));
    while !happens() {
        tokio::select! {
            ended = &mut *work => unreachable!("it has ended: {ended:?}"),
            () = SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(1)) => {}
        }
    }
    sim.set_faults(FaultPlan::NONE);
}

/// Polls a put until it has renewed its claim, and has not completed yet. Its next request is the completion.
async fn until_renewed(sim: &SimS3, put: &mut (impl Future<Output = blobaccess::Result<PutOutcome>> + Unpin)) {
    let marker = || sim.objects().into_iter().find(|(_, size)| *size == 37).and_then(|(key, _)| sim.object(&key));
    let mut first = None;
    until(sim, put, || {
        let now = marker();
        first = first.take().or_else(|| now.clone());
        now != first
    })
    .await;
}

/// Returns a blob in two pieces. `meanwhile` runs between them, when the put has begun.
fn in_two_pieces(contents: &Bytes, meanwhile: impl FnOnce() + Send + 'static) -> Blob {
    let (first, second) = (contents.slice(..6 * MIB), contents.slice(6 * MIB..));
    let second = stream::once(async move {
        meanwhile();
        Ok(second)
    });
    Blob::from_untrusted_stream(&digest_of(contents), stream::iter([Ok(first)]).chain(second), Provenance::client())
}

fn with_token() -> Context {
    Context::background().with_upload_token(UploadToken::from_bytes([1; 16]))
}

/// Polls a put until it has claimed its key, and has not completed yet.
async fn until_claimed(sim: &SimS3, put: &mut (impl Future<Output = blobaccess::Result<PutOutcome>> + Unpin)) {
    until(sim, put, || sim.objects().values().any(|size| *size == 37)).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_no_blob() {
    for layout in [Layout::own(), Layout::own_compressed(), Layout::bazel_remote()] {
        let sim = SimS3::new(1).completing_unconditionally();
        let store = open(&sim, options().with_layout(layout).with_list_from_digests(1)).await;
        let contents = large();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        let ctx = Context::background();
        let mut claiming = store.put(&ctx, &digest, Blob::from_bytes(contents));
        until_claimed(&sim, &mut claiming).await;
        assert_eq!(sim.objects().values().copied().collect::<Vec<_>>(), [37]);
        assert!(store.get(&ctx, &digest).await.unwrap_err().is_not_found());
        assert_eq!(store.find_missing(&ctx, &digest.clone().into()).await.unwrap().len(), 1);
        assert!(store.inventory(&ctx, None).await.unwrap().entries.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_stays_is_taken_over() {
    let sim = SimS3::new(1).completing_unconditionally();
    let contents = large();
    let (dead, alive) = (open(&sim, options()).await, open(&sim, options()).await);
    let (ctx, digest) = (Context::background(), digest_of(&contents));
    let mut claiming = dead.put(&ctx, &digest, Blob::from_bytes(contents.clone()));
    until_claimed(&sim, &mut claiming).await;
    // Nobody polls it any more: a process that was stopped.
    assert_eq!(put(&alive, &contents).await.unwrap(), PutOutcome::Created { stored_bytes: digest.size_bytes() });
    let error = claiming.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted, "{error}");
    assert_eq!(sim.objects().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_claims_its_key_no_earlier_than_it_is_complete() {
    let sim = SimS3::new(1).completing_unconditionally();
    let (contents, store) = (large(), open(&sim, options()).await);
    let (ctx, digest, began) = (Context::background(), digest_of(&contents), SystemClock.monotonic());
    let slow = {
        let pieces = [contents.slice(..6 * MIB), contents.slice(6 * MIB..)];
        let stream = stream::iter(pieces).then(|piece| async {
            SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_mins(5)).await;
            Ok(piece)
        });
        Blob::from_untrusted_stream(&digest, stream, Provenance::client())
    };
    let token = Context::background().with_upload_token(UploadToken::from_bytes([1; 16]));
    let (first, second) = futures::join!(store.put(&token, &digest, slow), async {
        SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_secs(1)).await;
        let outcome = store.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await;
        (outcome, SystemClock.monotonic() - began)
    });
    let (second, took) = second;
    assert_eq!(second.unwrap().name(), "created");
    assert!(took < Duration::from_secs(10), "it waited for {took:?}");
    assert_eq!(first.unwrap().name(), "already_exists");
    assert_eq!((sim.objects().len(), sim.unfinished_uploads()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_put_leaves_the_blob_that_its_first_attempt_completed_late() {
    let sim = SimS3::new(1).completing_unconditionally();
    let (contents, ctx) = (large(), with_token());
    let digest = digest_of(&contents);
    let bucket = sim.bucket().unwrap();
    // Both are open before, as a late request may arrive before any other.
    let first: BucketStore<Cas> = BucketStore::open(bucket.clone(), options()).await.unwrap();
    let second: BucketStore<Cas> = BucketStore::open(bucket.clone(), options()).await.unwrap();
    let completions = bucket.requests().complete_multipart;
    let mut put = first.put(&ctx, &digest, Blob::from_bytes(contents.clone()));
    until_renewed(&sim, &mut put).await;
    sim.set_faults(FaultPlan::NONE.with_late(1000));
    while bucket.requests().complete_multipart == completions {
        assert!(poll!(&mut put).is_pending());
        SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(1)).await;
    }
    sim.set_faults(FaultPlan::NONE);
    drop(put);
    // Its process is gone, and another one repeats the put.
    drop(first);
    let settling = sim.clone();
    let before = bucket.requests();
    let blob = in_two_pieces(&contents, move || settling.settle());
    let outcome = second.put(&ctx, &digest, blob).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: digest.size_bytes() });
    assert_eq!(sim.objects().into_values().collect::<Vec<_>>(), [digest.size_bytes()]);
    assert_eq!(sim.unfinished_uploads(), 0);
    let requests = bucket.requests();
    // The claim that met the blob is its only change.
    assert_eq!(
        (
            requests.put - before.put,
            requests.complete_multipart - before.complete_multipart,
            requests.delete - before.delete
        ),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_object_that_comes_before_the_claim_is_not_taken_for_the_blob() {
    let (sim, elsewhere) = (SimS3::new(1).completing_unconditionally(), SimS3::new(1));
    let (contents, ctx) = (large(), Context::background());
    let digest = digest_of(&contents);
    put(&open(&elsewhere, options()).await, &contents).await.unwrap();
    let key = elsewhere.objects().into_keys().next().unwrap();
    let store = open(&sim, options()).await;
    let other = sim.clone();
    let blob = in_two_pieces(&contents, move || other.insert(&key, "wrong"));
    let error = store.put(&ctx, &digest, blob).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Aborted, true), "{error}");
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    assert_eq!(sim.unfinished_uploads(), 0);
    put(&store, &contents).await.unwrap();
    assert_eq!(sim.objects().into_values().collect::<Vec<_>>(), [digest.size_bytes()]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_became_the_blob_is_not_released() {
    for sim in [SimS3::new(1), SimS3::new(1).comparing_bare_e_tags()] {
        let sim = sim.completing_unconditionally();
        let (contents, ctx) = (large(), with_token());
        let digest = digest_of(&contents);
        let bucket = sim.bucket().unwrap();
        let first: BucketStore<Cas> = BucketStore::open(bucket.clone(), options()).await.unwrap();
        let second = open(&sim, options()).await;
        let mut put = first.put(&ctx, &digest, Blob::from_bytes(contents.clone()));
        until_claimed(&sim, &mut put).await;
        drop(put);
        let heads = bucket.requests().head;
        let mut aborting = Box::pin(first.run());
        until(&sim, &mut aborting, || bucket.requests().head > heads).await;
        // The release has seen the claim, and another process repeats the put.
        let outcome = second.put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
        assert_eq!(outcome, PutOutcome::Created { stored_bytes: digest.size_bytes() });
        tokio::select! {
            ended = &mut aborting => unreachable!("it has ended: {ended:?}"),
            () = SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_mins(1)) => {}
        }
        assert_eq!(first.snapshot().uploads_to_abort, 0);
        assert_eq!(sim.objects().into_values().collect::<Vec<_>>(), [digest.size_bytes()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_waits_for_no_other_that_is_not_answered() {
    let sim = SimS3::new(1).completing_unconditionally();
    let bucket = sim.bucket().unwrap();
    let options = options().with_large_creates(LargeCreates::Unclassified);
    let store: BucketStore<Cas> = BucketStore::open(bucket.clone(), options).await.unwrap();
    let (contents, ctx) = (large(), Context::background());
    let (digest, before) = (digest_of(&contents), bucket.requests());
    let mut silent = store.put(&ctx, &digest, Blob::from_bytes(contents.clone()));
    until(&sim, &mut silent, || bucket.requests().put_part == before.put_part + 3).await;
    sim.set_faults(FaultPlan::NONE.with_late(1000));
    while bucket.requests().complete_multipart == before.complete_multipart {
        assert!(poll!(&mut silent).is_pending());
        SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(1)).await;
    }
    sim.set_faults(FaultPlan::NONE);
    let end = SystemClock.monotonic() + Duration::from_mins(1);
    tokio::select! {
        second = put(&store, &contents) => assert!(second.is_ok(), "{second:?}"),
        () = SystemClock.sleep_until(end) => unreachable!("it waits for the other"),
    }
}
