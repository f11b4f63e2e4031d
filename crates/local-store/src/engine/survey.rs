//! Surveys what a store holds at one moment.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use super::Engine;
use crate::key::Key;
use crate::machine::concurrency::locks::AtomicU64;
use crate::snapshot::{BlockGroup, BlockSnapshot, Snapshot};

impl Engine {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.surroundings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = |begun_at: u64| now.saturating_sub(Duration::from_secs(begun_at));
        let (blocks, free_blocks, records) = self.survey();
        let blocks: Vec<_> = blocks
            .into_iter()
            .map(|(group, used_bytes, log_entries, begun_at)| BlockSnapshot {
                group,
                used_bytes,
                log_entries,
                age: age(begun_at),
            })
            .collect();
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            sizes: self.sizes,
            retention: blocks.first().map(|block| block.age).unwrap_or_default(),
            blocks,
            free_blocks,
            records,
            slots: self.slots(),
            chunk_memory_bytes: self.chunk_memory_bytes(),
            evicted: read(&counters.evicted),
            evicted_bytes: read(&counters.evicted_bytes),
            dropped_records: read(&counters.dropped_records),
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
            syncs: read(&counters.syncs),
            unsynced: self.unsynced(),
        }
    }

    /// Blocks, how many are free, and how many records there are.
    #[expect(clippy::type_complexity, reason = "it is taken apart where it is made a snapshot of")]
    pub(crate) fn survey(&self) -> (Vec<(BlockGroup, u64, u32, u64)>, usize, u64) {
        let space = self.space();
        (space.blocks(), space.free.len(), space.records())
    }

    /// In which of the blocks, oldest first, an object lies.
    pub(crate) fn position(&self, key: &Key) -> Option<usize> {
        let space = self.space();
        let found = self.map.lookup_as_writer(key, &space.map)?;
        space.rotation.blocks().position(|block| block == found.record.location.block)
    }
}
