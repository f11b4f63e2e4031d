//! Tests of a store with a fallback.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{ReadFallback, ReadFallbackOptions};
use blobaccess::replication::{EntryLocks, LocalReplicator};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Context, DigestSet, Error, ErrorKind, InstanceName, Kind, MemoryStore,
    Operation,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, StreamExt, poll, stream};

use crate::streaming::StreamingStore;
use crate::{Inner, fail, has, inner, mend, stored};

static CTX: Context = Context::background();

type Fallback<K> = ReadFallback<Inner<K>, Inner<K>, LocalReplicator<Inner<K>, Inner<K>>>;

fn fallback<K: Kind>() -> (Inner<K>, Inner<K>, Fallback<K>) {
    let (primary, secondary) = (inner(), inner());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), Arc::new(Arc::clone(&primary)));
    (Arc::clone(&primary), Arc::clone(&secondary), ReadFallback::new(primary, secondary, replicator))
}

fn fallback_that_waits() -> (Inner<Cas>, Inner<Cas>, Fallback<Cas>) {
    let (primary, secondary, store) = fallback();
    (primary, secondary, store.with_options(ReadFallbackOptions::new().with_waits_for_copies(true)))
}

fn down() -> Error {
    Error::unavailable("down")
}

#[tokio::test]
async fn what_the_primary_has_is_read_from_it_alone() {
    let (primary, secondary, store) = fallback::<Cas>();
    let digest = stored(&primary, "hello").await;
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert_eq!(secondary.counts().calls(), 0);
}

#[tokio::test]
async fn what_the_primary_lacks_is_read_from_the_secondary_and_copied() {
    let (primary, secondary, store) = fallback::<Cas>();
    let digest = stored(&secondary, "hello").await;
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert!(has(&primary, &digest).await);
    assert_eq!(secondary.count_of(Operation::Get), 1);
}

#[tokio::test]
async fn for_a_part_the_whole_is_copied() {
    let (primary, secondary, store) = fallback::<Cas>();
    let (whole, part) = (stored(&secondary, "hello").await, digest_of("he"));
    let blob = store.get_from_composite(&CTX, &whole, &part, Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(blob.into_bytes(9).await.unwrap(), "he");
    assert!(has(&primary, &whole).await);
}

#[tokio::test]
async fn what_neither_store_has_is_absent_and_the_error_names_no_store() {
    let (_, _, store) = fallback::<Cas>();
    let error = store.get(&CTX, &digest_of("absent")).await.unwrap_err();
    assert!(error.is_blob_missing() && error.trail().next().is_none(), "{error:?}");
}

#[tokio::test]
async fn puts_and_capabilities_are_those_of_the_primary() {
    let (primary, secondary, store) = fallback::<Cas>();
    store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap();
    store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    assert!(has(&primary, &digest_of("hello")).await);
    assert_eq!(secondary.counts().calls(), 0);
    fail(&primary, down());
    let error = store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap_err();
    assert_eq!(error.to_string(), "primary: down");
}

#[tokio::test]
async fn a_query_notes_what_only_the_secondary_has_and_does_not_wait_for_the_copy() {
    let (primary, secondary, store) = fallback::<Cas>();
    let (old, absent) = (stored(&secondary, "old").await, digest_of("absent"));
    let both = DigestSet::from([old.clone(), absent.clone()]);
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), absent.clone().into());
    // The secondary is asked about the rest only.
    let new = stored(&primary, "new").await;
    assert_eq!(store.find_missing(&CTX, &DigestSet::from([new, absent.clone()])).await.unwrap(), absent.clone().into());
    assert_eq!(secondary.digests_of_each(Operation::FindMissing).last().unwrap(), &[absent]);
    assert!(!has(&primary, &old).await);
    assert_eq!(store.snapshot().noted, 1);

    store.copy_noted(&CTX).await.unwrap();
    assert!(has(&primary, &old).await);
    assert_eq!((store.snapshot().noted, store.snapshot().repaired), (0, 1));
}

#[tokio::test]
async fn notes_are_bounded_and_those_dropped_are_counted() {
    let (_, secondary, store) = fallback::<Cas>();
    let store = store.with_options(ReadFallbackOptions::new().with_max_noted(1));
    let both = DigestSet::from([stored(&secondary, "one").await, stored(&secondary, "two").await]);
    assert!(store.find_missing(&CTX, &both).await.unwrap().is_empty());
    assert_eq!((store.snapshot().noted, store.snapshot().dropped), (1, 1));
}

#[tokio::test]
async fn what_was_copied_by_a_read_meanwhile_needs_no_copy() {
    let (primary, secondary, store) = fallback::<Cas>();
    let [read, gone, found] = ["read", "gone", "found"].map(digest_of);
    for contents in ["read", "found"] {
        stored(&secondary, contents).await;
    }
    store.find_missing(&CTX, &DigestSet::from([read.clone(), found.clone()])).await.unwrap();
    // The answer to a later query settles the note.
    stored(&primary, "found").await;
    store.find_missing(&CTX, &found.into()).await.unwrap();
    assert_eq!((store.snapshot().noted, store.snapshot().repaired), (1, 1));
    store.get_bytes(&CTX, &read, 9).await.unwrap();
    let before = secondary.count_of(Operation::Get);
    store.copy_noted(&CTX).await.unwrap();
    assert_eq!(secondary.count_of(Operation::Get), before);
    assert_eq!((store.snapshot().noted, store.snapshot().repaired), (0, 2));
    drop(gone);
}

#[tokio::test]
async fn the_background_copies_what_is_noted_and_waits_after_a_failure() {
    let (primary, secondary, store) = fallback::<Cas>();
    let clock = ManualClock::new();
    let store = store.with_clock(Arc::new(clock.clone()));
    let mut running = store.run().boxed();
    assert!(poll!(&mut running).is_pending());
    let first = stored(&secondary, "first").await;
    store.find_missing(&CTX, &first.clone().into()).await.unwrap();
    assert!(poll!(&mut running).is_pending());
    assert!(has(&primary, &first).await);

    let second = stored(&secondary, "second").await;
    store.find_missing(&CTX, &second.clone().into()).await.unwrap();
    fail(&primary, down());
    assert!(poll!(&mut running).is_pending());
    mend(&primary);
    assert!(poll!(&mut running).is_pending());
    assert!(!has(&primary, &second).await, "it waits");
    clock.advance(Duration::from_secs(5));
    assert!(poll!(&mut running).is_pending());
    assert!(has(&primary, &second).await);
}

#[tokio::test]
async fn a_query_may_wait_for_the_copies() {
    let (primary, secondary, store) = fallback_that_waits();
    let old = stored(&secondary, "old").await;
    assert!(store.contains(&CTX, &old).await.unwrap());
    assert!(has(&primary, &old).await);
}

#[tokio::test]
async fn a_query_that_waits_fails_with_a_copy() {
    let (primary, secondary) = (inner::<Cas>(), inner::<Cas>());
    let sink = inner();
    fail(&sink, down());
    let digest = stored(&secondary, "hello").await;
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), Arc::new(sink));
    let store = ReadFallback::new(primary, secondary, replicator)
        .with_options(ReadFallbackOptions::new().with_waits_for_copies(true));
    let error = store.find_missing(&CTX, &digest.clone().into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("replication: {digest}: sink: down"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_secondary_that_lacks_what_it_has_reported_is_inconsistent() {
    let (primary, secondary) = (inner::<Cas>(), inner::<Cas>());
    let digest = stored(&secondary, "hello").await;
    // The replicator copies from a store that has lost the blob.
    let lost = LocalReplicator::new(Arc::new(inner::<Cas>()), Arc::new(Arc::clone(&primary)));
    let store = ReadFallback::new(primary, secondary, lost)
        .with_options(ReadFallbackOptions::new().with_waits_for_copies(true));
    let error = store.find_missing(&CTX, &digest.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().starts_with("replication: "), "{error}");
}

#[tokio::test]
async fn an_outage_of_either_store_is_no_absence_and_says_which_it_is() {
    let (primary, secondary, store) = fallback::<Cas>();
    let digest = stored(&primary, "hello").await;
    fail(&secondary, down());
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    let absent = digest_of("absent");
    assert_eq!(store.get(&CTX, &absent).await.unwrap_err().to_string(), "secondary: down");
    assert_eq!(store.find_missing(&CTX, &absent.clone().into()).await.unwrap_err().to_string(), "secondary: down");
    mend(&secondary);
    fail(&primary, down());
    assert_eq!(store.get(&CTX, &absent).await.unwrap_err().to_string(), "primary: down");
    assert_eq!(store.find_missing(&CTX, &absent.into()).await.unwrap_err().to_string(), "primary: down");
}

#[tokio::test]
async fn while_the_primary_is_down_contents_are_read_from_the_secondary_and_messages_are_not() {
    let (primary, secondary, store) = fallback::<Cas>();
    let digest = stored(&secondary, "hello").await;
    fail(&primary, down());
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    let (primary, secondary, store) = fallback::<Ac>();
    let digest = stored(&secondary, "an older value").await;
    fail(&primary, down());
    assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "primary: down");
}

#[tokio::test]
async fn a_read_goes_on_from_the_secondary_if_the_primary_fails_midway() {
    let digest = digest_of("hello");
    let primary = StreamingStore::<Cas>::new(|| stream::iter([Ok("he".into()), Err(down())]).boxed());
    let secondary = inner::<Cas>();
    stored(&secondary, "hello").await;
    let sink = Arc::new(inner::<Cas>());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), sink);
    let store = ReadFallback::new(primary, secondary, replicator);
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_replicator_that_is_down_costs_the_copy_and_not_the_read() {
    let (primary, secondary) = (inner::<Cas>(), inner::<Cas>());
    let digest = stored(&secondary, "hello").await;
    let unreachable = inner();
    fail(&unreachable, down());
    // As if in another process: it cannot even read.
    let replicator = LocalReplicator::new(Arc::new(unreachable), Arc::new(Arc::clone(&primary)));
    let store = ReadFallback::new(Arc::clone(&primary), secondary, replicator);
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert!(!has(&primary, &digest).await);
}

#[tokio::test]
async fn a_blob_that_the_primary_refuses_for_good_is_given_up() {
    let (primary, secondary) = (inner::<Cas>(), inner::<Cas>());
    let [large, small] = [stored(&secondary, "a large blob").await, stored(&secondary, "small").await];
    let refusing = inner();
    fail(&refusing, Error::invalid_argument("too large"));
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), Arc::new(refusing));
    let store = ReadFallback::new(primary, secondary, replicator);
    store.find_missing(&CTX, &DigestSet::from([large, small])).await.unwrap();
    store.copy_noted(&CTX).await.unwrap();
    assert_eq!((store.snapshot().noted, store.snapshot().given_up), (0, 2));
}

#[tokio::test]
async fn a_copy_of_a_message_does_not_replace_a_newer_value() {
    let (primary, secondary, store) = fallback::<Ac>();
    let digest = stored(&secondary, "key").await;
    assert!(store.contains(&CTX, &digest).await.unwrap());
    assert_eq!(store.snapshot().noted, 1);
    primary.inner().inner().put(&CTX, &digest, Blob::from_bytes("newer")).await.unwrap();
    store.copy_noted(&CTX).await.unwrap();
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "newer");
    assert_eq!(store.snapshot().noted, 0);
}

#[tokio::test]
async fn a_put_of_a_message_waits_for_a_copy_of_its_entry_and_wins() {
    let (primary, secondary) = (Arc::new(PausedStore::new(MemoryStore::<Ac>::new(1 << 20))), inner::<Ac>());
    let (key, locks) = (stored(&secondary, "key").await, Arc::<EntryLocks>::default());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&secondary)), Arc::new(Arc::clone(&primary)))
        .with_entry_locks(Arc::clone(&locks));
    let store = ReadFallback::new(Arc::clone(&primary), secondary, replicator).with_entry_locks(locks);
    let mut get = store.get_bytes(&CTX, &key, 9).boxed();
    // The primary is read, then read again under the lock, and then the value is put.
    for released in 0..3 {
        assert!(poll!(&mut get).is_pending(), "after {released} calls");
        if released < 2 {
            primary.release_one();
        }
    }
    let mut put = store.put(&CTX, &key, Blob::from_bytes("newer")).boxed();
    assert!(poll!(&mut put).is_pending());
    assert_eq!(primary.waiting(), 1, "the put waits for the copy");
    primary.release_all();
    let (copied, stored) = futures::join!(get, put);
    assert_eq!(copied.unwrap(), "key");
    stored.unwrap();
    assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "newer");
}
