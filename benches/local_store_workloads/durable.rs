//! Puts into a file, including the sync, compared with bare writes.

use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Context};
use blobaccess_workbench::limits::ScratchFile;
use blobaccess_workbench::local_store::{open, put_all};
use blobaccess_workbench::{is_test_run, load_average, processor_time, real, temporary_directory, written_bytes};
use futures::executor::block_on;

use crate::report::{Speed, elapsed, share, speed};
use crate::workload::{SEED, SIZES, in_file, mixed};

const ROUNDS: u64 = 4;

pub(crate) fn run(count: usize) {
    println!("sizes: {SIZES}");
    let directory = temporary_directory();
    let capacity: u64 = if is_test_run() { 1 << 28 } else { 2 << 30 };
    let store = open(in_file(directory.path(), capacity).with_entries(200_000));
    let bytes = mixed(SEED, count).bytes();
    // So that all of the file has been written once.
    for filling in 0..if is_test_run() { 1 } else { capacity.div_ceil(bytes) + 1 } {
        put_all(&store, &mixed(100 + filling, count));
    }
    store.sync_blocking().unwrap();
    let mut file = ScratchFile::create(&directory.path().join("bare"), 2 * bytes).unwrap();
    let ctx = Context::background();
    let [mut ours, mut by_trait, mut bare, mut processor] = [Duration::MAX; 4];
    let mut written = 0;
    for round in 0..ROUNDS {
        let objects = mixed(1_000 + round, count);
        let (before, used) = (written_bytes(), processor_time());
        ours = ours.min(elapsed(|| {
            put_all(&store, &objects);
            store.sync_blocking().unwrap();
        }));
        processor = processor.min(processor_time().saturating_sub(used));
        written = written_bytes() - before;
        let objects = mixed(2_000 + round, count);
        by_trait = by_trait.min(elapsed(|| {
            for (digest, contents) in objects.items() {
                let blob = Blob::from_verified_bytes(digest, contents.clone());
                block_on(store.put(&ctx, digest, blob)).unwrap();
            }
            store.sync_blocking().unwrap();
        }));
        bare = bare.min(elapsed(|| file.write_and_sync(bytes).unwrap()));
    }
    let speeds = [ours, by_trait, bare].map(|took| Speed::of_bytes(bytes, took));
    speed("put, no hash, in a file, until synced, by the clock", speeds[0], None);
    share("bare writes of 1 MiB and a sync", speeds[2], speeds[0], Some(0.85));
    speed("the same by the trait", speeds[1], None);
    speed("processor time of a put, of all threads", Speed::of_calls(count, processor), None);
    println!("bytes written for each byte stored: {:.3}; load {:.2}", real(written) / real(bytes), load_average());
}
