//! Sees to it that a store takes no device that holds something else.
//!
//! A store that is made claims its device first, by one sector in the first slot for superblocks. That is durable before
//! anything else is written. A device with a claim may be written by a store that is made anew. Any other must be blank where
//! file systems, partitions and arrays have what they are known by.

use std::ops::Range;

use blobaccess::{Error, Result};

use super::disk::Disk;
use crate::device::{LatchedDevice, SECTOR_BYTES};
use crate::machine::casts;
use crate::persistence::claim;

/// The bytes at each end of a device that must be zeros.
const ENDS_BYTES: u64 = 1 << 20;

/// Refuses devices that hold anything but what a store left that was being made.
///
/// # Errors
///
/// `FailedPrecondition` if a device holds something else. `Unavailable` if it cannot be read.
pub(super) fn check(disk: &Disk) -> Result<()> {
    if is_claimed(disk)? {
        return Ok(());
    }
    for (what, device) in disk.all() {
        // The claim itself may be torn. No file system is known by this sector alone.
        let exempt =
            if std::ptr::eq(device, disk.state()) { claim::OFFSET..claim::OFFSET + SECTOR_BYTES } else { 0..0 };
        if !has_blank_ends(device, &exempt)? {
            return Err(Error::failed_precondition(format!(
                "the device of the {what} is not blank, and holds no store: discard what it holds, or open another one"
            )));
        }
    }
    Ok(())
}

/// Claims the devices for a store that is made. It is durable when this returns.
pub(super) fn claim(disk: &Disk) -> Result<()> {
    if is_claimed(disk)? {
        return Ok(());
    }
    disk.state().write_at(claim::OFFSET, &claim::encode())?;
    disk.state().sync()
}

fn is_claimed(disk: &Disk) -> Result<bool> {
    let mut sector = vec![0; casts::in_memory(SECTOR_BYTES)];
    disk.state().read_sectors(claim::OFFSET, &mut sector)?;
    Ok(claim::is_claim(&sector))
}

fn has_blank_ends(device: &LatchedDevice, exempt: &Range<u64>) -> Result<bool> {
    let size_bytes = device.size_bytes();
    let length = size_bytes.min(ENDS_BYTES);
    let zeros = [0; 4096];
    for begin in [0, size_bytes - length] {
        let mut bytes = vec![0; casts::in_memory(length)];
        device.read_sectors(begin, &mut bytes)?;
        let mut at = begin;
        for piece in bytes.chunks(zeros.len()) {
            let end = at + casts::on_device(piece.len());
            let is_exempt = exempt.start < end && at < exempt.end;
            if !is_exempt && zeros.get(..piece.len()) != Some(piece) {
                return Ok(false);
            }
            at = end;
        }
    }
    Ok(true)
}
