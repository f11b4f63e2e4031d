//! Where on which device everything lies.

use crate::device::SECTOR_BYTES;
use crate::persistence::label::LABELS_BYTES;
use crate::sizes::Sizes;

/// Where everything lies: the sizes of what lies there, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    superblock: u64,
    log: u64,
    touches: u64,
    data: u64,
    has_own_logs: bool,
    has_own_state: bool,
}

impl Layout {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        Self {
            superblock: sizes.superblock_bytes,
            log: u64::from(sizes.log_sectors) * SECTOR_BYTES,
            touches: u64::from(sizes.touch_sectors) * SECTOR_BYTES,
            data: sizes.data_bytes,
            has_own_logs: sizes.has_own_logs,
            has_own_state: sizes.has_own_state,
        }
    }

    /// Returns the offset on the device of the state.
    pub(crate) fn superblock(&self, slot: u64) -> u64 {
        slot * self.superblock
    }

    /// Returns the offset on the device of the blocks.
    fn block(&self, block: u16) -> u64 {
        let head = if self.has_own_state { LABELS_BYTES } else { 2 * self.superblock };
        let logs = if self.has_own_logs { 0 } else { self.log + self.touches };
        head + u64::from(block) * (logs + self.data)
    }

    /// Returns the offset on the device of the logs.
    pub(crate) fn log(&self, block: u16) -> u64 {
        if self.has_own_logs { LABELS_BYTES + u64::from(block) * (self.log + self.touches) } else { self.block(block) }
    }

    /// Returns the offset on the device of the logs.
    pub(crate) fn touches(&self, block: u16) -> u64 {
        self.log(block) + self.log
    }

    /// Returns the offset on the device of the blocks.
    pub(crate) fn data(&self, block: u16) -> u64 {
        let logs = if self.has_own_logs { 0 } else { self.log + self.touches };
        self.block(block) + logs
    }
}
