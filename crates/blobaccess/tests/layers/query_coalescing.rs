//! Tests of queries that several callers share.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::QueryCoalescing;
use blobaccess::{Blob, BlobAccess, Cas, Clock, Context, Digest, DigestSet, Error, ErrorKind};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::future::{Either, join_all, select};
use futures::{FutureExt, poll};

use crate::{Paused, beneath, fail, inner, memory, mend, name, paused, queries, set, stored};

static CTX: Context = Context::background();

type Coalescing = QueryCoalescing<Paused<Cas>>;

fn stack() -> (Paused<Cas>, Coalescing) {
    let inner = paused();
    (Arc::clone(&inner), QueryCoalescing::new(inner))
}

#[tokio::test]
async fn one_blob_in_several_instance_names_is_asked_about_once_and_missing_in_each() {
    let (inner, store) = stack();
    let a = digest_of("absent");
    let b = a.with_instance_name(name("b"));
    let c = a.with_instance_name(name("c"));
    let all = set(&[&a, &b, &c]);
    inner.inner().release_one();
    assert_eq!(store.find_missing(&CTX, &all).await.unwrap(), all);
    assert_eq!(queries(&inner), [set(&[&a])]);

    // Also if the query is another's.
    let first = set(&[&a]);
    let mut leader = pin!(store.find_missing(&CTX, &first));
    assert!(poll!(&mut leader).is_pending());
    let mut follower = pin!(store.find_missing(&CTX, &all));
    assert!(poll!(&mut follower).is_pending());
    inner.inner().release_all();
    assert_eq!(follower.await.unwrap(), all);
    assert_eq!(leader.await.unwrap(), first);
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn concurrent_queries_about_overlapping_digests_ask_about_each_once() {
    let (inner, store) = stack();
    let mut all = Vec::new();
    for number in 0..8 {
        let contents: &'static str = format!("blob {number}").leak();
        all.push(if number % 2 == 0 { stored(beneath(&inner), contents).await } else { digest_of(contents) });
    }
    let sets: Vec<DigestSet> = (0..8).map(|first| all.iter().cycle().skip(first).take(4).cloned().collect()).collect();
    let callers = join_all(sets.iter().map(|digests| store.find_missing(&CTX, digests)));
    let release = async { inner.inner().release_all() };
    let (answers, ()) = futures::join!(callers, release);
    for (digests, answer) in sets.iter().zip(answers) {
        assert_eq!(answer.unwrap(), memory(beneath(&inner)).find_missing(&CTX, digests).await.unwrap());
    }
    let mut asked_about: Vec<Digest> = queries(&inner).iter().flatten().cloned().collect();
    asked_about.sort();
    all.sort();
    assert_eq!(asked_about, all);
}

#[tokio::test]
async fn a_query_outlives_the_caller_that_began_it() {
    let (inner, store) = stack();
    let there = stored(beneath(&inner), "there").await.into();
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let mut follower = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut follower).is_pending());
    drop(leader);
    inner.inner().release_all();
    assert!(follower.await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 1);
}

#[tokio::test]
async fn a_caller_that_stops_polling_holds_nobody_up() {
    let (inner, store) = stack();
    let there = stored(beneath(&inner), "there").await.into();
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    inner.inner().release_all();
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert!(leader.await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 1);
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_dropped_and_asked_anew() {
    let (inner, store) = stack();
    let there = stored(beneath(&inner), "there").await.into();
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    assert!(format!("{store:?}").contains("keys: 1"), "{store:?}");
    drop(leader);
    assert!(format!("{store:?}").contains("keys: 0"), "{store:?}");
    inner.inner().release_all();
    assert!(store.find_missing(&CTX, &there).await.unwrap().is_empty());
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test]
async fn when_a_query_fails_its_other_waiters_ask_for_themselves() {
    let (inner, store) = stack();
    let there = stored(beneath(&inner), "there").await.into();
    fail(beneath(&inner), Error::unavailable("gone fishing"));
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let mut followers: Vec<_> = (0..3).map(|_| store.find_missing(&CTX, &there).boxed()).collect();
    for follower in &mut followers {
        assert!(poll!(follower).is_pending());
    }
    inner.inner().release_all();
    assert_eq!(leader.await.unwrap_err().to_string(), "gone fishing");
    mend(beneath(&inner));
    for answer in join_all(followers).await {
        assert!(answer.unwrap().is_empty());
    }
    // Once more at least; more often only as long as the answer is not there.
    assert!((2..=4).contains(&queries(&inner).len()), "{:?}", queries(&inner));
}

#[tokio::test]
async fn when_the_queries_of_all_waiters_fail_each_has_asked_once_at_most() {
    let inner = inner();
    let there = digest_of("there").into();
    let store = QueryCoalescing::new(Arc::clone(&inner));
    fail(&inner, Error::unavailable("gone fishing"));
    let answers = join_all((0..4).map(|_| store.find_missing(&CTX, &there))).await;
    assert!(answers.into_iter().all(|answer| answer.is_err()));
    assert!(queries(&inner).len() <= 4, "{:?}", queries(&inner));
}

#[tokio::test]
async fn nobody_waits_for_another_beyond_a_deadline_of_their_own() {
    let (inner, clock) = (paused(), ManualClock::new());
    let store = QueryCoalescing::new(Arc::clone(&inner)).with_clock(Arc::new(clock.clone()));
    let there = stored(beneath(&inner), "there").await.into();
    let mut leader = store.find_missing(&CTX, &there).boxed();
    assert!(poll!(&mut leader).is_pending());
    let hurried = CTX.clone().with_deadline(clock.monotonic() + Duration::from_secs(1));
    let mut follower = store.find_missing(&hurried, &there).boxed();
    assert!(poll!(&mut follower).is_pending());
    clock.advance(Duration::from_secs(1));
    let late = follower.now_or_never().unwrap().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    inner.inner().release_all();
    assert!(leader.await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_from_before_a_put_does_not_reach_later_callers() {
    let (inner, store) = stack();
    let digest = digest_of("new");
    let digests = set(&[&digest]);
    // The answer is held back, and a put is begun meanwhile.
    let mut query = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut query).is_pending());
    {
        let mut put = store.put(&CTX, &digest, Blob::from_bytes("new")).boxed();
        assert!(poll!(&mut put).is_pending());
        // Even one that is given up may have stored the blob.
    }
    let mut later = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut later).is_pending());
    assert_eq!(queries(&inner).len(), 2);
    // The query from before ends, and leaves the one after it to be waited for.
    drop(query);
    let mut last = store.find_missing(&CTX, &digests).boxed();
    assert!(poll!(&mut last).is_pending());
    inner.inner().release_all();
    assert_eq!(later.await.unwrap(), digests);
    assert_eq!(last.await.unwrap(), digests);
    assert_eq!(queries(&inner).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_come_and_go_on_many_threads_are_all_answered_rightly() {
    let inner = paused();
    let store = Arc::new(QueryCoalescing::new(Arc::clone(&inner)));
    let mut all = Vec::new();
    for number in 0..16 {
        let contents: &'static str = format!("blob {number}").leak();
        all.push(if number % 3 == 0 { digest_of(contents) } else { stored(beneath(&inner), contents).await });
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
                    let missing = memory(beneath(&inner)).find_missing(&CTX, &digests).await.unwrap();
                    assert_eq!(asked.await.unwrap(), missing);
                }
            }
        })
    });
    // Each call of the inner store takes some turns.
    let releasing = async {
        loop {
            inner.inner().until_waiting(1).await;
            tokio::task::yield_now().await;
            inner.inner().release_one();
        }
    };
    match select(join_all(callers), pin!(releasing)).await {
        Either::Left((callers, _)) => callers.into_iter().for_each(|caller| caller.unwrap()),
        Either::Right((never, _)) => never,
    }
    assert!(format!("{store:?}").contains("keys: 0"), "{store:?}");
}
