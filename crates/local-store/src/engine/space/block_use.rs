//! The present use of a block, as its writer knows it: how far data and log go.

use std::ops::Range;

use crate::device::SECTOR_BYTES;
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::persistence::{ENTRIES_PER_SECTOR, LiveBlock, entry};

/// The size from which on log is written ahead of a sync, in bytes.
const LOG_AHEAD_BYTES: usize = 256 << 10;

/// The most holes that are remembered, until something is put there.
const MAX_HOLES: usize = 1024;

/// The present use of a block, as its writer knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockUse {
    /// The generation of this use; 0 if there is none.
    pub(super) generation: u32,
    /// The seed of the checksums of the log.
    pub(super) seed: u64,
    /// Where the next reservation begins.
    pub(super) cursor: u64,
    /// Entries written or pending, padding counted.
    pub(super) entries: u32,
    /// Log that is not written yet; whole sectors but for the last one.
    pending_log: Vec<u8>,
    /// Log sectors that are written or queued.
    pub(super) log_sectors: u32,
    /// The time at which the use began, in seconds since 1970.
    pub(super) begun_at: u64,
    /// Whether parts of objects lie in the block.
    pub(super) has_parts: bool,
    /// Whether anything was written to the block since the last sync.
    pub(super) is_dirty: bool,
    /// Whether the block is to be recycled before its turn.
    pub(super) is_retiring: bool,
    /// Whole sectors below the cursor that puts gave back, which do not meet, in no order.
    holes: Vec<Range<u64>>,
}

/// Sectors of a log that are to be written.
pub(super) struct LogSectors {
    pub(super) first_sector: u32,
    pub(super) bytes: Vec<u8>,
}

impl BlockUse {
    /// Begins a use.
    pub(super) fn new(generation: u32, seed: u64, begun_at: u64) -> Self {
        Self { generation, seed, begun_at, ..Self::default() }
    }

    /// Goes on with a use whose log has `log_sectors`.
    pub(super) fn restored(live: &LiveBlock, log_sectors: u32, chunk_bytes: u64) -> Self {
        Self {
            // The rest of the last chunk is not used: chunks are written in memory, from their beginning.
            cursor: live.data_bytes.next_multiple_of(chunk_bytes),
            entries: u32::try_from(u64::from(log_sectors) * ENTRIES_PER_SECTOR).unwrap_or(u32::MAX),
            log_sectors,
            ..Self::new(live.generation, live.seed, live.begun_at)
        }
    }

    /// Takes back whole sectors that nothing is put to. Returns false if there are too many to be remembered.
    pub(super) fn give_back(&mut self, mut range: Range<u64>) -> bool {
        while let Some(at) = self.holes.iter().position(|hole| hole.end == range.start || hole.start == range.end) {
            let hole = self.holes.swap_remove(at);
            range = hole.start.min(range.start)..hole.end.max(range.end);
        }
        if range.end == self.cursor {
            self.cursor = range.start;
        } else if self.holes.len() < MAX_HOLES {
            self.holes.push(range);
        } else {
            return false;
        }
        true
    }

    /// Takes `length` bytes of a hole that has as many. Returns where they begin.
    pub(super) fn take_hole(&mut self, length: u64) -> Option<u64> {
        let at = self.holes.iter().position(|hole| hole.end - hole.start >= length)?;
        let hole = self.holes.get_mut(at)?;
        let begin = hole.start;
        hole.start += length;
        if hole.is_empty() {
            self.holes.swap_remove(at);
        }
        Some(begin)
    }

    /// Takes all holes, as nothing is put to the block any more.
    pub(super) fn take_holes(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.holes)
    }

    /// Returns the size of all holes, in bytes.
    pub(super) fn hole_bytes(&self) -> u64 {
        self.holes.iter().map(|hole| hole.end - hole.start).sum()
    }

    /// Returns whether a log of `max_entries` takes one more in a sector of its own, when `pending` others have room
    /// kept for theirs: every entry that is to come may find itself in a sector of its own.
    pub(super) fn has_log_sector(&self, pending: u32, max_entries: u64) -> bool {
        let sectors = u64::from(self.entries).div_ceil(ENTRIES_PER_SECTOR) + u64::from(pending);
        !self.is_retiring && sectors * ENTRIES_PER_SECTOR < max_entries
    }

    /// Returns whether a log of `max_entries` takes one more, when `pending` others have room kept for theirs.
    pub(super) fn takes_entry(&self, pending: u32, max_entries: u64) -> bool {
        !self.is_retiring
            && (!u64::from(self.entries).is_multiple_of(ENTRIES_PER_SECTOR)
                || self.has_log_sector(pending, max_entries))
    }

    /// Appends the entry of a record to the log. Returns the sectors that are to be written, once enough of them are
    /// full.
    pub(super) fn append(&mut self, record: &Record) -> Option<LogSectors> {
        entry::write(&mut self.pending_log, record, self.seed);
        self.entries += 1;
        if self.pending_log.len() >= LOG_AHEAD_BYTES { self.take_whole_sectors() } else { None }
    }

    /// Takes all log that is not written yet, padded to whole sectors.
    pub(super) fn take_log(&mut self) -> Option<LogSectors> {
        entry::pad(&mut self.pending_log);
        let per_sector = u32::try_from(ENTRIES_PER_SECTOR).unwrap_or(u32::MAX);
        self.entries = self.entries.next_multiple_of(per_sector);
        self.take_whole_sectors()
    }

    fn take_whole_sectors(&mut self) -> Option<LogSectors> {
        let sector = casts::in_memory(SECTOR_BYTES);
        let whole = self.pending_log.len() / sector * sector;
        if whole == 0 {
            return None;
        }
        let rest = self.pending_log.split_off(whole);
        let bytes = std::mem::replace(&mut self.pending_log, rest);
        let first_sector = self.log_sectors;
        self.log_sectors += casts::narrow(whole / sector);
        Some(LogSectors { first_sector, bytes })
    }
}
