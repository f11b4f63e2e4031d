//! The blocks in memory: their chunks, the pool that chunks get memory from, and the queue of chunks and logs that are due
//! to the device.
//!
//! No call here does I/O or takes a lock above that of a chunk, so all of them may be made under the lock of the space.

use std::ops::Range;

use super::write_queue::{Write, WriteQueue};
use crate::block::{Block, ChunkPool, Claim};
use crate::machine::casts;
use crate::machine::threads::groups;
use crate::persistence::Touches;
use crate::sizes::Sizes;

/// Memory of chunks that is kept for later, in bytes.
const POOL_BYTES: u64 = 64 << 20;

/// The blocks in memory.
#[derive(Debug)]
pub(super) struct Blocks {
    all: Box<[Block]>,
    pool: ChunkPool,
    chunk_bytes: u64,
    /// `None` of a store in memory.
    queue: Option<WriteQueue>,
    /// The most memory that chunks may take before puts wait for the device, in bytes.
    staged_bytes: u64,
}

impl Blocks {
    pub(super) fn new(sizes: &Sizes, is_on_device: bool, staged_bytes: u64) -> Self {
        let reader_groups = if is_on_device { 0 } else { groups() };
        let touches = || Touches::new(sizes.touch_sectors);
        let block = |_| Block::new(sizes.chunk_bytes, sizes.chunks_per_block(), touches(), reader_groups);
        // A store in memory is as large as it is said to be; of one on a device, this much is staged.
        let chunk_bytes = casts::in_memory(sizes.chunk_bytes);
        let pool = if is_on_device {
            ChunkPool::new(chunk_bytes, 1, POOL_BYTES.max(staged_bytes))
        } else {
            let spans = sizes.chunks_per_block().div_ceil(sizes.chunks_per_span()) * casts::index(sizes.blocks);
            let pool = ChunkPool::new(chunk_bytes, sizes.chunks_per_span(), u64::MAX);
            pool.lending(sizes.lent_bytes()).with_spans(spans)
        };
        Self {
            all: (0..sizes.blocks).map(block).collect(),
            pool,
            chunk_bytes: sizes.chunk_bytes,
            queue: is_on_device.then(WriteQueue::new),
            staged_bytes,
        }
    }

    /// Returns the block of this number.
    #[inline]
    pub(super) fn get(&self, block: u16) -> Option<&Block> {
        self.all.get(usize::from(block))
    }

    /// Returns the queue of writes; `None` of a store in memory.
    pub(super) fn queue(&self) -> Option<&WriteQueue> {
        self.queue.as_ref()
    }

    fn queue_chunk(&self, block: u16, generation: u32, chunk: usize) {
        if let Some(queue) = &self.queue {
            queue.push(Write::Chunk { block, generation, chunk });
        }
    }

    /// Queues sectors of the log of a block.
    pub(super) fn queue_log(&self, block: u16, generation: u32, first_sector: u32, bytes: Vec<u8>) {
        if let Some(queue) = &self.queue {
            queue.push(Write::Log { block, generation, first_sector, bytes });
        }
    }

    /// Claims a range of one chunk that was reserved. `None` if the block is in another use.
    pub(super) fn claim(&self, block: u16, generation: u32, range: Range<u64>) -> Option<Claim> {
        self.get(block)?.claim(&self.pool, generation, range)
    }

    /// Takes back a claim, written or not. Only if the claim `is_dirty` does it go to the device.
    pub(super) fn commit(&self, block: u16, generation: u32, claim: Claim, is_dirty: bool) {
        if let Some(committed) = self.get(block) {
            committed.commit(generation, claim, is_dirty, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }

    /// Takes back a claim that begins at `offset` of its block and is not going to be written.
    pub(super) fn pad_claim(&self, block: u16, generation: u32, offset: u64, claim: Claim) {
        if let Some(padded) = self.get(block) {
            padded.pad_claim(generation, offset, claim, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }

    /// Gives up a range that was reserved and is not going to be written.
    pub(super) fn pad(&self, block: u16, generation: u32, range: Range<u64>) {
        if let Some(padded) = self.get(block) {
            padded.pad(&self.pool, generation, range, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }

    /// Takes back a claim, so that others can claim the range.
    pub(super) fn unclaim(&self, block: u16, generation: u32, claim: Claim) {
        if let Some(unclaimed) = self.get(block) {
            unclaimed.unclaim(generation, claim);
        }
    }

    /// Forgets what was written to a chunk on a device, all of which one writer had.
    pub(super) fn reset(&self, block: u16, generation: u32, chunk: usize) {
        if let Some(reset) = self.get(block) {
            reset.reset(&self.pool, generation, chunk);
        }
    }

    /// Returns whether chunks give up their memory once they are on a device.
    pub(super) fn is_on_device(&self) -> bool {
        self.queue.is_some()
    }

    /// Returns the size of a chunk, in bytes.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// Ends the present use of a block. Readers keep what they hold.
    pub(super) fn end(&self, block: u16) {
        if let Some(ended) = self.get(block) {
            ended.end(&self.pool);
        }
    }

    /// Notes that the bytes taken from a chunk are on the device.
    pub(super) fn settle(&self, block: u16, generation: u32, chunk: usize) {
        if let Some(settled) = self.get(block) {
            settled.settle(&self.pool, generation, chunk);
        }
    }

    /// Returns whether puts should wait until more is written to the device.
    pub(super) fn is_congested(&self) -> bool {
        // Uploads on their way hold chunks too, which no write makes free.
        self.queue
            .as_ref()
            .is_some_and(|queue| casts::on_device(self.pool.taken_bytes()) > self.staged_bytes && !queue.is_empty())
    }

    /// Returns whether readers alone already hold the maximum that may be lent.
    #[inline]
    pub(super) fn has_lent_enough(&self) -> bool {
        self.pool.has_lent_enough()
    }

    /// Returns the memory that chunks take, in bytes.
    pub(super) fn taken_bytes(&self) -> usize {
        self.pool.taken_bytes()
    }
}
