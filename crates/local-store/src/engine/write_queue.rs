//! Writes to the device what was put: one thread at a time, in large pieces, never under the lock of the space.

use std::sync::atomic::Ordering;

use blobaccess::Result;

use super::{Disk, Engine, enter};
use crate::machine::casts;
use crate::machine::concurrency::locks::MutexGuard;

/// Something that is to be written to the device.
#[derive(Debug)]
pub(super) enum Write {
    /// What is dirty of a chunk, which is full.
    Chunk { block: u16, generation: u32, chunk: usize },
    /// Sectors of a log.
    Log { block: u16, generation: u32, offset: u64, bytes: Vec<u8> },
}

impl Engine {
    /// Whether puts should wait until more is written.
    pub(crate) fn is_congested(&self) -> bool {
        self.disk.is_some() && casts::on_device(self.pool.taken_bytes()) > self.surroundings.staged_bytes
    }

    /// Whether the caller is the one who should see to it that the queue is written.
    pub(crate) fn claim_flush(&self) -> bool {
        self.disk.is_some() && !enter(&self.queue).is_empty() && !self.flush_is_scheduled.swap(true, Ordering::AcqRel)
    }

    pub(super) fn queue_chunk(&self, block: u16, generation: u32, chunk: usize) {
        self.queue(Write::Chunk { block, generation, chunk });
    }

    pub(super) fn queue(&self, write: Write) {
        if self.disk.is_some() {
            enter(&self.queue).push_back(write);
        }
    }

    /// Writes what is queued. It may block.
    pub(crate) fn flush(&self) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        self.flush_is_scheduled.store(false, Ordering::Release);
        let guard = enter(&self.flushing);
        self.drain(disk, &guard)
    }

    pub(super) fn drain(&self, disk: &Disk, _flushing: &MutexGuard<'_, ()>) -> Result<()> {
        loop {
            let Some(write) = enter(&self.queue).pop_front() else { return Ok(()) };
            match write {
                Write::Chunk { block, generation, chunk } => {
                    self.write_chunk(disk, block, generation, chunk)?;
                    if let Some(of) = self.block(block) {
                        of.settle(&self.pool, generation, chunk);
                    }
                }
                Write::Log { block, generation, offset, bytes } => {
                    if self.block(block).is_some_and(|of| of.is(generation)) {
                        disk.logs().write_at(offset, &bytes)?;
                    }
                }
            }
        }
    }

    /// Writes what is dirty of a chunk, full or not. Whoever calls this is flushing: a block is not reused meanwhile.
    pub(super) fn write_chunk(&self, disk: &Disk, block: u16, generation: u32, chunk: usize) -> Result<()> {
        let Some(of) = self.block(block).filter(|of| of.is(generation)) else { return Ok(()) };
        let begin = disk.layout.data(block);
        for (offset, bytes) in of.take_dirty(generation, chunk) {
            disk.device.write_at(begin + offset, &bytes)?;
            if self.is_persistent() {
                disk.device.begin_write_back(begin + offset, casts::on_device(bytes.len()));
            }
        }
        Ok(())
    }
}
