//! The memory of an object less its contents.

use blobaccess_local_store::Options;
use blobaccess_workbench::local_store::open;
use blobaccess_workbench::{real, resident_bytes};
use bytes::Bytes;

use crate::report::bounded;
use crate::workload::{SEED, digests, slots};

pub(crate) fn run(entries: usize) {
    let stored = digests(SEED, entries, 128);
    let contents = Bytes::from(vec![1; 128]);
    let before = resident_bytes();
    let capacity = (u64::try_from(entries).unwrap() * 200).max(64 << 20);
    let store = open(Options::in_memory(capacity).with_entries(slots(entries)));
    for digest in &stored {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    let grown = resident_bytes().saturating_sub(before);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.records, u64::try_from(entries).unwrap());
    let (records, contents) = (real(snapshot.records), real(snapshot.records * 128));
    println!("load {:.3}: {} records in {} slots", records / real(snapshot.slots), snapshot.records, snapshot.slots);
    bounded("memory of the process besides contents, for each", (real(grown) - contents) / records, "B", 95.0);
    let chunks = real(u64::try_from(snapshot.chunk_memory_bytes).unwrap());
    println!("    of it, what chunks take besides contents: {:.2} B", (chunks - contents) / records);
    println!("{}", store.sizes());
}
