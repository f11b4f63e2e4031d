//! The fakes do what tests rely on.

use std::sync::Arc;

use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind,
    InstanceName, MemoryStore, Provenance, PutOutcome,
};
use blobaccess_testkit::fakes::{
    CountingStore, InterruptibleStore, Outage, PausedStore, RecordedCall, ScriptedStore, UnreachableStore,
    failing_stream, slow_stream, watched_stream,
};
use bytes::Bytes;
use futures::{TryStreamExt, poll};

static CTX: Context = Context::background();

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn memory() -> MemoryStore<Cas> {
    MemoryStore::new(1 << 20)
}

#[tokio::test]
async fn of_an_unreachable_store_every_call_fails_alike() {
    let store = UnreachableStore::<Ac>::new(Error::internal("on fire"));
    let digest = digest(b"hello");
    let kinds = [
        store.get(&CTX, &digest).await.unwrap_err().kind(),
        store.put(&CTX, &digest, Blob::empty()).await.unwrap_err().kind(),
        store.find_missing(&CTX, &digest.clone().into()).await.unwrap_err().kind(),
        store.capabilities(&CTX, &InstanceName::empty()).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Internal; 4]);
    assert_eq!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap(), DigestSet::new());
}

#[tokio::test]
async fn a_scripted_store_answers_in_order_and_remembers_what_was_asked() {
    let (a, b) = (digest(b"a"), digest(b"b"));
    let created = PutOutcome::Created { stored_bytes: 7 };
    let store = ScriptedStore::<Cas>::new()
        .on_get(Ok(Blob::from_bytes("a")))
        .on_get(Err(Error::unavailable("busy")))
        .on_put(Ok(created))
        .on_put_unread(Err(Error::aborted("no")))
        .on_find_missing(Ok(a.clone().into()))
        .on_capabilities(Ok(Capabilities::unlimited()));
    assert_eq!(store.get(&CTX, &a).await.unwrap().into_bytes(9).await.unwrap(), "a");
    assert_eq!(store.get(&CTX, &b).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.put(&CTX, &a, Blob::from_bytes("a")).await.unwrap(), created);
    assert_eq!(store.put(&CTX, &b, Blob::from_bytes("b")).await.unwrap_err().kind(), ErrorKind::Aborted);
    assert_eq!(store.find_missing(&CTX, &b.clone().into()).await.unwrap(), a.clone().into());
    assert!(!store.is_exhausted());
    assert!(store.capabilities(&CTX, &InstanceName::empty()).await.is_ok());
    assert!(store.is_exhausted());
    assert_eq!(
        store.calls(),
        [
            RecordedCall::Get { digest: a.clone() },
            RecordedCall::Get { digest: b.clone() },
            RecordedCall::Put { digest: a.clone(), contents: Some(Bytes::from("a")) },
            RecordedCall::Put { digest: b.clone(), contents: None },
            RecordedCall::FindMissing { digests: b.into() },
            RecordedCall::Capabilities { instance_name: InstanceName::empty() },
        ]
    );
    assert_eq!(store.get(&CTX, &a).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_counting_store_counts_calls_digests_and_bytes() {
    let store = CountingStore::new(memory());
    let hello = digest(b"hello");
    assert!(store.get(&CTX, &hello).await.is_err());
    store.put(&CTX, &hello, Blob::from_bytes("hello")).await.unwrap();
    drop(store.get(&CTX, &hello).await.unwrap());
    store.find_missing(&CTX, &DigestSet::from([hello, digest(b"a"), digest(b"b")])).await.unwrap();
    let counts = store.counts();
    assert_eq!((counts.gets, counts.puts, counts.finds, counts.calls()), (2, 1, 1, 4));
    assert_eq!((counts.digests_asked, counts.bytes_got, counts.bytes_put), (3, 5, 5));
}

#[tokio::test]
async fn an_interrupted_store_fails_during_the_outage_only() {
    let outage = Outage::default();
    let store = InterruptibleStore::new(memory(), outage.clone());
    let hello = digest(b"hello");
    store.put(&CTX, &hello, Blob::from_bytes("hello")).await.unwrap();
    outage.begin(Error::unavailable("down"));
    assert_eq!(store.get(&CTX, &hello).await.unwrap_err().kind(), ErrorKind::Unavailable);
    outage.end();
    assert!(store.get(&CTX, &hello).await.is_ok());
    assert_eq!(store.to_string(), "memory");
}

#[tokio::test]
async fn a_paused_store_holds_calls_until_they_are_released() {
    let store = Arc::new(PausedStore::new(memory()));
    let hello = digest(b"hello");
    let ask = || {
        let (store, hello) = (Arc::clone(&store), hello.clone());
        tokio::spawn(async move { store.get(&CTX, &hello).await.unwrap_err().kind() })
    };
    let (first, second) = (ask(), ask());
    store.until_waiting(2).await;
    store.release_one();
    let (ended, _, other) = futures::future::select_all([first, second]).await;
    assert_eq!(ended.unwrap(), ErrorKind::NotFound);
    assert_eq!(store.waiting(), 1);
    store.release_all();
    for other in other {
        assert_eq!(other.await.unwrap(), ErrorKind::NotFound);
    }
    assert_eq!(ask().await.unwrap(), ErrorKind::NotFound);
    assert_eq!(store.waiting(), 0);
}

#[tokio::test]
async fn a_held_call_that_is_dropped_takes_no_release_with_it() {
    let store = PausedStore::new(memory());
    let hello = digest(b"hello");
    let mut dropped = store.get(&CTX, &hello);
    assert!(poll!(&mut dropped).is_pending());
    assert_eq!(store.waiting(), 1);
    drop(dropped);
    assert_eq!(store.waiting(), 0);
    store.release_one();
    assert!(store.get(&CTX, &hello).await.is_err());
}

#[tokio::test]
async fn streams_are_slow_or_fail_or_are_watched() {
    let contents = Bytes::from("0123456789");
    let mut slow = slow_stream(contents.clone(), 4);
    assert!(poll!(slow.try_next()).is_pending(), "it takes a turn of the runtime");
    let pieces: Vec<_> = slow_stream(contents.clone(), 4).try_collect().await.unwrap();
    assert_eq!(pieces, ["0123", "4567", "89"]);

    let mut failing = failing_stream(contents.clone(), 5, 4, Error::aborted("enough"));
    assert_eq!(failing.try_next().await.unwrap().unwrap(), "0123");
    assert_eq!(failing.try_next().await.unwrap().unwrap(), "4");
    assert_eq!(failing.try_next().await.unwrap_err().kind(), ErrorKind::Aborted);

    let (watched, polls) = watched_stream();
    let blob = Blob::from_untrusted_stream(&digest(&contents), watched, Provenance::client());
    assert_eq!(polls.count(), 0);
    assert!(blob.verify().await.is_err());
    assert_eq!(polls.count(), 1);
}
