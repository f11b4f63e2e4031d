//! The unit in which a device is written.

/// The unit in which a device is written, in bytes.
pub(crate) const SECTOR_BYTES: u64 = 4096;
