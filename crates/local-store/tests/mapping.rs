//! Blocks that are read through a mapping of their file.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use blobaccess::{Cas, Digest, DigestFunction, ErrorKind, InstanceName, StorageType};
use blobaccess_local_store::{Device, Environment, FileDevice, LocalStore, MemoryDevice, Options, Sizes, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

const CAPACITY_BYTES: u64 = 8 << 20;

fn contents(number: usize, size: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(size).collect()
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn shaped(options: Options) -> Options {
    options.with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(4_000).with_mapped_reads(true)
}

fn open(path: &Path) -> LocalStore<Cas> {
    let options = shaped(Options::in_file(path, CAPACITY_BYTES)).persistent(SyncPolicy::OnClose);
    block_on(LocalStore::open(options)).unwrap()
}

/// Returns a store that was opened again, so that all of it is in its file.
fn reopened(path: &Path, stored: &[Vec<u8>]) -> LocalStore<Cas> {
    let store = open(path);
    for contents in stored {
        store.put_blocking(&digest(contents), Bytes::from(contents.clone())).unwrap();
    }
    block_on(store.close()).unwrap();
    open(path)
}

#[test]
fn contents_of_all_sizes_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 7, 100, 4096, 5000, 262_144, 262_145, 700_000];
    let stored: Vec<Vec<u8>> = (0..).zip(sizes).map(|(number, size)| contents(number, size)).collect();
    let store = reopened(&directory.path().join("blocks"), &stored);
    for contents in &stored {
        let digest = digest(contents);
        assert_eq!(store.get_blocking(&digest).unwrap().unwrap(), *contents);
        assert!(store.get_with(&digest, |read| read == contents).unwrap().unwrap());
    }
}

/// Changes one bit of what the file has of `contents`.
fn damage(path: &Path, contents: &[u8], position: usize) {
    let image = std::fs::read(path).unwrap();
    let at = image.windows(contents.len()).position(|window| window == contents).unwrap() + position;
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[image.get(at).unwrap() ^ 4], u64::try_from(at).unwrap()).unwrap();
}

#[test]
fn a_flipped_bit_is_found_and_takes_one_object() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    let stored: Vec<Vec<u8>> = (1..4).map(|number| contents(number, 5000)).collect();
    let store = reopened(&path, &stored);
    let [first, second, third] = stored.as_slice() else { unreachable!() };
    assert!(store.get_with(&digest(second), |_| ()).unwrap().is_some());
    damage(&path, second, 4999);
    let error = store.get_with(&digest(second), |_| panic!("it is wrong")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(store.get_blocking(&digest(second)).unwrap(), None);
    for right in [first, third] {
        assert_eq!(store.get_blocking(&digest(right)).unwrap().unwrap(), *right);
    }
    assert_eq!(store.snapshot().corrupted, 1);
    block_on(store.close()).unwrap();
    assert_eq!(open(&path).get_blocking(&digest(second)).unwrap(), None);
}

/// A device in a file that counts the reads by system calls.
#[derive(Debug)]
struct Counted {
    inner: FileDevice,
    reads: AtomicUsize,
}

impl Device for Counted {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn mappable(&self) -> Option<BorrowedFd<'_>> {
        self.inner.mappable()
    }
}

#[test]
fn contents_are_read_through_the_mapping_alone_and_it_goes_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    let is_mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(&*path.to_string_lossy());
    for mapped in [true, false] {
        let inner = FileDevice::open(&path, CAPACITY_BYTES).unwrap();
        let device = Arc::new(Counted { inner, reads: AtomicUsize::new(0) });
        let options = shaped(Options::on_device(CAPACITY_BYTES)).persistent(SyncPolicy::OnClose);
        let open = || {
            let options = options.clone().with_mapped_reads(mapped);
            let opened = LocalStore::<Cas>::open_on(options, Arc::<Counted>::clone(&device), Environment::default());
            block_on(opened).unwrap()
        };
        let contents = contents(7, 5000);
        let store = open();
        store.put_blocking(&digest(&contents), Bytes::from(contents.clone())).unwrap();
        block_on(store.close()).unwrap();
        let store = open();
        let before = device.reads.load(Ordering::Relaxed);
        assert_eq!(store.get_blocking(&digest(&contents)).unwrap().unwrap(), contents);
        assert_eq!(device.reads.load(Ordering::Relaxed) > before, !mapped);
        assert_eq!(is_mapped(), mapped);
        drop(store);
        assert!(!is_mapped());
    }
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    let refused = |error: blobaccess::Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("mapped_reads"), "{error}");
    };
    refused(Sizes::derive(&shaped(Options::in_memory(CAPACITY_BYTES)), StorageType::Cas).unwrap_err());
    refused(block_on(LocalStore::<Cas>::open(shaped(Options::in_memory(CAPACITY_BYTES)))).unwrap_err());
    let device = Arc::new(MemoryDevice::new(CAPACITY_BYTES));
    let opened = LocalStore::<Cas>::open_on(shaped(Options::on_device(CAPACITY_BYTES)), device, Environment::default());
    refused(block_on(opened).unwrap_err());
}

#[test]
fn a_device_in_a_file_can_be_mapped_also_if_its_writes_are_limited() {
    let directory = tempfile::tempdir().unwrap();
    let device = Arc::new(FileDevice::open(directory.path().join("blocks"), CAPACITY_BYTES).unwrap());
    assert!(device.mappable().is_some());
    let options = shaped(Options::on_device(CAPACITY_BYTES)).with_write_concurrency(1);
    block_on(LocalStore::<Cas>::open_on(options, device, Environment::default())).unwrap();
}

#[test]
fn no_read_gives_bytes_of_the_next_use_of_a_block() {
    const PUTS: usize = 6_000;
    let directory = tempfile::tempdir().unwrap();
    // Nothing is verified twice, so that nothing but the use of a block tells that bytes are of another object.
    let options = shaped(Options::in_file(directory.path().join("blocks"), CAPACITY_BYTES));
    let options = options.with_remembered_verification(Duration::from_hours(1));
    let store = block_on(LocalStore::<Cas>::open(options)).unwrap();
    let digests: Vec<Digest> = (0..PUTS).map(|number| digest(&contents(number, 4096))).collect();
    let (put, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let read = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut step = 1_usize;
            while !is_done.load(Ordering::Relaxed) {
                // From the newest to what is gone: what goes next is among these.
                step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let Some(number) = put.load(Ordering::Relaxed).checked_sub(1 + (step >> 33) % 1_500) else { continue };
                let Some(digest) = digests.get(number) else { continue };
                let is_right = store.get_with(digest, |read| read == contents(number, 4096)).unwrap();
                assert!(is_right.unwrap_or(true), "blob {number} was read wrong");
                read.fetch_add(usize::from(is_right.is_some()), Ordering::Relaxed);
            }
        });
        for (number, digest) in digests.iter().enumerate() {
            store.put_blocking(digest, Bytes::from(contents(number, 4096))).unwrap();
            put.store(number + 1, Ordering::Relaxed);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(store.snapshot().recycled_blocks > 4);
    println!("{PUTS} puts, {} reads", read.load(Ordering::Relaxed));
}

#[test]
fn a_reader_of_excerpts_may_call_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let stored: Vec<Vec<u8>> = (1..3).map(|number| contents(number, 5000)).collect();
    let store = reopened(&directory.path().join("blocks"), &stored);
    let [first, second] = stored.as_slice() else { unreachable!() };
    let fresh = contents(9, 5000);
    let is_right = store.get_with(&digest(first), |outer| {
        store.put_blocking(&digest(&fresh), Bytes::from(fresh.clone())).unwrap();
        store.sync_blocking().unwrap();
        let inner = store.get_with(&digest(second), |inner| inner == second).unwrap().unwrap();
        inner && outer == first && store.get_with(&digest(&fresh), |read| read == fresh).unwrap().unwrap()
    });
    assert!(is_right.unwrap().unwrap());
}
