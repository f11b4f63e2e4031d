//! The space of a local store: how large its blocks and its logs become.

use std::time::Duration;

use blobaccess::{Result, StorageType};
use blobaccess_local_store::{Options, Sizes, SyncPolicy};

use super::rotation::Rotation;

/// The least size of a block without its log, in bytes.
const MIN_BLOCK_BYTES: u64 = 64 << 10;

/// Room for what the device of the blocks holds besides, in bytes: two superblocks of 100 blocks take less.
const HEAD_BYTES: u64 = 256 << 10;

/// The size from which blocks in memory are made of chunks of 1 MiB, in bytes.
const LARGE_BLOCK_BYTES: u64 = 16 << 20;

/// The bytes of an object besides its contents, at most.
const MAX_TAIL_BYTES: u64 = 4096;

/// Returns the capacity of a store in memory whose blocks take objects of `block_bytes`. `None` if there is no such
/// number.
pub(super) fn capacity_in_memory(block_bytes: u64, rotation: Rotation) -> Option<u64> {
    let wanted = block_bytes.checked_add(MAX_TAIL_BYTES)?.max(MIN_BLOCK_BYTES);
    let unit = if wanted >= LARGE_BLOCK_BYTES { 1 << 20 } else { MIN_BLOCK_BYTES };
    wanted.checked_next_multiple_of(unit)?.checked_mul(rotation.total())
}

/// Returns the least capacity of a device with these blocks, of which `logs_bytes` are for logs.
pub(super) fn least_capacity(rotation: Rotation, logs_bytes: u64) -> u64 {
    (MIN_BLOCK_BYTES * rotation.total()).saturating_add(logs_bytes).saturating_add(HEAD_BYTES)
}

/// Returns the bytes that the logs of a store with these blocks and slots take, which is kept.
///
/// # Errors
///
/// As those of [`Sizes::derive`].
pub(super) fn logs_bytes(rotation: Rotation, slots: u64, kind: StorageType) -> Result<u64> {
    // They depend on the number of blocks, not on their size, and not on how long the interval is.
    let probe = Options::on_device(rotation.total() << 30)
        .with_blocks(rotation.old, rotation.current, rotation.new)
        .with_spare_blocks(rotation.spare)
        .with_entries(slots)
        .persistent(SyncPolicy::Interval(Duration::from_secs(1)));
    Sizes::derive(&probe, kind).map(|sizes| sizes.logs_bytes())
}
