//! Fixed numbers of calls of the local store, to be counted instead of timed: the instructions of a call do not depend on
//! what else runs on the machine.
//!
//! ```text
//! cargo bench --bench local_store_instructions --no-run
//! valgrind --tool=callgrind --toggle-collect='*measured*' <the executable> <case>
//! ```
//!
//! Without a case, every case runs with few calls, and prints nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that fails has no result")]

use std::hint::black_box;

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

/// The names of the cases.
const CASES: [&str; 9] = [
    "get-128",
    "get-4096-trait",
    "get-4096-file",
    "put-128",
    "put-4096",
    "put-4096-file",
    "find-1",
    "find-1000-trait",
    "put-and-find-rotating",
];

/// Returns a digest that `number` determines, whose hash no contents have.
fn digest(number: u64, size: usize) -> Digest {
    let mut hash = [0; 32];
    for (position, word) in (0_u64..).zip(hash.chunks_mut(8)) {
        let mixed = (number * 4 + position + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&(mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
    }
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size.try_into().unwrap()).unwrap()
}

/// Returns `count` digests, from the number `first` on.
fn digests(first: u64, count: u64, size: usize) -> Vec<Digest> {
    (first..first + count).map(|number| digest(number, size)).collect()
}

fn open(options: Options) -> LocalStore<Cas> {
    block_on(LocalStore::open(options.with_blocks(4, 16, 1))).unwrap()
}

/// Puts all of `digests`, with contents that they are not the hash of.
fn put_all(store: &LocalStore<Cas>, digests: &[Digest], contents: &Bytes) {
    for digest in digests {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
}

/// Runs `calls`. Callgrind counts what happens in here, and nothing else.
#[inline(never)]
fn measured(mut calls: impl FnMut()) {
    calls();
}

/// Runs one case with `calls` calls.
fn run(case: &str, calls: u64) {
    let ctx = Context::background();
    let size = if case.contains("4096") { 4096 } else { 128 };
    let contents = Bytes::from(vec![7; size]);
    let directory = tempfile::tempdir().unwrap();
    let store = open(if case.ends_with("file") {
        Options::in_file(directory.path().join("blocks"), 256 << 20).persistent(SyncPolicy::OnClose)
    } else if case.ends_with("rotating") {
        Options::in_memory(4 << 20)
    } else {
        Options::in_memory(256 << 20)
    });
    let all = digests(0, calls, size);
    if case.starts_with("put-and-find") {
        return measured(|| {
            for (number, digest) in all.iter().enumerate() {
                store.put_blocking(digest, contents.clone()).unwrap();
                store.find_missing_blocking(&all[number.saturating_sub(3000)..][..1], |_| ()).unwrap();
            }
        });
    }
    if case.starts_with("put") {
        return measured(|| put_all(&store, &all, &contents));
    }
    put_all(&store, &all, &contents);
    store.sync_blocking().unwrap();
    if case.starts_with("get") {
        return measured(|| {
            for digest in &all {
                if case.ends_with("trait") {
                    let blob = block_on(store.get(&ctx, digest)).unwrap();
                    black_box(block_on(blob.into_bytes(1 << 20)).unwrap());
                } else {
                    black_box(store.get_blocking(digest).unwrap());
                }
            }
        });
    }
    // One in two is absent.
    let asked: Vec<Digest> = all.into_iter().zip(digests(calls, calls, size)).flat_map(<[Digest; 2]>::from).collect();
    if case.ends_with("trait") {
        let sets: Vec<DigestSet> = asked.chunks(1000).map(|batch| batch.iter().cloned().collect()).collect();
        return measured(|| {
            for set in &sets {
                black_box(block_on(store.find_missing(&ctx, set)).unwrap());
            }
        });
    }
    measured(|| {
        for digest in asked.chunks(1) {
            store.find_missing_blocking(digest, |position| _ = black_box(position)).unwrap();
        }
    });
}

fn main() {
    match std::env::args().nth(1).filter(|argument| CASES.contains(&argument.as_str())) {
        Some(case) => run(&case, 20_000),
        None => CASES.iter().for_each(|case| run(case, 1000)),
    }
}
