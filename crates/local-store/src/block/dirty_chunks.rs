//! The chunks of a block with bytes that are not on the device yet: a bit each, so that a sync need not look at all.

use std::sync::atomic::Ordering;

use crate::machine::casts;
use crate::machine::concurrency::locks::AtomicU64;

/// The chunks of a block with bytes that are not on the device yet.
#[derive(Debug)]
pub(super) struct DirtyChunks(Box<[AtomicU64]>);

impl DirtyChunks {
    pub(super) fn new(chunks: usize) -> Self {
        Self((0..chunks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Notes a chunk, while its lock is held.
    pub(super) fn note(&self, chunk: usize) {
        if let Some(word) = self.0.get(chunk / 64) {
            word.fetch_or(1 << (chunk % 64), Ordering::Release);
        }
    }

    /// Takes the chunks that were noted since the last call.
    pub(super) fn take(&self) -> Vec<usize> {
        let mut taken = Vec::new();
        for (number, word) in self.0.iter().enumerate() {
            if word.load(Ordering::Acquire) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                taken.push(64 * number + casts::index(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        taken
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_taken_once() {
        let dirty = DirtyChunks::new(200);
        for chunk in [199, 0, 63, 64, 0] {
            dirty.note(chunk);
        }
        assert_eq!(dirty.take(), [0, 63, 64, 199]);
        assert!(dirty.take().is_empty());
    }
}
