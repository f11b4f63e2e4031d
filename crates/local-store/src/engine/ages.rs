//! The ages of blocks, by generation: which blocks are the newest, which are old, and which outlast a promise.
//!
//! Any thread may ask at any time; only holders of the lock of the space note a change.

use std::sync::atomic::Ordering;

use crate::machine::concurrency::locks::AtomicU32;
use crate::sizes::Sizes;

/// The ages of blocks, by generation.
#[derive(Debug)]
pub(super) struct Ages {
    /// The generation of the block that was begun last.
    newest: AtomicU32,
    /// The generation of the youngest block that is old; 0 if no block is.
    youngest_old: AtomicU32,
    new_blocks: u32,
    /// As [`Sizes::safe_blocks`].
    safe_blocks: u32,
}

impl Ages {
    pub(super) fn new(sizes: &Sizes) -> Self {
        Self {
            newest: AtomicU32::new(0),
            youngest_old: AtomicU32::new(0),
            new_blocks: sizes.new_blocks,
            safe_blocks: sizes.safe_blocks(),
        }
    }

    /// Notes that the block of this generation was begun last.
    pub(super) fn note_begun(&self, generation: u32) {
        self.newest.store(generation, Ordering::Relaxed);
    }

    /// Notes the generation of the youngest block that is old; 0 if no block is.
    pub(super) fn note_old(&self, generation: u32) {
        self.youngest_old.store(generation, Ordering::Relaxed);
    }

    /// Returns whether this is the generation of one of the blocks that were begun last.
    #[inline]
    pub(super) fn is_newest(&self, generation: u32) -> bool {
        generation.saturating_add(self.new_blocks) > self.newest.load(Ordering::Relaxed)
    }

    /// Returns whether this is the generation of an old block.
    #[inline]
    pub(super) fn is_old(&self, generation: u32) -> bool {
        generation <= self.youngest_old.load(Ordering::Relaxed)
    }

    /// Returns the first generation whose block is recycled so late that a promise made now is over by then.
    pub(super) fn safe_from(&self) -> u32 {
        self.newest.load(Ordering::Relaxed).saturating_sub(self.safe_blocks)
    }

    /// Returns whether a block of this generation is recycled so late that a promise made now is over by then.
    #[inline]
    pub(super) fn is_safe(&self, generation: u32) -> bool {
        generation.saturating_add(self.safe_blocks) >= self.newest.load(Ordering::Relaxed)
    }
}
