//! Memory that no block uses, kept so that blocks need not ask the system for fresh memory.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// Memory that nobody uses, in spans of one length.
#[derive(Debug)]
pub(super) struct Free {
    pub(super) span_bytes: usize,
    /// The largest number of spans that are kept for reuse.
    most: usize,
    /// The largest number of spans, in use or not, from which on none is kept for reuse.
    pub(super) most_in_all: usize,
    buffers: Mutex<Vec<Box<[u8]>>>,
    /// Spans that somebody has.
    pub(super) out: AtomicUsize,
}

impl Free {
    pub(super) fn new(span_bytes: usize, most: usize) -> Self {
        Self { span_bytes, most, most_in_all: usize::MAX, buffers: Mutex::default(), out: AtomicUsize::new(0) }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // Nothing panics while it is held.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps memory for later, or gives it back to the system.
    pub(super) fn push(&self, buffer: Box<[u8]>) {
        let out = self.out.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        let mut buffers = self.buffers();
        if buffers.len() < self.most.min(self.most_in_all.saturating_sub(out)) && buffer.len() == self.span_bytes {
            buffers.push(buffer);
        }
    }

    pub(super) fn pop(&self) -> Box<[u8]> {
        self.out.fetch_add(1, Ordering::Relaxed);
        // What was used last: it is the likeliest to lie in a cache.
        let kept = self.buffers().pop();
        kept.unwrap_or_else(|| vec![0; self.span_bytes].into_boxed_slice())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.buffers().len()
    }
}
