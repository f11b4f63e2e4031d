//! FindMissing of digests of which some lie in old blocks, and must outlive those.

use std::time::Duration;

use blobaccess::{Cas, Digest};
use blobaccess_local_store::{BlockGroup, LocalStore, Options, Refresh};
use blobaccess_workbench::local_store::open;
use bytes::Bytes;

use crate::finds::find;
use crate::report::{Speed, bounded, speed, timed};
use crate::workload::{BATCH, SEED, digests, shuffled};

/// The number of rounds. Each fills a store of its own, because digests that were asked about are no longer old.
const ROUNDS: u64 = 3;

/// Opens a store and fills it, so that some of its blobs are old, and returns it with the digests that were put.
fn full(entries: usize, refresh: Refresh, seed: u64) -> (LocalStore<Cas>, Vec<Digest>) {
    let entries = u64::try_from(entries).unwrap();
    let capacity = (entries * 210).max(16 << 20);
    // They come to some 1.5 times `entries`, for which this is a load of 0.75.
    let options = Options::in_memory(capacity).with_blocks(8, 24, 1).with_entries(entries * 2);
    // Where the store can be no smaller, the blobs are larger.
    let size = (capacity / entries * 128 / 320).max(128);
    let store = open(options.with_refresh(refresh));
    let contents = Bytes::from(vec![1; usize::try_from(size).unwrap()]);
    let mut put = Vec::new();
    for seed in (seed * 1_000..).take_while(|_| store.snapshot().recycled_blocks == 0) {
        for digest in digests(seed, usize::try_from(entries / 20).unwrap(), size) {
            store.put_blocking(&digest, contents.clone()).unwrap();
            put.push(digest);
        }
    }
    put.retain(|digest| store.is_stored(digest));
    (store, put)
}

/// Draws `entries` stored digests, `old_percent` of them old, and as many absent ones.
fn asked(store: &LocalStore<Cas>, put: &[Digest], entries: usize, old_percent: usize) -> Vec<Digest> {
    let blocks = store.snapshot().blocks;
    let is_old = |digest: &&Digest| store.block_of(digest).is_some_and(|at| blocks[at].group == BlockGroup::Old);
    let (old, others): (Vec<&Digest>, Vec<&Digest>) = put.iter().partition(is_old);
    let count = entries * old_percent / 100;
    let (old, others) = (shuffled(SEED, old), shuffled(SEED, others));
    let there = old[..count].iter().chain(&others[..entries - count]).copied().cloned();
    shuffled(SEED + 1, there.chain(digests(SEED, entries, 128)).collect())
}

pub(crate) fn run(entries: usize) {
    for refresh in [Refresh::AtRecycling, Refresh::OnTouch] {
        let mut took = [Duration::MAX; 2];
        let mut with_copies = Duration::MAX;
        let (mut refreshed, mut unrefreshed) = (0, 0);
        for round in 0..ROUNDS {
            for (old_percent, took) in [0, 10].into_iter().zip(&mut took) {
                let (store, put) = full(entries, refresh, SEED + round);
                let asked = asked(&store, &put, entries, old_percent);
                let (mut finds, mut copies) = (Duration::ZERO, Duration::ZERO);
                // The task that copies has its turn after each batch.
                for batch in asked.chunks(BATCH) {
                    finds += find(&store, batch);
                    copies += timed(|| store.refresh_blocking().unwrap());
                }
                *took = finds.min(*took);
                if old_percent > 0 {
                    with_copies = with_copies.min(finds + copies);
                    let snapshot = store.snapshot();
                    (refreshed, unrefreshed) = (snapshot.refreshed, snapshot.unrefreshed);
                }
            }
        }
        let each = |took: Duration| Speed::of_calls(2 * entries, took);
        speed(&format!("{refresh:?}: half there, none of it old, touch bits clear"), each(took[0]), None);
        speed(&format!("{refresh:?}: half there, a tenth of it old"), each(took[1]), None);
        bounded("    times as long", took[1].as_secs_f64() / took[0].as_secs_f64(), "", 2.0);
        if refresh == Refresh::OnTouch {
            speed("    with the copies, which another task makes", each(with_copies), None);
            println!("    {refreshed} were copied, {unrefreshed} were not");
        }
    }
}
