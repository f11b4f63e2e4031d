//! Memory for chunks, used again and again: the first touch of fresh memory costs more than the copy into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::free::Free;
use super::memory::Place;
use crate::machine::casts;

/// Memory for chunks, used again and again. What a reader holds comes back when it lets go.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    free: Arc<Free>,
    chunk_bytes: usize,
    /// Chunks that have memory now.
    taken: AtomicUsize,
    /// Spans that blocks use now.
    used: AtomicUsize,
    /// More than so many are not to be kept by readers alone.
    most_lent: usize,
}

impl ChunkPool {
    /// Makes a pool of chunks of `chunk_bytes`, of which `chunks_per_span` lie in one allocation, that keeps at most
    /// `most_free_bytes` for reuse.
    pub(crate) fn new(chunk_bytes: usize, chunks_per_span: usize, most_free_bytes: u64) -> Self {
        let span_bytes = chunk_bytes * chunks_per_span.max(1);
        let most = casts::in_memory(most_free_bytes / casts::on_device(span_bytes).max(1));
        let free = Arc::new(Free::new(span_bytes, most));
        let count = AtomicUsize::default;
        Self { free, chunk_bytes, taken: count(), used: count(), most_lent: usize::MAX }
    }

    /// Sets the largest number of bytes that readers alone may keep.
    pub(crate) fn lending(mut self, most_bytes: u64) -> Self {
        self.most_lent = casts::in_memory(most_bytes / casts::on_device(self.free.span_bytes).max(1)).max(1);
        self
    }

    /// Sets the number of spans of all blocks. What readers keep beyond that is given back to the system when they let go.
    pub(crate) fn with_spans(mut self, spans: usize) -> Self {
        if let Some(free) = Arc::get_mut(&mut self.free) {
            free.most_in_all = spans;
        }
        self
    }

    /// Returns whether readers alone already hold the maximum that may be lent.
    #[inline]
    pub(crate) fn has_lent_enough(&self) -> bool {
        let (out, used) = (self.free.out.load(Ordering::Relaxed), self.used.load(Ordering::Relaxed));
        out.saturating_sub(used) > self.most_lent
    }

    /// Returns memory for the chunks of a span, in their order, with arbitrary earlier contents.
    pub(super) fn take(&self) -> Vec<Place> {
        self.used.fetch_add(1, Ordering::Relaxed);
        Place::whole(self.free.pop(), Arc::clone(&self.free), self.chunk_bytes)
    }

    /// Notes that a block has given up a span, which may have readers still.
    pub(super) fn gave_up_span(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns how many chunks lie in one allocation.
    pub(super) fn chunks_per_span(&self) -> usize {
        self.free.span_bytes / self.chunk_bytes.max(1)
    }

    /// Notes that a chunk has memory now.
    pub(super) fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a chunk has given up its memory, which may have readers still.
    pub(super) fn gave_up(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the memory that chunks take now, in bytes, without memory that only readers hold.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed) * self.chunk_bytes
    }

    #[cfg(test)]
    pub(super) fn free_spans(&self) -> usize {
        self.free.count()
    }
}
