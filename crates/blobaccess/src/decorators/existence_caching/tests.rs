//! Tests of the memory of found digests.

use std::pin::pin;

use futures::{FutureExt, poll};

use super::*;
use crate::decorators::fakes::{Beginning, Noting, Told, digest_of, instance_name};
use crate::{DigestFunction, Error, Operation, PutCertainty};

static CTX: Context = Context::background();
const DURATION: Duration = Duration::from_mins(1);

type Inner = Arc<Noting<Cas>>;

fn over(inner: &Inner, capacity: usize) -> ExistenceCaching<Inner> {
    ExistenceCaching::new(Arc::clone(inner), capacity, DURATION)
}

fn stack(capacity: usize) -> (Inner, ExistenceCaching<Inner>) {
    let inner = Noting::new();
    let store = over(&inner, capacity);
    (inner, store)
}

fn set(digests: &[&Digest]) -> DigestSet {
    digests.iter().copied().cloned().collect()
}

/// Returns the digests that the inner store was asked about, call by call.
fn asked(inner: &Inner) -> Vec<DigestSet> {
    inner.asked(Operation::FindMissing).into_iter().map(DigestSet::from).collect()
}

#[tokio::test]
async fn what_was_found_is_not_asked_about_again_and_what_was_missing_is() {
    let (inner, store) = stack(10);
    let (there, absent) = (inner.hold_contents("there").await, digest_of("absent"));
    let both = set(&[&there, &absent]);
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), set(&[&absent]));
    assert_eq!(store.find_missing(&CTX, &both).await.unwrap(), set(&[&absent]));
    assert_eq!(asked(&inner), [both, set(&[&absent])]);
}

#[tokio::test]
async fn where_all_were_found_the_inner_store_is_not_called() {
    let (inner, store) = stack(10);
    let there = set(&[&inner.hold_contents("there").await]);
    for _ in 0..3 {
        assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    }
    assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 1);
}

#[tokio::test]
async fn errors_are_passed_on_and_not_remembered() {
    let (inner, store) = stack(10);
    let there = set(&[&inner.hold_contents("there").await]);
    inner.fail_with(Error::unavailable("gone fishing"));
    assert_eq!(store.find_missing(&CTX, &there).await.unwrap_err().to_string(), "gone fishing");
    inner.fail_with(None);
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_counts_from_the_question_and_for_the_duration_inclusively() {
    let (inner, store) = stack(10);
    let there = set(&[&inner.hold_contents("there").await]);
    store.find_missing(&CTX, &there).await.unwrap();
    tokio::time::advance(DURATION).await;
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(asked(&inner).len(), 1);
    tokio::time::advance(Duration::from_nanos(1)).await;
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(asked(&inner).len(), 2);

    // An answer that takes its time is not valid for longer.
    inner.set_held(true);
    tokio::time::advance(DURATION * 2).await;
    let late = store.find_missing(&CTX, &there);
    let late = async {
        let mut late = pin!(late);
        assert!(poll!(&mut late).is_pending());
        tokio::time::advance(DURATION * 2).await;
        inner.set_held(false);
        late.await.unwrap();
    };
    late.await;
    store.find_missing(&CTX, &there).await.unwrap();
    assert_eq!(asked(&inner).len(), 4);
}

#[tokio::test]
async fn instance_names_count_only_where_they_do_for_the_store() {
    for (format, calls) in [(KeyFormat::WithoutInstanceName, 1), (KeyFormat::WithInstanceName, 2)] {
        let inner = Noting::with_key_format(format);
        let store = over(&inner, 10);
        let there = inner.hold_contents("there").await;
        store.find_missing(&CTX, &set(&[&there])).await.unwrap();
        store.find_missing(&CTX, &set(&[&there.with_instance_name(instance_name("other"))])).await.unwrap();
        assert_eq!(asked(&inner).len(), calls);
        assert_eq!(store.key_format(), format);
    }
}

#[tokio::test]
async fn an_entry_goes_when_a_get_finds_nothing_or_finds_it_damaged() {
    let (inner, store) = stack(10);
    let there = inner.hold_contents("there").await;
    let digests = set(&[&there]);
    for (error, forgets) in [
        (Error::not_found("evicted"), true),
        (Error::data_loss("bit rot"), true),
        (Error::part_not_found("no such part"), false),
        (Error::unavailable("gone fishing"), false),
    ] {
        for composite in [false, true] {
            store.find_missing(&CTX, &digests).await.unwrap();
            let before = asked(&inner).len();
            inner.fail_with(error.clone());
            let result = if composite {
                store.get_from_composite(&CTX, &there, &digest_of("th"), Arc::new(Beginning)).await
            } else {
                store.get(&CTX, &there).await
            };
            assert_eq!(result.unwrap_err().to_string(), error.to_string());
            inner.fail_with(None);
            store.find_missing(&CTX, &digests).await.unwrap();
            assert_eq!(asked(&inner).len() - before, usize::from(forgets), "{error} {composite}");
        }
    }
    store.get(&CTX, &there).await.unwrap();
    let before = asked(&inner).len();
    store.find_missing(&CTX, &digests).await.unwrap();
    assert_eq!(asked(&inner).len(), before);
}

#[tokio::test]
async fn what_a_get_does_not_find_is_not_remembered_by_a_question_from_before() {
    let (inner, store) = stack(10);
    let there = inner.hold_contents("there").await;
    let digests = set(&[&there]);
    inner.set_held(true);
    let mut question = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut question).is_pending());
    store.found().forget(&there.cache_key(store.key_format()));
    inner.set_held(false);
    question.await.unwrap();
    store.find_missing(&CTX, &digests).await.unwrap();
    assert_eq!(asked(&inner).len(), 2);
}

#[tokio::test]
async fn what_was_created_here_counts_as_found() {
    let (inner, store) = stack(10);
    let digest = digest_of("new");
    let outcome = store.put(&CTX, &digest, Blob::from_bytes("new")).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: 3 });
    assert!(store.find_missing(&CTX, &set(&[&digest])).await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 0);
}

#[tokio::test]
async fn a_put_of_any_other_end_leaves_the_next_question_to_the_store() {
    let (inner, store) = stack(10);
    let there = inner.hold_contents("there").await;
    let outcome = store.put(&CTX, &there, Blob::from_bytes("there")).await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 5 });
    store.find_missing(&CTX, &set(&[&there])).await.unwrap();
    assert_eq!(asked(&inner).len(), 1);

    let wrong = digest_of("wrong");
    let error = store.put(&CTX, &wrong, Blob::from_bytes("other")).await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    assert_eq!(store.find_missing(&CTX, &set(&[&wrong])).await.unwrap(), set(&[&wrong]));
}

#[tokio::test]
async fn puts_are_answered_from_memory_only_if_so_wanted() {
    let inner = Noting::new();
    let there = inner.hold_contents("there").await;
    for (store, puts) in [(over(&inner, 10), 1), (over(&inner, 10).answering_puts(), 1)] {
        store.find_missing(&CTX, &set(&[&there])).await.unwrap();
        let outcome = store.put(&CTX, &there, Blob::from_bytes("there")).await.unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 5 });
        assert_eq!(inner.count(Operation::Put), puts);
    }
    // What is not known to be there is put.
    let store = over(&inner, 10).answering_puts();
    store.put(&CTX, &digest_of("new"), Blob::from_bytes("new")).await.unwrap();
    assert_eq!(inner.count(Operation::Put), 2);
}

#[tokio::test]
async fn the_observer_is_told_of_hits_and_misses() {
    let inner: Inner = Noting::new();
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = Arc::<Told>::clone(&told);
    let store = over(&inner, 10).with_observer(observer).with_clock(Arc::new(SystemClock));
    let (there, absent) = (inner.hold_contents("there").await, digest_of("absent"));
    for _ in 0..2 {
        store.find_missing(&CTX, &set(&[&there, &absent])).await.unwrap();
    }
    let events = told.events.lock().unwrap();
    let counts: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::ExistenceCacheAsked { hits, misses } => (*hits, *misses),
            Event::Evicted { .. } | Event::Corrupted { .. } | Event::ActionResultPut { .. } => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(counts, [(0, 2), (1, 1)]);
}

#[tokio::test]
async fn no_more_is_remembered_than_the_capacity_allows() {
    let (inner, store) = stack(3);
    let digests: Vec<Digest> = (0..1000_u32)
        .map(|number| Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes()))
        .collect();
    for (number, digest) in (0..1000_u32).zip(&digests) {
        let contents = Blob::from_bytes(number.to_le_bytes().to_vec());
        inner.memory.put(&CTX, digest, contents).await.unwrap();
    }
    store.find_missing(&CTX, &digests.into_iter().collect()).await.unwrap();
    assert_eq!(store.found().len(), 3);
}

#[tokio::test]
async fn everything_else_is_the_inner_stores() {
    let (inner, store) = stack(1);
    assert_eq!(store.to_string(), "existence_caching(noting)");
    let capabilities = store.capabilities(&CTX, &InstanceName::empty()).await.unwrap();
    assert_eq!(capabilities, inner.capabilities(&CTX, &InstanceName::empty()).await.unwrap());
}
