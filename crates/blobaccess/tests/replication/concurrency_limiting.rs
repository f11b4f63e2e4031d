//! Tests of the limit on copies at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::replication::{ConcurrencyLimitingReplicator, LocalReplicator, Replicator};
use blobaccess::{Cas, Clock, DigestSet, Error, ErrorKind, MemoryStore, Operation, ReadRequest};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::PausedStore;
use futures::{FutureExt, poll};

use crate::{CTX, Store, has, outage, paused, read, store, stored};

type PausedSink = PausedStore<MemoryStore<Cas>>;

type Limited<B> = ConcurrencyLimitingReplicator<Store<Cas>, B, LocalReplicator<Store<Cas>, B>>;

fn limited(max: usize, source: &Arc<Store<Cas>>, sink: &Arc<Store<Cas>>) -> Limited<Store<Cas>> {
    let base = LocalReplicator::new(Arc::clone(source), Arc::clone(sink));
    ConcurrencyLimitingReplicator::new(Arc::clone(source), Arc::clone(sink), base, NonZeroUsize::new(max).unwrap())
}

/// Makes a replicator into a sink each of whose calls is held.
fn limited_into_paused(max: usize, source: &Arc<Store<Cas>>) -> (Arc<PausedSink>, Limited<PausedSink>) {
    let sink = paused(MemoryStore::new(1 << 20));
    let base = LocalReplicator::new(Arc::clone(source), Arc::clone(&sink));
    let max = NonZeroUsize::new(max).unwrap();
    let replicator = ConcurrencyLimitingReplicator::new(Arc::clone(source), Arc::clone(&sink), base, max);
    (sink, replicator)
}

#[tokio::test]
async fn no_more_blobs_are_copied_at_a_time_than_permitted() {
    let source = store::<Cas>();
    let (sink, replicator) = limited_into_paused(3, &source);
    let mut digests = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        digests.push(stored(&source, name).await);
    }
    let (one_set, others) = digests.split_at(4);
    let one_set = DigestSet::from(one_set.to_vec());
    let others: Vec<DigestSet> = others.iter().map(|digest| digest.clone().into()).collect();
    let mut calls = vec![replicator.replicate_all(&CTX, &one_set).boxed()];
    calls.extend(others.iter().map(|digests| replicator.replicate_all(&CTX, digests).boxed()));
    let mut copying = futures::future::join_all(calls);
    for released in 0..8_u64 {
        for _ in 0..5 {
            assert!(poll!(&mut copying).is_pending());
        }
        let snapshot = replicator.snapshot();
        let expected = usize::try_from(8 - released).unwrap().min(3);
        assert_eq!((sink.waiting(), snapshot.under_way, snapshot.max_at_once), (expected, expected, 3));
        assert_eq!(snapshot.copies.blobs, released);
        sink.release_one();
    }
    assert!(copying.await.into_iter().all(|copied| copied.is_ok()));
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.under_way, snapshot.waiting, snapshot.copies.blobs), (0, 0, 8));
}

#[tokio::test]
async fn copies_are_made_in_the_order_in_which_they_were_asked_for() {
    let source = store::<Cas>();
    let (sink, replicator) = limited_into_paused(1, &source);
    let (a, b, c) = (stored(&source, "a").await, stored(&source, "b").await, stored(&source, "c").await);
    let sets = [a.clone(), b, c.clone()].map(DigestSet::from);
    let [mut first, mut second, mut third] =
        [0, 1, 2].map(|index| replicator.replicate_all(&CTX, &sets[index]).boxed());
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    assert_eq!(replicator.snapshot().waiting, 2);
    // The second goes away, and the third takes its place.
    drop(second);
    sink.release_one();
    first.await.unwrap();
    assert_eq!(replicator.snapshot().waiting, 1);
    sink.release_one();
    third.await.unwrap();
    assert_eq!(source.digests_of_each(Operation::Get), [[a], [c]]);
}

#[tokio::test]
async fn a_copy_that_is_dropped_gives_its_permit_back() {
    let source = store::<Cas>();
    let (sink, replicator) = limited_into_paused(1, &source);
    let digest = stored(&source, "hello").await;
    let set = DigestSet::from(digest.clone());
    let mut dropped = replicator.replicate_all(&CTX, &set).boxed();
    assert!(poll!(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(replicator.snapshot().under_way, 0);
    sink.release_all();
    replicator.replicate_all(&CTX, &set).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_no_permit() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = limited(1, &source, &sink);
    let (a, b) = (stored(&source, "a").await, stored(&source, "b").await);
    let unread = replicator.replicate(&CTX, &ReadRequest::blob(&a)).await.unwrap();
    assert_eq!(replicator.snapshot().under_way, 0);
    assert_eq!(read(&replicator, &b).await.unwrap(), "b");
    assert!(has(&sink, &a).await && has(&sink, &b).await);
    assert_eq!(unread.into_bytes(9).await.unwrap(), "a");
}

#[tokio::test]
async fn a_reader_whose_copy_fails_reads_from_the_source_without_another() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = limited(1, &source, &sink);
    let digest = stored(&source, "hello").await;
    outage(&sink).begin(Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert_eq!(sink.counts().puts, 1);
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.reads_from_source, snapshot.copies.failed), (1, 1));
}

#[tokio::test]
async fn a_sink_that_hangs_holds_a_reader_up_for_a_bounded_time() {
    let (clock, source) = (ManualClock::new(), store::<Cas>());
    let (_sink, replicator) = limited_into_paused(1, &source);
    let replicator = replicator.with_clock(Arc::new(clock.clone())).with_max_wait(Duration::from_secs(5));
    let digest = stored(&source, "hello").await;
    let (mut copying, mut waiting) = (read(&replicator, &digest).boxed(), read(&replicator, &digest).boxed());
    assert!(poll!(&mut copying).is_pending() && poll!(&mut waiting).is_pending());
    clock.advance(Duration::from_secs(5));
    assert_eq!(copying.await.unwrap(), "hello");
    assert_eq!(waiting.await.unwrap(), "hello");
    assert_eq!(replicator.snapshot().under_way, 0);
}

#[tokio::test]
async fn nobody_waits_beyond_their_deadline() {
    let (clock, source) = (ManualClock::new(), store::<Cas>());
    let (_sink, replicator) = limited_into_paused(1, &source);
    let replicator = replicator.with_clock(Arc::new(clock.clone()));
    let digest = stored(&source, "hello").await;
    let ctx = CTX.clone().with_deadline(clock.monotonic() + Duration::from_secs(1));
    let (set, request) = (DigestSet::from(digest.clone()), ReadRequest::blob(&digest));
    let (mut copy, mut read) =
        (replicator.replicate_all(&ctx, &set).boxed(), replicator.replicate(&ctx, &request).boxed());
    assert!(poll!(&mut copy).is_pending() && poll!(&mut read).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(copy.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(read.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.under_way, snapshot.waiting), (0, 0));
}

#[tokio::test]
async fn a_set_is_divided_as_it_is_set_to_be() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = limited(2, &source, &sink).with_digests_per_permit(NonZeroUsize::new(3).unwrap());
    let mut digests = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        digests.push(stored(&source, name).await);
    }
    replicator.replicate_all(&CTX, &digests.into()).await.unwrap();
    assert_eq!((sink.counts().puts, replicator.snapshot().copies.blobs), (7, 7));
    assert_eq!(replicator.to_string(), "concurrency_limiting(local(counting(memory) to counting(memory)))");
}
