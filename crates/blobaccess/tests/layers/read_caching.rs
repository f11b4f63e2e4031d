//! Tests of a store with a cache in front of it.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{ReadCaching, ReadCachingOptions};
use blobaccess::replication::{EntryLocks, LocalReplicator};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Context, Error, ErrorKind, InstanceName, Kind, MemoryStore, Operation,
    Provenance, PutCertainty, PutOutcome,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore, watched_stream};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, StreamExt, poll, stream};

use crate::streaming::StreamingStore;
use crate::{Inner, fail, has, inner, mend, stored, value};

static CTX: Context = Context::background();

const SECOND: Duration = Duration::from_secs(1);

type Local<K> = LocalReplicator<Inner<K>, Inner<K>>;

struct Cached<K: Kind> {
    slow: Inner<K>,
    fast: Inner<K>,
    clock: ManualClock,
    store: ReadCaching<Inner<K>, Inner<K>, Local<K>>,
}

fn cached<K: Kind>(options: ReadCachingOptions) -> Cached<K> {
    let (slow, fast, clock, locks) = (inner(), inner(), ManualClock::new(), Arc::<EntryLocks>::default());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&slow)), Arc::new(Arc::clone(&fast)))
        .with_entry_locks(Arc::clone(&locks));
    let store = ReadCaching::new(Arc::clone(&slow), Arc::clone(&fast), replicator)
        .with_entry_locks(locks)
        .with_clock(Arc::new(clock.clone()))
        .with_options(options);
    Cached { slow, fast, clock, store }
}

fn plain<K: Kind>() -> Cached<K> {
    cached(ReadCachingOptions::new())
}

fn down() -> Error {
    Error::unavailable("down")
}

#[tokio::test]
async fn what_the_fast_store_has_is_read_from_it_alone() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = stored(&fast, "hello").await;
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert_eq!(slow.counts().calls(), 0);
}

#[tokio::test]
async fn what_the_fast_store_lacks_is_read_from_the_slow_one_and_copied() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = stored(&slow, "hello").await;
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert!(has(&fast, &digest).await);
    assert_eq!(slow.counts().gets, 1);
    let (whole, part) = (stored(&slow, "other").await, digest_of("ot"));
    let blob = store.get_from_composite(&CTX, &whole, &part, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(blob.into_bytes(9).await.unwrap(), "ot");
    assert!(has(&fast, &whole).await, "for a part, the whole is copied");
}

#[tokio::test]
async fn an_error_of_the_slow_store_names_it_and_absence_does_not() {
    let Cached { slow, store, .. } = plain::<Cas>();
    let digest = digest_of("absent");
    let error = store.get(&CTX, &digest).await.unwrap_err();
    assert!(error.is_blob_missing() && error.trail().next().is_none(), "{error:?}");
    fail(&slow, down());
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "slow: down");
}

#[tokio::test]
async fn an_error_of_the_fast_store_that_is_no_fault_of_it_is_returned() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = stored(&slow, "hello").await;
    fail(&fast, Error::permission_denied("not you"));
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "fast: not you");
}

#[tokio::test]
async fn existence_and_capabilities_are_those_of_the_slow_store() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = stored(&fast, "evicted from the slow store").await;
    assert!(!store.contains(&CTX, &digest).await.unwrap());
    store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    assert_eq!(fast.counts().calls(), 0);
    fail(&slow, down());
    assert_eq!(store.find_missing(&CTX, &digest.into()).await.unwrap_err().to_string(), "slow: down");
}

#[tokio::test]
async fn what_is_put_goes_into_both_and_the_outcome_is_that_of_the_slow_store() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = stored(&fast, "hello").await;
    let outcome = store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
    let other = digest_of("other");
    let pieces = stream::iter([Ok("ot".into()), Ok("her".into())]);
    store.put(&CTX, &other, Blob::from_untrusted_stream(&other, pieces, Provenance::client())).await.unwrap();
    for digest in [digest, other] {
        assert!(has(&slow, &digest).await && has(&fast, &digest).await);
    }
    assert_eq!((store.snapshot().filled, store.snapshot().fills_failed), (2, 0));
}

#[tokio::test]
async fn by_option_contents_go_into_the_slow_store_alone() {
    let Cached { fast, store, .. } = cached::<Cas>(ReadCachingOptions::new().with_writes_through(false));
    store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap();
    assert_eq!(fast.counts().calls(), 0);
}

#[tokio::test]
async fn the_fast_store_never_has_what_the_slow_one_refused() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let digest = digest_of("hello");
    fail(&slow, down().not_stored());
    let error = store.put_bytes(&CTX, &digest, "hello").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("slow: down", PutCertainty::NotStored));
    assert!(!has(&fast, &digest).await);
}

#[tokio::test]
async fn the_fast_store_has_a_blob_only_once_the_slow_one_has_it() {
    let slow = Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let fast = inner::<Cas>();
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&slow)), Arc::new(Arc::clone(&fast)));
    let store = ReadCaching::new(Arc::clone(&slow), Arc::clone(&fast), replicator);
    let digest = digest_of("hello");
    let mut put = store.put(&CTX, &digest, Blob::from_bytes("hello")).boxed();
    for _ in 0..5 {
        assert!(poll!(&mut put).is_pending());
        assert!(!has(&fast, &digest).await);
    }
    drop(put);
    assert!(!has(&fast, &digest).await, "nor if the put is dropped");
    slow.release_all();
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert!(has(&fast, &digest).await);
}

#[tokio::test]
async fn a_fast_store_that_hangs_holds_a_put_up_for_two_seconds() {
    let (slow, clock) = (inner::<Cas>(), ManualClock::new());
    let fast = Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&slow)), Arc::new(Arc::clone(&fast)));
    let store = ReadCaching::new(Arc::clone(&slow), Arc::clone(&fast), replicator).with_clock(Arc::new(clock.clone()));
    let digest = digest_of("hello");
    let mut put = store.put(&CTX, &digest, Blob::from_bytes("hello")).boxed();
    for _ in 0..5 {
        assert!(poll!(&mut put).is_pending());
    }
    assert!(has(&slow, &digest).await);
    clock.advance(2 * SECOND);
    assert_eq!(put.await.unwrap(), PutOutcome::Created { stored_bytes: 5 });
}

#[tokio::test]
async fn what_the_slow_store_has_already_is_not_read_for_the_fast_one() {
    let Cached { slow, store, .. } = plain::<Cas>();
    let digest = stored(&slow, "hello").await;
    let (source, polls) = watched_stream();
    let outcome = store.put(&CTX, &digest, Blob::from_untrusted_stream(&digest, source, Provenance::client())).await;
    assert_eq!(outcome.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 });
    assert_eq!(polls.count(), 0);
}

#[tokio::test]
async fn a_fast_store_that_is_down_costs_nothing_but_time_and_rests() {
    let Cached { slow, fast, clock, store } = plain::<Cas>();
    let digest = digest_of("hello");
    fail(&fast, down());
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert_eq!(store.snapshot().fills_failed, 1);
    for _ in 0..3 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert_eq!((fast.counts().calls(), slow.counts().gets), (1, 3));
    assert!(store.snapshot().fast_rests);
    assert!(store.get(&CTX, &digest_of("absent")).await.unwrap_err().is_blob_missing());
    clock.advance(5 * SECOND);
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert_eq!(fast.counts().calls(), 2);
    clock.advance(5 * SECOND);
    mend(&fast);
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    // Five times for the fast store, once for the absent blob: that it now has the blob is the copy of the last one.
    assert_eq!(slow.counts().gets, 6);
    assert!(!store.snapshot().fast_rests);
}

#[tokio::test]
async fn a_read_goes_on_from_the_slow_store_if_the_fast_one_fails_midway() {
    for error in [down(), Error::data_loss("damaged")] {
        let slow = inner::<Cas>();
        let digest = stored(&slow, "hello").await;
        let fast = StreamingStore::<Cas>::new(move || stream::iter([Ok("he".into()), Err(error.clone())]).boxed());
        let replicator = LocalReplicator::new(Arc::new(Arc::clone(&slow)), Arc::new(inner::<Cas>()));
        let store = ReadCaching::new(slow, fast, replicator);
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn absence_is_never_reported_midway() {
    let (slow, digest) = (inner::<Cas>(), digest_of("hello"));
    let fast = StreamingStore::<Cas>::new(|| stream::iter([Ok("he".into()), Err(down())]).boxed());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&slow)), Arc::new(inner::<Cas>()));
    let store = ReadCaching::new(slow, fast, replicator);
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_slow_store_is_told_what_is_read_from_the_fast_one() {
    let Cached { slow, fast, store, .. } = plain::<Cas>();
    let (kept, evicted) = (stored(&slow, "kept").await, stored(&fast, "evicted").await);
    stored(&fast, "kept").await;
    for digest in [&kept, &evicted, &kept] {
        store.get_bytes(&CTX, digest, 9).await.unwrap();
    }
    assert_eq!(store.snapshot().used, 2);
    fail(&slow, down());
    assert_eq!(store.refresh(&CTX).await.unwrap_err().to_string(), "slow: down");
    assert_eq!(store.snapshot().used, 2, "told later");
    mend(&slow);
    store.refresh(&CTX).await.unwrap();
    assert_eq!(slow.digests_of_each(Operation::FindMissing).last().unwrap().len(), 2);
    let snapshot = store.snapshot();
    assert_eq!((snapshot.used, snapshot.uses_told, snapshot.gone), (0, 2, 1));
    store.refresh(&CTX).await.unwrap();
    assert_eq!(slow.counts().finds, 2, "there is nothing to tell");
}

#[tokio::test]
async fn uses_are_bounded_and_those_dropped_are_counted() {
    for (max, noted) in [(1, 1), (0, 0)] {
        let Cached { fast, store, .. } = cached::<Cas>(ReadCachingOptions::new().with_max_used(max));
        for contents in ["one", "two"] {
            let digest = stored(&fast, contents).await;
            store.get_bytes(&CTX, &digest, 9).await.unwrap();
        }
        assert_eq!((store.snapshot().used, store.snapshot().uses_dropped), (noted, u64::try_from(max).unwrap()));
    }
}

#[tokio::test]
async fn the_background_refreshes_after_each_interval() {
    let options = ReadCachingOptions::new().with_refresh_interval(10 * SECOND);
    let Cached { slow, fast, clock, store } = cached::<Cas>(options);
    let digest = stored(&fast, "hello").await;
    let mut running = store.run().boxed();
    for told in [1, 2] {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
        assert!(poll!(&mut running).is_pending());
        assert_eq!(slow.counts().finds, told - 1);
        clock.advance(10 * SECOND);
        assert!(poll!(&mut running).is_pending());
        assert_eq!(slow.counts().finds, told);
    }
}

#[tokio::test]
async fn a_newer_message_is_read_although_the_fast_store_missed_it() {
    let Cached { slow, fast, clock, store } = plain::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    assert_eq!((value(&slow, &key).await.as_str(), value(&fast, &key).await.as_str()), ("old", "old"));
    fail(&fast, down());
    store.put_bytes(&CTX, &key, "new").await.unwrap();
    assert_eq!(store.snapshot().stale.noted, 1);
    mend(&fast);
    assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    // The older value is not read if the slow store is down.
    fail(&slow, down());
    assert_eq!(store.get(&CTX, &key).await.unwrap_err().to_string(), "slow: down");
    mend(&slow);
    clock.advance(5 * SECOND);
    assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    assert_eq!(value(&fast, &key).await, "new");
    assert_eq!((store.snapshot().stale.noted, store.snapshot().stale.repaired), (0, 1));
}

#[tokio::test]
async fn a_refresh_copies_messages_that_the_fast_store_missed() {
    let Cached { fast, store, .. } = plain::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    fail(&fast, down());
    store.put_bytes(&CTX, &key, "new").await.unwrap();
    assert_eq!(store.refresh(&CTX).await.unwrap_err().to_string(), "fast: down");
    mend(&fast);
    store.refresh(&CTX).await.unwrap();
    assert_eq!(value(&fast, &key).await, "new");
}

#[tokio::test]
async fn a_put_of_a_message_that_certainly_stored_nothing_leaves_the_fast_store_trusted() {
    let Cached { slow, fast, store, .. } = plain::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    for (error, noted) in [(down().not_stored(), 0), (down(), 1)] {
        fail(&slow, error);
        store.put_bytes(&CTX, &key, "new").await.unwrap_err();
        assert_eq!(store.snapshot().stale.noted, noted);
        // Nothing newer was acknowledged.
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "old");
    }
    assert_eq!(value(&fast, &key).await, "old");
}
