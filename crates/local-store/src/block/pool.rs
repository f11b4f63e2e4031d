//! Memory for chunks, used again and again: the first touch of fresh memory costs more than the copy into it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

/// Memory for chunks, used again and again.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    chunk_bytes: usize,
    /// What is kept for later, at most.
    most_free: usize,
    free: Mutex<Vec<BytesMut>>,
    /// Chunks that have memory now.
    taken: AtomicUsize,
}

impl ChunkPool {
    pub(crate) fn new(chunk_bytes: usize, most_free: usize) -> Self {
        Self { chunk_bytes, most_free, free: Mutex::default(), taken: AtomicUsize::new(0) }
    }

    fn free(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        // Nothing panics while it is held.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> BytesMut {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.free().pop().unwrap_or_else(|| BytesMut::zeroed(self.chunk_bytes))
    }

    /// A chunk has given up its memory: here it is, unless somebody still reads it.
    pub(super) fn give_back(&self, memory: Option<BytesMut>) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(memory) = memory.filter(|memory| memory.len() == self.chunk_bytes) {
            let mut free = self.free();
            if free.len() < self.most_free {
                free.push(memory);
            }
        }
    }

    /// What chunks take of memory now, in bytes, without what only readers hold.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed) * self.chunk_bytes
    }

    #[cfg(loom)]
    #[cfg(test)]
    pub(super) fn free_chunks(&self) -> usize {
        self.free().len()
    }
}
