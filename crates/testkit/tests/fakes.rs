//! The fakes do what tests rely on.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Ac, Blob, BlobAccess, Call, Caller, Capabilities, Cas, Context, Digest, DigestSet, Error, ErrorKind, Event,
    InstanceName, MemoryStore, Observer, Operation, Provenance, PutCertainty, PutOutcome, StorageType,
};
use blobaccess_testkit::fakes::{
    CountingStore, InterruptibleStore, LeadingBytes, Outage, PausedStore, RecordedCall, RecordingObserver,
    ScriptedStore, UnreachableStore, UnreliableStore, failing_stream, slow_stream, watched_stream,
};
use blobaccess_testkit::{Numbers, digest_of};
use bytes::Bytes;
use futures::{TryStreamExt, poll};

static CTX: Context = Context::background();

fn digest(contents: &[u8]) -> Digest {
    digest_of(contents)
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

#[tokio::test]
async fn a_counting_store_keeps_what_each_call_was_about() {
    let store = CountingStore::new(memory());
    let (hello, part) = (digest(b"hello"), digest(b"he"));
    let ctx = CTX.clone().with_caller(Caller::new("ci"));
    store.put(&ctx, &hello, Blob::from_bytes("hello")).await.unwrap();
    let found = store.get_from_composite(&CTX, &hello, &part, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(found.into_bytes(9).await.unwrap(), "he");
    drop(store.inner().get(&CTX, &hello).await.unwrap());
    let calls = store.calls();
    let operations: Vec<_> = calls.iter().map(|call| call.operation).collect();
    assert_eq!(operations, [Operation::Put, Operation::GetFromComposite]);
    assert_eq!(store.digests_of_each(Operation::GetFromComposite), [[hello, part]]);
    assert_eq!((store.count_of(Operation::Put), store.count_of(Operation::Get)), (1, 0));
    let callers: Vec<_> = calls.iter().map(|call| call.context.caller().map(Caller::name)).collect();
    assert_eq!(callers, [Some("ci"), None]);
}

#[tokio::test]
async fn a_slicer_of_leading_bytes_finds_the_beginning_only() {
    let store = memory();
    let hello = digest(b"hello");
    store.put(&CTX, &hello, Blob::from_bytes("hello")).await.unwrap();
    let end = store.get_from_composite(&CTX, &hello, &digest(b"lo"), Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(end.into_bytes(9).await.unwrap_err().kind(), ErrorKind::DataLoss);
    let longer = store.get_from_composite(&CTX, &hello, &digest(b"hello!"), Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(longer.into_bytes(9).await.unwrap_err().kind(), ErrorKind::DataLoss);
}

#[tokio::test]
async fn an_unreliable_store_fails_as_often_as_asked_and_says_what_a_put_may_have_stored() {
    let store = UnreliableStore::new(Arc::new(memory()), Numbers::new(7), 40);
    let (mut failed, mut lost) = (0, 0);
    for number in 0..1000_u32 {
        let contents = number.to_le_bytes();
        let digest = digest(&contents);
        let put = store.put(&CTX, &digest, Blob::from_bytes(contents.to_vec())).await;
        let stored = store.inner().get(&CTX, &digest).await.is_ok();
        match put {
            Ok(_) => assert!(stored),
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert_eq!(stored, error.put_certainty() == PutCertainty::MaybeStored, "{error:?}");
                lost += usize::from(!stored);
            }
        }
        assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    }
    assert!((350..450).contains(&failed) && (150..250).contains(&lost), "{failed} failed, {lost} were lost");
    for (failures, fails) in [(0, false), (100, true)] {
        let store = UnreliableStore::new(memory(), Numbers::new(7), failures);
        for _ in 0..100 {
            assert_eq!(store.capabilities(&CTX, &InstanceName::empty()).await.is_err(), fails);
        }
    }
}

#[test]
fn a_recording_observer_keeps_calls_and_events_until_they_are_taken() {
    let recorder = RecordingObserver::new();
    let call = Call::new(StorageType::Cas, "fake", Operation::Get, Duration::from_secs(3));
    recorder.call_ended(&call);
    recorder.event(&Event::ExistenceCacheAsked { hits: 1, misses: 2 });
    let taken: Vec<_> = recorder.take_calls().iter().map(|call| (call.operation, call.duration)).collect();
    assert_eq!(taken, [(Operation::Get, Duration::from_secs(3))]);
    assert!(matches!(*recorder.take_events(), [Event::ExistenceCacheAsked { hits: 1, misses: 2 }]));
    assert!(recorder.take_calls().is_empty() && recorder.take_events().is_empty());
}
