//! Where on the device everything lies.

use crate::sizes::{SECTOR_BYTES, Sizes};

/// Where on the device everything lies: the sizes of what lies there, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    superblock: u64,
    log: u64,
    touches: u64,
    data: u64,
}

impl Layout {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        Self {
            superblock: sizes.superblock_bytes,
            log: u64::from(sizes.log_sectors) * SECTOR_BYTES,
            touches: u64::from(sizes.touch_sectors) * SECTOR_BYTES,
            data: sizes.data_bytes,
        }
    }

    pub(crate) fn superblock(&self, slot: u64) -> u64 {
        slot * self.superblock
    }

    fn block(&self, block: u16) -> u64 {
        let each = self.log + self.touches + self.data;
        2 * self.superblock + u64::from(block) * each
    }

    pub(crate) fn log(&self, block: u16) -> u64 {
        self.block(block)
    }

    pub(crate) fn touches(&self, block: u16) -> u64 {
        self.block(block) + self.log
    }

    pub(crate) fn data(&self, block: u16) -> u64 {
        self.block(block) + self.log + self.touches
    }
}
