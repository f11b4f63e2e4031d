//! Failures and damage: a device that refuses, a bit that flips, a state that is another's.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a step that fails is a failed test")]

mod apart;
mod damage;
mod failing;
#[path = "../support/faulty.rs"]
mod faulty;
mod files;
mod states;
#[path = "../support/superblocks.rs"]
mod superblocks;
mod unreadable;

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName, Kind, PutOutcome, Result};
use blobaccess_local_store::{Device, Environment, LocalStore, Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use bytes::Bytes;
use futures::executor::block_on;

use faulty::Faulty;

const CAPACITY: u64 = 4 << 20;

fn options() -> Options {
    Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(2_000)
        .with_account_names(8)
        .persistent(SyncPolicy::OnClose)
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

/// Returns the device of a store with some blobs that was closed, and the blobs.
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
