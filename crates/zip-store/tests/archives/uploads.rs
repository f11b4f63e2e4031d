//! Large blobs, which are written as they arrive: those that fail, are dropped, or are equal.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Cas, Clock, Digest, Error, ErrorKind, Provenance, PutCertainty, PutOutcome, Result,
};
use blobaccess_testkit::fakes::{failing_stream, slow_stream};
use blobaccess_testkit::{ManualClock, Numbers, seed};
use blobaccess_zip_store::ZipWritingStore;
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::mpsc::{self, UnboundedSender};

use super::{Place, ctx, digest, get, put};

const SIZE: usize = 3 << 20;

fn large(number: u8) -> Bytes {
    vec![number; SIZE].into()
}

/// Returns a blob whose pieces are sent by the test.
fn sent(digest: &Digest) -> (UnboundedSender<Result<Bytes>>, Blob) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, Blob::from_untrusted_stream(digest, receiver, Provenance::client()))
}

fn send(sender: &UnboundedSender<Result<Bytes>>, contents: Bytes) {
    sender.unbounded_send(Ok(contents)).unwrap();
}

/// Waits until this many uploads have space in the archive.
async fn until_uploads(store: &ZipWritingStore<Cas>, uploads: u64) {
    while store.snapshot().uploads != uploads {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failed_upload_leaves_a_gap_only_if_something_is_behind_it() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let contents = large(1);
    let failing = || {
        let stream = failing_stream(contents.clone(), 100_000, 2_000_000, Error::unavailable("gone fishing"));
        Blob::from_untrusted_stream(&digest(&contents), stream, Provenance::client())
    };
    let error = store.put(&ctx(), &digest(&contents), failing()).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
    assert_eq!((store.snapshot().archive_bytes, store.snapshot().gap_bytes), (0, 0));

    // Two at once, and a small blob behind them.
    let (uploads, others) = ((digest(large(2)), digest(large(3))), "Hello");
    let (first, blob) = sent(&uploads.0);
    let one = tokio::spawn({
        let (store, digest) = (Arc::clone(&store), uploads.0.clone());
        async move { store.put(&ctx(), &digest, blob).await }
    });
    until_uploads(&store, 1).await;
    let (second, blob) = sent(&uploads.1);
    let two = tokio::spawn({
        let (store, digest) = (Arc::clone(&store), uploads.1.clone());
        async move { store.put(&ctx(), &digest, blob).await }
    });
    until_uploads(&store, 2).await;
    drop(first);
    assert_eq!(one.await.unwrap().unwrap_err().kind(), ErrorKind::InvalidArgument);
    let gap = store.snapshot().gap_bytes;
    assert!(gap > u64::try_from(SIZE).unwrap());
    // The last one takes the gap before it along.
    drop(second);
    two.await.unwrap().unwrap_err();
    assert_eq!((store.snapshot().archive_bytes, store.snapshot().gap_bytes), (0, 0));

    let (sender, blob) = sent(&uploads.0);
    let upload = tokio::spawn({
        let (store, digest) = (Arc::clone(&store), uploads.0.clone());
        async move { store.put(&ctx(), &digest, blob).await }
    });
    until_uploads(&store, 1).await;
    put(&store, &digest(others), others).await;
    drop(sender);
    upload.await.unwrap().unwrap_err();
    assert_eq!(store.snapshot().gap_bytes, gap);
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Cas>().await, &digest(others)).await, others.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_uploads_are_stored_once() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    let contents = large(7);
    let (ctx, digest) = (ctx(), digest(&contents));
    let puts = (0..8).map(|_| {
        let stream = slow_stream(contents.clone(), 90_000);
        store.put(&ctx, &digest, Blob::from_untrusted_stream(&digest, stream, Provenance::client()))
    });
    let outcomes = futures::future::try_join_all(puts).await.unwrap();
    let created = outcomes.iter().filter(|outcome| matches!(outcome, PutOutcome::Created { .. })).count();
    assert_eq!(created, 1, "{outcomes:?}");
    store.finish().await.unwrap();
    assert!(place.bytes().len() < 2 * SIZE + 10_000, "more than two were written");
    let store = place.open::<Cas>().await;
    assert_eq!((get(&store, &digest).await, store.snapshot().entries), (contents.to_vec(), 1));
}

/// Starts two equal uploads, which are written, and a third.
async fn third_of_equal_uploads(
    store: &Arc<ZipWritingStore<Cas>>,
    ctx: blobaccess::Context,
) -> ([UnboundedSender<Result<Bytes>>; 2], tokio::task::JoinHandle<Result<PutOutcome>>) {
    let digest = digest(large(1));
    let start = |blob| {
        let (store, ctx, digest) = (Arc::clone(store), ctx.clone(), digest.clone());
        tokio::spawn(async move { store.put(&ctx, &digest, blob).await })
    };
    let (first, blob) = sent(&digest);
    drop(start(blob));
    until_uploads(store, 1).await;
    let (second, blob) = sent(&digest);
    drop(start(blob));
    until_uploads(store, 2).await;
    let third = start(Blob::from_bytes(large(1)));
    ([first, second], third)
}

#[tokio::test]
async fn a_third_equal_upload_waits_for_the_other_two() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let ([first, second], third) = third_of_equal_uploads(&store, ctx()).await;
    drop(first);
    send(&second, large(1));
    drop(second);
    let stored_bytes = u64::try_from(SIZE).unwrap();
    assert_eq!(third.await.unwrap().unwrap(), PutOutcome::AlreadyExists { stored_bytes });
    assert_eq!(get(&*store, &digest(large(1))).await, large(1));
}

#[tokio::test]
async fn a_third_equal_upload_fails_if_the_other_two_do() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let (senders, third) = third_of_equal_uploads(&store, ctx()).await;
    drop(senders);
    let error = third.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_third_equal_upload_waits_no_longer_than_its_deadline() {
    let place = Place::new();
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(place.create::<Cas>().await.with_clock(Arc::<ManualClock>::clone(&clock)));
    let ctx = ctx().with_deadline(clock.monotonic() + Duration::from_secs(5));
    let (senders, third) = third_of_equal_uploads(&store, ctx).await;
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(5));
    assert_eq!(third.await.unwrap().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    drop(senders);
}

#[tokio::test]
async fn to_finish_does_not_wait_for_uploads() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let (sender, blob) = sent(&digest(large(1)));
    let upload = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.put(&ctx(), &digest(large(1)), blob).await }
    });
    until_uploads(&store, 1).await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    let whole = place.bytes();
    // The next pieces end it.
    send(&sender, large(1).slice(..1 << 20));
    send(&sender, large(1).slice(..1 << 20));
    assert_eq!(upload.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(place.bytes().len(), whole.len());
    let reader = place.open::<Cas>().await;
    assert_eq!((get(&reader, &digest("Hello")).await, reader.snapshot().entries), (b"Hello".to_vec(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_uploads_write_into_no_other_blob() {
    let seed = seed("BLOBACCESS_ZIP_UPLOADS_SEED");
    let mut numbers = Numbers::new(seed);
    let place = Place::new();
    let store = place.create::<Cas>().await;
    let mut stored = Vec::new();
    for _ in 0..40 {
        let size = (1 << 20) + 1 + numbers.below(1 << 20);
        let contents: Bytes = numbers.bytes(size).into();
        let blob = Blob::from_untrusted_stream(
            &digest(&contents),
            slow_stream(contents.clone(), 300_000),
            Provenance::client(),
        );
        let (digest, ctx) = (digest(&contents), ctx());
        let mut upload = Box::pin(store.put(&ctx, &digest, blob));
        let mut is_done = false;
        for _ in 0..numbers.below(20) {
            is_done = is_done || upload.as_mut().now_or_never().is_some();
            tokio::task::yield_now().await;
        }
        // Its last write may still be under way.
        drop(upload);
        if is_done {
            stored.push(contents);
        }
        let size = 1 + numbers.below(100_000);
        let small: Bytes = numbers.bytes(size).into();
        put(&store, &super::digest(&small), &small).await;
        stored.push(small);
    }
    store.finish().await.unwrap();
    let reader = place.open::<Cas>().await;
    for contents in &stored {
        assert_eq!(get(&reader, &digest(contents)).await, *contents);
    }
}
