//! The index of a local store, which Buildbarn calls the key-location map.

use super::block_device::BlockDevice;
use crate::section::Section;

/// The bytes of an entry of Buildbarn's map on a block device.
const ENTRY_BYTES: u64 = 66;

/// The least number of slots.
const MIN_SLOTS: u64 = 1024;

/// The most entries: 2^36, whose slots would take 2.8 TB of memory.
const MAX_ENTRIES: u64 = 1 << 36;

/// The index of a local store.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The number of slots that hold as many objects as Buildbarn's map does when it is half full.
    pub(super) slots: u64,
    /// The file or block device of Buildbarn's map.
    pub(super) device: Option<BlockDevice>,
}

impl Index {
    /// Reads the index of a `LocalBlobAccessConfiguration`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        const REASON: &str = "has no effect: each look-up takes two places of the index at most";
        for name in ["key_location_map_maximum_get_attempts", "key_location_map_maximum_put_attempts"] {
            section.notice_once_at(name, REASON);
        }
        match section.member("key_location_map_backend") {
            Some("key_location_map_in_memory") => {
                let map = section.message("key_location_map_in_memory")?;
                let entries = u64::try_from(map.int("entries")).ok().filter(|entries| *entries > 0);
                match entries {
                    None => map.fault_at("entries", "must be positive"),
                    Some(entries) if entries > MAX_ENTRIES => map.fault_at("entries", "is too large"),
                    Some(entries) => return Some(Self { slots: slots_for(entries), device: None }),
                }
                None
            }
            Some("key_location_map_on_block_device") => {
                let device = BlockDevice::read(&section.message("key_location_map_on_block_device")?)?;
                let entries = device.size_bytes / ENTRY_BYTES;
                if entries > MAX_ENTRIES {
                    device.fault_size(section.reading(), "is too large");
                    return None;
                }
                Some(Self { slots: slots_for(entries), device: Some(device) })
            }
            Some(_) | None => {
                let message = "is required, unless there is keyLocationMapInMemory";
                section.fault_at("key_location_map_on_block_device", message);
                None
            }
        }
    }
}

/// Returns the number of slots that hold as many objects as Buildbarn's map of `entries` does when it is half full, which
/// is as full as it should be: ours works up to 85 percent.
fn slots_for(entries: u64) -> u64 {
    (entries / 5 * 3).max(MIN_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_slots_stand_for_five_entries() {
        assert_eq!([1, 1_000, 1_000_000, MAX_ENTRIES].map(slots_for), [1024, 1024, 600_000, 41_231_686_041]);
    }
}
