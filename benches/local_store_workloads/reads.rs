//! Reads of 4 KiB from a cached file, compared with bare positioned reads of the same file.

use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use blobaccess::{BlobAccess, Context};
use blobaccess_testkit::Numbers;
use blobaccess_workbench::local_store::open;
use blobaccess_workbench::temporary_directory;
use bytes::Bytes;
use futures::executor::block_on;

use crate::report::{Speed, best, share, speed, timed};
use crate::workload::{SEED, digests, in_file, shuffled};

pub(crate) fn run(count: usize) {
    for is_mapped in [false, true] {
        for is_remembered in [false, true] {
            one(count, is_mapped, is_remembered);
        }
    }
}

fn one(count: usize, is_mapped: bool, is_remembered: bool) {
    let directory = temporary_directory();
    let entries = u64::try_from(count).unwrap();
    let mut options = in_file(directory.path(), (entries * 8192).max(512 << 20));
    options = options.with_mapped_reads(is_mapped);
    if is_remembered {
        options = options.with_remembered_verification(Duration::from_hours(1));
    }
    let store = open(options);
    let contents = Bytes::from(vec![1; 4096]);
    let stored = digests(SEED, count, 4096);
    for digest in &stored {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    store.sync_blocking().unwrap();
    let wanted = shuffled(SEED, stored);
    let file = std::fs::File::open(directory.path().join("blocks")).unwrap();
    let mut buffer = vec![0; 4096];
    let mut numbers = Numbers::new(SEED);
    let offsets: Vec<u64> = (0..count).map(|_| (1 << 20) + numbers.draw() % entries * 4160).collect();
    let bare = best(|_| {
        timed(|| {
            for offset in &offsets {
                file.read_exact_at(&mut buffer, *offset).unwrap();
            }
        })
    });
    let ours = best(|_| {
        timed(|| {
            for digest in &wanted {
                black_box(store.get_blocking(digest).unwrap().unwrap().first());
            }
        })
    });
    let lent = best(|_| {
        timed(|| {
            for digest in &wanted {
                black_box(store.get_with(digest, |contents| contents.first().copied()).unwrap().unwrap());
            }
        })
    });
    let ctx = Context::background();
    let by_trait = best(|_| {
        timed(|| {
            for digest in &wanted {
                let blob = block_on(store.get(&ctx, digest)).unwrap();
                black_box(block_on(blob.into_bytes(1 << 20)).unwrap().first());
            }
        })
    });
    let verified = if is_remembered { "verified lately" } else { "verified each time" };
    let how = if is_mapped { format!("{verified}, mapped") } else { verified.to_owned() };
    let (bare, ours) = (Speed::of_calls(count, bare), Speed::of_calls(count, ours));
    speed(&format!("get 4 KiB, warm file, {how}"), ours, None);
    share("a bare positioned read", bare, ours, Some(0.8).filter(|_| is_remembered));
    speed("the same, lent to a closure", Speed::of_calls(count, lent), None);
    speed("the same by the trait, into bytes", Speed::of_calls(count, by_trait), None);
}
