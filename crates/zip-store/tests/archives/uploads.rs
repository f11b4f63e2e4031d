//! Large blobs, which are written as they arrive: those that fail, are dropped, or are equal.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Cas, Clock, Digest, Error, ErrorKind, Provenance, PutCertainty, PutOutcome, Result, SystemClock,
};
use blobaccess_testkit::fakes::{failing_stream, slow_stream};
use blobaccess_testkit::{Numbers, seed};
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

/// An upload whose pieces the test sends, which runs by itself.
struct Sending {
    sender: UnboundedSender<Result<Bytes>>,
    put: tokio::task::JoinHandle<Result<PutOutcome>>,
}

impl Sending {
    fn begin(store: &Arc<ZipWritingStore<Cas>>, digest: &Digest) -> Self {
        let ((sender, blob), store, digest) = (sent(digest), Arc::clone(store), digest.clone());
        Self { sender, put: tokio::spawn(async move { store.put(&ctx(), &digest, blob).await }) }
    }

    /// Sends a piece, and lets the put take it.
    async fn send(&self, piece: Bytes) {
        send(&self.sender, piece);
        settle().await;
    }

    async fn end(self, rest: Bytes) -> Result<PutOutcome> {
        send(&self.sender, rest);
        drop(self.sender);
        self.put.await.unwrap()
    }
}

/// Waits until all tasks and all threads that write have done what they can: time only goes on then.
async fn settle() {
    SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(1)).await;
}

/// Returns contents of which no two pieces are equal.
fn distinct() -> Bytes {
    Numbers::new(14).bytes(SIZE).into()
}

const STORED_BYTES: u64 = 3 << 20;

#[tokio::test(start_paused = true)]
async fn of_many_equal_uploads_the_first_complete_one_stores_and_one_takes_space() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let (contents, step) = (distinct(), 400_000);
    let digest = digest(&contents);
    let mut uploads: Vec<_> = (0..6).map(|_| Sending::begin(&store, &digest)).collect();
    for (number, upload) in (1..).zip(&uploads) {
        upload.send(contents.slice(..step * number)).await;
    }
    assert_eq!(store.snapshot().uploads, 1);
    assert!(store.snapshot().archive_bytes < STORED_BYTES + 1000, "{:?}", store.snapshot());
    // The third one is complete, and all others are stalled.
    let outcome = uploads.remove(2).end(contents.slice(3 * step..)).await;
    assert_eq!(outcome.unwrap(), PutOutcome::Created { stored_bytes: STORED_BYTES });
    assert_eq!(get(&*store, &digest).await, contents);
    for (number, upload) in [1, 2, 4, 5, 6].into_iter().zip(uploads) {
        let outcome = upload.end(contents.slice(number * step..)).await;
        assert_eq!(outcome.unwrap(), PutOutcome::AlreadyExists { stored_bytes: STORED_BYTES });
    }
    assert_eq!((store.snapshot().uploads, store.snapshot().gap_bytes), (0, 0));
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Cas>().await, &digest).await, contents);
}

#[tokio::test(start_paused = true)]
async fn another_goes_on_where_an_equal_upload_that_failed_has_come_to() {
    let place = Place::new();
    let store = Arc::new(place.create::<Cas>().await);
    let contents = distinct();
    let digest = digest(&contents);
    let [ahead, behind] = [0, 1].map(|_| Sending::begin(&store, &digest));
    ahead.send(contents.slice(..2_000_000)).await;
    behind.send(contents.slice(..500_000)).await;
    ahead.sender.unbounded_send(Err(Error::unavailable("the client is gone"))).unwrap();
    assert_eq!(ahead.put.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    let outcome = behind.end(contents.slice(500_000..)).await;
    assert_eq!(outcome.unwrap(), PutOutcome::Created { stored_bytes: STORED_BYTES });
    assert_eq!(get(&*store, &digest).await, contents);
    assert_eq!(store.snapshot().gap_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_of_an_equal_upload_harm_nobody_wherever_they_are_found() {
    let contents = distinct();
    let digest = digest(&contents);
    for apart_at in [0, 700_000, 1_999_999, 2_000_001] {
        let place = Place::new();
        let store = Arc::new(place.create::<Cas>().await);
        let mut wrong = contents.to_vec();
        *wrong.get_mut(apart_at).unwrap() ^= 1;
        let wrong = Bytes::from(wrong);
        let liar = Sending::begin(&store, &digest);
        liar.send(wrong.slice(..2_000_000)).await;
        let [first, second] = [0, 1].map(|_| Sending::begin(&store, &digest));
        // One is apart from the copy at once, or later.
        first.send(contents.slice(..600_000)).await;
        second.send(contents.slice(..1_500_000)).await;
        first.send(contents.slice(600_000..2_100_000)).await;
        let late = Sending::begin(&store, &digest);
        let outcome = late.end(contents.clone()).await;
        assert_eq!(outcome.unwrap(), PutOutcome::Created { stored_bytes: STORED_BYTES }, "apart at {apart_at}");
        assert_eq!(get(&*store, &digest).await, contents);
        assert_eq!(liar.end(wrong.slice(2_000_000..)).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        for (upload, from) in [(first, 2_100_000), (second, 1_500_000)] {
            let outcome = upload.end(contents.slice(from..)).await;
            assert_eq!(outcome.unwrap(), PutOutcome::AlreadyExists { stored_bytes: STORED_BYTES });
        }
        assert_eq!(store.snapshot().uploads, 0);
        store.finish().await.unwrap();
        assert_eq!(get(&place.open::<Cas>().await, &digest).await, contents);
    }
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
