//! What a store holds at one moment, and what has happened so far.

use std::time::Duration;

use crate::sizes::Sizes;

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
