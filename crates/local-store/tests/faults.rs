//! What fails, and what is damaged: a device that refuses, a bit that flips, a state that is another's.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails is a failed test")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, Kind, PutCertainty,
    PutOutcome, Result,
};
use blobaccess_local_store::{Device, Devices, Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use bytes::Bytes;
use futures::executor::block_on;

use support::{Numbers, rot_younger_superblock};

const CAPACITY: u64 = 4 << 20;

fn options() -> Options {
    Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(2_000)
        .with_namespaces(8)
        .persistent(SyncPolicy::OnClose)
}

/// A device that fails where it is told to.
#[derive(Debug)]
struct Faulty {
    inner: MemoryDevice,
    reads: AtomicBool,
    writes: AtomicBool,
    syncs: AtomicBool,
    /// What it fails with.
    errno: AtomicI32,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Faulty {
    fn new(image: Vec<u8>) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        let inner = MemoryDevice::from_image(image);
        Arc::new(Self { inner, reads: no(), writes: no(), syncs: no(), errno: AtomicI32::new(EIO) })
    }

    fn failing(&self, fails: &AtomicBool) -> io::Result<()> {
        if !fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(self.errno.load(Ordering::Relaxed)))
    }
}

impl Device for Faulty {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.failing(&self.reads)?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.failing(&self.writes) {
            // A short write: a part of it is there.
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.failing(&self.syncs)
    }
}

fn open<K: Kind>(device: Arc<dyn Device>) -> Result<LocalStore<K>> {
    block_on(LocalStore::open_on(options(), device, Environment::default()))
}

fn blob(numbers: &mut Numbers, size: usize) -> (Digest, Bytes) {
    let contents = Bytes::from(numbers.bytes(size));
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

fn put<K: Kind>(store: &LocalStore<K>, digest: &Digest, contents: &Bytes) -> Result<PutOutcome> {
    block_on(store.put(&Context::background(), digest, Blob::from_bytes(contents.clone())))
}

fn get<K: Kind>(store: &LocalStore<K>, digest: &Digest) -> Result<Bytes> {
    block_on(async { store.get(&Context::background(), digest).await?.into_bytes(1 << 30).await })
}

/// A store with some blobs, closed: its device, and the blobs.
fn stored<K: Kind>(sizes: &[usize]) -> (Arc<Faulty>, Vec<(Digest, Bytes)>) {
    let device = Faulty::new(vec![0; usize::try_from(CAPACITY).unwrap()]);
    let store = open::<K>(Arc::<Faulty>::clone(&device)).unwrap();
    let mut numbers = Numbers::new(1);
    let blobs: Vec<_> = sizes.iter().map(|size| blob(&mut numbers, *size)).collect();
    for (digest, contents) in &blobs {
        put(&store, digest, contents).unwrap();
    }
    block_on(store.close()).unwrap();
    (device, blobs)
}

#[test]
fn after_a_failed_write_or_sync_a_store_is_read_and_takes_nothing() {
    for sync in [false, true] {
        let (device, blobs) = stored::<Cas>(&[100, 300_000]);
        let store = open::<Cas>(Arc::<Faulty>::clone(&device)).unwrap();
        let mut numbers = Numbers::new(2);
        let (staged, staged_contents) = blob(&mut numbers, 500);
        put(&store, &staged, &staged_contents).unwrap();
        if sync { &device.syncs } else { &device.writes }.store(true, Ordering::Relaxed);
        let error = block_on(store.sync()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
        device.syncs.store(false, Ordering::Relaxed);
        device.writes.store(false, Ordering::Relaxed);
        assert!(block_on(store.sync()).is_err(), "a sync after a failed one proves nothing");
        let (other, contents) = blob(&mut numbers, 500);
        let error = put(&store, &other, &contents).unwrap_err();
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
        assert_eq!(get(&store, &staged).unwrap(), staged_contents);
        for (digest, contents) in &blobs {
            assert_eq!(get(&store, digest).unwrap(), contents);
        }
        drop(store);
        let store = open::<Cas>(device).unwrap();
        for (digest, contents) in &blobs {
            assert_eq!(get(&store, digest).unwrap(), contents);
        }
        put(&store, &other, &contents).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_unavailable_and_stays() {
    let (device, blobs) = stored::<Cas>(&[100, 1_000, 300_000]);
    let store = open::<Cas>(Arc::<Faulty>::clone(&device)).unwrap();
    device.reads.store(true, Ordering::Relaxed);
    for (digest, _) in &blobs {
        assert_eq!(get(&store, digest).unwrap_err().kind(), ErrorKind::Unavailable);
    }
    device.reads.store(false, Ordering::Relaxed);
    for (digest, contents) in &blobs {
        assert_eq!(get(&store, digest).unwrap(), contents);
    }
}

/// Where a blob lies on the device.
fn place(image: &[u8], contents: &Bytes) -> usize {
    image.windows(contents.len().min(64)).position(|window| contents.starts_with(window)).unwrap()
}

fn a_rotten_blob_goes_alone<K: Kind>() {
    let (device, blobs) = stored::<K>(&[100, 700, 5_000, 300_000, 400]);
    let image = device.inner.image();
    for (rotten, contents) in &blobs {
        let mut damaged = image.clone();
        let last = contents.len() - 1;
        damaged[place(&image, contents) + last] ^= 0x10;
        let device = Faulty::new(damaged);
        let store = open::<K>(Arc::<Faulty>::clone(&device)).unwrap();
        assert_eq!(get(&store, rotten).unwrap_err().kind(), ErrorKind::DataLoss);
        assert_eq!(get(&store, rotten).unwrap_err().kind(), ErrorKind::NotFound);
        for (digest, contents) in blobs.iter().filter(|(digest, _)| digest != rotten) {
            assert_eq!(get(&store, digest).unwrap(), contents);
        }
        assert_eq!(store.snapshot().corrupted, 1);
        // For good: it is not found again, and does not stand in the way of the blob being put again.
        block_on(store.sync()).unwrap();
        drop(store);
        let store = open::<K>(Arc::<Faulty>::clone(&device)).unwrap();
        let asked = DigestSet::from(rotten.clone());
        assert_eq!(block_on(store.find_missing(&Context::background(), &asked)).unwrap(), asked);
        assert!(matches!(put(&store, rotten, contents).unwrap(), PutOutcome::Created { .. }));
        block_on(store.close()).unwrap();
        let store = open::<K>(device).unwrap();
        assert_eq!(get(&store, rotten).unwrap(), contents);
    }
}

#[test]
fn rotten_contents_go_alone() {
    a_rotten_blob_goes_alone::<Cas>();
}

#[test]
fn a_rotten_message_goes_alone() {
    a_rotten_blob_goes_alone::<Ac>();
}

#[test]
fn a_range_is_checked_without_the_rest() {
    let (device, blobs) = stored::<Cas>(&[400_000]);
    let (digest, contents) = &blobs[0];
    let mut image = device.inner.image();
    let begin = place(&image, contents);
    image[begin + 300_000] ^= 1;
    let store = open::<Cas>(Faulty::new(image)).unwrap();
    let ctx = Context::background();
    let range = |from: u64, to: u64| {
        let blob = block_on(store.get(&ctx, digest)).unwrap();
        block_on(futures::TryStreamExt::try_collect::<Vec<_>>(blob.into_stream(from..to).unwrap()))
    };
    assert_eq!(range(1_000, 200_000).unwrap().concat(), contents[1_000..200_000]);
    assert_eq!(range(262_143, 262_145).unwrap_err().kind(), ErrorKind::DataLoss);
    assert_eq!(get(&store, digest).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn no_flipped_bit_anywhere_serves_a_wrong_byte() {
    let (device, blobs) = stored::<Ac>(&[100, 700, 5_000, 9_000]);
    let image = device.inner.image();
    let mut numbers = Numbers::new(support::seed("BLOBACCESS_FAULTS_SEED"));
    let used: Vec<usize> = (0..image.len()).filter(|byte| image[*byte] != 0).collect();
    let mut refused = 0;
    for round in 0..600 {
        let mut damaged = image.clone();
        let byte = if round % 3 == 0 { numbers.below(image.len()) } else { used[numbers.below(used.len())] };
        damaged[byte] ^= 1 << numbers.below(8);
        // One superblock is damaged: the other one is valid, and may know less.
        let Ok(store) = open::<Ac>(Faulty::new(damaged)) else {
            refused += 1;
            continue;
        };
        for (digest, contents) in &blobs {
            match get(&store, digest) {
                Ok(read) => assert_eq!(read, contents),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss), "{error:?}"),
            }
        }
    }
    assert_eq!(refused, 0);
}

#[test]
fn a_state_that_does_not_fit_is_refused_with_what_differs() {
    let (device, blobs) = stored::<Cas>(&[100]);
    let image = device.inner.image();
    let open_with = |options: Options, image: Vec<u8>| {
        block_on(LocalStore::<Cas>::open_on(options, Faulty::new(image), Environment::default()))
    };
    let refused = |options: Options, image: Vec<u8>| {
        let error = open_with(options, image).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        error.to_string()
    };
    assert!(refused(options().with_blocks(1, 5, 1), image.clone()).contains("8 blocks, while the options make it 9"));
    assert!(refused(options().with_entries(5_000), image.clone()).contains("data bytes a block"));
    let volatile =
        Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(2_000).with_namespaces(8);
    assert!(refused(volatile.clone(), image.clone()).contains("persistent"));
    let error = open::<Ac>(Faulty::new(image.clone())).unwrap_err();
    assert!(error.to_string().contains("a store of cas, while one of ac"));
    let mut garbage = image.clone();
    garbage[..200_000].fill(0x55);
    assert!(refused(options(), garbage.clone()).contains("discard"));
    for (options, image) in [(options().with_blocks(1, 5, 1), image.clone()), (volatile, image), (options(), garbage)] {
        let store = open_with(options.discarding(true), image).unwrap();
        assert_eq!(get(&store, &blobs[0].0).unwrap_err().kind(), ErrorKind::NotFound);
        put(&store, &blobs[0].0, &blobs[0].1).unwrap();
    }
}

#[test]
fn discarding_keeps_what_can_be_gone_on_with() {
    let (device, blobs) = stored::<Cas>(&[100]);
    let opened = LocalStore::<Cas>::open_on(options().discarding(true), device, Environment::default());
    assert_eq!(get(&block_on(opened).unwrap(), &blobs[0].0).unwrap(), blobs[0].1);
}

#[tokio::test]
async fn two_stores_do_not_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::in_file(directory.path().join("blocks"), 16 << 20).persistent(SyncPolicy::OnClose);
    let store = LocalStore::<Cas>::open(options.clone()).await.unwrap();
    let error = LocalStore::<Cas>::open(options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("in use"));
    store.close().await.unwrap();
    LocalStore::<Cas>::open(options).await.unwrap();
}

#[test]
fn a_thin_device_that_is_full_late_takes_nothing_more_and_keeps_what_it_had() {
    let (device, blobs) = stored::<Cas>(&[100, 300_000]);
    let store = open::<Cas>(Arc::<Faulty>::clone(&device)).unwrap();
    device.errno.store(ENOSPC, Ordering::Relaxed);
    device.writes.store(true, Ordering::Relaxed);
    let mut numbers = Numbers::new(3);
    let mut refused = None;
    for _ in 0..200 {
        let (digest, contents) = blob(&mut numbers, 50_000);
        refused = put(&store, &digest, &contents).err();
        if refused.is_some() {
            break;
        }
    }
    // Writing lags behind: at the latest, a sync tells.
    let error = refused.unwrap_or_else(|| block_on(store.sync()).unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert!(format!("{error:?}").contains("No space left"), "{error:?}");
    drop(store);
    device.writes.store(false, Ordering::Relaxed);
    let store = open::<Cas>(device).unwrap();
    for (digest, contents) in &blobs {
        assert_eq!(get(&store, digest).unwrap(), contents);
    }
}

#[test]
fn a_message_does_not_come_back_once_what_replaced_it_proved_wrong() {
    let (device, _) = stored::<Ac>(&[]);
    let store = open::<Ac>(Arc::<Faulty>::clone(&device)).unwrap();
    let mut numbers = Numbers::new(4);
    let (digest, first) = blob(&mut numbers, 100);
    let second = Bytes::from(numbers.bytes(100));
    put(&store, &digest, &first).unwrap();
    put(&store, &digest, &second).unwrap();
    block_on(store.close()).unwrap();
    let mut image = device.inner.image();
    let at = place(&image, &second);
    image[at] ^= 1;
    let device = Faulty::new(image);
    let store = open::<Ac>(Arc::<Faulty>::clone(&device)).unwrap();
    assert_eq!(get(&store, &digest).unwrap_err().kind(), ErrorKind::DataLoss);
    block_on(store.close()).unwrap();
    let store = open::<Ac>(device).unwrap();
    assert_eq!(get(&store, &digest).unwrap_err().kind(), ErrorKind::NotFound);
}

/// Blocks, logs and state, each on a device of its own.
#[derive(Clone)]
struct Apart([Vec<u8>; 3]);

fn apart() -> Options {
    options().with_logs_on_device(1 << 20).with_state_on_device()
}

impl Apart {
    fn blank() -> Self {
        Self([4 << 20, 1 << 20, 1 << 16].map(|size| vec![0; size]))
    }

    fn open(&self, options: Options) -> Result<(LocalStore<Cas>, [Arc<MemoryDevice>; 3])> {
        let devices = self.0.clone().map(|image| Arc::new(MemoryDevice::from_image(image)));
        let [blocks, logs, state] = devices.each_ref().map(Arc::<MemoryDevice>::clone);
        let of_store = Devices::new(blocks).with_logs(logs).with_state(state);
        block_on(LocalStore::open_on(options, of_store, Environment::default())).map(|store| (store, devices))
    }

    /// The same after these were put, each with a sync of its own.
    fn with(&self, blobs: &[(Digest, Bytes)]) -> Self {
        let (store, devices) = self.open(apart()).unwrap();
        for (digest, contents) in blobs {
            put(&store, digest, contents).unwrap();
            block_on(store.sync()).unwrap();
        }
        block_on(store.close()).unwrap();
        Self(devices.map(|device| device.image()))
    }

    /// The same with one device as another one has it.
    fn mixed(&self, device: usize, other: &Self) -> Self {
        let mut mixed = self.clone();
        mixed.0[device].clone_from(&other.0[device]);
        mixed
    }
}

#[test]
fn a_state_whose_younger_superblock_rotted_is_not_taken_for_one_from_a_backup() {
    let mut numbers = Numbers::new(6);
    let blobs: Vec<_> = (0..4).map(|_| blob(&mut numbers, 500)).collect();
    let (store, devices) = Apart::blank().open(apart()).unwrap();
    let images = || Apart(devices.each_ref().map(|device| device.image()));
    let [before_both, before, after] = [0, 1, 2].map(|number| {
        put(&store, &blobs[number].0, &blobs[number].1).unwrap();
        block_on(store.sync()).unwrap();
        images()
    });
    // A crash before the superblock of the last sync was written, and the one before that rots.
    let mut rotten = after.mixed(2, &before);
    rot_younger_superblock(&mut rotten.0[2], 0);
    let (store, _) = rotten.open(apart()).unwrap();
    assert_eq!(get(&store, &blobs[0].0).unwrap(), blobs[0].1);
    assert!(get(&store, &blobs[1].0).unwrap_err().is_not_found());
    put(&store, &blobs[3].0, &blobs[3].1).unwrap();
    assert_eq!(get(&store, &blobs[3].0).unwrap(), blobs[3].1);
    // With both superblocks, it is one from a backup.
    let refused = after.mixed(2, &before_both).open(apart()).unwrap_err();
    assert!(refused.to_string().contains("it is an older one"), "{refused}");
}

#[test]
fn devices_of_another_store_or_another_time_are_refused() {
    let mut numbers = Numbers::new(5);
    let blobs: Vec<_> = (0..4).map(|_| blob(&mut numbers, 500)).collect();
    let before = Apart::blank().with(&blobs[..1]);
    let after = before.with(&blobs);
    let (store, _) = after.open(apart()).unwrap();
    for (digest, contents) in &blobs {
        assert_eq!(get(&store, digest).unwrap(), contents);
    }
    let refused = |devices: Apart, why: &str| {
        let error = devices.open(apart()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(error.to_string().contains(why), "{error}");
        let (store, _) = devices.open(apart().discarding(true)).unwrap();
        assert!(get(&store, &blobs[0].0).unwrap_err().is_not_found());
        put(&store, &blobs[0].0, &blobs[0].1).unwrap();
    };
    refused(after.mixed(2, &before), "it is an older one");
    refused(after.mixed(1, &before), "they are older ones");
    refused(after.mixed(0, &before), "they are older ones");
    refused(after.mixed(2, &Apart::blank()), "of a store whose state is not here");
    refused(after.mixed(1, &Apart::blank()), "its logs are not here");
    refused(after.mixed(0, &Apart::blank()), "its blocks are not here");
    let another = Apart::blank().with(&blobs);
    refused(after.mixed(1, &another), "state and logs belong to different stores");
    refused(after.mixed(0, &another), "state and blocks belong to different stores");
    let volatile = Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(2_000);
    let device = Arc::new(MemoryDevice::from_image(after.0[0].clone()));
    let error = block_on(LocalStore::<Cas>::open_on(volatile, device, Environment::default())).unwrap_err();
    assert!(error.to_string().contains("persistent"));
}

#[test]
fn no_flipped_bit_on_any_of_several_devices_serves_a_wrong_byte() {
    let mut numbers = Numbers::new(support::seed("BLOBACCESS_FAULTS_SEED"));
    let blobs: Vec<_> = [100, 700, 5_000].into_iter().map(|size| blob(&mut numbers, size)).collect();
    let whole = Apart::blank().with(&blobs);
    for device in 0..3 {
        let used: Vec<usize> = (0..whole.0[device].len()).filter(|byte| whole.0[device][*byte] != 0).collect();
        for _ in 0..40 {
            let mut damaged = whole.clone();
            damaged.0[device][used[numbers.below(used.len())]] ^= 1 << numbers.below(8);
            let (store, _) = damaged.open(apart()).unwrap();
            for (digest, contents) in &blobs {
                match get(&store, digest) {
                    Ok(read) => assert_eq!(read, contents),
                    Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss)),
                }
            }
        }
    }
}

#[tokio::test]
async fn every_file_of_a_store_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let options = |blocks: &str, logs: &str, state: &str| {
        let state = directory.path().join(state);
        std::fs::create_dir_all(&state).unwrap();
        Options::in_file(directory.path().join(blocks), 16 << 20)
            .with_logs_in(directory.path().join(logs), 4 << 20)
            .with_state_directory(state)
            .persistent(SyncPolicy::OnClose)
    };
    let store = LocalStore::<Cas>::open(options("blocks", "logs", "state")).await.unwrap();
    for others in [("blocks", "logs2", "state2"), ("blocks2", "logs", "state2"), ("blocks2", "logs2", "state")] {
        let (blocks, logs, state) = others;
        let error = LocalStore::<Cas>::open(options(blocks, logs, state)).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
    let contents = Bytes::from_static(b"kept in three files");
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await.unwrap();
    store.close().await.unwrap();
    let store = LocalStore::<Cas>::open(options("blocks", "logs", "state")).await.unwrap();
    let blob = store.get(&Context::background(), &digest).await.unwrap();
    assert_eq!(blob.into_bytes(100).await.unwrap(), contents);
}
