//! Tests of copies one at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::replication::{LocalReplicator, QueuedOptions, QueuedReplicator, Replicator};
use blobaccess::{BlobAccess, Cas, Clock, DigestSet, Error, ErrorKind, MemoryStore, Operation, ReadRequest};
use blobaccess_testkit::fakes::{LeadingBytes, PausedStore};
use blobaccess_testkit::{ManualClock, digest_of};
use futures::{FutureExt, poll};

use crate::{CTX, Store, has, outage, paused, read, store, stored};

type Queued<B> = QueuedReplicator<Store<Cas>, LocalReplicator<Store<Cas>, B>>;

fn queued<B: BlobAccess<Kind = Cas>>(source: &Arc<Store<Cas>>, sink: &Arc<B>, options: QueuedOptions) -> Queued<B> {
    let base = LocalReplicator::new(Arc::clone(source), Arc::clone(sink));
    QueuedReplicator::new(Arc::clone(source), base, sink.key_format(), options)
}

fn one_at_a_time() -> QueuedOptions {
    QueuedOptions::new().with_digests_per_turn(NonZeroUsize::MIN)
}

#[tokio::test]
async fn a_read_waits_for_no_copy_and_run_makes_it() {
    let source = store::<Cas>();
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, QueuedOptions::new());
    let digest = stored(&source, "hello").await;
    for _ in 0..3 {
        assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    }
    assert_eq!((replicator.snapshot().queued, sink.waiting()), (1, 0));
    let mut running = replicator.run().boxed();
    assert!(poll!(&mut running).is_pending());
    assert_eq!((replicator.snapshot().queued, sink.waiting()), (1, 1));
    sink.release_all();
    assert!(poll!(&mut running).is_pending());
    assert!(sink.get(&CTX, &digest).await.is_ok());
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.remembered, snapshot.copies.blobs), (0, 1, 1));
    // It is remembered, and not put into the queue again.
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert_eq!((replicator.snapshot().queued, replicator.snapshot().spared), (0, 1));
    // A blob that is read while nothing is to be done wakes it up.
    let other = stored(&source, "other").await;
    read(&replicator, &other).await.unwrap();
    assert!(poll!(&mut running).is_pending());
    assert!(sink.get(&CTX, &other).await.is_ok());
}

#[tokio::test]
async fn a_part_has_its_composite_copied() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = queued(&source, &sink, QueuedOptions::new());
    let parent = stored(&source, "hello").await;
    let request = ReadRequest::part(&parent, &digest_of("he"), Arc::new(LeadingBytes));
    assert_eq!(replicator.replicate(&CTX, &request).await.unwrap().into_bytes(9).await.unwrap(), "he");
    assert!(replicator.run().now_or_never().is_none());
    assert!(has(&sink, &parent).await);
}

#[tokio::test]
async fn a_blob_is_copied_once_in_the_time_that_it_is_remembered() {
    let (clock, source, sink) = (ManualClock::new(), store::<Cas>(), store::<Cas>());
    let options = QueuedOptions::new().with_remembered(10, Duration::from_mins(1));
    let replicator = queued(&source, &sink, options).with_clock(Arc::new(clock.clone()));
    let set = DigestSet::from(stored(&source, "hello").await);
    replicator.replicate_all(&CTX, &set).await.unwrap();
    clock.advance(Duration::from_mins(1));
    replicator.replicate_all(&CTX, &set).await.unwrap();
    assert_eq!((source.counts().gets, replicator.snapshot().spared), (1, 1));
    clock.advance(Duration::from_nanos(1));
    replicator.replicate_all(&CTX, &set).await.unwrap();
    assert_eq!(source.counts().gets, 2);
}

#[tokio::test]
async fn nothing_is_remembered_if_so_set() {
    for options in [
        QueuedOptions::new().with_remembered(0, Duration::from_mins(1)),
        QueuedOptions::new().with_remembered(10, Duration::ZERO),
    ] {
        let (clock, source, sink) = (ManualClock::new(), store::<Cas>(), store::<Cas>());
        let replicator = queued(&source, &sink, options).with_clock(Arc::new(clock));
        let set = DigestSet::from(stored(&source, "hello").await);
        for _ in 0..2 {
            replicator.replicate_all(&CTX, &set).await.unwrap();
        }
        assert_eq!((source.counts().gets, replicator.snapshot().remembered), (2, 0));
    }
}

#[tokio::test]
async fn a_copy_that_failed_is_not_remembered() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = queued(&source, &sink, QueuedOptions::new());
    let digest = stored(&source, "hello").await;
    let set = DigestSet::from(digest.clone());
    outage(&sink).begin(Error::unavailable("gone fishing"));
    let error = replicator.replicate_all(&CTX, &set).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{digest}: sink: gone fishing"));
    // A reader does not notice.
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert!(replicator.run().now_or_never().is_none());
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.remembered, snapshot.dropped, snapshot.copies.failed), (1, 0, 0, 2));
    outage(&sink).end();
    replicator.replicate_all(&CTX, &set).await.unwrap();
    assert!(has(&sink, &digest).await);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_queued() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = queued(&source, &sink, QueuedOptions::new());
    assert!(read(&replicator, &digest_of("absent")).await.unwrap_err().is_not_found());
    let digest = stored(&source, "hello").await;
    outage(&source).begin(Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap_err().to_string(), "gone fishing");
    assert_eq!(replicator.snapshot().queued, 0);
}

#[tokio::test]
async fn one_copy_is_made_at_a_time_in_the_order_of_those_who_wait() {
    let source = store::<Cas>();
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, one_at_a_time());
    let mut digests = Vec::new();
    for name in ["a", "b", "c", "d"] {
        digests.push(stored(&source, name).await);
    }
    let (large, single) = (DigestSet::from(digests[..3].to_vec()), DigestSet::from(digests[3].clone()));
    let mut first = replicator.replicate_all(&CTX, &large).boxed();
    assert!(poll!(&mut first).is_pending());
    let mut second = replicator.replicate_all(&CTX, &single).boxed();
    assert!(poll!(&mut second).is_pending());
    assert_eq!((sink.waiting(), replicator.snapshot().waiting), (1, 1));
    // After one blob of the large set, it is the turn of the single one.
    sink.release_one();
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending());
    assert_eq!(sink.waiting(), 1);
    sink.release_one();
    second.await.unwrap();
    sink.release_all();
    first.await.unwrap();
    assert_eq!(source.digests_of_each(Operation::Get)[1], [digests[3].clone()]);
    assert_eq!(replicator.snapshot().copies.blobs, 4);
}

#[tokio::test]
async fn what_another_has_copied_meanwhile_is_not_copied_again() {
    let source = store::<Cas>();
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, QueuedOptions::new());
    let set = DigestSet::from(stored(&source, "hello").await);
    let (mut first, mut second) =
        (replicator.replicate_all(&CTX, &set).boxed(), replicator.replicate_all(&CTX, &set).boxed());
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    sink.release_all();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!((source.counts().gets, replicator.snapshot().spared), (1, 1));
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_up_its_turn() {
    let source = store::<Cas>();
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, one_at_a_time());
    let sets = [stored(&source, "a").await, stored(&source, "b").await].map(DigestSet::from);
    let mut first = replicator.replicate_all(&CTX, &sets[0]).boxed();
    let mut second = replicator.replicate_all(&CTX, &sets[1]).boxed();
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    drop(first);
    sink.release_all();
    second.await.unwrap();
    assert_eq!((replicator.snapshot().waiting, replicator.snapshot().copies.blobs), (0, 1));
}

#[tokio::test]
async fn a_full_queue_drops_what_is_read_and_counts_it() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let replicator = queued(&source, &sink, QueuedOptions::new().with_capacity(2));
    for name in ["a", "b", "c", "a", "d"] {
        let digest = stored(&source, name).await;
        assert_eq!(read(&replicator, &digest).await.unwrap(), name);
    }
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.capacity, snapshot.dropped), (2, 2, 2));
    assert!(replicator.run().now_or_never().is_none());
    assert!(has(&sink, &digest_of("b")).await && !has(&sink, &digest_of("c")).await);
}

#[tokio::test]
async fn blobs_return_to_the_queue_when_run_is_dropped() {
    let source = store::<Cas>();
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, QueuedOptions::new());
    for name in ["a", "b", "c"] {
        read(&replicator, &stored(&source, name).await).await.unwrap();
    }
    let mut running = replicator.run().boxed();
    assert!(poll!(&mut running).is_pending());
    assert_eq!((sink.waiting(), replicator.snapshot().queued), (3, 3));
    // Another one waits for something to do.
    let mut other = replicator.run().boxed();
    assert!(poll!(&mut other).is_pending());
    drop(running);
    assert_eq!((sink.waiting(), replicator.snapshot().queued), (0, 3));
    sink.release_all();
    assert!(poll!(&mut other).is_pending());
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.copies.blobs, snapshot.dropped), (0, 3, 0));
}

#[tokio::test]
async fn blobs_that_fail_keep_no_other_from_being_copied() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    // The source of the copies has lost all blobs but the last since they were read.
    let rest = store::<Cas>();
    let base = LocalReplicator::new(Arc::clone(&rest), Arc::clone(&sink));
    let replicator = QueuedReplicator::new(Arc::clone(&source), base, sink.key_format(), QueuedOptions::new());
    let mut digests = Vec::new();
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let digest = stored(&source, name).await;
        read(&replicator, &digest).await.unwrap();
        digests.push(digest);
        if index == 4 {
            stored(&rest, name).await;
        }
    }
    assert!(replicator.run().now_or_never().is_none());
    for (index, digest) in digests.iter().enumerate() {
        assert_eq!(has(&sink, digest).await, index == 4, "{index}");
    }
    assert_eq!((replicator.snapshot().queued, replicator.snapshot().dropped), (0, 4));
}

#[tokio::test]
async fn nobody_waits_beyond_their_deadline() {
    let (clock, source) = (ManualClock::new(), store::<Cas>());
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let replicator = queued(&source, &sink, one_at_a_time()).with_clock(Arc::new(clock.clone()));
    let sets = [stored(&source, "a").await, stored(&source, "b").await].map(DigestSet::from);
    let hurried = CTX.clone().with_deadline(clock.monotonic() + Duration::from_secs(1));
    let mut copying = replicator.replicate_all(&hurried, &sets[0]).boxed();
    let mut waiting = replicator.replicate_all(&hurried, &sets[1]).boxed();
    assert!(poll!(&mut copying).is_pending() && poll!(&mut waiting).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(copying.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    sink.release_all();
    replicator.replicate_all(&CTX, &sets[0]).await.unwrap();
    assert_eq!(replicator.to_string(), "queued(local(counting(memory) to paused(memory)))");
}
