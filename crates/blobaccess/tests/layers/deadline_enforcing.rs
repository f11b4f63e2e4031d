//! Tests of calls that take too long.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::DeadlineEnforcing;
use blobaccess::{
    Blob, BlobAccess, Cas, Clock, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, MemoryStore, Provenance,
    PutCertainty, Result, SystemClock,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore, ScriptedStore};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Inner, fail, inner, stored};

static CTX: Context = Context::background();
const TIMEOUT: Duration = Duration::from_secs(5);

fn limited<B: BlobAccess>(inner: B) -> DeadlineEnforcing<B> {
    DeadlineEnforcing::new(inner, TIMEOUT).with_clock(Arc::new(SystemClock))
}

fn stack() -> (Inner<Cas>, DeadlineEnforcing<Inner<Cas>>) {
    let inner = inner();
    (Arc::clone(&inner), limited(inner))
}

/// Returns the layer over a store that never answers.
fn over_a_store_that_hangs() -> DeadlineEnforcing<PausedStore<MemoryStore<Cas>>> {
    limited(PausedStore::new(MemoryStore::new(1 << 20)))
}

async fn call_each(store: &impl BlobAccess, ctx: &Context, digest: &Digest) -> [Result<()>; 5] {
    let child = digest_of("he");
    [
        store.get(ctx, digest).await.map(drop),
        store.get_from_composite(ctx, digest, &child, Arc::new(LeadingBytes)).await.map(drop),
        store.put(ctx, digest, Blob::from_bytes("hello")).await.map(drop),
        store.find_missing(ctx, &digest.clone().into()).await.map(drop),
        store.capabilities(ctx, &InstanceName::empty()).await.map(drop),
    ]
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_store_that_ignores_the_deadline_are_ended() {
    let (store, digest) = (over_a_store_that_hangs(), digest_of("hello"));
    let began = SystemClock.monotonic();
    let results = call_each(&store, &CTX, &digest).await;
    let took = SystemClock.monotonic() - began;
    assert!(took >= 5 * TIMEOUT && took < 5 * TIMEOUT + Duration::from_secs(1), "{took:?}");
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
        assert!(error.to_string().ends_with("timed out after 5s"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_operation_and_the_digest() {
    let (store, digest) = (over_a_store_that_hangs(), digest_of("hello"));
    let error = store.get(&CTX, &digest).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Get of blob {digest} timed out after 5s"));
    let error = store.find_missing(&CTX, &digest.into()).await.unwrap_err();
    assert_eq!(error.to_string(), "FindMissing timed out after 5s");
}

#[tokio::test(start_paused = true)]
async fn the_inner_store_is_given_the_earlier_deadline() {
    let (inner, store) = stack();
    let digest = stored(&inner, "hello").await;
    let now = SystemClock.monotonic();
    for (callers, expected) in [(TIMEOUT * 2, TIMEOUT), (TIMEOUT / 2, TIMEOUT / 2)] {
        let ctx = CTX.clone().with_deadline(now + callers);
        assert!(call_each(&store, &ctx, &digest).await.iter().all(Result::is_ok));
        for call in inner.calls().split_off(inner.calls().len() - 5) {
            assert_eq!(call.context.deadline(), Some(now + expected), "{call:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_the_caller_ends_a_call() {
    let store = over_a_store_that_hangs();
    let ctx = CTX.clone().with_deadline(SystemClock.monotonic() + Duration::from_secs(2));
    let error = store.get(&ctx, &digest_of("hello")).await.unwrap_err();
    assert!(error.to_string().ends_with("after 2s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn when_the_time_has_run_out_before_the_inner_store_is_not_asked() {
    let (inner, store) = stack();
    let digest = stored(&inner, "hello").await;
    let ctx = CTX.clone().with_deadline(SystemClock.monotonic());
    for result in call_each(&store, &ctx, &digest).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    }
    assert!(inner.calls().is_empty());
    assert!(store.find_missing(&ctx, &DigestSet::new()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_beyond_the_end_of_time_is_none() {
    let inner: Inner<Cas> = inner();
    let digest = stored(&inner, "hello").await;
    let store = DeadlineEnforcing::new(Arc::clone(&inner), Duration::MAX);
    assert!(call_each(&store, &CTX, &digest).await.iter().all(Result::is_ok));
    assert!(inner.calls().iter().all(|call| call.context.deadline().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_blob_can_be_read_until_the_deadline_of_its_get() {
    let digest = digest_of("hello");
    let pieces = stream::iter(["he", "llo"]).then(|piece| async move {
        SystemClock.sleep_until(SystemClock.monotonic() + TIMEOUT * 2 / 3).await;
        Ok(Bytes::from_static(piece.as_bytes()))
    });
    let blob = Blob::from_untrusted_stream(&digest, pieces, Provenance::store());
    let store = limited(ScriptedStore::<Cas>::new().on_get(Ok(blob)));
    let mut reader = store.get(&CTX, &digest).await.unwrap().into_stream(..).unwrap();
    assert_eq!(reader.try_next().await.unwrap().unwrap(), "he");
    let error = reader.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(error.to_string(), format!("Get of blob {digest} timed out after 5s"));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_nobody_began_to_read_in_time_fails() {
    let (inner, store) = stack();
    let digest = stored(&inner, "hello").await;
    let parent = digest.clone();
    let blobs = [
        store.get(&CTX, &digest).await.unwrap(),
        store.get_from_composite(&CTX, &parent, &digest_of("he"), Arc::new(LeadingBytes)).await.unwrap(),
    ];
    tokio::time::advance(TIMEOUT).await;
    for blob in blobs {
        assert_eq!(blob.into_bytes(9).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_and_errors_in_time_are_passed_on_unchanged() {
    let (inner, store) = stack();
    let digest = stored(&inner, "hello").await;
    assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
    fail(&inner, Error::unavailable("gone fishing"));
    for result in call_each(&store, &CTX, &digest).await {
        assert_eq!(result.unwrap_err().to_string(), "gone fishing");
    }
}
