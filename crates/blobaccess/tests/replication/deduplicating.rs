//! Tests of copies that callers share.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::decorators::Mirrored;
use blobaccess::replication::{ConcurrencyLimitingReplicator, DeduplicatingReplicator, LocalReplicator, Replicator};
use blobaccess::{
    Blob, BlobAccessExt, Cas, Clock, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, MemoryStore,
    Operation, ReadRequest, Result, SystemClock,
};
use blobaccess_testkit::fakes::{CountingStore, LeadingBytes, PausedStore};
use blobaccess_testkit::{ManualClock, Numbers, digest_of, seed, time_budget};
use futures::{FutureExt, poll};

use crate::{CTX, Store, has, memory, outage, paused, read, settle, store, stored};

type Deduplicated<A, B> = DeduplicatingReplicator<A, B, LocalReplicator<A, B>>;

fn deduplicated(source: &Arc<Store<Cas>>, sink: &Arc<Store<Cas>>) -> Deduplicated<Store<Cas>, Store<Cas>> {
    let base = LocalReplicator::new(Arc::clone(source), Arc::clone(sink));
    DeduplicatingReplicator::new(Arc::clone(source), Arc::clone(sink), base)
}

/// A source whose calls are counted when they begin and held until they are released.
type PausedSource = CountingStore<PausedStore<Arc<Store<Cas>>>>;

/// The store beneath a source that is held, that source, a sink, and a replicator between the two.
type Held = (Arc<Store<Cas>>, Arc<PausedSource>, Arc<Store<Cas>>, Arc<Deduplicated<PausedSource, Store<Cas>>>);

/// Makes a replicator whose source is held.
fn held() -> Held {
    let (beneath, sink) = (store::<Cas>(), store::<Cas>());
    let source = Arc::new(CountingStore::new(PausedStore::new(Arc::clone(&beneath))));
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let replicator = Arc::new(DeduplicatingReplicator::new(Arc::clone(&source), Arc::clone(&sink), base));
    (beneath, source, sink, replicator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_readers_of_one_blob_read_it_from_the_source_once() {
    let (beneath, source, sink, replicator) = held();
    let digest = stored(&beneath, "hello").await;
    let readers: Vec<_> = (0..1000)
        .map(|_| {
            let (replicator, digest) = (Arc::clone(&replicator), digest.clone());
            tokio::spawn(async move { read(&*replicator, &digest).await })
        })
        .collect();
    source.inner().until_waiting(1).await;
    source.inner().release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), "hello");
    }
    assert_eq!((source.counts().gets, sink.counts().puts), (1, 1));
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.copies.blobs, snapshot.copies.bytes, snapshot.copies.failed), (1, 5, 0));
    assert_eq!((snapshot.under_way, snapshot.shared + snapshot.found_present, snapshot.reads_from_source), (0, 999, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_a_mirror_refill_an_empty_half_without_a_storm() {
    const BLOBS: usize = 20;
    let (a, b) = (store::<Cas>(), store::<Cas>());
    let recommended = |source: &Arc<Store<Cas>>, sink: &Arc<Store<Cas>>| {
        let local = LocalReplicator::new(Arc::clone(source), Arc::clone(sink));
        let limited =
            ConcurrencyLimitingReplicator::new(Arc::clone(source), Arc::clone(sink), local, NonZeroUsize::MIN);
        Arc::new(DeduplicatingReplicator::new(Arc::clone(source), Arc::clone(sink), limited))
    };
    let (a_to_b, b_to_a) = (recommended(&a, &b), recommended(&b, &a));
    let (half_a, half_b, copies) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&a_to_b));
    let mirror = Arc::new(Mirrored::new(half_a, half_b, copies, b_to_a));
    let mut digests = Vec::new();
    for number in 0..BLOBS {
        digests.push(stored(&a, &format!("tool {number}")).await);
    }
    let readers: Vec<_> = (0..1000)
        .map(|number| {
            let (mirror, digest) = (Arc::clone(&mirror), digests[number % BLOBS].clone());
            tokio::spawn(async move { mirror.get_bytes(&CTX, &digest, 1 << 20).await.map(drop) })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert_eq!(b.counts().puts, u64::try_from(BLOBS).unwrap(), "each blob is copied once");
    assert_eq!(a_to_b.snapshot().copies.blobs, b.counts().puts);
}

#[tokio::test]
async fn what_the_sink_has_is_not_copied_and_the_rest_is() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = deduplicated(&source, &sink);
    let (there, lacking) = (stored(&source, "there").await, stored(&source, "lacking").await);
    stored(&sink, "there").await;
    assert_eq!(read(&replicator, &there).await.unwrap(), "there");
    assert_eq!(source.counts().gets, 0);
    let both = DigestSet::from([there, lacking.clone()]);
    replicator.replicate_all(&CTX, &both).await.unwrap();
    assert_eq!(source.digests_of_each(Operation::Get), [[lacking]]);
    // One query about all of them.
    assert_eq!((sink.counts().finds, sink.counts().digests_asked), (2, 3));
    assert_eq!(replicator.to_string(), "deduplicating(local(counting(memory) to counting(memory)))");
}

#[tokio::test]
async fn a_part_is_read_from_the_copied_composite() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = deduplicated(&source, &sink);
    let parent = stored(&source, "hello").await;
    let request = ReadRequest::part(&parent, &digest_of("he"), Arc::new(LeadingBytes));
    let part = replicator.replicate(&CTX, &request).await.unwrap();
    assert_eq!(part.into_bytes(9).await.unwrap(), "he");
    assert!(has(&sink, &parent).await);
    assert_eq!(sink.counts().gets_from_composite, 1);
}

#[tokio::test]
async fn errors_name_the_store_that_failed() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = deduplicated(&source, &sink);
    let digest = stored(&source, "hello").await;
    let set = DigestSet::from(digest.clone());
    outage(&sink).begin(Error::unavailable("gone fishing"));
    let error = replicator.replicate_all(&CTX, &set).await.unwrap_err();
    assert_eq!(error.to_string(), "sink: gone fishing");
    outage(&sink).end();
    outage(&source).begin(Error::unavailable("out of paper"));
    let error = replicator.replicate_all(&CTX, &set).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{digest}: source: out of paper"));
    assert_eq!(read(&replicator, &digest).await.unwrap_err().to_string(), "out of paper");
}

#[tokio::test]
async fn a_sink_that_loses_what_it_took_fails_no_reader() {
    let (source, digest) = (store::<Cas>(), digest_of("hello"));
    stored(&source, "hello").await;
    // It takes everything, and has room for nothing.
    let sink = Arc::new(MemoryStore::<Cas>::new(600));
    let base = LocalReplicator::new(Arc::clone(&source), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
    let replicator = DeduplicatingReplicator::new(Arc::clone(&source), sink, base);
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert_eq!(replicator.snapshot().reads_from_source, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_hands_its_copy_over() {
    let (beneath, source, sink, replicator) = held();
    let set = DigestSet::from(stored(&beneath, "hello").await);
    let mut leader = replicator.replicate_all(&CTX, &set).boxed();
    assert!(poll!(&mut leader).is_pending());
    let mut waiter = replicator.replicate_all(&CTX, &set).boxed();
    assert!(poll!(&mut waiter).is_pending());
    assert_eq!((source.inner().waiting(), replicator.snapshot().under_way), (1, 1));
    drop(leader);
    // The copy goes on where it was: it is not begun anew.
    source.inner().release_all();
    waiter.await.unwrap();
    assert_eq!((source.counts().gets, sink.counts().puts, replicator.snapshot().shared), (1, 1, 1));
}

#[tokio::test]
async fn a_caller_that_stops_polling_keeps_nobody_waiting() {
    let (beneath, source, _, replicator) = held();
    let set = DigestSet::from(stored(&beneath, "hello").await);
    let mut leader = replicator.replicate_all(&CTX, &set).boxed();
    assert!(poll!(&mut leader).is_pending());
    source.inner().release_all();
    replicator.replicate_all(&CTX, &set).await.unwrap();
    leader.await.unwrap();
    assert_eq!(source.counts().gets, 1);
}

#[tokio::test]
async fn a_copy_without_waiters_is_dropped() {
    let (beneath, source, _, replicator) = held();
    let set = DigestSet::from(stored(&beneath, "hello").await);
    let mut only = replicator.replicate_all(&CTX, &set).boxed();
    assert!(poll!(&mut only).is_pending());
    drop(only);
    assert_eq!((source.inner().waiting(), replicator.snapshot().under_way), (0, 0));
}

#[tokio::test]
async fn the_deadline_of_the_caller_that_began_a_copy_is_its_own() {
    let clock = ManualClock::new();
    let (beneath, sink) = (store::<Cas>(), store::<Cas>());
    let source = paused(Arc::clone(&beneath));
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let replicator =
        DeduplicatingReplicator::new(Arc::clone(&source), Arc::clone(&sink), base).with_clock(Arc::new(clock.clone()));
    let set = DigestSet::from(stored(&beneath, "hello").await);
    let hurried = CTX.clone().with_deadline(clock.monotonic() + Duration::from_secs(1));
    let (mut leader, mut waiter) =
        (replicator.replicate_all(&hurried, &set).boxed(), replicator.replicate_all(&CTX, &set).boxed());
    assert!(poll!(&mut leader).is_pending() && poll!(&mut waiter).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(leader.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    source.release_all();
    waiter.await.unwrap();
    assert_eq!(beneath.counts().gets, 1);
    assert!(sink.calls().iter().all(|call| call.context.deadline().is_none()));
}

#[tokio::test]
async fn a_sink_that_hangs_holds_a_reader_up_for_a_bounded_time() {
    let (clock, source) = (ManualClock::new(), store::<Cas>());
    let digest = stored(&source, "hello").await;
    let sink = paused(MemoryStore::<Cas>::new(1 << 20));
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let replicator = DeduplicatingReplicator::new(source, sink, base)
        .with_clock(Arc::new(clock.clone()))
        .with_max_wait(Duration::from_secs(5));
    let mut reading = read(&replicator, &digest).boxed();
    assert!(poll!(&mut reading).is_pending());
    clock.advance(Duration::from_secs(5));
    assert_eq!(reading.await.unwrap(), "hello");
}

#[tokio::test]
async fn instance_names_that_the_sink_does_not_tell_apart_share_a_copy() {
    let (beneath, source, sink, replicator) = held();
    let digest = stored(&beneath, "hello").await;
    let other = digest.with_instance_name(InstanceName::new("other").unwrap());
    let (one, both) = (DigestSet::from(digest.clone()), DigestSet::from([digest, other]));
    let (mut first, mut second) =
        (replicator.replicate_all(&CTX, &one).boxed(), replicator.replicate_all(&CTX, &both).boxed());
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    source.inner().release_all();
    let (first, second) = futures::join!(first, second);
    first.and(second).unwrap();
    assert_eq!((source.counts().gets, sink.counts().puts), (1, 1));
}

/// A replicator that fails its first copies with given errors, and counts all.
#[derive(Debug)]
struct Failing {
    error: Error,
    failures: u64,
    calls: AtomicU64,
}

#[async_trait]
impl Replicator for Failing {
    type Kind = Cas;

    async fn replicate(&self, _: &Context, _: &ReadRequest) -> Result<Blob> {
        Err(Error::unimplemented("nobody reads through it"))
    }

    async fn replicate_all(&self, _: &Context, _: &DigestSet) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        settle().await;
        if call < self.failures { Err(self.error.clone()) } else { Ok(()) }
    }
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failing")
    }
}

/// Returns the number of ten callers at the same time that failed, and the number of copies that were tried.
async fn ten_at_once(error: Error, failures: u64) -> (usize, u64) {
    let base = Arc::new(Failing { error, failures, calls: AtomicU64::new(0) });
    let replicator = DeduplicatingReplicator::new(store::<Cas>(), store::<Cas>(), Arc::clone(&base));
    let set = DigestSet::from(digest_of("hello"));
    let results = futures::future::join_all((0..10).map(|_| replicator.replicate_all(&CTX, &set))).await;
    assert_eq!(replicator.snapshot().under_way, 0);
    (results.iter().filter(|result| result.is_err()).count(), base.calls.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_failure_is_the_callers_that_began_the_copy_and_another_tries_again() {
    assert_eq!(ten_at_once(Error::unavailable("gone fishing"), 1).await, (1, 2));
    // Each has rights of its own.
    assert_eq!(ten_at_once(Error::permission_denied("not you"), u64::MAX).await, (10, 10));
    assert_eq!(ten_at_once(Error::permission_denied("not you"), 9).await, (9, 10));
}

#[tokio::test]
async fn a_store_that_is_down_is_not_asked_by_every_caller() {
    let (failed, calls) = ten_at_once(Error::unavailable("gone fishing"), u64::MAX).await;
    assert_eq!((failed, calls), (10, 2));
}

/// Drops callers at random while others wait, and checks that those that stay are served, by as few reads as there can
/// be.
#[tokio::test]
async fn callers_that_go_away_at_random_cost_the_others_nothing() {
    let (seed, began) = (seed("BLOBACCESS_REPLICATION_SEED"), SystemClock.monotonic());
    let (mut numbers, mut rounds, mut dropped) = (Numbers::new(seed), 0_u64, 0_u64);
    while SystemClock.monotonic() - began < time_budget() / 10 {
        let (beneath, source, sink, replicator) = held();
        let mut digests = Vec::new();
        for name in 0..=numbers.below(5) {
            digests.push(stored(&beneath, &format!("blob {name} of {rounds}")).await);
        }
        let sets: Vec<DigestSet> = (0..2 + numbers.below(10))
            .map(|_| {
                let some: Vec<Digest> = digests.iter().filter(|_| numbers.below(2) == 0).cloned().collect();
                some.into()
            })
            .collect();
        let mut calls: Vec<_> =
            sets.iter().map(|set| (set, Some(replicator.replicate_all(&CTX, set).boxed()))).collect();
        let mut wanted = std::collections::HashSet::new();
        for _ in 0..50 {
            let index = numbers.below(calls.len());
            let (set, call) = &mut calls[index];
            let Some(waiting) = call else { continue };
            match numbers.below(10) {
                0 => {
                    *call = None;
                    dropped += 1;
                }
                1 | 2 => source.inner().release_one(),
                _ => {
                    wanted.extend(set.iter().cloned());
                    if let std::task::Poll::Ready(result) = poll!(waiting) {
                        result.unwrap();
                        for digest in *set {
                            assert!(has(&sink, digest).await, "{digest} was not copied, seed {seed}");
                        }
                        *call = None;
                    }
                }
            }
        }
        source.inner().release_all();
        for (set, call) in calls {
            let Some(call) = call else { continue };
            wanted.extend(set.iter().cloned());
            call.await.unwrap();
            for digest in set {
                assert!(has(&sink, digest).await, "{digest} was not copied, seed {seed}");
            }
        }
        // A blob is put twice only if all callers of its copy went away, so never if it was copied.
        assert!(sink.counts().puts <= u64::try_from(wanted.len()).unwrap(), "copied twice, seed {seed}");
        assert_eq!(replicator.snapshot().under_way, 0, "seed {seed}");
        assert_eq!(memory(&sink).snapshot().blobs, usize::try_from(sink.counts().puts).unwrap(), "seed {seed}");
        rounds += 1;
    }
    println!("{rounds} rounds, {dropped} callers dropped");
    assert!(rounds > 0);
}
