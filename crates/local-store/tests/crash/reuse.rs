//! A block is written again only after two superblocks without it are durable: whenever the younger of two superblocks
//! rots, the older one vouches for nothing that has been written over.
//!
//! Copies begin the block that was recycled last, as it is the only one that is free. So it is theirs that come too early.

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_local_store::{Refresh, SyncPolicy};
use blobaccess_testkit::Numbers;
use futures::executor::block_on;

use crate::image::{Crashes, Loss};
use crate::recorder::Recorder;
use crate::setup::Setup;
use crate::superblocks::rot_younger_superblock;

const SETUP: Setup = Setup { policy: SyncPolicy::OnClose, refresh: Refresh::AtRecycling, is_apart: false };

#[test]
fn a_block_is_reused_once_neither_superblock_vouches_for_it() {
    let ctx = Context::background();
    let device = Arc::new(Recorder::new(SETUP.size_bytes()));
    let store = SETUP.open::<Cas>(&device).unwrap();
    let mut numbers = Numbers::new(11);
    let mut blobs: Vec<(Digest, Vec<u8>)> = Vec::new();
    while store.snapshot().recycled_blocks < 10 {
        let contents = numbers.bytes(3_000);
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        block_on(store.put(&ctx, &digest, Blob::from_bytes(contents.clone()))).unwrap();
        blobs.push((digest, contents));
        // So that something is to be copied of every block.
        let some: DigestSet = blobs.iter().step_by(8).map(|(digest, _)| digest.clone()).collect();
        block_on(store.find_missing(&ctx, &some)).unwrap();
    }
    assert!(store.snapshot().copied > 10);
    let steps = device.steps();
    let mut crashes = Crashes::new(vec![0; usize::try_from(SETUP.size_bytes()).unwrap()], steps.clone());
    // The first superblocks make the store.
    let mut images = 0;
    for position in 10..=steps.len() {
        let mut image = crashes.image(position, Loss::Nothing, &mut numbers);
        rot_younger_superblock(&mut image, SETUP.state());
        let store = SETUP.open_image::<Cas>(image).unwrap();
        for (digest, contents) in &blobs {
            match block_on(store.get(&ctx, digest)) {
                Ok(blob) => assert_eq!(block_on(blob.into_bytes(1 << 20)).unwrap(), contents),
                Err(error) => assert!(error.is_not_found(), "after {position} steps: {error:?}"),
            }
        }
        images += 1;
    }
    println!("{images} images");
}
