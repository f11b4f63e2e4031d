//! Opening a file after a crash.

use std::time::Duration;

use blobaccess_workbench::limits::Lines;
use blobaccess_workbench::local_store::open;
use blobaccess_workbench::{processor_time, real, resident_bytes, temporary_directory};
use bytes::Bytes;

use crate::report::{bounded, elapsed, timed};
use crate::workload::{SEED, digests, in_file, slots};

pub(crate) fn run(entries: usize) {
    let directory = temporary_directory();
    let capacity = (u64::try_from(entries).unwrap() * 400).max(64 << 20);
    let options = || in_file(directory.path(), capacity).with_entries(slots(entries));
    let store = open(options());
    let contents = Bytes::from(vec![1; 16]);
    for digest in digests(SEED, entries, 16) {
        store.put_blocking(&digest, contents.clone()).unwrap();
    }
    store.sync_blocking().unwrap();
    let records = store.snapshot().records;
    // Not closed: what it would write then is missing.
    drop(store);
    let (mut store, mut processor) = (None, Duration::ZERO);
    let (before, used) = (resident_bytes(), processor_time());
    let clock = elapsed(|| {
        store = Some(open(options()));
        processor = processor_time().saturating_sub(used);
    });
    let touched = resident_bytes().saturating_sub(before);
    assert_eq!(store.map(|store| store.snapshot().records), Some(records));
    let touch = timed(|| drop(Lines::new(usize::try_from(touched / 64).unwrap())));
    let net = processor.saturating_sub(touch).as_secs_f64();
    println!("open after a crash, {records} entries: {clock:.2?} by the clock, {processor:.2?} of all processors");
    println!("    of it, to touch {touched} B of memory for the first time: {touch:.2?}");
    let millions = real(records) / 1e6;
    bounded("    besides, for ten million entries at that pace", net * 10.0 / millions, "s", 3.0);
}
