//! Gets of 128 bytes from memory, without a copy.

use std::hint::black_box;

use blobaccess::{BlobAccess, Context, Digest};
use blobaccess_local_store::Options;
use blobaccess_workbench::contest::{Done, measure};
use blobaccess_workbench::local_store::open;
use bytes::Bytes;
use futures::executor::block_on;

use crate::report::{Speed, best, scaling, speed, timed};
use crate::workload::{SEED, digests, shuffled, slots};

pub(crate) fn run(entries: usize) {
    let capacity = (u64::try_from(entries).unwrap() * 200).max(64 << 20);
    let store = open(Options::in_memory(capacity).with_entries(slots(entries)));
    let stored = shuffled(SEED, digests(SEED, entries, 128));
    let contents = Bytes::from(vec![1; 128]);
    for digest in &stored {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    let wanted = shuffled(SEED + 1, stored);
    let get = |wanted: &[Digest]| {
        for digest in wanted {
            black_box(store.get_blocking(digest).unwrap().unwrap().first());
        }
    };
    let goal = Some(4.0).filter(|_| entries == 1_000_000);
    speed("get 128 B, in random order", Speed::of_calls(entries, best(|_| timed(|| get(&wanted)))), goal);
    // What the processor's caches have.
    let hot = &wanted[..entries.min(1_000)];
    let took = best(|_| timed(|| (0..100).for_each(|_| get(hot))));
    speed("get 128 B, a thousand again and again", Speed::of_calls(100 * hot.len(), took), None);
    let ctx = Context::background();
    let by_trait = |wanted: &[Digest]| {
        for digest in wanted {
            let blob = block_on(store.get(&ctx, digest)).unwrap();
            black_box(block_on(blob.into_bytes(1 << 20)).unwrap().first());
        }
    };
    let took = best(|_| timed(|| by_trait(&wanted)));
    speed("get 128 B by the trait, into bytes, in random order", Speed::of_calls(entries, took), None);
    scaling("get 128 B", |_| wanted.clone(), get, Some(0.9));
    let call = |digest: &Digest| {
        black_box(store.get_blocking(digest).unwrap().unwrap().first());
        Done { units: 1, bytes: 128 }
    };
    let measured = measure(1, &wanted, call, || ());
    let [p50, p99, p999] = measured.percentiles;
    let allocations = measured.allocations_per_call();
    println!("get 128 B, by the clock: p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns; {allocations} allocations a call");
}
