//! Tests of reads from a replica.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::ReadCanarying;
use blobaccess::{
    Ac, BlobAccess, BlobAccessExt, Cas, Clock, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind,
    InstanceName, Kind, MemoryStore, Operation,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, StreamExt, poll, stream};

use crate::streaming::StreamingStore;
use crate::{Inner, fail, inner, memory, mend, stored};

static CTX: Context = Context::background();

const DURATION: Duration = Duration::from_mins(5);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Just too little for a verdict to be over.
const NEARLY: Duration = Duration::from_nanos(5 * 60 * 1_000_000_000 - 1);

struct Canarying<K: Kind> {
    source: Inner<K>,
    replica: Inner<K>,
    clock: ManualClock,
    store: ReadCanarying<Inner<K>, Inner<K>>,
}

fn canarying<K: Kind>() -> Canarying<K> {
    let (source, replica, clock) = (inner(), inner(), ManualClock::new());
    let store = ReadCanarying::new(Arc::clone(&source), Arc::clone(&replica), 100, DURATION);
    Canarying { source, replica, store: store.with_clock(Arc::new(clock.clone())), clock }
}

fn down() -> Error {
    Error::unavailable("down")
}

fn in_name(name: &str, contents: &str) -> Digest {
    Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, contents.as_bytes())
}

#[tokio::test]
async fn puts_and_capabilities_are_those_of_the_source() {
    let Canarying { source, replica, store, .. } = canarying::<Cas>();
    store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap();
    store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    assert_eq!((source.counts().calls(), replica.counts().calls()), (2, 0));
    fail(&source, down());
    let error = store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap_err();
    assert_eq!(error.to_string(), "source: down");
}

#[tokio::test]
async fn the_replica_is_tried_left_alone_and_tried_again() {
    let Canarying { source, replica, clock, store } = canarying::<Cas>();
    let digest = stored(&source, "hello").await;
    stored(&replica, "hello").await;
    fail(&replica, down());
    // The canary fails, and the source answers for as long as the verdict holds.
    for _ in 0..3 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert_eq!((replica.counts().gets, source.counts().gets), (1, 3));
    clock.advance(NEARLY);
    store.get_bytes(&CTX, &digest, 9).await.unwrap();
    assert_eq!((replica.counts().gets, source.counts().gets), (1, 4));
    fail(&source, down());
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "source: down");
    mend(&source);

    // The next canary succeeds, and each read from the replica makes the verdict hold longer.
    mend(&replica);
    clock.advance(NANOSECOND);
    for _ in 0..4 {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
        clock.advance(NEARLY);
    }
    assert_eq!((replica.counts().gets, source.counts().gets), (5, 5));
    assert_eq!((store.snapshot().canaries, store.snapshot().failures), (2, 1));

    // One failure is enough.
    fail(&replica, down());
    for _ in 0..2 {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
    }
    assert_eq!((replica.counts().gets, source.counts().gets), (6, 7));
    assert_eq!(store.snapshot().unhealthy_names, 1);
}

#[tokio::test]
async fn faults_send_reads_to_the_source_and_other_errors_are_answers() {
    for kind in ErrorKind::ALL {
        let Canarying { source, replica, store, .. } = canarying::<Cas>();
        let digest = stored(&source, "hello").await;
        fail(&replica, Error::new(kind, "an error"));
        let result = store.get_bytes(&CTX, &digest, 9).await;
        if kind.is_store_fault() {
            assert_eq!(result.unwrap(), "hello", "{kind}");
        } else {
            let expected = if kind == ErrorKind::NotFound { "an error" } else { "replica: an error" };
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
        // A damaged blob is no reason to leave the replica alone.
        assert_eq!(store.snapshot().unhealthy_names, usize::from(kind.is_infrastructure()), "{kind}");
        assert_eq!(store.snapshot().names, 1);
    }
}

#[tokio::test]
async fn a_part_is_read_by_the_instance_name_of_its_composite() {
    let Canarying { source, replica, store, .. } = canarying::<Cas>();
    let (whole, part) = (stored(&source, "hello").await, in_name("elsewhere", "he"));
    fail(&replica, down());
    for _ in 0..2 {
        let blob = store.get_from_composite(&CTX, &whole, &part, Arc::new(LeadingBytes)).await.unwrap();
        assert_eq!(blob.into_bytes(9).await.unwrap(), "he");
    }
    assert_eq!((replica.counts().gets_from_composite, source.counts().gets_from_composite), (1, 2));
    // Another name has a verdict of its own.
    store.get_from_composite(&CTX, &in_name("elsewhere", "hello"), &part, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(replica.counts().gets_from_composite, 2);
}

#[tokio::test]
async fn a_replica_that_hangs_counts_as_failed() {
    let (source, clock) = (inner::<Cas>(), ManualClock::new());
    let replica = Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let digest = stored(&source, "hello").await;
    let store = ReadCanarying::new(Arc::clone(&source), Arc::clone(&replica), 100, DURATION)
        .with_clock(Arc::new(clock.clone()))
        .with_timeout(Duration::from_secs(3));
    let mut get = store.get_bytes(&CTX, &digest, 9).boxed();
    assert!(poll!(&mut get).is_pending());
    // Meanwhile, others read from the source.
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    clock.advance(Duration::from_secs(3));
    assert_eq!(get.await.unwrap(), "hello");
    assert_eq!(store.snapshot().unhealthy_names, 1);

    clock.advance(DURATION);
    let digests = DigestSet::from(digest);
    let mut find = store.find_missing(&CTX, &digests);
    assert!(poll!(&mut find).is_pending());
    clock.advance(Duration::from_secs(3));
    assert!(find.await.unwrap().is_empty());
    assert_eq!((store.snapshot().failures, store.snapshot().canaries), (2, 2));
}

#[tokio::test]
async fn a_deadline_of_the_replica_counts_as_a_failure_and_one_of_the_caller_does_not() {
    let Canarying { source, replica, clock, store } = canarying::<Cas>();
    let digest = stored(&source, "hello").await;
    fail(&replica, Error::deadline_exceeded("too late"));
    let late = Context::background().with_deadline(clock.monotonic());
    let error = store.get(&late, &digest).await.unwrap_err();
    assert_eq!(error.to_string(), "replica: too late");
    assert_eq!((store.snapshot().names, store.snapshot().unhealthy_names), (0, 0));
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert_eq!(store.snapshot().unhealthy_names, 1);
}

#[tokio::test]
async fn a_read_goes_on_from_the_source_if_the_replica_fails_midway() {
    let source = inner::<Cas>();
    let digest = stored(&source, "hello").await;
    let replica = StreamingStore::<Cas>::new(|| stream::iter([Ok("he".into()), Err(down())]).boxed());
    let store = ReadCanarying::new(source, replica, 100, DURATION);
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert_eq!(store.snapshot().unhealthy_names, 1);
}

#[tokio::test]
async fn a_blob_that_is_not_read_leaves_no_verdict_and_no_canary() {
    let source = inner::<Cas>();
    let digest = stored(&source, "hello").await;
    let replica = StreamingStore::<Cas>::new(|| stream::iter([Ok("he".into()), Ok("llo".into())]).boxed());
    let store = ReadCanarying::new(source, replica, 100, DURATION);
    for canaries in 1..4 {
        let blob = store.get(&CTX, &digest).await.unwrap();
        assert_eq!(store.snapshot().canaries, canaries);
        // Meanwhile, others read from the source.
        store.get(&CTX, &digest).await.unwrap();
        assert_eq!(store.snapshot().from_source, canaries);
        drop(blob);
    }
    store.get_bytes(&CTX, &digest, 9).await.unwrap();
    assert_eq!(store.snapshot().canaries, 4);
    store.get_bytes(&CTX, &digest, 9).await.unwrap();
    assert_eq!((store.snapshot().canaries, store.snapshot().from_source), (4, 3), "the replica is healthy");
}

#[tokio::test]
async fn a_dropped_canary_lets_the_next_read_be_one() {
    let (source, replica) = (inner::<Cas>(), Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20))));
    let digest = stored(&source, "hello").await;
    let store = ReadCanarying::new(source, Arc::clone(&replica), 100, DURATION);
    for canaries in 1..4 {
        let mut get = store.get(&CTX, &digest).boxed();
        assert!(poll!(&mut get).is_pending());
        assert_eq!(store.snapshot().canaries, canaries);
    }
}

#[tokio::test]
async fn a_query_is_split_by_instance_name_and_the_source_is_asked_once() {
    let Canarying { source, replica, clock, store } = canarying::<Cas>();
    // Both have one blob, whatever the instance name.
    for store in [&source, &replica] {
        stored(store, "there").await;
    }
    let (there, absent) = (|name: &str| in_name(name, "there"), |name: &str| in_name(name, "absent"));
    let asked = |names: &[&str]| names.iter().flat_map(|name| [there(name), absent(name)]).collect::<DigestSet>();
    let missing = |names: &[&str]| names.iter().map(|name| absent(name)).collect::<DigestSet>();

    fail(&replica, down());
    let (one, two) = (asked(&["broken"]), asked(&["broken too"]));
    assert_eq!(store.find_missing(&CTX, &one).await.unwrap(), missing(&["broken"]));
    assert_eq!(store.find_missing(&CTX, &two).await.unwrap(), missing(&["broken too"]));
    mend(&replica);
    let names = ["broken", "broken too", "good", "good too"];
    assert_eq!(store.find_missing(&CTX, &asked(&names)).await.unwrap(), missing(&names));
    assert_eq!(source.counts().finds, 3);
    assert_eq!(source.digests_of_each(Operation::FindMissing)[2], asked(&["broken", "broken too"]).as_slice());
    assert_eq!(replica.counts().finds, 4);

    // If all is well, the source is not asked.
    clock.advance(DURATION);
    assert_eq!(store.find_missing(&CTX, &asked(&names)).await.unwrap(), missing(&names));
    assert_eq!(source.counts().finds, 3);
}

#[tokio::test]
async fn an_error_of_a_query_names_the_instance_name() {
    let Canarying { replica, store, .. } = canarying::<Cas>();
    fail(&replica, Error::permission_denied("not you"));
    let error = store.find_missing(&CTX, &in_name("some/name", "hello").into()).await.unwrap_err();
    assert_eq!(error.to_string(), "instance name \"some/name\": replica: not you");
    let Canarying { source, replica, store, .. } = canarying::<Cas>();
    fail(&replica, down());
    fail(&source, down());
    let error = store.find_missing(&CTX, &in_name("some/name", "hello").into()).await.unwrap_err();
    assert_eq!(error.to_string(), "source: down");
}

#[tokio::test]
async fn messages_are_read_so_too() {
    let Canarying { source, replica, store, .. } = canarying::<Ac>();
    let key = stored(&replica, "key").await;
    assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "key");
    fail(&replica, down());
    assert!(store.get(&CTX, &key).await.unwrap_err().is_blob_missing(), "the source lacks it");
    assert!(memory(&source).get(&CTX, &key).await.is_err());
}

#[tokio::test]
async fn no_more_names_are_remembered_than_permitted() {
    let (source, replica) = (inner::<Cas>(), inner::<Cas>());
    fail(&replica, down());
    let store = ReadCanarying::new(Arc::clone(&source), replica, 2, DURATION);
    stored(&source, "hello").await;
    for name in ["a", "b", "c", "d"] {
        store.get_bytes(&CTX, &in_name(name, "hello"), 9).await.unwrap();
    }
    assert_eq!((store.snapshot().names, store.snapshot().canaries), (2, 4));
}
