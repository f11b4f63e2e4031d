//! Sectors that a device cannot read, while it reads others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Ac, BlobAccess, Cas, Context, Digest, DigestSet, ErrorKind, Kind, PutOutcome};
use blobaccess_local_store::{Environment, LocalStore};
use blobaccess_testkit::{Numbers, list_all};
use bytes::Bytes;
use futures::executor::block_on;

use crate::damage::place;
use crate::faulty::Faulty;
use crate::superblocks::SLOT;
use crate::{blob, get, open, options, put, stored};

const SECTOR: usize = 4096;

fn sectors_in_use(image: &[u8]) -> Vec<usize> {
    let sectors = image.chunks(SECTOR).enumerate();
    sectors.filter(|(_, sector)| sector.iter().any(|byte| *byte != 0)).map(|(number, _)| number * SECTOR).collect()
}

/// Reads all blobs, and returns those that are gone: `DataLoss` once, absent from then on.
fn gone<'a, K: Kind>(store: &LocalStore<K>, blobs: &'a [(Digest, Bytes)]) -> Vec<&'a (Digest, Bytes)> {
    let mut gone = Vec::new();
    for blob in blobs {
        match get(store, &blob.0) {
            Ok(read) => assert_eq!(read, blob.1),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss), "{error:?}");
                assert!(get(store, &blob.0).unwrap_err().is_not_found());
                let asked = DigestSet::from(blob.0.clone());
                assert_eq!(block_on(store.find_missing(&Context::background(), &asked)).unwrap(), asked);
                gone.push(blob);
            }
        }
    }
    gone
}

fn each_sector_goes_alone<K: Kind>() {
    let (device, blobs) = stored::<K>(&[100, 700, 5_000, 300_000, 400]);
    let image = device.inner.image();
    let lies_in = |sector: usize, contents: &Bytes| {
        let begin = place(&image, contents);
        begin < sector + SECTOR && sector < begin + contents.len() + 64
    };
    let used = sectors_in_use(&image);
    let mut logs = 0;
    for sector in &used {
        let device = Faulty::with_bad_range(image.clone(), *sector..*sector + SECTOR);
        let store = open::<K>(Arc::<Faulty>::clone(&device)).unwrap();
        let gone = gone(&store, &blobs);
        if *sector < 2 * SLOT {
            assert!(gone.is_empty(), "a superblock at {sector} took {} blobs with it", gone.len());
        } else if gone.len() == blobs.len() {
            // All entries are in one sector.
            logs += 1;
        } else {
            for (digest, contents) in &gone {
                assert!(lies_in(*sector, contents), "{digest} does not lie in the sector at {sector}");
            }
        }
        for (digest, contents) in gone {
            assert!(matches!(put(&store, digest, contents).unwrap(), PutOutcome::Created { .. }));
            assert_eq!(get(&store, digest).unwrap(), contents);
        }
        block_on(store.close()).unwrap();
        let store = open::<K>(device).unwrap();
        for (digest, contents) in &blobs {
            assert_eq!(get(&store, digest).unwrap(), contents);
        }
    }
    assert_eq!(logs, 1);
    assert!(used.len() >= 75, "{} sectors are in use", used.len());
}

#[test]
fn a_sector_of_contents_that_cannot_be_read_goes_alone() {
    each_sector_goes_alone::<Cas>();
}

#[test]
fn a_sector_of_messages_that_cannot_be_read_goes_alone() {
    each_sector_goes_alone::<Ac>();
}

#[test]
fn a_message_on_a_sector_that_cannot_be_read_is_replaced() {
    let (device, blobs) = stored::<Ac>(&[300, 5_000]);
    let image = device.inner.image();
    let mut numbers = Numbers::new(8);
    for (digest, contents) in &blobs {
        let begin = place(&image, contents);
        let device = Faulty::with_bad_range(image.clone(), begin..begin + contents.len());
        let store = open::<Ac>(device).unwrap();
        let value = Bytes::from(numbers.bytes(contents.len()));
        put(&store, digest, &value).unwrap();
        assert_eq!(get(&store, digest).unwrap(), value);
    }
}

#[test]
fn a_listing_gets_past_what_cannot_be_read() {
    let (device, blobs) = stored::<Ac>(&[300, 5_000, 400]);
    let image = device.inner.image();
    // Behind its contents there is what says which digest a message is stored under.
    let (hit, contents) = &blobs[1];
    let end = place(&image, contents) + contents.len();
    let store = open::<Ac>(Faulty::with_bad_range(image, end..end + 40)).unwrap();
    let listed = block_on(list_all(&store, &Context::background())).unwrap();
    let listed: DigestSet = listed.iter().map(|entry| entry.digest.clone()).collect();
    let others: DigestSet = blobs.iter().map(|(digest, _)| digest.clone()).filter(|digest| digest != hit).collect();
    assert_eq!(listed, others);
}

#[test]
fn blocks_whose_names_cannot_be_looked_up_are_recycled() {
    let device = Faulty::new(vec![0; 4 << 20]);
    let open = || {
        let options = options().with_hierarchical_instance_names();
        block_on(LocalStore::<Cas>::open_on(options, Arc::<Faulty>::clone(&device), Environment::default())).unwrap()
    };
    let store = open();
    let mut numbers = Numbers::new(9);
    let (hit, contents) = blob(&mut numbers, 20_000);
    put(&store, &hit, &contents).unwrap();
    block_on(store.close()).unwrap();
    let begin = place(&device.inner.image(), &contents);
    device.make_bad(begin..begin + contents.len());
    let store = open();
    // The record of its name stays, and is looked at when its block is recycled.
    assert!(get(&store, &hit).is_err_and(|error| error.kind() == ErrorKind::DataLoss));
    for _ in 0..400 {
        let (digest, contents) = blob(&mut numbers, 20_000);
        put(&store, &digest, &contents).unwrap();
    }
    assert!(store.snapshot().recycled_blocks > 8);
}

#[test]
fn a_device_of_which_nothing_can_be_read_is_not_taken_for_damaged() {
    let (device, blobs) = stored::<Cas>(&[100, 300_000]);
    device.reads.store(true, Ordering::Relaxed);
    let error = open::<Cas>(Arc::<Faulty>::clone(&device)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    device.reads.store(false, Ordering::Relaxed);
    let store = open::<Cas>(device).unwrap();
    assert!(gone(&store, &blobs).is_empty());
}
