//! Tests of the memory of found digests.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::ExistenceCaching;
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, Error, Event, InstanceName, KeyFormat,
    Operation, PutCertainty, PutOutcome,
};
use blobaccess_testkit::fakes::{LeadingBytes, RecordingObserver, ScriptedStore};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, poll};

use crate::{Inner, beneath, fail, inner, memory, mend, name, paused, queries, set, stored};

static CTX: Context = Context::background();
const DURATION: Duration = Duration::from_mins(1);

type Caching = ExistenceCaching<Inner<Cas>>;

fn over(inner: &Inner<Cas>, capacity: usize) -> Caching {
    ExistenceCaching::new(Arc::clone(inner), capacity, DURATION)
}

fn stack(capacity: usize) -> (Inner<Cas>, Caching) {
    let inner = inner();
    let store = over(&inner, capacity);
    (inner, store)
}

#[tokio::test]
async fn what_was_found_is_not_asked_about_again_and_what_was_missing_is() {
    let (inner, store) = stack(10);
    let (there, absent) = (stored(&inner, "there").await, digest_of("absent"));
    let both = set(&[&there, &absent]);
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), set(&[&absent]));
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), set(&[&absent]));
    assert_eq!(queries(&inner), [both, set(&[&absent])]);
}

#[tokio::test]
async fn where_all_were_found_the_inner_store_is_not_called() {
    let (inner, store) = stack(10);
    let there = stored(&inner, "there").await.into();
    for _ in 0..3 {
        assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    }
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 1);
}

#[tokio::test]
async fn errors_are_passed_on_and_not_remembered() {
    let (inner, store) = stack(10);
    let there = stored(&inner, "there").await.into();
    fail(&inner, Error::unavailable("gone fishing"));
    assert_eq!(store.find_missing(&CTX, &there).await.unwrap_err().to_string(), "gone fishing");
    mend(&inner);
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn what_was_found_counts_for_the_duration_inclusively() {
    let (inner, clock) = (inner(), ManualClock::new());
    let store = over(&inner, 10).with_clock(Arc::new(clock.clone()));
    let there = stored(&inner, "there").await.into();
    store.find_missing(&CTX, &there).await.unwrap();
    clock.advance(DURATION);
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(queries(&inner).len(), 1);
    clock.advance(Duration::from_nanos(1));
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn what_was_found_counts_from_the_question() {
    let (inner, clock) = (paused(), ManualClock::new());
    let store = ExistenceCaching::new(Arc::clone(&inner), 10, DURATION).with_clock(Arc::new(clock.clone()));
    let there = stored(beneath(&inner), "there").await.into();
    // An answer that takes its time is not valid for longer.
    let mut late = pin!(store.find_missing(&CTX, &there));
    assert!(poll!(&mut late).is_pending());
    clock.advance(DURATION * 2);
    inner.inner().release_all();
    late.await.unwrap();
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn instance_names_count_only_where_they_do_for_the_store() {
    let there = digest_of("there");
    let elsewhere = there.with_instance_name(name("other"));
    for (format, calls) in [(KeyFormat::WithoutInstanceName, 1), (KeyFormat::WithInstanceName, 2)] {
        let inner = ScriptedStore::<Cas>::new().with_key_format(format);
        let inner = inner.on_find_missing(Ok(DigestSet::new())).on_find_missing(Ok(DigestSet::new()));
        let store = ExistenceCaching::new(inner, 10, DURATION);
        for digest in [&there, &elsewhere] {
            assert!(store.find_missing(&CTX, &set(&[digest])).await.unwrap().is_empty());
        }
        assert_eq!(store.inner().calls().len(), calls);
        assert_eq!(store.key_format(), format);
    }
}

#[tokio::test]
async fn an_entry_goes_when_a_get_finds_nothing_or_finds_it_damaged() {
    let (inner, store) = stack(10);
    let there = stored(&inner, "there").await;
    let digests = set(&[&there]);
    for (error, forgets) in [
        (Error::not_found("evicted"), true),
        (Error::data_loss("bit rot"), true),
        (Error::part_not_found("no such part"), false),
        (Error::unavailable("gone fishing"), false),
    ] {
        for composite in [false, true] {
            store.find_missing(&CTX, &digests).await.unwrap();
            let before = queries(&inner).len();
            fail(&inner, error.clone());
            let result = if composite {
                store.get_from_composite(&CTX, &there, &digest_of("th"), Arc::new(LeadingBytes)).await
            } else {
                store.get(&CTX, &there).await
            };
            assert_eq!(result.unwrap_err().to_string(), error.to_string());
            mend(&inner);
            store.find_missing(&CTX, &digests).await.unwrap();
            assert_eq!(queries(&inner).len() - before, usize::from(forgets), "{error} {composite}");
        }
    }
    store.get(&CTX, &there).await.unwrap();
    let before = queries(&inner).len();
    store.find_missing(&CTX, &digests).await.unwrap();
    assert_eq!(queries(&inner).len(), before);
}

#[tokio::test]
async fn what_a_get_does_not_find_is_not_remembered_by_a_question_from_before() {
    let inner = paused();
    let store = ExistenceCaching::new(Arc::clone(&inner), 10, DURATION);
    let digest = digest_of("there");
    let digests = set(&[&digest]);
    let mut get = store.get(&CTX, &digest).boxed();
    assert!(poll!(&mut get).is_pending());
    let mut question = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut question).is_pending());
    inner.inner().release_one();
    assert!(get.await.unwrap_err().is_not_found());
    stored(beneath(&inner), "there").await;
    inner.inner().release_all();
    assert!(question.await.unwrap().is_empty());
    store.find_missing(&CTX, &digests).await.unwrap();
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn what_was_created_here_counts_as_found() {
    let (inner, store) = stack(10);
    let digest = digest_of("new");
    let outcome = store.put(&CTX, &digest, Blob::from_bytes("new")).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: 3 });
    assert!(store.find_missing(&CTX, &set(&[&digest])).await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 0);
}

#[tokio::test]
async fn a_put_of_any_other_end_leaves_the_next_question_to_the_store() {
    let (inner, store) = stack(10);
    let there = stored(&inner, "there").await;
    let outcome = store.put(&CTX, &there, Blob::from_bytes("there")).await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 5 });
    store.find_missing(&CTX, &set(&[&there])).await.unwrap();
    assert_eq!(queries(&inner).len(), 1);

    let wrong = digest_of("wrong");
    let error = store.put(&CTX, &wrong, Blob::from_bytes("other")).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    assert_eq!(store.find_missing(&CTX, &set(&[&wrong])).await.unwrap(), set(&[&wrong]));
}

#[tokio::test]
async fn puts_are_answered_from_memory_only_if_so_wanted() {
    let inner = inner();
    let there = stored(&inner, "there").await;
    for (store, puts) in [(over(&inner, 10), 1), (over(&inner, 10).answering_puts(), 1)] {
        store.find_missing(&CTX, &set(&[&there])).await.unwrap();
        let outcome = store.put(&CTX, &there, Blob::from_bytes("there")).await.unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 5 });
        assert_eq!(inner.count_of(Operation::Put), puts);
    }
    // A blob that is not known to be there is put.
    let store = over(&inner, 10).answering_puts();
    store.put(&CTX, &digest_of("new"), Blob::from_bytes("new")).await.unwrap();
    assert_eq!(inner.count_of(Operation::Put), 2);
}

#[tokio::test]
async fn the_observer_is_told_of_hits_and_misses() {
    let (inner, observer) = (inner(), Arc::new(RecordingObserver::new()));
    let store = over(&inner, 10).with_observer(Arc::clone(&observer));
    let (there, absent) = (stored(&inner, "there").await, digest_of("absent"));
    for _ in 0..2 {
        store.find_missing(&CTX, &set(&[&there, &absent])).await.unwrap();
    }
    let counts = observer.take_events().into_iter().map(|event| {
        let Event::ExistenceCacheAsked { hits, misses } = event else { panic!("{event:?}") };
        (hits, misses)
    });
    assert!(counts.eq([(0, 2), (1, 1)]));
}

#[tokio::test]
async fn no_more_is_remembered_than_the_capacity_allows() {
    let (inner, store) = stack(3);
    let mut digests = Vec::new();
    for number in 0..1000_u32 {
        let contents = number.to_le_bytes();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        memory(&inner).put(&CTX, &digest, Blob::from_bytes(contents.to_vec())).await.unwrap();
        digests.push(digest);
    }
    let all = digests.into_iter().collect();
    for _ in 0..2 {
        store.find_missing(&CTX, &all).await.unwrap();
    }
    assert!(queries(&inner).iter().map(DigestSet::len).eq([1000, 997]));
}
