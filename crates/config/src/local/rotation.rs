//! The numbers of old, current, new and spare blocks.

use blobaccess::StorageType;

use crate::section::Section;

/// The most blocks of a file or device, as in Buildbarn.
const MAX_BLOCKS_ON_DEVICE: u64 = 100;

/// The most blocks in memory.
const MAX_BLOCKS_IN_MEMORY: u64 = 65_000;

/// The least number of spare blocks that a store needs: one for new blobs, one to copy to.
pub(super) const MIN_SPARE_BLOCKS: u32 = 2;

/// The numbers of blocks of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) old: u32,
    pub(super) current: u32,
    pub(super) new: u32,
    pub(super) spare: u32,
    /// The number of all blocks as the configuration has them, which may be fewer spare ones.
    pub(super) configured: u32,
}

impl Rotation {
    /// Reads the numbers of a `LocalBlobAccessConfiguration`; that of the spare blocks from `on_device`, if the blocks lie
    /// on a device. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>, on_device: Option<&Section<'_>>, kind: StorageType) -> Option<Self> {
        let old = read_count(section, "old_blocks", 0);
        let current = read_count(section, "current_blocks", 1);
        let new = if kind.is_mutable() { read_single_new(section) } else { read_count(section, "new_blocks", 1) };
        let spare = on_device.map_or(Some(MIN_SPARE_BLOCKS), |device| read_count(device, "spare_blocks", 0));
        let (old, current, new, spare) = (old?, current?, new?, spare?);
        let max = if on_device.is_some() { MAX_BLOCKS_ON_DEVICE } else { MAX_BLOCKS_IN_MEMORY };
        let total = [old, current, new, spare].into_iter().map(u64::from).sum::<u64>();
        let Some(configured) = u32::try_from(total).ok().filter(|_| total <= max) else {
            let message = format!("there are {total} blocks in all, while at most {max} are supported");
            match on_device {
                Some(device) if spare > old.max(current).max(new) => device.fault_at("spare_blocks", message),
                Some(_) | None if new > old.max(current) => section.fault_at("new_blocks", message),
                Some(_) | None if current > old => section.fault_at("current_blocks", message),
                Some(_) | None => section.fault_at("old_blocks", message),
            }
            return None;
        };
        if spare < MIN_SPARE_BLOCKS
            && let Some(device) = on_device
        {
            device.notice(format!("spareBlocks is raised to {MIN_SPARE_BLOCKS}, the least that a store needs"));
        }
        Some(Self { old, current, new, spare: spare.max(MIN_SPARE_BLOCKS), configured })
    }

    /// Returns the number of all blocks.
    pub(super) fn total(self) -> u64 {
        [self.old, self.current, self.new, self.spare].into_iter().map(u64::from).sum()
    }
}

fn read_count(section: &Section<'_>, name: &str, min: u32) -> Option<u32> {
    let count = u32::try_from(section.int(name)).ok().filter(|count| *count >= min);
    if count.is_none() {
        section.fault_at(name, if min > 0 { "must be positive" } else { "must not be negative" });
    }
    count
}

/// Reads the number of new blocks of a store whose objects are updated.
fn read_single_new(section: &Section<'_>) -> Option<u32> {
    let is_single = section.int("new_blocks") == 1;
    if !is_single {
        section.fault_at("new_blocks", "must be 1 for this kind of store, as objects could not be updated reliably");
    }
    is_single.then_some(1)
}
