//! The whole engine in orders of its threads that are drawn at random, one access after another.
//!
//! Each scenario is run again and again, by a scheduler that picks any thread at each step and by one that lets
//! the same thread run but for a few changes, in its share of `BLOBACCESS_RANDOMISED_SECONDS`. What no thread can go on
//! from is a failure, too. Orders of memory are not tried: that is what the models under loom do.
//!
//! A failure prints its schedule. To run that one alone, on the same code, put it into a file, and name the scenario:
//! `BLOBACCESS_SCHEDULE=file RUSTFLAGS="--cfg shuttle" cargo test -p blobaccess-local-store --lib --release NAME`

mod contents;
mod crashing;
mod disk;
mod listing;
mod messages;
mod parts;
mod quarantine;
mod visibility;

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Digest, DigestFunction, InstanceName, Kind};
use bytes::Bytes;
use futures::executor::block_on;
use shuttle::thread::{self, JoinHandle};

use self::disk::CrashingDisk;
use crate::key_location_map::Record;
use crate::{Device, Environment, LocalStore, Options, SyncPolicy};

/// The number of scenarios that share the time.
const SCENARIOS: u32 = 16;

/// Runs a scenario in one order after another.
fn explore(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    blobaccess_testkit::explore(name, SCENARIOS, scenario);
}

/// Blocks of 64 KiB: one old, one current, one new, two spare.
fn blocks(options: Options) -> Options {
    options.with_blocks(1, 1, 1).with_spare_blocks(2).with_entries(60).with_lanes(2)
}

fn in_memory() -> Options {
    blocks(Options::in_memory(5 << 16))
}

/// Enough for the same blocks with their logs.
const CAPACITY: u64 = 196 << 12;

/// Enough for the same blocks with longer logs.
const ROOMY: u64 = 211 << 12;

fn on_disk() -> Options {
    on_disk_of(CAPACITY)
}

fn on_disk_of(capacity: u64) -> Options {
    blocks(Options::on_device(capacity)).persistent(SyncPolicy::OnClose)
}

fn open_on<K: Kind>(disk: &Arc<CrashingDisk>, options: Options) -> Arc<LocalStore<K>> {
    let disk: Arc<dyn Device> = Arc::<CrashingDisk>::clone(disk);
    Arc::new(block_on(LocalStore::open_on(options, disk, Environment::default())).unwrap())
}

fn open<K: Kind>(options: Options) -> Arc<LocalStore<K>> {
    Arc::new(block_on(LocalStore::open_in(options, Environment::default())).unwrap())
}

/// An object or a message that tells itself from all others. Its digest is not that of its contents: nobody looks.
#[derive(Clone)]
struct Item {
    digest: Digest,
    contents: Bytes,
}

impl Debug for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "item {} of {} bytes", self.digest.hash_bytes()[0], self.contents.len())
    }
}

impl Item {
    fn new(number: u8, size: usize) -> Self {
        let size_bytes = u64::try_from(size).unwrap();
        let digest =
            Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[number; 32], size_bytes).unwrap();
        Self { digest, contents: vec![number; size].into() }
    }

    /// Returns an item that leaves room in a block for little else.
    fn filling(number: u8) -> Self {
        Self::new(100 + number, 50_000)
    }
}

fn put<K: Kind>(store: &LocalStore<K>, item: &Item) {
    store.put_blocking(&item.digest, item.contents.clone()).unwrap();
}

/// Returns whether the item is stored, as a caller is told that relies on it.
fn find<K: Kind>(store: &LocalStore<K>, item: &Item) -> bool {
    let mut is_there = true;
    store.find_missing_blocking(std::slice::from_ref(&item.digest), |_| is_there = false).unwrap();
    is_there
}

/// Returns whether the item is read. If so, it must be what was put.
fn get<K: Kind>(store: &LocalStore<K>, item: &Item) -> bool {
    let contents = store.get_blocking(&item.digest).unwrap();
    assert!(contents.iter().all(|contents| *contents == item.contents), "{item:?} came out wrong");
    contents.is_some()
}

fn spawn<K: Kind, T: Send + 'static>(
    store: &Arc<LocalStore<K>>,
    work: impl FnOnce(&Arc<LocalStore<K>>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let store = Arc::clone(store);
    thread::spawn(move || work(&store))
}

/// Returns the record of an item.
fn record_of<K: Kind>(store: &LocalStore<K>, item: &Item) -> Option<Record> {
    store.engine.peek(&store.engine.keys.key(&item.digest))
}

/// Quarantines an item, as a reader does that finds it wrong.
fn quarantine<K: Kind>(store: &LocalStore<K>, item: &Item) {
    if let Some(record) = record_of(store, item) {
        store.engine.quarantine(&record, "failed verification");
    }
}

/// Returns a store with these items in its oldest block, which is recycled next: the next filling item needs its space.
fn with_in_oldest<K: Kind>(store: &Arc<LocalStore<K>>, items: &[&Item]) {
    for item in items {
        put(store, item);
    }
    for number in 0..4 {
        put(store, &Item::filling(number));
    }
    assert!(store.engine.needs_recycling());
    for item in items {
        assert_eq!(store.block_of(&item.digest), Some(0));
    }
}
