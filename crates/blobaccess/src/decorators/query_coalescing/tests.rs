//! Tests of queries that several callers share.

use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, poll};

use super::*;
use crate::decorators::fakes::{Noting, digest_of, instance_name};
use crate::{ErrorKind, Operation};

static CTX: Context = Context::background();

type Inner = Arc<Noting<Cas>>;

fn stack() -> (Inner, QueryCoalescing<Inner>) {
    let inner = Noting::new();
    (Arc::clone(&inner), QueryCoalescing::new(inner))
}

fn set(digests: &[&Digest]) -> DigestSet {
    digests.iter().copied().cloned().collect()
}

/// Returns the digests that the inner store was asked about, call by call.
fn asked(inner: &Inner) -> Vec<DigestSet> {
    inner.asked(Operation::FindMissing).into_iter().map(DigestSet::from).collect()
}

#[tokio::test]
async fn one_blob_in_several_instance_names_is_asked_about_once_and_missing_in_each() {
    let (inner, store) = stack();
    let a = digest_of("absent");
    let b = a.with_instance_name(instance_name("b"));
    let c = a.with_instance_name(instance_name("c"));
    let all = set(&[&a, &b, &c]);
    assert_eq!(store.find_missing(&CTX, &all).await.unwrap(), all);
    assert_eq!(asked(&inner), [set(&[&a])]);

    // Also if the query is another's.
    inner.set_held(true);
    let first = set(&[&a]);
    let mut leader = pin!(store.find_missing(&CTX, &first));
    assert!(poll!(&mut leader).is_pending());
    let mut follower = pin!(store.find_missing(&CTX, &all));
    assert!(poll!(&mut follower).is_pending());
    inner.set_held(false);
    assert_eq!(follower.await.unwrap(), all);
    assert_eq!(leader.await.unwrap(), first);
    assert_eq!(asked(&inner).len(), 2);
}

#[tokio::test]
async fn concurrent_queries_about_overlapping_digests_ask_about_each_once() {
    let (inner, store) = stack();
    let mut all = Vec::new();
    for number in 0..8 {
        let contents: &'static str = Box::leak(format!("blob {number}").into_boxed_str());
        all.push(if number % 2 == 0 { inner.hold_contents(contents).await } else { digest_of(contents) });
    }
    inner.set_held(true);
    let sets: Vec<DigestSet> = (0..8).map(|first| all.iter().cycle().skip(first).take(4).cloned().collect()).collect();
    let callers = join_all(sets.iter().map(|digests| store.find_missing(&CTX, digests)));
    let release = async { inner.set_held(false) };
    let (answers, ()) = futures::join!(callers, release);
    for (digests, answer) in sets.iter().zip(answers) {
        assert_eq!(answer.unwrap(), inner.memory.find_missing(&CTX, digests).await.unwrap());
    }
    let mut asked_about: Vec<Digest> = inner.asked(Operation::FindMissing).concat();
    asked_about.sort();
    all.sort();
    assert_eq!(asked_about, all);
}

#[tokio::test]
async fn a_query_outlives_the_caller_that_began_it() {
    let (inner, store) = stack();
    let there = set(&[&inner.hold_contents("there").await]);
    inner.set_held(true);
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let mut follower = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut follower).is_pending());
    drop(leader);
    inner.set_held(false);
    assert!(follower.await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 1);
}

#[tokio::test]
async fn a_caller_that_stops_polling_holds_nobody_up() {
    let (inner, store) = stack();
    let there = set(&[&inner.hold_contents("there").await]);
    inner.set_held(true);
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    inner.set_held(false);
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert!(leader.await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 1);
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_dropped_and_asked_anew() {
    let (inner, store) = stack();
    let there = set(&[&inner.hold_contents("there").await]);
    inner.set_held(true);
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    assert!(format!("{store:?}").contains("keys: 1"), "{store:?}");
    drop(leader);
    assert!(format!("{store:?}").contains("keys: 0"), "{store:?}");
    inner.set_held(false);
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert_eq!(asked(&inner).len(), 2);
}

#[tokio::test]
async fn when_a_query_fails_its_other_waiters_ask_for_themselves() {
    let (inner, store) = stack();
    let there = set(&[&inner.hold_contents("there").await]);
    inner.set_held(true);
    inner.fail_with(Error::unavailable("gone fishing"));
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let mut followers: Vec<_> = (0..3).map(|_| store.find_missing(&CTX, &there).boxed()).collect();
    for follower in &mut followers {
        assert!(poll!(follower).is_pending());
    }
    inner.set_held(false);
    assert_eq!(leader.await.unwrap_err().to_string(), "gone fishing");
    inner.fail_with(None);
    for answer in join_all(followers).await {
        assert!(answer.unwrap().is_empty());
    }
    // Once more at least; more often only as long as the answer is not there.
    assert!((2..=4).contains(&asked(&inner).len()), "{:?}", asked(&inner));

    // And if theirs fails as well, so do they, after one try each.
    let (inner, store) = stack();
    inner.fail_with(Error::unavailable("gone fishing"));
    let answers = join_all((0..4).map(|_| store.find_missing(&CTX, &there))).await;
    assert!(answers.into_iter().all(|answer| answer.is_err()));
    assert!(asked(&inner).len() <= 4, "{:?}", asked(&inner));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_another_beyond_a_deadline_of_their_own() {
    let (inner, store) = stack();
    let there = set(&[&inner.hold_contents("there").await]);
    inner.set_held(true);
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let hurried = CTX.clone().with_deadline(SystemClock.monotonic() + Duration::from_secs(1));
    let error = store.find_missing(&hurried, &there).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    inner.set_held(false);
    assert!(leader.await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_from_before_a_put_does_not_reach_later_callers() {
    let (inner, store) = stack();
    let digest = digest_of("new");
    let digests = set(&[&digest]);
    // The answer is held back, and a put is begun meanwhile.
    inner.set_held(true);
    let mut query = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut query).is_pending());
    {
        let mut put = store.put(&CTX, &digest, Blob::from_bytes("new")).boxed();
        assert!(poll!(&mut put).is_pending());
        // Even one that is given up may have stored the blob.
    }
    let mut later = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut later).is_pending());
    assert_eq!(asked(&inner).len(), 2);
    // The query from before ends, and leaves the one after it to be waited for.
    drop(query);
    let mut last = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut last).is_pending());
    inner.set_held(false);
    assert_eq!(later.await.unwrap(), digests);
    assert_eq!(last.await.unwrap(), digests);
    assert_eq!(asked(&inner).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_come_and_go_on_many_threads_are_all_answered_rightly() {
    let inner: Inner = Noting::new();
    let store = Arc::new(QueryCoalescing::new(Arc::clone(&inner)));
    let mut all = Vec::new();
    for number in 0..16 {
        let contents: &'static str = Box::leak(format!("blob {number}").into_boxed_str());
        all.push(if number % 3 == 0 { digest_of(contents) } else { inner.hold_contents(contents).await });
    }
    let callers = (0..64_usize).map(|caller| {
        let (store, inner, all) = (Arc::clone(&store), Arc::clone(&inner), all.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                let first = caller * 7 + round * 3;
                let digests: DigestSet = all.iter().cycle().skip(first % 16).take(1 + first % 9).cloned().collect();
                let mut asked = store.find_missing(&CTX, &digests).boxed();
                if (caller + round) % 3 == 0 {
                    // Given up, perhaps as the last who waits.
                    drop(poll!(&mut asked));
                } else {
                    let missing = inner.memory.find_missing(&CTX, &digests).await.unwrap();
                    assert_eq!(asked.await.unwrap(), missing);
                }
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    assert!(format!("{store:?}").contains("keys: 0"), "{store:?}");
}
