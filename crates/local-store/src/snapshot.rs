//! The state of a store at one moment, and what has happened so far.

use std::time::Duration;

use crate::sizes::Sizes;

/// The state of a store at one moment, and what has happened since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The sizes that the store was opened with.
    pub sizes: Sizes,
    /// The blocks in use, oldest first.
    pub blocks: Vec<BlockSnapshot>,
    /// The number of free blocks.
    pub free_blocks: usize,
    /// The number of records in the map.
    pub records: u64,
    /// The number of slots of the map. `records / slots` is its load.
    pub slots: u64,
    /// The memory that chunks take, without memory that only readers hold, in bytes.
    pub chunk_memory_bytes: usize,
    /// The age of the oldest block: about how long an unused blob stays.
    pub retention: Duration,
    /// The number of objects evicted.
    pub evicted: u64,
    /// The size of those contents, in bytes.
    pub evicted_bytes: u64,
    /// The number of valid records that the map had no room for: with a load below 0.9, none.
    pub dropped_records: u64,
    /// The number of puts that the map had no room for, as all records in their way were put lately. Each of them failed
    /// as `ResourceExhausted`.
    pub refused_puts: u64,
    /// Whether the map, and not the space, is what evicts: its load is above 0.9, so that records have to go while their
    /// blocks stay. [`Options::with_entries`](crate::Options::with_entries) makes the map larger.
    pub map_evicts: bool,
    /// The number of objects copied because they were touched.
    pub copied: u64,
    /// The size of those contents, in bytes.
    pub copied_bytes: u64,
    /// The number of objects copied that were [refreshed on touch](crate::Refresh::OnTouch).
    pub refreshed: u64,
    /// The size of those contents, in bytes.
    pub refreshed_bytes: u64,
    /// The number of objects that are to be refreshed: up to 8,192.
    pub queued_refreshes: usize,
    /// The number of times that a touched object was not refreshed: the queue was full, copies had taken their share,
    /// or there was no space. The object may be copied when its block is recycled.
    pub unrefreshed: u64,
    /// The size of contents that went before their promise was over, although a caller was told that they are stored,
    /// in bytes.
    pub breached_bytes: u64,
    /// The number of objects that failed verification.
    pub corrupted: u64,
    /// The number of blocks recycled.
    pub recycled_blocks: u64,
    /// The number of puts that had to wait until a block was recycled.
    pub waits_for_space: u64,
    /// The number of superblocks made durable.
    pub syncs: u64,
    /// The number of puts and copies that no sync has covered yet, which a crash may lose. If it is 0, every put that
    /// had returned is durable. Always 0 if the store is not persistent.
    pub unsynced: u64,
}

/// A block at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockSnapshot {
    /// The group of the block.
    pub group: BlockGroup,
    /// The bytes in use.
    pub used_bytes: u64,
    /// The number of entries in its log, padding included; 0 where there are no logs.
    pub log_entries: u32,
    /// The time since the block was begun.
    pub age: Duration,
}

/// A group of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockGroup {
    /// The blocks that are recycled next.
    Old,
    /// The full blocks.
    Current,
    /// The blocks that are being written.
    New,
}
