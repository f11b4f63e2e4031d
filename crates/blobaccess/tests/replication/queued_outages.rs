//! Tests of copies one at a time while a store is down, busy or hangs.

use std::fmt::{self, Display, Formatter};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::replication::{LocalReplicator, QueuedOptions, QueuedReplicator, Replicator};
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestSet, Error, ErrorKind, MemoryStore, ReadRequest, Result,
};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::PausedStore;
use futures::{FutureExt, poll};

use crate::{CTX, Store, has, outage, paused, read, store, stored};

const PAUSE: Duration = Duration::from_secs(5);

fn down() -> Error {
    Error::unavailable("gone fishing")
}

fn turns_of(digests: usize) -> QueuedOptions {
    QueuedOptions::new().with_digests_per_turn(NonZeroUsize::new(digests).unwrap())
}

/// Reads some blobs, whose digests are returned, so that they are in the queue.
async fn read_all<R: Replicator<Kind = Cas>>(
    replicator: &QueuedReplicator<Store<Cas>, R>,
    source: &Store<Cas>,
    count: u32,
) -> Vec<Digest> {
    let mut digests = Vec::new();
    for number in 0..count {
        let digest = stored(source, &number.to_string()).await;
        read(replicator, &digest).await.unwrap();
        digests.push(digest);
    }
    digests
}

#[tokio::test]
async fn in_an_outage_the_queue_stays_bounded_and_is_copied_after_it() {
    let (clock, source, sink) = (ManualClock::new(), store::<Cas>(), store::<Cas>());
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let replicator =
        QueuedReplicator::new(Arc::clone(&source), base, sink.key_format(), turns_of(10).with_capacity(50))
            .with_clock(Arc::new(clock.clone()));
    let digests = read_all(&replicator, &source, 50).await;
    outage(&sink).begin(down());
    let mut running = replicator.run().boxed();
    assert!(poll!(&mut running).is_pending());
    // One turn, and then three blobs by themselves: the others are not tried.
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.dropped, snapshot.copies.failed), (50, 0, 4));
    assert!(snapshot.is_pausing);
    // However long it takes, no blob is lost but those that there is no room for.
    for _ in 0..100 {
        clock.advance(PAUSE);
        assert!(poll!(&mut running).is_pending());
    }
    read(&replicator, &stored(&source, "late").await).await.unwrap();
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.dropped, snapshot.copies.failed), (50, 1, 404));
    outage(&sink).end();
    clock.advance(Duration::from_nanos(4_999_999_999));
    assert!(poll!(&mut running).is_pending());
    assert_eq!(replicator.snapshot().queued, 50, "it waits");
    clock.advance(Duration::from_nanos(1));
    assert!(poll!(&mut running).is_pending());
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.queued, snapshot.dropped, snapshot.copies.blobs, snapshot.is_pausing), (0, 1, 50, false));
    for digest in &digests {
        assert!(has(&sink, digest).await, "{digest}");
    }
}

#[tokio::test]
async fn others_have_their_turns_while_it_pauses() {
    let (clock, source, sink) = (ManualClock::new(), store::<Cas>(), store::<Cas>());
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let replicator = QueuedReplicator::new(Arc::clone(&source), base, sink.key_format(), QueuedOptions::new())
        .with_clock(Arc::new(clock));
    let digests = read_all(&replicator, &source, 1).await;
    outage(&sink).begin(down());
    let mut running = replicator.run().boxed();
    assert!(poll!(&mut running).is_pending());
    outage(&sink).end();
    replicator.replicate_all(&CTX, &digests.into_iter().collect()).await.unwrap();
    drop(running);
    assert!(!replicator.snapshot().is_pausing);
    assert_eq!((replicator.snapshot().queued, replicator.snapshot().copies.blobs), (1, 1));
}

/// A replicator that is always busy when one of the blobs is to be copied.
#[derive(Debug)]
struct BusyFor<R> {
    base: R,
    digest: Digest,
}

#[async_trait]
impl<R: Replicator<Kind = Cas>> Replicator for BusyFor<R> {
    type Kind = Cas;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        self.base.replicate(ctx, request).await
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        if digests.contains(&self.digest) {
            return Err(Error::resource_exhausted("too large for now"));
        }
        self.base.replicate_all(ctx, digests).await
    }
}

impl<R: Display> Display for BusyFor<R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "busy({})", self.base)
    }
}

#[tokio::test]
async fn a_blob_that_alone_fails_keeps_no_other_waiting_and_is_dropped_in_the_end() {
    for digests_per_turn in [1, 4, 100] {
        let (clock, source, sink) = (ManualClock::new(), store::<Cas>(), store::<Cas>());
        let digest = stored(&source, "0").await;
        let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
        let base = BusyFor { base, digest: digest.clone() };
        let replicator =
            QueuedReplicator::new(Arc::clone(&source), base, sink.key_format(), turns_of(digests_per_turn))
                .with_clock(Arc::new(clock.clone()));
        let digests = read_all(&replicator, &source, 10).await;
        let mut running = replicator.run().boxed();
        assert!(poll!(&mut running).is_pending());
        clock.advance(PAUSE);
        assert!(poll!(&mut running).is_pending());
        for other in digests.iter().filter(|other| **other != digest) {
            assert!(has(&sink, other).await, "{other}");
        }
        // Alone in the queue, it does not tell whether a store is down.
        for _ in 0..10 {
            clock.advance(PAUSE);
            assert!(poll!(&mut running).is_pending());
        }
        assert_eq!((replicator.snapshot().queued, replicator.snapshot().dropped), (1, 0));
        for number in 0..2 {
            read(&replicator, &stored(&source, &format!("another {number}")).await).await.unwrap();
            for _ in 0..2 {
                clock.advance(PAUSE);
                assert!(poll!(&mut running).is_pending());
            }
        }
        assert_eq!((replicator.snapshot().queued, replicator.snapshot().dropped), (0, 1));
    }
}

#[tokio::test]
async fn a_turn_has_an_end() {
    let (clock, source) = (ManualClock::new(), store::<Cas>());
    let sink: Arc<PausedStore<MemoryStore<Cas>>> = paused(MemoryStore::new(1 << 20));
    let base = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let minute = Duration::from_mins(1);
    let options = QueuedOptions::new().with_max_turn(minute);
    let replicator = QueuedReplicator::new(Arc::clone(&source), base, sink.key_format(), options)
        .with_clock(Arc::new(clock.clone()));
    read_all(&replicator, &source, 1).await;
    let other = DigestSet::from(stored(&source, "other").await);
    // The sink hangs.
    let mut running = replicator.run().boxed();
    assert!(poll!(&mut running).is_pending());
    let mut waiting = replicator.replicate_all(&CTX, &other).boxed();
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!((sink.waiting(), replicator.snapshot().waiting), (1, 1));
    clock.advance(minute);
    assert!(poll!(&mut running).is_pending());
    assert!(replicator.snapshot().is_pausing && replicator.snapshot().queued == 1);
    // Now it is the turn of the one that waits, which has an end too.
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!((sink.waiting(), replicator.snapshot().waiting), (1, 0));
    clock.advance(minute);
    let error = waiting.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(sink.waiting() == 0 && replicator.snapshot().copies.failed == 2);
    // Nothing is lost.
    assert!(poll!(&mut running).is_pending());
    sink.release_all();
    assert!(poll!(&mut running).is_pending());
    assert_eq!((replicator.snapshot().queued, replicator.snapshot().copies.blobs), (0, 1));
}
