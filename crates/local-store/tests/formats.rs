//! A device that an earlier version wrote, whole and damaged, is read as it was meant.
//!
//! `formats/v1/contents.image` holds the blobs of [`blobs`], as version 1 wrote them. To write one of a new version, run
//! `cargo test -p blobaccess-local-store --test formats -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::path::PathBuf;
use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

const CAPACITY: u64 = 3 << 19;

fn options() -> Options {
    Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(900)
        .with_account_names(8)
        .persistent(SyncPolicy::OnClose)
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "formats", "v1", "contents.image"].iter().collect()
}

fn blobs() -> Vec<(Digest, Vec<u8>)> {
    let mut numbers = Numbers::new(1);
    let functions = [DigestFunction::Sha256, DigestFunction::Md5, DigestFunction::Sha512, DigestFunction::Blake3];
    let sizes = [0, 1, 200, 255, 256, 5_000, 60_000];
    let each = sizes.into_iter().zip(functions.into_iter().cycle());
    each.map(|(size, function)| {
        let contents = numbers.bytes(size);
        (Digest::of(InstanceName::empty(), function, &contents), contents)
    })
    .collect()
}

fn open(image: Vec<u8>) -> LocalStore<Cas> {
    let device = Arc::new(MemoryDevice::from_image(image));
    block_on(LocalStore::open_on(options(), device, Environment::default())).unwrap()
}

#[test]
#[ignore = "it writes the file that the others read"]
fn write() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let store = LocalStore::<Cas>::open_on(options(), Arc::<MemoryDevice>::clone(&device), Environment::default());
    let store = block_on(store).unwrap();
    let ctx = Context::background();
    for (digest, contents) in blobs() {
        block_on(store.put(&ctx, &digest, Blob::from_bytes(contents))).unwrap();
    }
    block_on(store.find_missing(&ctx, &DigestSet::from(blobs()[2].0.clone()))).unwrap();
    block_on(store.close()).unwrap();
    std::fs::create_dir_all(path().parent().unwrap()).unwrap();
    std::fs::write(path(), device.image()).unwrap();
}

#[test]
fn a_device_of_version_1_is_read() {
    let store = open(std::fs::read(path()).unwrap());
    for (digest, contents) in blobs() {
        let blob = block_on(store.get(&Context::background(), &digest)).unwrap();
        assert_eq!(block_on(blob.into_bytes(1 << 20)).unwrap(), contents);
    }
}

#[test]
fn a_device_of_version_1_is_read_by_the_document_alone() {
    // What `docs/format.md` says, and nothing of the crate: finds the blob of 200 bytes.
    let image = std::fs::read(path()).unwrap();
    let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(*image[at..].first_chunk().unwrap())).unwrap();
    let u64_at = |at: usize| usize::try_from(u64::from_le_bytes(*image[at..].first_chunk().unwrap())).unwrap();
    let slot_bytes = (160 + 48 * 8 + 24 * 1024 + 96 * 8 + 8_usize).next_multiple_of(4096);
    let slot = if u64_at(32) > u64_at(slot_bytes + 32) { 0 } else { slot_bytes };
    assert_eq!(&image[slot..slot + 8], b"BLOBLOC1");
    let [data_bytes, blocks, log_sectors, touch_sectors] =
        [u64_at(slot + 48), u32_at(slot + 56), u32_at(slot + 60), u32_at(slot + 64)];
    assert_eq!(blocks, 8);
    let block_bytes = 4096 * (log_sectors + touch_sectors) + data_bytes;
    let (digest, contents) = &blobs()[2];
    let mut key = [0; 32];
    for (byte, of_hash) in key.iter_mut().zip(digest.hash_bytes()) {
        *byte = *of_hash;
    }
    let mut found = 0;
    for live in 0..u32_at(slot + 104) {
        let live = slot + 160 + 48 * live;
        let begin = 2 * slot_bytes + u32_at(live) * block_bytes;
        let data = begin + 4096 * (log_sectors + touch_sectors);
        for entry in 0..u32_at(live + 24) * 56 {
            let at = begin + entry / 56 * 4096 + entry % 56 * 72;
            if image[at..at + 32] == key {
                assert_eq!(u64_at(at + 48), contents.len());
                assert_eq!(&image[data + u64_at(at + 40)..][..contents.len()], contents);
                let touches = begin + 4096 * log_sectors + 16;
                assert_eq!(
                    image[touches + entry / 8] >> (entry % 8) & 1,
                    1,
                    "it was found before the store was closed"
                );
                found += 1;
            }
        }
    }
    assert_eq!(found, 1);
}

#[test]
fn a_damaged_device_of_version_1_serves_the_rest() {
    let whole = std::fs::read(path()).unwrap();
    let (digest, contents) = &blobs()[5];
    let place = whole.windows(64).position(|window| window == &contents[..64]).unwrap();
    let mut damaged = whole;
    damaged[place + 4_000] ^= 1;
    let store = open(damaged);
    for (other, contents) in blobs() {
        let read = block_on(async {
            let blob = store.get(&Context::background(), &other).await?;
            blob.into_bytes(1 << 20).await
        });
        assert_eq!(read.ok().map(|read| read == contents), (other != *digest).then_some(true));
    }
}
