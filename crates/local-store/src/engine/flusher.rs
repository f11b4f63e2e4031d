//! Writes chunks, logs and touches to the device: one thread at a time, in large pieces, never under the lock of the
//! space.

use std::sync::Arc;

use blobaccess::Result;

use super::blocks::Blocks;
use super::disk::Disk;
use super::write_queue::{Write, WriteQueue};
use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, MutexGuard, enter};
use crate::persistence::LiveBlock;

/// The only writer of blocks, logs and touches to the device.
#[derive(Debug)]
pub(super) struct Flusher {
    blocks: Arc<Blocks>,
    /// `None` of a store in memory.
    disk: Option<Arc<Disk>>,
    is_persistent: bool,
    flushing: Mutex<()>,
}

/// The right to write to the device. While this is held, no block is reused.
#[derive(Debug)]
pub(super) struct Flushing<'a> {
    flusher: &'a Flusher,
    disk: &'a Disk,
    _guard: MutexGuard<'a, ()>,
}

impl Flusher {
    pub(super) fn new(blocks: Arc<Blocks>, disk: Option<Arc<Disk>>, is_persistent: bool) -> Self {
        Self { blocks, disk, is_persistent, flushing: Mutex::new(()) }
    }

    /// Waits for the right to write; `None` of a store in memory.
    pub(super) fn begin(&self) -> Option<Flushing<'_>> {
        let disk = self.disk.as_deref()?;
        Some(Flushing { flusher: self, disk, _guard: enter(&self.flushing) })
    }

    /// Waits until the writes that are under way have ended.
    pub(super) fn wait(&self) {
        drop(enter(&self.flushing));
    }

    /// Writes the queue. It may block.
    pub(super) fn flush(&self) -> Result<()> {
        let Some(queue) = self.blocks.queue() else { return Ok(()) };
        queue.begin_flush();
        self.begin().map_or(Ok(()), |flushing| flushing.drain())
    }

    /// Returns the error of a device that has failed.
    pub(super) fn check_device(&self) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.device.check())
    }
}

impl Flushing<'_> {
    /// Writes the queue.
    pub(super) fn drain(&self) -> Result<()> {
        let blocks = &self.flusher.blocks;
        loop {
            let Some(write) = blocks.queue().and_then(WriteQueue::pop) else { return Ok(()) };
            match write {
                Write::Chunk { block, generation, chunk } => {
                    self.write_chunk(block, generation, chunk)?;
                    blocks.settle(block, generation, chunk);
                }
                Write::Log { block, generation, first_sector, bytes } => {
                    if blocks.get(block).is_some_and(|written| written.is(generation)) {
                        let offset = self.disk.layout.log(block) + u64::from(first_sector) * SECTOR_BYTES;
                        self.disk.logs().write_at(offset, &bytes)?;
                    }
                }
            }
        }
    }

    /// Writes the dirty ranges of the chunks of a block, full or not.
    pub(super) fn write_chunks(&self, block: u16, generation: u32) -> Result<()> {
        let written = self.flusher.blocks.get(block).filter(|written| written.is(generation));
        let chunks = written.map(crate::block::Block::take_dirty_chunks).unwrap_or_default();
        chunks.into_iter().try_for_each(|chunk| self.write_chunk(block, generation, chunk))
    }

    fn write_chunk(&self, block: u16, generation: u32, chunk: usize) -> Result<()> {
        let written = self.flusher.blocks.get(block).filter(|written| written.is(generation));
        let Some(written) = written else { return Ok(()) };
        let begin = self.disk.layout.data(block);
        for (offset, bytes) in written.take_dirty(generation, chunk) {
            self.disk.device.write_at(begin + offset, &bytes)?;
            if self.flusher.is_persistent {
                self.disk.device.begin_write_back(begin + offset, casts::on_device(bytes.len()));
            }
        }
        Ok(())
    }

    /// Writes the touches of a block that are not written yet, and notes in `live` how many sectors of them are in use.
    pub(super) fn write_touches(&self, live: &mut LiveBlock) -> Result<()> {
        let Some(touched) = self.flusher.blocks.get(live.block) else { return Ok(()) };
        for (number, sector) in touched.touches.take_dirty(live.generation) {
            let offset = self.disk.layout.touches(live.block) + u64::from(number) * SECTOR_BYTES;
            self.disk.logs().write_at(offset, &sector)?;
        }
        live.touch_sectors = touched.touches.used();
        Ok(())
    }
}
