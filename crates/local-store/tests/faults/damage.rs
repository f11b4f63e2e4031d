//! Bits that flip where they lie.

use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Context, Digest, DigestSet, ErrorKind, Kind, PutOutcome};
use blobaccess_local_store::LocalStore;
use blobaccess_testkit::{Numbers, seed};
use bytes::Bytes;
use futures::executor::block_on;

use crate::faulty::Faulty;
use crate::superblocks::SLOT;
use crate::{CAPACITY, blob, get, open, put, stored};

/// Returns the offset of a blob on the device.
pub(crate) fn place(image: &[u8], contents: &Bytes) -> usize {
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

/// Checks that each blob reads as it was put, or not at all.
pub(crate) fn assert_none_is_wrong<K: Kind>(store: &LocalStore<K>, blobs: &[(Digest, Bytes)]) {
    for (digest, contents) in blobs {
        match get(store, digest) {
            Ok(read) => assert_eq!(read, contents),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DataLoss), "{error:?}"),
        }
    }
}

#[test]
fn no_flipped_bit_anywhere_serves_a_wrong_byte() {
    let (device, blobs) = stored::<Ac>(&[100, 700, 5_000, 9_000]);
    let image = device.inner.image();
    let mut numbers = Numbers::new(seed("BLOBACCESS_FAULTS_SEED"));
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
        assert_none_is_wrong(&store, &blobs);
    }
    assert_eq!(refused, 0);
}

#[test]
fn either_superblock_may_rot_once_a_store_was_closed_or_synced_twice() {
    for is_closed in [false, true] {
        let device = Faulty::new(vec![0; usize::try_from(CAPACITY).unwrap()]);
        let store = open::<Cas>(Arc::<Faulty>::clone(&device)).unwrap();
        let mut numbers = Numbers::new(7);
        let blobs: Vec<_> = (0..3).map(|_| blob(&mut numbers, 500)).collect();
        for (digest, contents) in &blobs {
            put(&store, digest, contents).unwrap();
        }
        if is_closed {
            block_on(store.close()).unwrap();
        } else {
            for _ in 0..2 {
                block_on(store.sync()).unwrap();
            }
            drop(store);
        }
        for slot in 0..2 {
            let mut image = device.inner.image();
            image[slot * SLOT + 200] ^= 1;
            let store = open::<Cas>(Faulty::new(image)).unwrap();
            for (digest, contents) in &blobs {
                assert_eq!(get(&store, digest).unwrap(), contents);
            }
        }
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
