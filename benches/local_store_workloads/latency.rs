//! Gets of stored blobs while another thread puts so much that blocks are recycled and blobs in use are copied.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use blobaccess::Digest;
use blobaccess_local_store::Options;
use blobaccess_workbench::contest::{Done, Measurement, measure};
use blobaccess_workbench::local_store::open;
use blobaccess_workbench::{load_average, real};
use bytes::Bytes;

use crate::report::bounded;
use crate::workload::{BATCH, SEED, digests, shuffled};

fn print(what: &str, measured: &Measurement) {
    let [p50, p99, p999] = measured.percentiles;
    println!("{what:64} p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns");
}

pub(crate) fn run(count: usize) {
    // Up to 65,536 objects.
    let store = open(Options::in_memory(256 << 20).with_blocks(4, 16, 1).with_entries(100_000));
    let contents = Bytes::from(vec![1; 4096]);
    // The store is full then, and each block that is needed from here on must be recycled.
    for digest in (2_000..).flat_map(|seed| digests(seed, BATCH / 10, 4096)) {
        store.put_blocking(&digest, contents.clone()).unwrap();
        if store.snapshot().recycled_blocks > 0 {
            break;
        }
    }
    let kept = digests(SEED, count, 4096);
    // A quarter of each block, as copies have a share only.
    for (digest, others) in kept.iter().zip(digests(SEED + 1, 3 * count, 4096).chunks(3)) {
        for digest in [digest].into_iter().chain(others) {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
    }
    let wanted: Vec<&Digest> = (0..100).flat_map(|round| shuffled(round, kept.iter().collect())).collect();
    let get = |digest: &&Digest| {
        let is_there = black_box(store.get_blocking(digest).unwrap()).is_some();
        Done { units: usize::from(is_there), bytes: 4096 }
    };
    let quiet = measure(1, &wanted, get, || ());
    print("get 4 KiB, nothing else", &quiet);
    let before = store.snapshot();
    let is_done = AtomicBool::new(false);
    let (mut puts, mut refused) = (0_u64, 0_u64);
    let busy = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut puts, mut refused) = (0, 0);
            for seed in 1_000.. {
                for digest in digests(seed, BATCH / 10, 4096) {
                    if is_done.load(Ordering::Relaxed) {
                        return (puts, refused);
                    }
                    store.put_blocking(&digest, contents.clone()).unwrap();
                    puts += 1;
                }
                // What somebody was told is there is copied when its block goes. That may be refused where puts have
                // taken all space.
                refused += u64::from(store.find_missing_blocking(&kept, |_| ()).is_err());
            }
            (puts, refused)
        });
        let busy = measure(1, &wanted, get, || ());
        is_done.store(true, Ordering::Relaxed);
        (puts, refused) = writer.join().unwrap();
        busy
    });
    let after = store.snapshot();
    print("while another thread puts", &busy);
    println!(
        "    meanwhile: {puts} puts, {} blocks recycled, {} objects copied, {:.1} % of gets found nothing, {refused} finds \
         refused",
        after.recycled_blocks - before.recycled_blocks,
        after.copied - before.copied,
        100.0 - 100.0 * real(busy.units) / real(busy.calls)
    );
    let [.., quiet] = quiet.percentiles;
    let [.., busy] = busy.percentiles;
    bounded("    p99.9, times as long", real(busy) / real(quiet.max(1)), "", 5.0);
    println!("    load {:.2}; the goal is for a machine with a processor for each of the two", load_average());
}
