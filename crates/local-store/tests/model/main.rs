//! Random operations on one thread, against a plain map and a model of which block holds what.
//!
//! What must be there is there and reads back, what must be gone is gone; outcomes are exact; groups and free blocks are
//! those of the model; of every recycled block, what was not touched goes, what was found late stays or is counted to
//! the byte, what was merely read comes after that; copies take what puts earned, no more, and nothing that was promised
//! goes while there is enough of that; and the counters add up.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on (30), `BLOBACCESS_MODEL_SEED` repeats a run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a step that fails is a failed test; seeds are printed"
)]

mod checks;
mod composites;
mod operations;
mod rotation;
mod shape;
mod share;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use blobaccess::{Ac, Cas, Clock, Digest, Kind, SystemClock};
use blobaccess_local_store::{LocalStore, MemoryDevice};
use blobaccess_testkit::{Numbers, seed, time_budget};
use bytes::Bytes;

use shape::{Shape, open};
use share::Share;

/// The model's record of a blob.
#[derive(Clone, Debug)]
struct Entry {
    contents: Bytes,
    /// The use of a block that it lies in.
    generation: u64,
    is_found: bool,
    is_read: bool,
    /// The bytes that had been put when the blob was last promised.
    promised_at: Option<u64>,
    /// The blob that this is a part of.
    parent: Option<Digest>,
}

/// The sums that make up the counters of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    evicted: u64,
    evicted_bytes: u64,
    copied: u64,
    copied_bytes: u64,
    breached_bytes: u64,
    recycled_blocks: u64,
}

/// A store, and what it must hold.
struct Model<K: Kind> {
    shape: Shape,
    store: LocalStore<K>,
    device: Option<Arc<MemoryDevice>>,
    numbers: Numbers,
    entries: BTreeMap<Digest, Entry>,
    /// The blobs that were there once and are gone.
    gone: Vec<Digest>,
    /// Oldest first.
    blocks: VecDeque<u64>,
    used: BTreeMap<u64, u64>,
    next_generation: u64,
    put_bytes: u64,
    counts: Counts,
    share: Share,
    recycled: u64,
    copies: u64,
}

fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

impl<K: Kind> Model<K> {
    fn new(shape: Shape, seed: u64) -> Self {
        let device = shape.is_persistent.then(|| Arc::new(MemoryDevice::new(shape.capacity_bytes)));
        let store = open(shape, device.as_ref());
        Self {
            shape,
            share: Share::new(shape, store.sizes()),
            store,
            device,
            numbers: Numbers::new(seed),
            entries: BTreeMap::new(),
            gone: Vec::new(),
            blocks: VecDeque::new(),
            used: BTreeMap::new(),
            next_generation: 1,
            put_bytes: 0,
            counts: Counts::default(),
            recycled: 0,
            copies: 0,
        }
    }
}

fn try_models<K: Kind>(mut also: impl FnMut(&mut Model<K>)) {
    let budget = time_budget() / 2;
    let first = seed("BLOBACCESS_MODEL_SEED");
    let begun = SystemClock.monotonic();
    let (mut models, mut operations, mut recycled, mut copies) = (0, 0, 0, 0);
    while models == 0 || SystemClock.monotonic() - begun < budget {
        let seed = first.wrapping_add(models);
        let shape = Shape::drawn(&mut Numbers::new(!seed));
        println!("BLOBACCESS_MODEL_SEED={seed}: {shape:?}");
        let mut model = Model::<K>::new(shape, seed);
        for _ in 0..3_000 {
            model.operate();
            also(&mut model);
        }
        model.check_all();
        models += 1;
        operations += 3_000;
        recycled += model.recycled;
        copies += model.copies;
    }
    println!("{operations} operations on {models} stores, {recycled} blocks recycled, {copies} copies");
}

#[test]
fn contents_are_where_the_model_has_them() {
    try_models::<Cas>(|model| {
        if model.numbers.below(12) == 0 {
            model.get_from_composite();
        }
    });
}

#[test]
fn messages_are_where_the_model_has_them() {
    try_models::<Ac>(|_| {});
}
