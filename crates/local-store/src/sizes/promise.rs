//! How long what is stored is kept: what is promised, and what puts, copies and syncs use up of it.

use super::{SPARE_LOG_SECTORS, Sizes};
use crate::device::SECTOR_BYTES;

/// Sixteenths of a block that are used at least: one is lost at the ends of chunks, one in the chunk that is open when
/// the block is left, one at its end.
const USED_SIXTEENTHS: u64 = 13;

impl Sizes {
    /// Returns how many bytes of further puts every blob outlives that was put or found, as long as no more is found
    /// again late than may be copied.
    ///
    /// Of old and current blocks these are three quarters, so that what is found again in the other quarter need not
    /// be copied; of each, what may be used for certain, and of that what is not for copies. At most half the capacity.
    /// Objects count as [`counted_bytes`](Self::counted_bytes) says, aborted uploads of large ones too; syncs count as
    /// [`counted_bytes_of_sync`](Self::counted_bytes_of_sync) says, and opening a store counts as a sixteenth of a
    /// block for each that is new.
    #[must_use]
    pub fn promised_bytes(&self) -> u64 {
        let of_headers = if self.log_sectors > 0 { 2 * SECTOR_BYTES } else { 0 };
        let of_lanes = u64::from(self.lanes - 1) * self.chunk_bytes;
        let used = (self.data_bytes / 16 * USED_SIXTEENTHS).saturating_sub(of_headers + of_lanes);
        let written = (used * u64::from(self.promised_blocks())).saturating_sub(self.saved_copy_bytes());
        (written / 100 * u64::from(100 - self.copied_percent)).min(self.capacity_bytes / 2)
    }

    /// Returns the bytes by which a put of this size counts against the bytes of further puts.
    ///
    /// It is what the object takes of a block, or of its log if that is more: under [`SyncPolicy::OnPut`](crate::SyncPolicy::OnPut), where puts
    /// that come alone take a sector of both. An object that takes more than a sixteenth of a block counts twice: where
    /// it does not fit any more, what is left of a block is not used.
    #[must_use]
    pub fn counted_bytes(&self, size_bytes: u64) -> u64 {
        self.counted_stored(self.stored_bytes(size_bytes) + self.usual_tail_bytes)
    }

    /// Returns the same for an object whose size includes its trailer.
    pub(crate) fn counted_stored(&self, stored: u64) -> u64 {
        let taken = self.cost_of_stored(stored);
        let abandoned = if taken > self.data_bytes / 16 { taken } else { 0 };
        taken + abandoned
    }

    /// Returns the bytes that a copy of an object of this size takes of a block, or of its log if that is more.
    pub(crate) fn cost(&self, size_bytes: u64) -> u64 {
        self.cost_of_stored(self.stored_bytes(size_bytes) + self.usual_tail_bytes)
    }

    fn cost_of_stored(&self, stored: u64) -> u64 {
        let taken = if stored <= self.small_bytes() { stored } else { stored.next_multiple_of(SECTOR_BYTES) };
        let of_log = match (self.entries_per_block(), self.is_synced_on_put) {
            (None, _) => 0,
            (Some(_), true) => self.bytes_per_log_sector(),
            (Some(entries), false) => self.data_bytes.div_ceil(entries),
        };
        let taken = if self.is_synced_on_put { taken.next_multiple_of(SECTOR_BYTES) } else { taken };
        taken.max(of_log)
    }

    /// Returns the bytes by which a sync between puts counts, asked for or by interval: the sectors that it leaves
    /// unused.
    #[must_use]
    pub fn counted_bytes_of_sync(&self) -> u64 {
        match self.entries_per_block() {
            Some(_) => self.bytes_per_log_sector().max(SECTOR_BYTES) * u64::from(self.new_blocks),
            None => 0,
        }
    }

    /// Returns the least number of blocks that are begun between a put and the end of its retention.
    #[inline]
    fn promised_blocks(&self) -> u32 {
        let kept = self.old_blocks + self.current_blocks;
        // What is put must be safe in any of the new blocks.
        (kept - kept / 4).min(kept.saturating_sub(self.new_blocks))
    }

    /// Returns the number of newest blocks in which a found blob stays as long as is promised, without a copy.
    #[inline]
    pub(crate) fn safe_blocks(&self) -> u32 {
        // One less than there are, as a block may just be begun.
        (self.old_blocks + self.current_blocks).saturating_sub(self.promised_blocks() + 1)
    }

    /// Returns how many bytes copies may save up: up to four blocks' shares, as blobs that are found again often lie
    /// together, and recycling may lag behind.
    pub(crate) fn saved_copy_bytes(&self) -> u64 {
        self.copied_bytes_per_block() * u64::from((self.promised_blocks() / 2).clamp(1, 4))
    }

    /// Returns the share of a block that is for copies, in bytes.
    pub(crate) fn copied_bytes_per_block(&self) -> u64 {
        self.data_bytes / 100 * u64::from(self.copied_percent)
    }

    fn bytes_per_log_sector(&self) -> u64 {
        self.data_bytes / u64::from(self.log_sectors).saturating_sub(SPARE_LOG_SECTORS).max(1)
    }
}
