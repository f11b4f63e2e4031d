//! Where on the device everything lies.

use crate::sizes::{SECTOR_BYTES, Sizes};

/// Where on the device everything lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    superblock_bytes: u64,
    log_bytes: u64,
    touch_bytes: u64,
    data_bytes: u64,
}

impl Layout {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        Self {
            superblock_bytes: sizes.superblock_bytes,
            log_bytes: u64::from(sizes.log_sectors) * SECTOR_BYTES,
            touch_bytes: u64::from(sizes.touch_sectors) * SECTOR_BYTES,
            data_bytes: sizes.data_bytes,
        }
    }

    pub(crate) fn superblock(&self, slot: u64) -> u64 {
        slot * self.superblock_bytes
    }

    fn block(&self, block: u16) -> u64 {
        let each = self.log_bytes + self.touch_bytes + self.data_bytes;
        2 * self.superblock_bytes + u64::from(block) * each
    }

    pub(crate) fn log(&self, block: u16) -> u64 {
        self.block(block)
    }

    pub(crate) fn touches(&self, block: u16) -> u64 {
        self.block(block) + self.log_bytes
    }

    pub(crate) fn data(&self, block: u16) -> u64 {
        self.block(block) + self.log_bytes + self.touch_bytes
    }
}
