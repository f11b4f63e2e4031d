//! What a store holds at one moment, and what has happened so far.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use crate::engine::Engine;
use crate::sizes::Sizes;
use crate::sync::locks::AtomicU64;

/// What a store holds at one moment, and what has happened since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The sizes that it was opened with.
    pub sizes: Sizes,
    /// Its blocks, oldest first.
    pub blocks: Vec<BlockSnapshot>,
    /// Blocks that are free.
    pub free_blocks: usize,
    /// Objects.
    pub records: u64,
    /// Slots of the map. `records / slots` is its load.
    pub slots: u64,
    /// Memory that chunks take, in bytes, without what only readers hold.
    pub chunk_memory_bytes: usize,
    /// How long ago the oldest block was begun: about how long what is not used stays.
    pub retention: Duration,
    /// Objects evicted.
    pub evicted: u64,
    /// The contents of those, in bytes.
    pub evicted_bytes: u64,
    /// Valid records that there was no room for in the map: with a load below 0.85, none.
    pub dropped_records: u64,
    /// Objects copied because they were touched.
    pub copied: u64,
    /// The contents of those, in bytes.
    pub copied_bytes: u64,
    /// Of the objects copied, those that were [refreshed on touch](crate::Refresh::OnTouch).
    pub refreshed: u64,
    /// The contents of those, in bytes.
    pub refreshed_bytes: u64,
    /// Objects that are to be refreshed: up to 8,192.
    pub queued_refreshes: usize,
    /// How often an object that was touched was not refreshed: the queue was full, copies had taken their share, or there
    /// was no space. It may be copied when its block is recycled.
    pub unrefreshed: u64,
    /// Contents that went although somebody was told that they are there, before the promise was over, in bytes.
    pub breached_bytes: u64,
    /// Objects that proved wrong.
    pub corrupted: u64,
    /// Blocks recycled.
    pub recycled_blocks: u64,
    /// Puts that had to wait until a block was recycled.
    pub waits_for_space: u64,
    /// Superblocks made durable.
    pub syncs: u64,
    /// Puts and copies that no sync has covered yet: what a crash may lose. Where it is 0, every put that had returned
    /// is durable. Always 0 where nothing is persistent.
    pub unsynced: u64,
}

/// A block at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockSnapshot {
    /// In which group it is.
    pub group: BlockGroup,
    /// What of it is in use, in bytes.
    pub used_bytes: u64,
    /// Entries in its log, padding counted; 0 where there are no logs.
    pub log_entries: u32,
    /// How long ago it was begun.
    pub age: Duration,
}

/// A group of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockGroup {
    /// To be recycled next.
    Old,
    /// Full.
    Current,
    /// Being written.
    New,
}

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
}
