//! Tests of a mirror.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{Mirrored, MirroredOptions, PutPolicy};
use blobaccess::replication::{EntryLocks, LocalReplicator, NoopReplicator};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Clock, Context, DigestSet, Error, ErrorKind, FailingStore, InstanceName,
    Kind, MemoryStore, Operation, Provenance, PutCertainty, PutOutcome,
};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, StreamExt, poll, stream};

use crate::streaming::StreamingStore;
use crate::{Inner, fail, has, inner, mend, stored, value};

static CTX: Context = Context::background();

const SECOND: Duration = Duration::from_secs(1);

struct Mirror<K: Kind> {
    a: Inner<K>,
    b: Inner<K>,
    clock: ManualClock,
    store: Mirrored<K>,
}

fn mirror<K: Kind>(options: MirroredOptions) -> Mirror<K> {
    let (a, b, clock, locks) = (inner(), inner(), ManualClock::new(), Arc::<EntryLocks>::default());
    let replicator = |source: &Inner<K>, sink: &Inner<K>| {
        Arc::new(LocalReplicator::new(Arc::clone(source), Arc::clone(sink)).with_entry_locks(Arc::clone(&locks)))
    };
    let store =
        Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), replicator(&a, &b), replicator(&b, &a));
    let store = store.with_entry_locks(locks).with_clock(Arc::new(clock.clone())).with_options(options);
    Mirror { a, b, clock, store }
}

fn both<K: Kind>() -> Mirror<K> {
    mirror(MirroredOptions::new())
}

fn either<K: Kind>() -> Mirror<K> {
    mirror(MirroredOptions::new().with_put_policy(PutPolicy::Either))
}

fn down() -> Error {
    Error::unavailable("down")
}

#[tokio::test]
async fn reads_begin_with_each_half_in_turn() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let digest = digest_of("hello");
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    for gets in [(1, 0), (1, 1), (2, 1), (2, 2)] {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
        assert_eq!((a.counts().gets, b.counts().gets), gets);
    }
}

#[tokio::test]
async fn what_one_half_lacks_is_read_from_the_other_and_copied() {
    for only_in_b in [false, true] {
        let Mirror { a, b, store, .. } = both::<Cas>();
        let (holder, lacking) = if only_in_b { (&b, &a) } else { (&a, &b) };
        let digest = stored(holder, "hello").await;
        for _ in 0..2 {
            assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
        }
        assert!(has(lacking, &digest).await);
        let (whole, part) = (stored(holder, "other").await, digest_of("ot"));
        for _ in 0..2 {
            let blob = store.get_from_composite(&CTX, &whole, &part, Arc::new(LeadingBytes)).await.unwrap();
            assert_eq!(blob.into_bytes(9).await.unwrap(), "ot");
        }
        assert!(has(lacking, &whole).await);
    }
}

#[tokio::test]
async fn what_neither_half_has_is_absent_and_the_error_names_no_half() {
    let Mirror { store, .. } = both::<Cas>();
    for _ in 0..2 {
        let error = store.get(&CTX, &digest_of("absent")).await.unwrap_err();
        assert!(error.is_blob_missing() && error.trail().next().is_none(), "{error:?}");
    }
}

#[tokio::test]
async fn an_error_that_is_no_fault_of_a_half_names_it_and_is_final() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let digest = digest_of("hello");
    fail(&a, Error::permission_denied("not you"));
    fail(&b, Error::permission_denied("not you"));
    for name in ["a", "b"] {
        assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), format!("{name}: not you"));
    }
}

#[tokio::test]
async fn a_half_that_is_down_hides_nothing_that_the_other_has() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let digest = digest_of("hello");
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert!(has(&a, &digest).await && has(&b, &digest).await);
    fail(&a, down());
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    // Whether the half that is down has it is not known.
    for _ in 0..2 {
        let error = store.get(&CTX, &digest_of("absent")).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "a: down"));
    }
    // The other half serves, so clients can be told of its capabilities.
    assert!(store.capabilities(&CTX, &InstanceName::empty()).await.is_ok());
}

#[tokio::test]
async fn a_half_that_failed_is_passed_over_and_then_tried_by_one_read_at_a_time() {
    let Mirror { a, b, clock, store } = both::<Cas>();
    let digest = digest_of("hello");
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    fail(&a, down());
    for _ in 0..6 {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
    }
    assert_eq!((a.counts().gets, b.counts().gets), (1, 6));
    assert!(store.snapshot().a_rests && !store.snapshot().b_rests);
    clock.advance(5 * SECOND);
    for _ in 0..6 {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
    }
    assert_eq!((a.counts().gets, b.counts().gets), (2, 12));
    clock.advance(5 * SECOND);
    mend(&a);
    for _ in 0..6 {
        store.get_bytes(&CTX, &digest, 9).await.unwrap();
    }
    assert!(!store.snapshot().a_rests);
    assert_eq!((a.counts().gets, b.counts().gets), (5, 15));
}

#[tokio::test]
async fn a_caller_whose_time_is_up_makes_no_half_rest() {
    let Mirror { a, b, clock, store } = either::<Cas>();
    let digest = stored(&b, "hello").await;
    fail(&a, Error::deadline_exceeded("too late"));
    let late = Context::background().with_deadline(clock.monotonic());
    drop(store.get_bytes(&late, &digest, 9).await);
    drop(store.find_missing(&late, &digest.clone().into()).await);
    drop(store.put_bytes(&late, &digest, "hello").await);
    assert!(!store.snapshot().a_rests);
    drop(store.put_bytes(&CTX, &digest, "hello").await);
    assert!(store.snapshot().a_rests);
}

#[tokio::test]
async fn an_upload_that_fails_is_not_the_fault_of_the_half_that_is_up() {
    let Mirror { b, store, .. } = either::<Cas>();
    fail(&b, down());
    store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap();
    assert!(store.snapshot().b_rests);
    let stalled = stream::iter([Err(Error::deadline_exceeded("the client stalls"))]).boxed();
    let digest = digest_of("other");
    let blob = Blob::from_untrusted_stream(&digest, stalled, Provenance::client());
    assert_eq!(store.put(&CTX, &digest, blob).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert!(!store.snapshot().a_rests);
}

#[tokio::test]
async fn a_half_that_rests_is_asked_for_what_the_other_lacks() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let (only_in_a, digest) = (stored(&a, "only in a").await, stored(&b, "hello").await);
    fail(&a, down());
    store.get_bytes(&CTX, &digest, 9).await.unwrap();
    assert!(store.snapshot().a_rests);
    mend(&a);
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &only_in_a, 9).await.unwrap(), "only in a");
    }
}

#[tokio::test]
async fn a_read_goes_on_from_the_other_half_if_one_fails_midway() {
    let digest = digest_of("hello");
    let a = Arc::new(StreamingStore::<Cas>::new(|| stream::iter([Ok("he".into()), Err(down())]).boxed()));
    let b = inner::<Cas>();
    stored(&b, "hello").await;
    let nowhere = || Arc::new(LocalReplicator::new(Arc::new(inner::<Cas>()), Arc::new(inner::<Cas>())));
    let store = Mirrored::new(a, Arc::new(Arc::clone(&b)), nowhere(), nowhere());
    for _ in 0..3 {
        assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    }
    assert!(store.snapshot().a_rests);
}

#[tokio::test]
async fn a_replicator_that_is_down_costs_the_copy_and_not_the_read() {
    let (a, b) = (inner::<Cas>(), inner::<Cas>());
    let digest = stored(&b, "hello").await;
    let replicator = || {
        let unreachable = FailingStore::<Cas>::new(down());
        Arc::new(LocalReplicator::new(Arc::new(unreachable), Arc::new(inner::<Cas>())))
    };
    let store = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(b), replicator(), replicator());
    assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), "hello");
    assert!(!has(&a, &digest).await);
}

#[tokio::test]
async fn a_put_goes_into_both_and_its_outcome_is_that_of_the_first() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let digest = stored(&b, "hello").await;
    let outcome = store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
    assert!(has(&a, &digest).await && has(&b, &digest).await);
}

#[tokio::test]
async fn a_put_that_one_half_refuses_may_be_stored_and_names_the_half() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    fail(&b, down().not_stored());
    let error = store.put_bytes(&CTX, &digest_of("first"), "first").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("b: down", PutCertainty::MaybeStored));
    fail(&a, down().not_stored());
    let error = store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("a: down", PutCertainty::NotStored));
    mend(&b);
    let error = store.put_bytes(&CTX, &digest_of("third"), "third").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.put_certainty()), ("a: down", PutCertainty::MaybeStored));
}

#[tokio::test]
async fn a_query_notes_what_only_one_half_has_and_a_repair_copies_it() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let (in_a, in_b, in_both) = (stored(&a, "in a").await, stored(&b, "in b").await, stored(&a, "in both").await);
    stored(&b, "in both").await;
    let asked = DigestSet::from([in_a.clone(), in_b.clone(), in_both, digest_of("absent")]);
    assert_eq!(store.find_missing(&CTX, &asked).await.unwrap(), digest_of("absent").into());
    assert!(!has(&b, &in_a).await && !has(&a, &in_b).await, "the answer does not wait");
    assert_eq!((store.snapshot().a_to_b.noted, store.snapshot().b_to_a.noted), (1, 1));
    store.repair(&CTX).await.unwrap();
    assert!(has(&b, &in_a).await && has(&a, &in_b).await);
    let snapshot = store.snapshot();
    assert_eq!((snapshot.a_to_b.noted, snapshot.b_to_a.noted), (0, 0));
    assert_eq!((snapshot.a_to_b.repaired, snapshot.b_to_a.repaired), (1, 1));
}

#[tokio::test]
async fn a_query_may_wait_for_the_repair() {
    let Mirror { a, b, store, .. } = mirror::<Cas>(MirroredOptions::new().with_waits_for_repairs(true));
    let (in_a, in_b) = (stored(&a, "in a").await, stored(&b, "in b").await);
    assert!(store.find_missing(&CTX, &DigestSet::from([in_a.clone(), in_b.clone()])).await.unwrap().is_empty());
    assert!(has(&b, &in_a).await && has(&a, &in_b).await);
}

#[tokio::test]
async fn a_query_that_waits_fails_with_the_repair_and_names_its_direction() {
    for kind in [ErrorKind::Unavailable, ErrorKind::NotFound] {
        for only_in_b in [false, true] {
            let (a, b) = (inner::<Cas>(), inner::<Cas>());
            let digest = stored(if only_in_b { &b } else { &a }, "hello").await;
            // The replicators read from elsewhere.
            let replicator = || {
                let source = FailingStore::<Cas>::new(Error::new(kind, "gone"));
                Arc::new(LocalReplicator::new(Arc::new(source), Arc::new(inner::<Cas>())))
            };
            let store = Mirrored::new(Arc::new(a), Arc::new(b), replicator(), replicator())
                .with_options(MirroredOptions::new().with_waits_for_repairs(true));
            let error = store.find_missing(&CTX, &digest.clone().into()).await.unwrap_err();
            let direction = if only_in_b { "b to a" } else { "a to b" };
            assert_eq!(error.to_string(), format!("replication from {direction}: {digest}: source: gone"));
            let expected = if kind == ErrorKind::NotFound { ErrorKind::Internal } else { kind };
            assert_eq!(error.kind(), expected, "a half lacks what it has reported");
        }
    }
}

#[tokio::test]
async fn a_query_says_which_half_failed_unless_the_other_has_everything() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let digest = digest_of("hello");
    store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    for (half, name) in [(&a, "a"), (&b, "b")] {
        fail(half, down());
        assert!(store.find_missing(&CTX, &digest.clone().into()).await.unwrap().is_empty());
        let asked = DigestSet::from([digest.clone(), digest_of("absent")]);
        assert_eq!(store.find_missing(&CTX, &asked).await.unwrap_err().to_string(), format!("{name}: down"));
        mend(half);
    }
}

#[tokio::test]
async fn either_half_takes_a_put_and_the_other_gets_it_by_a_repair() {
    for b_is_down in [false, true] {
        let Mirror { a, b, store, .. } = either::<Cas>();
        let (up, down_one) = if b_is_down { (&a, &b) } else { (&b, &a) };
        fail(down_one, down());
        for contents in ["zero", "one", "two"] {
            let digest = digest_of(contents);
            let outcome = store.put_bytes(&CTX, &digest, contents).await.unwrap();
            // The outcome of `a` counts; that `b` had no such blob does not say that `a` has none.
            let stored_bytes = contents.len().try_into().unwrap();
            let unknown = PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) };
            let expected = if b_is_down { PutOutcome::Created { stored_bytes } } else { unknown };
            assert_eq!(outcome, expected);
            assert!(has(up, &digest).await);
            // Once a put has failed, the half rests.
            assert_eq!(down_one.counts().puts, 1);
            for _ in 0..2 {
                assert_eq!(store.get_bytes(&CTX, &digest, 9).await.unwrap(), contents);
            }
        }
        let noted = |store: &Mirrored<Cas>| {
            let snapshot = store.snapshot();
            if b_is_down { snapshot.a_to_b } else { snapshot.b_to_a }
        };
        assert_eq!(noted(&store).noted, 3);
        assert_eq!(store.repair(&CTX).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(noted(&store).noted, 3, "nothing is forgotten before it is copied");
        mend(down_one);
        store.repair(&CTX).await.unwrap();
        assert_eq!((noted(&store).noted, noted(&store).repaired), (0, 3));
        for contents in ["zero", "one", "two"] {
            assert!(has(down_one, &digest_of(contents)).await);
        }
    }
}

#[tokio::test]
async fn a_half_that_takes_a_put_again_rests_no_longer() {
    let Mirror { b, clock, store, .. } = either::<Cas>();
    fail(&b, down());
    store.put_bytes(&CTX, &digest_of("missed"), "missed").await.unwrap();
    mend(&b);
    clock.advance(5 * SECOND);
    for contents in ["first", "second", "third"] {
        store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
        assert!(has(&b, &digest_of(contents)).await, "{contents}");
    }
    assert!(!store.snapshot().b_rests);
}

#[tokio::test]
async fn with_either_an_error_that_is_no_outage_still_fails_a_put() {
    let Mirror { b, store, .. } = either::<Cas>();
    for error in
        [Error::invalid_argument("too large"), Error::permission_denied("no"), Error::resource_exhausted("full")]
    {
        let kind = error.kind();
        fail(&b, error);
        let digest = digest_of(kind.name());
        let error = store.put_bytes(&CTX, &digest, kind.name()).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (kind, PutCertainty::MaybeStored));
    }
}

#[tokio::test]
async fn with_either_and_both_halves_down_a_put_fails_as_both_did() {
    let Mirror { a, b, store, .. } = either::<Cas>();
    for half in [&a, &b] {
        fail(half, down().not_stored());
    }
    for _ in 0..3 {
        let error = store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap_err();
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    }
    assert_eq!((store.snapshot().a_to_b.noted, store.snapshot().b_to_a.noted), (0, 0));
}

#[tokio::test]
async fn with_either_contents_that_the_half_that_is_up_lacks_are_to_be_uploaded_and_never_absent() {
    let Mirror { a, b, store, .. } = either::<Cas>();
    let only_in_b = stored(&b, "only in b").await;
    let in_a = stored(&a, "in a").await;
    fail(&b, down());
    let asked = DigestSet::from([only_in_b.clone(), in_a]);
    for _ in 0..3 {
        assert_eq!(store.find_missing(&CTX, &asked).await.unwrap(), only_in_b.clone().into());
    }
    assert_eq!(b.counts().finds, 1, "it rests");
    for _ in 0..2 {
        assert_eq!(store.get(&CTX, &only_in_b).await.unwrap_err().to_string(), "b: down");
    }
}

#[tokio::test]
async fn with_either_messages_that_the_half_that_is_up_lacks_are_not_called_missing() {
    let Mirror { a, b, store, .. } = either::<Ac>();
    let (in_a, only_in_b) = (stored(&a, "in a").await, stored(&b, "only in b").await);
    fail(&b, down());
    assert!(store.find_missing(&CTX, &in_a.clone().into()).await.unwrap().is_empty());
    let error = store.find_missing(&CTX, &DigestSet::from([in_a, only_in_b])).await.unwrap_err();
    assert_eq!(error.to_string(), "b: down");
}

#[tokio::test]
async fn an_older_value_in_a_half_that_missed_a_put_is_not_read() {
    let Mirror { a, b, clock, store } = either::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    fail(&b, down());
    let outcome = store.put_bytes(&CTX, &key, "new").await.unwrap();
    assert_eq!(outcome, PutOutcome::Replaced { stored_bytes: 3, old_bytes: 3 });
    mend(&b);
    for _ in 0..4 {
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    }
    assert_eq!(value(&b, &key).await, "old", "b rests");
    // The acknowledged value is in a alone.
    fail(&a, down());
    for _ in 0..2 {
        assert_eq!(store.get(&CTX, &key).await.unwrap_err().to_string(), "a: down");
    }
    mend(&a);
    clock.advance(5 * SECOND);
    assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    assert_eq!(value(&b, &key).await, "new", "a read repairs it");
    assert_eq!((store.snapshot().a_to_b.noted, store.snapshot().a_to_b.repaired), (0, 1));
}

#[tokio::test]
async fn a_repair_replaces_an_older_value_and_a_newer_put_makes_it_needless() {
    for newer in [false, true] {
        let Mirror { a, b, clock, store } = either::<Ac>();
        let key = digest_of("key");
        store.put_bytes(&CTX, &key, "old").await.unwrap();
        fail(&b, down());
        store.put_bytes(&CTX, &key, "new").await.unwrap();
        mend(&b);
        clock.advance(5 * SECOND);
        if newer {
            store.put_bytes(&CTX, &key, "newer").await.unwrap();
            assert_eq!(store.snapshot().a_to_b.noted, 0);
        }
        store.repair(&CTX).await.unwrap();
        let expected = if newer { "newer" } else { "new" };
        assert_eq!((value(&a, &key).await.as_str(), value(&b, &key).await.as_str()), (expected, expected));
    }
}

#[tokio::test]
async fn after_a_put_of_a_message_that_failed_midway_one_value_is_read_and_the_halves_come_to_agree() {
    let Mirror { a, b, clock, store } = both::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    fail(&b, down());
    store.put_bytes(&CTX, &key, "new").await.unwrap_err();
    for _ in 0..4 {
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    }
    // It was not acknowledged, so the value before still counts if nothing else can be had.
    mend(&b);
    fail(&a, down());
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "old");
    }
    mend(&a);
    clock.advance(5 * SECOND);
    store.repair(&CTX).await.unwrap();
    assert_eq!((value(&a, &key).await, value(&b, &key).await), ("new".to_owned(), "new".to_owned()));
}

#[tokio::test]
async fn a_later_put_that_fails_does_not_make_an_older_value_readable() {
    let Mirror { a, b, store, .. } = either::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "old").await.unwrap();
    fail(&b, down());
    store.put_bytes(&CTX, &key, "acknowledged").await.unwrap();
    fail(&b, Error::resource_exhausted("full"));
    store.put_bytes(&CTX, &key, "failed").await.unwrap_or(PutOutcome::Unclassified { stored_bytes: None });
    mend(&b);
    fail(&a, down());
    assert_eq!(store.get(&CTX, &key).await.unwrap_err().to_string(), "a: down");
}

#[tokio::test]
async fn notes_are_bounded_and_those_dropped_are_counted() {
    let options = MirroredOptions::new().with_put_policy(PutPolicy::Either).with_max_noted(2);
    let Mirror { b, store, .. } = mirror::<Cas>(options);
    fail(&b, down());
    for contents in ["zero", "one", "two"] {
        store.put_bytes(&CTX, &digest_of(contents), contents).await.unwrap();
    }
    let snapshot = store.snapshot().a_to_b;
    assert_eq!((snapshot.noted, snapshot.dropped), (2, 1));
    mend(&b);
    store.repair(&CTX).await.unwrap();
    assert!(!has(&b, &digest_of("zero")).await && has(&b, &digest_of("two")).await);
    // A read repairs what is not noted any more.
    for _ in 0..2 {
        store.get_bytes(&CTX, &digest_of("zero"), 9).await.unwrap();
    }
    assert!(has(&b, &digest_of("zero")).await);
}

#[tokio::test]
async fn a_put_that_is_dropped_when_one_half_has_it_is_noted_for_the_other() {
    let (a, b) = (inner::<Ac>(), Arc::new(PausedStore::new(MemoryStore::<Ac>::new(1 << 20))));
    let nowhere = || Arc::new(LocalReplicator::new(Arc::new(inner::<Ac>()), Arc::new(inner::<Ac>())));
    let halves: (Arc<dyn BlobAccess<Kind = Ac>>, Arc<dyn BlobAccess<Kind = Ac>>) =
        (Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)));
    let store = Mirrored::new(halves.0, halves.1, nowhere(), nowhere());
    let key = digest_of("key");
    let mut put = store.put(&CTX, &key, Blob::from_bytes("new")).boxed();
    assert!(poll!(&mut put).is_pending());
    drop(put);
    assert_eq!((store.snapshot().a_to_b.noted, store.snapshot().b_to_a.noted), (1, 0));
    b.release_all();
    store.repair(&CTX).await.unwrap();
    assert_eq!(store.snapshot().a_to_b.noted, 0);
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "new");
    }
}

#[tokio::test]
async fn puts_of_one_message_reach_both_halves_one_after_the_other() {
    let half = || Arc::new(PausedStore::new(MemoryStore::<Ac>::new(1 << 20)));
    let (a, b) = (half(), half());
    let nowhere = || Arc::new(LocalReplicator::new(Arc::new(inner::<Ac>()), Arc::new(inner::<Ac>())));
    let store = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), nowhere(), nowhere());
    let key = digest_of("key");
    let mut first = store.put(&CTX, &key, Blob::from_bytes("first")).boxed();
    assert!(poll!(&mut first).is_pending());
    let mut second = store.put(&CTX, &key, Blob::from_bytes("second")).boxed();
    assert!(poll!(&mut second).is_pending());
    assert_eq!((a.waiting(), b.waiting()), (1, 1));
    a.release_all();
    b.release_all();
    let (first, second) = futures::join!(first, second);
    assert_eq!(first.unwrap(), PutOutcome::Created { stored_bytes: 5 });
    assert_eq!(second.unwrap(), PutOutcome::Replaced { stored_bytes: 6, old_bytes: 5 });
    for _ in 0..2 {
        assert_eq!(store.get_bytes(&CTX, &key, 9).await.unwrap(), "second");
    }
}

#[tokio::test]
async fn the_background_repairs_what_is_noted_and_waits_after_a_failure() {
    let Mirror { b, clock, store, .. } = either::<Cas>();
    let mut running = store.run().boxed();
    assert!(poll!(&mut running).is_pending());
    fail(&b, down());
    store.put_bytes(&CTX, &digest_of("hello"), "hello").await.unwrap();
    assert!(poll!(&mut running).is_pending());
    let finds = b.counts().finds;
    mend(&b);
    assert!(poll!(&mut running).is_pending());
    assert_eq!(b.counts().finds, finds, "it waits");
    clock.advance(5 * SECOND);
    assert!(poll!(&mut running).is_pending());
    assert!(has(&b, &digest_of("hello")).await);
    // And it goes on.
    fail(&b, down());
    store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap();
    mend(&b);
    assert!(poll!(&mut running).is_pending());
    assert!(has(&b, &digest_of("other")).await);
}

#[tokio::test]
async fn an_outcome_of_a_half_that_lacked_the_blob_does_not_count() {
    let Mirror { a, b, clock, store } = either::<Cas>();
    let digest = digest_of("hello");
    fail(&a, down());
    let first = store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert_eq!(first, PutOutcome::Unclassified { stored_bytes: Some(5) });
    mend(&a);
    clock.advance(5 * SECOND);
    let second = store.put_bytes(&CTX, &digest, "hello").await.unwrap();
    assert_eq!(second, PutOutcome::AlreadyExists { stored_bytes: 5 });
    assert!(has(&a, &digest).await && has(&b, &digest).await);
    assert_eq!((store.snapshot().b_to_a.noted, store.snapshot().b_to_a.repaired), (0, 1));
}

#[tokio::test]
async fn what_a_replicator_does_not_copy_is_given_up_and_not_called_repaired() {
    let (a, b) = (inner::<Cas>(), inner::<Cas>());
    let a_to_b = Arc::new(Arc::new(NoopReplicator::new(Arc::clone(&a))));
    let b_to_a = Arc::new(LocalReplicator::new(Arc::clone(&b), Arc::clone(&a)));
    let store = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), a_to_b, b_to_a);
    let (in_a, in_b) = (stored(&a, "a").await, stored(&b, "b").await);
    store.find_missing(&CTX, &[in_a.clone(), in_b.clone()].into_iter().collect()).await.unwrap();
    store.repair(&CTX).await.unwrap();
    assert!(!has(&b, &in_a).await && has(&a, &in_b).await);
    let (to_b, to_a) = (store.snapshot().a_to_b, store.snapshot().b_to_a);
    assert_eq!((to_b.noted, to_b.repaired, to_b.given_up), (0, 0, 1));
    assert_eq!((to_a.noted, to_a.repaired, to_a.given_up), (0, 1, 0));
}

#[tokio::test]
async fn what_the_half_that_is_down_may_have_is_not_called_created() {
    // `a` has it, and `b` has evicted it.
    let Mirror { a, store, .. } = either::<Cas>();
    let digest = stored(&a, "hello").await;
    fail(&a, down());
    // The first put finds out that `a` is down, and the others go to `b` alone.
    let unknown = PutOutcome::Unclassified { stored_bytes: Some(5) };
    let exists = PutOutcome::AlreadyExists { stored_bytes: 5 };
    for outcome in [unknown, exists] {
        assert_eq!(store.put_bytes(&CTX, &digest, "hello").await.unwrap(), outcome);
    }
    let other = stored(&a, "other").await;
    assert_eq!(store.put_bytes(&CTX, &other, "other").await.unwrap(), unknown);
    assert_eq!(a.counts().puts, 1, "it rests");

    // The half that is noted to have it is down, and the other has nothing to say about it.
    let Mirror { b, store, .. } = either::<Cas>();
    let digest = stored(&b, "hello").await;
    store.find_missing(&CTX, &digest.clone().into()).await.unwrap();
    fail(&b, down());
    assert_eq!(store.put_bytes(&CTX, &digest, "hello").await.unwrap(), unknown);
    // Of everything else, `a` decides.
    let created = PutOutcome::Created { stored_bytes: 5 };
    assert_eq!(store.put_bytes(&CTX, &digest_of("other"), "other").await.unwrap(), created);
}

#[tokio::test]
async fn an_outdated_half_alone_does_not_tell_what_became_of_a_message() {
    let Mirror { a, b, clock, store } = either::<Ac>();
    let key = digest_of("key");
    store.put_bytes(&CTX, &key, "equal").await.unwrap();
    fail(&a, down());
    let newer = store.put_bytes(&CTX, &key, "newer").await.unwrap();
    assert!(matches!(newer, PutOutcome::Replaced { .. }), "the halves had equal values: {newer:?}");
    // Now `b` is down, which has a newer value than `a`.
    mend(&a);
    fail(&b, down());
    clock.advance(5 * SECOND);
    let outcome = store.put_bytes(&CTX, &key, "equal").await.unwrap();
    assert!(matches!(outcome, PutOutcome::Unclassified { stored_bytes: Some(_) }), "{outcome:?}");
}

#[tokio::test]
async fn a_repair_asks_each_half_once_about_many_blobs() {
    let Mirror { a, b, store, .. } = both::<Cas>();
    let mut asked = Vec::new();
    for contents in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        asked.push(stored(&a, contents).await);
    }
    store.find_missing(&CTX, &DigestSet::from(asked)).await.unwrap();
    let (before_a, before_b) = (a.count_of(Operation::FindMissing), b.count_of(Operation::FindMissing));
    store.repair(&CTX).await.unwrap();
    assert_eq!(a.count_of(Operation::FindMissing) - before_a, 1);
    assert_eq!(b.count_of(Operation::FindMissing) - before_b, 1);
    assert_eq!(b.counts().puts, 10);
}
