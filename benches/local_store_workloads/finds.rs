//! FindMissing of digests of which half are stored, and none is old.

use std::time::Duration;

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestSet};
use blobaccess_local_store::{LocalStore, Options};
use blobaccess_workbench::limits::Lines;
use blobaccess_workbench::local_store::open;
use bytes::Bytes;
use futures::executor::block_on;

use crate::report::{ROUNDS, Speed, best, scaling, share, speed, timed};
use crate::workload::{BATCH, SEED, digests, shuffled, slots};

/// Returns the goal for this number of entries, in millions per second on a quiet machine.
fn goal(entries: usize) -> Option<f64> {
    match entries {
        1_000_000 => Some(35.0),
        10_000_000 => Some(25.0),
        _ => None,
    }
}

/// Returns the processor time of finds. A batch was just read from a request when it is looked up, so it lies in the
/// caches.
pub(crate) fn find(store: &LocalStore<Cas>, asked: &[Digest]) -> Duration {
    let batches = asked.chunks(BATCH).map(|batch| {
        let batch = batch.to_vec();
        timed(|| store.find_missing_blocking(&batch, |position| _ = std::hint::black_box(position)).unwrap())
    });
    batches.sum()
}

pub(crate) fn run(entries: usize) {
    let capacity = (u64::try_from(entries).unwrap() * 200).max(64 << 20);
    let store = open(Options::in_memory(capacity).with_entries(slots(entries)));
    let stored = digests(SEED, entries, 128);
    let contents = Bytes::from(vec![1; 128]);
    for digest in &stored {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    let absent = digests(SEED + 1, entries, 128);
    let asked = shuffled(SEED, [stored.clone(), absent.clone()].concat());
    let lines = Lines::new(usize::try_from(slots(entries)).unwrap());
    // Other places each time, because the previous ones may still lie in the caches.
    let limit = best(|round| {
        let places = lines.places(SEED + round, 1 << 21);
        timed(|| _ = std::hint::black_box(lines.walk(&places)))
    });
    let limit = Speed::of_calls(1 << 21, limit);
    drop(lines);
    // Each part is asked about for the first time.
    let part = asked.len().div_ceil(usize::try_from(ROUNDS).unwrap()).next_multiple_of(BATCH);
    let parts = asked.chunks(part).map(|part| Speed::of_calls(part.len(), find(&store, part)));
    let first = parts.reduce(Speed::faster).unwrap();
    speed("find missing, half there, touch bits clear", first, goal(entries));
    share("random lines, prefetched", limit, first, Some(0.40).filter(|_| entries == 1_000_000));
    let again = Speed::of_calls(asked.len(), best(|_| find(&store, &asked)));
    speed("the same again", again, None);
    share("random lines, prefetched", limit, again, None);
    let ctx = Context::background();
    let by_trait = best(|_| {
        let batches = asked.chunks(BATCH).map(|batch| {
            let batch: DigestSet = batch.iter().cloned().collect();
            timed(|| drop(block_on(store.find_missing(&ctx, &batch)).unwrap()))
        });
        batches.sum()
    });
    speed("the same by the trait, of sets", Speed::of_calls(asked.len(), by_trait), None);
    speed("find missing, none there", Speed::of_calls(entries, best(|_| find(&store, &absent))), None);
    let there = shuffled(SEED, stored);
    speed("find missing, all there", Speed::of_calls(entries, best(|_| find(&store, &there))), None);
    let find = |asked: &[Digest]| {
        for batch in asked.chunks(BATCH) {
            store.find_missing_blocking(batch, |position| _ = std::hint::black_box(position)).unwrap();
        }
    };
    scaling("find missing, half there", |_| asked.clone(), find, Some(0.9));
}
