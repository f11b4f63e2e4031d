//! A state that is not what the options make.

use std::sync::Arc;

use blobaccess::{Ac, Cas, ErrorKind};
use blobaccess_local_store::{Environment, LocalStore, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::faulty::Faulty;
use crate::{CAPACITY, blob, get, open, options, put, stored};

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
    let volatile = Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(2_000)
        .with_account_names(8);
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

#[test]
fn a_store_goes_on_under_another_sync_policy() {
    let mut numbers = Numbers::new(11);
    for (before, after) in [(SyncPolicy::OnClose, SyncPolicy::OnPut), (SyncPolicy::OnPut, SyncPolicy::OnClose)] {
        let device = Faulty::new(vec![0; usize::try_from(CAPACITY).unwrap()]);
        let open = |policy: SyncPolicy| {
            let device = Arc::<Faulty>::clone(&device);
            block_on(LocalStore::<Cas>::open_on(options().persistent(policy), device, Environment::default())).unwrap()
        };
        let store = open(before);
        let sizes = *store.sizes();
        let [first, second] = [500, 700].map(|size| blob(&mut numbers, size));
        put(&store, &first.0, &first.1).unwrap();
        block_on(store.close()).unwrap();
        let store = open(after);
        assert_eq!(store.sizes().entries_per_block(), sizes.entries_per_block());
        assert_eq!(get(&store, &first.0).unwrap(), first.1);
        // More of them than the shorter log of a block takes.
        let others: Vec<_> = (0..60).map(|_| blob(&mut numbers, 100)).collect();
        for (digest, contents) in others.iter().chain([&second]) {
            put(&store, digest, contents).unwrap();
        }
        if after == SyncPolicy::OnPut {
            drop(store);
        } else {
            block_on(store.close()).unwrap();
        }
        assert_eq!(get(&open(before), &second.0).unwrap(), second.1);
    }
}

#[test]
fn a_device_that_holds_something_else_is_not_taken_unasked() {
    let size = usize::try_from(CAPACITY).unwrap();
    let volatile = || Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(2_000);
    let open = |options: Options, image: Vec<u8>| {
        let device = Faulty::new(image);
        let opened =
            block_on(LocalStore::<Cas>::open_on(options, Arc::<Faulty>::clone(&device), Environment::default()));
        (opened, device)
    };
    // Partitions, arrays, pools, file systems: each is known by something in the first MiB, or in the last.
    for at in [0, 1080, 4096, 8192, 32_768, 65_600, (1 << 20) - 1, size - (1 << 20), size - 4096, size - 1] {
        let mut image = vec![0; size];
        image[at] = 0x53;
        for options in [options(), volatile()] {
            let (refused, device) = open(options.clone(), image.clone());
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
            assert!(error.to_string().contains("discard"), "{error}");
            assert!(device.inner.image() == image, "what lies at {at} was overwritten");
            assert!(open(options.discarding(true), image.clone()).0.is_ok());
        }
    }
    // A store that starts empty each time finds its own leavings, and one that was not finished is made again.
    let (store, device) = open(volatile(), vec![0; size]);
    let mut numbers = Numbers::new(12);
    let (digest, contents) = blob(&mut numbers, 100_000);
    let store = store.unwrap();
    put(&store, &digest, &contents).unwrap();
    block_on(store.sync()).unwrap();
    drop(store);
    let mut image = device.inner.image();
    image[size - 1] = 1;
    assert!(open(volatile(), image.clone()).0.is_ok());
    assert!(open(options(), image).0.is_ok());
}
