//! Limits on copies at a time under callers that come and go at random.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Poll;

use blobaccess::replication::{
    ConcurrencyLimitingReplicator, LocalReplicator, QueuedOptions, QueuedReplicator, Replicator,
};
use blobaccess::{BlobAccess, Cas, Clock, Digest, DigestSet, MemoryStore, ReadRequest, SystemClock};
use blobaccess_testkit::fakes::PausedStore;
use blobaccess_testkit::{Numbers, seed, time_budget};
use futures::future::BoxFuture;
use futures::{FutureExt, poll};

use crate::{CTX, Store, paused, store, stored};

/// The source as only copies see it: each waits there until it is released.
type Copying = PausedStore<Arc<Store<Cas>>>;

/// A call under way, and the blobs that the sink has once it has ended.
struct Call<'a> {
    copied: &'a DigestSet,
    ends: BoxFuture<'a, blobaccess::Result<()>>,
}

/// Makes calls of `replicator` at random, polls and drops them at random, and returns how many were dropped.
///
/// At no time are there more than `max` copies, and who is not dropped is served.
async fn play(
    replicator: &impl Replicator,
    (copying, sink): (&Copying, &MemoryStore<Cas>),
    digests: &[Digest],
    max: usize,
    numbers: &mut Numbers,
) -> usize {
    let sets: Vec<DigestSet> = (0..2 + numbers.below(8))
        .map(|_| digests.iter().filter(|_| numbers.below(2) == 0).cloned().collect())
        .collect();
    let requests: Vec<ReadRequest> = digests.iter().map(ReadRequest::blob).collect();
    let (none, mut dropped) = (DigestSet::new(), 0);
    let mut calls = Vec::new();
    for set in &sets {
        calls.push(Call { copied: set, ends: replicator.replicate_all(&CTX, set) });
        let request = requests.get(numbers.below(requests.len())).unwrap();
        let ends = async move { replicator.replicate(&CTX, request).await?.verify().await };
        calls.push(Call { copied: &none, ends: ends.boxed() });
    }
    for _ in 0..60 {
        if calls.is_empty() {
            break;
        }
        let index = numbers.below(calls.len());
        match numbers.below(10) {
            0 => {
                drop(calls.swap_remove(index));
                dropped += 1;
            }
            1 | 2 => copying.release_one(),
            _ => {
                if let Poll::Ready(ended) = poll!(&mut calls.get_mut(index).unwrap().ends) {
                    ended.unwrap();
                    assert_copied(sink, calls.swap_remove(index).copied).await;
                }
            }
        }
        assert!(copying.waiting() <= max, "{} copies at a time; the maximum is {max}", copying.waiting());
    }
    copying.release_all();
    for ended in futures::future::join_all(calls.iter_mut().map(|call| &mut call.ends)).await {
        ended.unwrap();
    }
    for call in calls {
        assert_copied(sink, call.copied).await;
    }
    dropped
}

async fn assert_copied(sink: &MemoryStore<Cas>, digests: &DigestSet) {
    assert_eq!(sink.find_missing(&CTX, digests).await.unwrap(), DigestSet::new());
}

#[tokio::test]
async fn callers_that_come_and_go_keep_to_the_limit_and_leave_nothing_behind() {
    let (seed, began) = (seed("BLOBACCESS_REPLICATION_SEED"), SystemClock.monotonic());
    let (mut numbers, mut rounds, mut dropped) = (Numbers::new(seed), 0_u64, 0);
    while SystemClock.monotonic() - began < time_budget() / 10 {
        let source: Arc<Store<Cas>> = store();
        let mut digests = Vec::new();
        for number in 0..=numbers.below(6) {
            digests.push(stored(&source, &format!("blob {number} of {rounds}")).await);
        }
        let max = 1 + numbers.below(3);
        let (copying, sink) = (paused(Arc::clone(&source)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
        let local = || LocalReplicator::new(Arc::clone(&copying), Arc::clone(&sink));
        if rounds % 2 == 0 {
            let limit = NonZeroUsize::new(max).unwrap();
            let limited = ConcurrencyLimitingReplicator::new(Arc::clone(&source), Arc::clone(&sink), local(), limit);
            dropped += play(&limited, (&copying, &sink), &digests, max, &mut numbers).await;
            let snapshot = limited.snapshot();
            assert_eq!((snapshot.under_way, snapshot.waiting), (0, 0), "seed {seed}");
        } else {
            let options = QueuedOptions::new().with_digests_per_turn(NonZeroUsize::MIN).with_capacity(3);
            let queued = QueuedReplicator::new(Arc::clone(&source), local(), sink.key_format(), options);
            dropped += play(&queued, (&copying, &sink), &digests, 1, &mut numbers).await;
            assert!(queued.run().now_or_never().is_none());
            let snapshot = queued.snapshot();
            assert_eq!((snapshot.queued, snapshot.waiting), (0, 0), "seed {seed}");
        }
        rounds += 1;
    }
    println!("{rounds} rounds, {dropped} callers dropped");
    assert!(rounds > 1);
}
