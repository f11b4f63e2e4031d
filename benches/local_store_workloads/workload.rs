//! The blobs that are put and asked for.

use std::path::Path;

use blobaccess::{Digest, DigestFunction, InstanceName};
use blobaccess_local_store::{Options, SyncPolicy};
use blobaccess_testkit::Numbers;
use blobaccess_workbench::SizeDistribution;
use blobaccess_workbench::contest::Objects;

/// The seed of everything that is drawn; rounds count on from it.
pub(crate) const SEED: u64 = 1;

/// The number of digests in a query.
pub(crate) const BATCH: usize = 10_000;

/// Returns the options of a persistent store in a file, which is synced on request.
pub(crate) fn in_file(directory: &Path, capacity_bytes: u64) -> Options {
    Options::in_file(directory.join("blocks"), capacity_bytes).with_blocks(4, 16, 1).persistent(SyncPolicy::OnClose)
}

/// Returns the number of slots with which `entries` entries are a load of 0.75.
pub(crate) fn slots(entries: usize) -> u64 {
    u64::try_from(entries).unwrap() * 4 / 3
}

/// Returns random digests.
pub(crate) fn digests(seed: u64, count: usize, size_bytes: u64) -> Vec<Digest> {
    let mut numbers = Numbers::new(seed);
    let mut digest = || {
        let hash = numbers.bytes(32);
        Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size_bytes).unwrap()
    };
    (0..count).map(|_| digest()).collect()
}

pub(crate) fn shuffled<T>(seed: u64, mut items: Vec<T>) -> Vec<T> {
    Numbers::new(seed).shuffle(&mut items);
    items
}

/// The sizes of a build cache, up to 16 MiB: larger blobs would need blocks of gigabytes.
pub(crate) const SIZES: SizeDistribution = SizeDistribution::BUILD_CACHE.with_cap_bytes(16 << 20);

/// Returns objects of mixed sizes under random digests.
pub(crate) fn mixed(seed: u64, count: usize) -> Objects {
    Objects::unverified(seed, &SIZES.sizes(seed, count))
}

/// Returns objects of mixed sizes under their own digests.
pub(crate) fn named(seed: u64, count: usize, function: DigestFunction) -> Objects {
    Objects::verified(seed, &SIZES.sizes(seed, count), function)
}
