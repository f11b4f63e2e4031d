//! Where contents on a device are read, and when they are verified.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_local_store::{Device, Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::ManualClock;
use futures::StreamExt as _;
use futures::executor::block_on;

/// A device that tells who reads it how.
#[derive(Debug)]
struct Watched {
    inner: MemoryDevice,
    answers_at_once: AtomicBool,
    bytes_at_once: AtomicUsize,
    waited: Mutex<Vec<ThreadId>>,
}

impl Watched {
    fn bytes_at_once(&self) -> usize {
        self.bytes_at_once.swap(0, Ordering::Relaxed)
    }

    fn waited(&self) -> Vec<ThreadId> {
        std::mem::take(&mut *self.waited.lock().unwrap())
    }
}

impl Device for Watched {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.waited.lock().unwrap().push(std::thread::current().id());
        self.inner.read_at(offset, buffer)
    }

    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let answers = self.answers_at_once.load(Ordering::Relaxed);
        if answers {
            self.bytes_at_once.fetch_add(buffer.len(), Ordering::Relaxed);
            self.inner.read_at(offset, buffer)?;
        }
        Ok(answers)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

fn contents(size: usize) -> Vec<u8> {
    (0..size).map(|position| u8::try_from(position * 31 % 251).unwrap()).collect()
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn options() -> Options {
    Options::on_device(16 << 20).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(2_000)
}

/// Returns a store that was opened again, so that all of it is on its device.
fn reopened(options: &Options, stored: &[&[u8]]) -> (Arc<Watched>, Arc<ManualClock>, LocalStore<Cas>) {
    let device = Arc::new(Watched {
        inner: MemoryDevice::new(16 << 20),
        answers_at_once: AtomicBool::new(true),
        bytes_at_once: AtomicUsize::new(0),
        waited: Mutex::default(),
    });
    let clock = Arc::new(ManualClock::new());
    let open = || {
        let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(&clock));
        let options = options.clone().persistent(SyncPolicy::OnClose);
        block_on(LocalStore::<Cas>::open_on(options, Arc::<Watched>::clone(&device), environment)).unwrap()
    };
    let store = open();
    for contents in stored {
        let blob = Blob::from_bytes(contents.to_vec());
        block_on(store.put(&Context::background(), &digest(contents), blob)).unwrap();
    }
    block_on(store.close()).unwrap();
    let store = open();
    device.waited();
    (device, clock, store)
}

async fn read(store: &LocalStore<Cas>, contents: &[u8]) -> blobaccess::Result<bytes::Bytes> {
    store.get(&Context::background(), &digest(contents)).await?.into_bytes(u64::MAX).await
}

#[tokio::test]
async fn what_is_cached_is_answered_here_and_the_rest_read_elsewhere() {
    let (small, large) = (contents(4096), contents(600_000));
    let blobs = [small.as_slice(), large.as_slice()];
    let (device, _, store) = tokio::task::spawn_blocking({
        let (small, large) = (small.clone(), large.clone());
        move || reopened(&options(), &[&small, &large])
    })
    .await
    .unwrap();
    for blob in blobs {
        assert_eq!(read(&store, blob).await.unwrap(), blob);
        assert!(device.bytes_at_once() >= blob.len());
        assert!(device.waited().is_empty());
    }
    device.answers_at_once.store(false, Ordering::Relaxed);
    let here = std::thread::current().id();
    for blob in blobs {
        assert_eq!(read(&store, blob).await.unwrap(), blob);
        let waited = device.waited();
        assert!(!waited.is_empty() && !waited.contains(&here));
    }
}

/// Changes the byte of `contents` at `position`, wherever they lie.
fn damage(device: &Watched, contents: &[u8], position: usize) {
    let mut image = device.inner.image();
    let at = image.windows(64).position(|window| Some(window) == contents.get(..64)).unwrap() + position;
    let byte = image.get_mut(at).unwrap();
    *byte ^= 1;
    device.inner.write_at(u64::try_from(at).unwrap(), &[*byte]).unwrap();
}

#[test]
fn what_was_verified_lately_is_verified_again_once_the_time_is_over() {
    let blob = contents(4096);
    let (device, clock, store) = reopened(&options().with_remembered_verification(Duration::from_secs(10)), &[&blob]);
    block_on(async {
        assert_eq!(read(&store, &blob).await.unwrap(), blob);
        damage(&device, &blob, 100);
        clock.advance(Duration::from_secs(9));
        assert_ne!(read(&store, &blob).await.unwrap(), blob);
        clock.advance(Duration::from_secs(1));
        assert_eq!(read(&store, &blob).await.unwrap_err().kind(), ErrorKind::DataLoss);
        assert_eq!(read(&store, &blob).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn every_read_verifies_unless_that_is_to_be_remembered() {
    let blob = contents(4096);
    let (device, _, store) = reopened(&options(), &[&blob]);
    block_on(async {
        assert_eq!(read(&store, &blob).await.unwrap(), blob);
        damage(&device, &blob, 100);
        assert_eq!(read(&store, &blob).await.unwrap_err().kind(), ErrorKind::DataLoss);
    });
}

#[test]
fn of_a_range_of_verified_pieces_nothing_else_is_read() {
    let blob = contents(600_000);
    let (device, _, store) = reopened(&options().with_remembered_verification(Duration::from_secs(10)), &[&blob]);
    let range = |from: u64, to: u64| {
        let got = block_on(store.get(&Context::background(), &digest(&blob))).unwrap();
        let mut stream = got.into_stream(from..to).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = block_on(stream.next()) {
            all.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(Some(all.as_slice()), blob.get(usize::try_from(from).unwrap()..usize::try_from(to).unwrap()));
        device.bytes_at_once()
    };
    // The piece, and the checksums of three pieces and of these.
    assert_eq!(range(300_000, 300_100), (256 << 10) + 32);
    assert_eq!(range(300_000, 300_100), 100);
    // The first piece is not verified yet.
    assert_eq!(range(100, 200), (256 << 10) + 32);
}

#[test]
fn the_trailer_of_a_large_blob_is_read_once_for_all_of_its_pieces() {
    let blob = contents(2_000_000);
    let options = Options::on_device(16 << 20).with_blocks(1, 2, 1).with_spare_blocks(2).with_entries(2_000);
    let (device, _, store) = reopened(&options, &[&blob]);
    device.bytes_at_once();
    block_on(async { assert_eq!(read(&store, &blob).await.unwrap(), blob) });
    // Eight pieces have a checksum each, and these have one.
    assert_eq!(device.bytes_at_once(), blob.len() + 9 * 8);
}
