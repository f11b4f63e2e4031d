//! Takes snapshots of a store.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use super::Engine;
use super::space::BlockSurvey;
use crate::key::Key;
use crate::machine::concurrency::locks::AtomicU64;
use crate::snapshot::{BlockSnapshot, Snapshot};

/// Returns whether a map with this many records in so many slots may have to give up some for others.
pub(super) fn is_crowded(records: u64, slots: u64) -> bool {
    records.saturating_mul(10) > slots.saturating_mul(9)
}

impl Engine {
    /// Returns the state of the store now, and what has happened so far.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.surroundings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = |begun_at: u64| now.saturating_sub(Duration::from_secs(begun_at));
        let (blocks, free_blocks, records) = {
            let space = self.space();
            (space.survey(), space.free_blocks(), space.records())
        };
        let snapshot = |block: BlockSurvey| BlockSnapshot {
            group: block.group,
            used_bytes: block.used_bytes,
            log_entries: block.log_entries,
            age: age(block.begun_at),
        };
        let blocks: Vec<_> = blocks.into_iter().map(snapshot).collect();
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            sizes: self.sizes,
            retention: blocks.first().map(|block| block.age).unwrap_or_default(),
            blocks,
            free_blocks,
            records,
            slots: self.map.capacity(),
            chunk_memory_bytes: self.blocks.taken_bytes(),
            evicted: read(&counters.evicted),
            evicted_bytes: read(&counters.evicted_bytes),
            dropped_records: read(&counters.dropped_records),
            refused_puts: read(&counters.refused_puts),
            map_evicts: is_crowded(records, self.map.capacity()),
            copied: read(&counters.copied),
            copied_bytes: read(&counters.copied_bytes),
            refreshed: read(&counters.refreshed),
            refreshed_bytes: read(&counters.refreshed_bytes),
            queued_refreshes: self.queued_refreshes(),
            unrefreshed: read(&counters.unrefreshed),
            breached_bytes: read(&counters.breached_bytes),
            corrupted: read(&counters.corrupted),
            recycled_blocks: read(&counters.recycled_blocks),
            waits_for_space: read(&counters.waits_for_space),
            syncs: self.durability.syncs(),
            unsynced: self.durability.unsynced(),
        }
    }

    /// Returns the position of the block that an object lies in, among those in use, oldest first.
    pub(crate) fn position(&self, key: &Key) -> Option<usize> {
        let space = self.space();
        let found = self.map.lookup_as_writer(key, &space.map)?;
        space.position(found.record.location.block)
    }
}
