//! Reads of 4 KiB from a warm file, beside bare positioned reads of the same file: each line ends with that ratio.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use blobaccess::{Cas, Digest};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;

use super::{Numbers, digest, timed};

/// Ours and the bare reads take turns, and the best of these counts: others share the machine.
const ROUNDS: usize = 15;

/// The size of each blob, in bytes.
const SIZE: usize = 4096;

/// A store in a warm file that lies beside nothing else in its directory.
struct Warm {
    store: LocalStore<Cas>,
    stored: Vec<Digest>,
    file: File,
    _directory: tempfile::TempDir,
}

impl Warm {
    fn new(count: u64, shape: impl FnOnce(Options) -> Options) -> Self {
        let directory = std::env::var("BLOBACCESS_BENCH_DIRECTORY").unwrap_or("/var/tmp".to_owned());
        let directory = tempfile::tempdir_in(directory).unwrap();
        let path = directory.path().join("blocks");
        let options = Options::in_file(&path, (count * 8192).max(512 << 20)).persistent(SyncPolicy::OnClose);
        let store = futures::executor::block_on(LocalStore::<Cas>::open(shape(options))).unwrap();
        let mut numbers = Numbers(11);
        let contents = Bytes::from(vec![1; SIZE]);
        let mut stored: Vec<Digest> = (0..count).map(|_| digest(&mut numbers, 4096)).collect();
        for digest in &stored {
            store.put_blocking(digest, contents.clone()).unwrap();
        }
        store.sync_blocking().unwrap();
        for position in (1..stored.len()).rev() {
            stored.swap(position, usize::try_from(numbers.next()).unwrap() % (position + 1));
        }
        let file = File::open(&path).unwrap();
        Self { store, stored, file, _directory: directory }
    }

    /// Times a read of each blob beside bare reads as many.
    fn compare(&self, what: &str, mut read: impl FnMut(&LocalStore<Cas>, &Digest)) {
        let mut numbers = Numbers(12);
        let mut buffer = vec![0; SIZE];
        let count = u64::try_from(self.stored.len()).unwrap();
        let offsets: Vec<u64> = (0..count).map(|_| (1 << 20) + numbers.next() % count * 4160).collect();
        let (mut bare, mut ours) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            bare = bare.min(timed(|| {
                for offset in &offsets {
                    self.file.read_exact_at(&mut buffer, *offset).unwrap();
                }
            }));
            ours = ours.min(timed(|| {
                for digest in &self.stored {
                    read(&self.store, digest);
                }
            }));
        }
        line(what, bare, ours, count);
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for print")]
fn line(what: &str, bare: Duration, ours: Duration, count: u64) {
    let each = |took: Duration| took.as_nanos() as f64 / count as f64;
    let ratio = bare.as_nanos() as f64 / ours.as_nanos() as f64;
    println!("{what:48} {:7.0} ns, a bare read {:7.0} ns: {ratio:5.2}", each(ours), each(bare));
}

fn get(store: &LocalStore<Cas>, digest: &Digest) {
    black_box(store.get_blocking(digest).unwrap().unwrap().first());
}

fn get_with(store: &LocalStore<Cas>, digest: &Digest) {
    black_box(store.get_with(digest, |contents| contents.first().copied()).unwrap().unwrap());
}

/// Compares all ways to read.
pub(super) fn all(is_test: bool) {
    let count = if is_test { 100 } else { 20_000 };
    for is_mapped in [false, true] {
        for is_remembered in [false, true] {
            let warm = Warm::new(count, |options| {
                let options = options.with_mapped_reads(is_mapped);
                if is_remembered { options.with_remembered_verification(Duration::from_hours(1)) } else { options }
            });
            let how = [if is_mapped { ", mapped" } else { "" }, if is_remembered { ", verified lately" } else { "" }];
            warm.compare(&format!("get 4 KiB, warm file{}", how.concat()), get);
            warm.compare(&format!("get_with 4 KiB, warm file{}", how.concat()), get_with);
        }
    }
}
