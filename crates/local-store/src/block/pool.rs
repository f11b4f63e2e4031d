//! Memory for chunks, used again and again: the first touch of fresh memory costs more than the copy into it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Place;

/// Memory that nobody uses.
#[derive(Debug)]
pub(super) struct Free {
    chunk_bytes: usize,
    /// What is kept for later, at most.
    most: usize,
    buffers: Mutex<Vec<Box<[u8]>>>,
}

impl Free {
    pub(super) fn new(chunk_bytes: usize, most: usize) -> Self {
        Self { chunk_bytes, most, buffers: Mutex::default() }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // Nothing panics while it is held.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps memory for later, or gives it back to the system.
    pub(super) fn push(&self, buffer: Box<[u8]>) {
        let mut buffers = self.buffers();
        if buffers.len() < self.most && buffer.len() == self.chunk_bytes {
            buffers.push(buffer);
        }
    }

    fn pop(&self) -> Box<[u8]> {
        // What was used last: it is the likeliest to lie in a cache.
        let kept = self.buffers().pop();
        kept.unwrap_or_else(|| vec![0; self.chunk_bytes].into_boxed_slice())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.buffers().len()
    }
}

/// Memory for chunks, used again and again. What a reader holds comes back when it lets go.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    free: Arc<Free>,
    /// Chunks that have memory now.
    taken: AtomicUsize,
}

impl ChunkPool {
    pub(crate) fn new(chunk_bytes: usize, most_free: usize) -> Self {
        Self { free: Arc::new(Free::new(chunk_bytes, most_free)), taken: AtomicUsize::new(0) }
    }

    /// Memory for a chunk. What it holds is whatever was there before.
    pub(super) fn take(&self) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place::whole(self.free.pop(), Arc::clone(&self.free))
    }

    /// A chunk has given up its memory, which may have readers still.
    pub(super) fn gave_up(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// What chunks take of memory now, in bytes, without what only readers hold.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed) * self.free.chunk_bytes
    }
}
