//! The log of a block: whether it takes another entry, and what is appended to it.

use std::sync::atomic::Ordering;

use super::Engine;
use super::space::{BlockUse, Space};
use super::write_queue::Write;
use crate::block::Block;
use crate::device::SECTOR_BYTES;
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::persistence::{ENTRIES_PER_SECTOR, entry};

/// Log that is written ahead of a sync once there is so much of it, in bytes.
const LOG_AHEAD_BYTES: usize = 256 << 10;

impl Engine {
    /// Whether the log of a block takes one more entry now.
    pub(super) fn has_log_space(&self, space: &Space, block: u16, most: Option<u64>) -> bool {
        let Some(most) = most else { return true };
        let pending = self.block(block).map_or(0, Block::pending);
        let takes = |usage: &BlockUse| {
            !usage.is_retiring
                && (!u64::from(usage.entries).is_multiple_of(ENTRIES_PER_SECTOR) || usage.has_log_sector(pending, most))
        };
        space.use_of(block).is_some_and(takes)
    }

    /// Appends the entry of a record to the log of its block.
    pub(super) fn append(&self, space: &mut Space, record: &Record) {
        space.publications += 1;
        // Before the record can be found: who finds it then knows which sync covers it.
        self.publications.store(space.publications, Ordering::Release);
        space.has_changed = true;
        let block = record.location.block;
        let Some(usage) = space.use_mut(block) else { return };
        usage.is_dirty = true;
        usage.has_parts |= record.is_part && !record.is_name();
        if !self.is_persistent() {
            return;
        }
        entry::write(&mut usage.pending_log, record, usage.seed);
        usage.entries += 1;
        if usage.pending_log.len() >= LOG_AHEAD_BYTES {
            self.take_log(block, usage, false);
        }
    }

    /// Queues the log of a block, as far as it consists of whole sectors, or all of it, padded.
    pub(super) fn take_log(&self, block: u16, usage: &mut BlockUse, all: bool) {
        let sector = casts::in_memory(SECTOR_BYTES);
        if all {
            entry::pad(&mut usage.pending_log);
            let per_sector = u32::try_from(ENTRIES_PER_SECTOR).unwrap_or(u32::MAX);
            usage.entries = usage.entries.next_multiple_of(per_sector);
        }
        let whole = usage.pending_log.len() / sector * sector;
        if whole == 0 {
            return;
        }
        let rest = usage.pending_log.split_off(whole);
        let bytes = std::mem::replace(&mut usage.pending_log, rest);
        let first = usage.log_sectors;
        usage.log_sectors += casts::narrow(whole / sector);
        if let Some(disk) = &self.disk {
            let offset = disk.layout.log(block) + u64::from(first) * SECTOR_BYTES;
            self.queue(Write::Log { block, generation: usage.generation, offset, bytes });
        }
    }
}
