//! Puts of mixed sizes into memory, compared with appends and hashes.

use std::hint::black_box;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Provenance};
use blobaccess_local_store::{LocalStore, Options};
use blobaccess_workbench::contest::Objects;
use blobaccess_workbench::is_test_run;
use blobaccess_workbench::limits::Arena;
use blobaccess_workbench::local_store::{open, put_all};
use bytes::Bytes;
use futures::executor::block_on;

use crate::report::{Speed, best, scaling, share, speed, timed};
use crate::workload::{SEED, SIZES, mixed, named};

/// Measures appends to memory that was touched before.
fn append(objects: &Objects, capacity: u64, copy: fn(&mut Arena, &[u8])) -> Speed {
    let mut arena = Arena::new(usize::try_from(capacity / 4).unwrap());
    let took = best(|_| timed(|| objects.items().iter().for_each(|(_, contents)| copy(&mut arena, contents))));
    Speed::of_bytes(objects.bytes(), took)
}

fn put_by_trait(store: &LocalStore<Cas>, objects: &Objects, is_verified: bool) {
    let ctx = Context::background();
    for (digest, contents) in objects.items() {
        let blob = if is_verified {
            Blob::from_untrusted_bytes(digest, contents.clone(), Provenance::client())
        } else {
            Blob::from_verified_bytes(digest, contents.clone())
        };
        block_on(store.put(&ctx, digest, blob)).unwrap();
    }
}

pub(crate) fn run(count: usize) {
    let capacity: u64 = if is_test_run() { 1 << 28 } else { 2 << 30 };
    println!("sizes: {SIZES}");
    let store = open(Options::in_memory(capacity).with_blocks(4, 16, 1));
    let first = mixed(SEED, count);
    let limit = append(&first, capacity, Arena::append_past_caches);
    speed("limit: append by a copy", append(&first, capacity, Arena::append), None);
    let took = timed(|| put_all(&store, &first));
    speed("put, no hash, first use of the memory", Speed::of_bytes(first.bytes(), took), None);
    // From here on blocks are recycled, and chunks reused.
    for filling in 0.. {
        let snapshot = store.snapshot();
        if snapshot.recycled_blocks > 2 * u64::try_from(snapshot.blocks.len()).unwrap() {
            break;
        }
        put_all(&store, &mixed(100 + filling, count));
    }
    let again = best(|round| {
        let objects = mixed(1_000 + round, count);
        timed(|| put_all(&store, &objects))
    });
    let again = Speed::of_bytes(first.bytes(), again);
    speed("put, no hash, memory used again", again, None);
    share("append past the caches", limit, again, Some(0.65));
    let by_trait = best(|round| {
        let objects = mixed(2_000 + round, count);
        timed(|| put_by_trait(&store, &objects, false))
    });
    speed("the same by the trait", Speed::of_bytes(first.bytes(), by_trait), None);
    let put = |items: &[(Digest, Bytes)]| {
        for (digest, contents) in items {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    };
    scaling("put, no hash, memory used again", |round| mixed(3_000 + round, count).items().to_vec(), put, None);
    for (function, goal) in [(DigestFunction::Sha256, 0.90), (DigestFunction::Blake3, 0.60)] {
        verified(&store, count, function, goal);
    }
}

fn verified(store: &LocalStore<Cas>, count: usize, function: DigestFunction, goal: f64) {
    let rounds: Vec<Objects> = (0..5).map(|round| named(5_000 + round, count / 4, function)).collect();
    let mut work = rounds.iter();
    let hash = best(|_| {
        let objects = work.next().unwrap();
        timed(|| objects.items().iter().for_each(|(digest, contents)| _ = black_box(digest.verify(contents))))
    });
    let mut work = rounds.iter();
    let took = best(|_| {
        let objects = work.next().unwrap();
        timed(|| put_by_trait(store, objects, true))
    });
    let bytes = rounds[0].bytes();
    let (hash, ours) = (Speed::of_bytes(bytes, hash), Speed::of_bytes(bytes, took));
    speed(&format!("put, verified by {}, memory used again", function.name()), ours, None);
    share("the hash alone", hash, ours, Some(goal));
}
