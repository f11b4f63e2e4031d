//! A device that refuses reads, writes or syncs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Cas, ErrorKind, PutCertainty};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::faulty::{ENOSPC, Faulty};
use crate::{blob, get, open, put, stored};

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
