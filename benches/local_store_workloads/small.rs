//! Puts of 128 bytes.

use blobaccess::{Blob, BlobAccess, Context, Digest};
use blobaccess_local_store::Options;
use blobaccess_workbench::local_store::open;
use bytes::Bytes;
use futures::executor::block_on;

use crate::report::{Speed, best, scaling, speed, timed};
use crate::workload::{SEED, digests};

pub(crate) fn run(entries: usize) {
    // So many fill it that the map is at a load of two thirds.
    let count = u64::try_from(entries).unwrap();
    let options = || Options::in_memory((count * 140).max(64 << 20)).with_blocks(4, 16, 1).with_entries(count * 3 / 2);
    let contents = Bytes::from(vec![1; 128]);
    let goal = Some(2.5).filter(|_| entries >= 1_000_000);
    let half = entries / 2;
    let store = open(options());
    let put = |digests: &[Digest]| {
        for digest in digests {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    };
    let first = digests(SEED, half, 128);
    speed("put 128 B, empty store, first use of the memory", Speed::of_calls(half, timed(|| put(&first))), goal);
    put(&digests(SEED + 1, 3 * entries, 128));
    let took = best(|round| {
        let digests = digests(10 + round, half, 128);
        timed(|| put(&digests))
    });
    speed("put 128 B, memory used again, each evicts one", Speed::of_calls(half, took), goal);
    let ctx = Context::background();
    let took = best(|round| {
        let digests = digests(20 + round, half, 128);
        timed(|| {
            for digest in &digests {
                let blob = Blob::from_verified_bytes(digest, contents.clone());
                block_on(store.put(&ctx, digest, blob)).unwrap();
            }
        })
    });
    speed("the same by the trait", Speed::of_calls(half, took), None);
    let there = digests(24, half, 128);
    let took = best(|_| timed(|| put(&there[half / 2..])));
    speed("put 128 B of what is there", Speed::of_calls(half - half / 2, took), None);
    scaling("put 128 B, memory used again", |round| digests(40 + round, half, 128), put, None);
}
