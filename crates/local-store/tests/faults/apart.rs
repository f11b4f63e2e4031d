//! Blocks, logs and state on devices of their own, one of which is of another store or another time, or is damaged.

use std::sync::Arc;

use blobaccess::{Cas, Digest, ErrorKind, Result};
use blobaccess_local_store::{Devices, Environment, LocalStore, MemoryDevice, Options};
use blobaccess_testkit::{Numbers, seed};
use bytes::Bytes;
use futures::executor::block_on;

use crate::damage::assert_none_is_wrong;
use crate::superblocks::rot_younger_superblock;
use crate::{CAPACITY, blob, get, options, put};

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

    /// Returns the same after these puts, each with a sync of its own.
    fn with(&self, blobs: &[(Digest, Bytes)]) -> Self {
        let (store, devices) = self.open(apart()).unwrap();
        for (digest, contents) in blobs {
            put(&store, digest, contents).unwrap();
            block_on(store.sync()).unwrap();
        }
        block_on(store.close()).unwrap();
        Self(devices.map(|device| device.image()))
    }

    /// Returns the same with one device replaced by that of another store.
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
    let mut numbers = Numbers::new(seed("BLOBACCESS_FAULTS_SEED"));
    let blobs: Vec<_> = [100, 700, 5_000].into_iter().map(|size| blob(&mut numbers, size)).collect();
    let whole = Apart::blank().with(&blobs);
    for device in 0..3 {
        let used: Vec<usize> = (0..whole.0[device].len()).filter(|byte| whole.0[device][*byte] != 0).collect();
        for _ in 0..40 {
            let mut damaged = whole.clone();
            damaged.0[device][used[numbers.below(used.len())]] ^= 1 << numbers.below(8);
            let (store, _) = damaged.open(apart()).unwrap();
            assert_none_is_wrong(&store, &blobs);
        }
    }
}
