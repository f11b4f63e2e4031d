//! The writes that are due to the device.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::machine::concurrency::locks::{AtomicBool, Mutex, enter};

/// A write that is due to the device.
#[derive(Debug)]
pub(super) enum Write {
    /// The dirty ranges of a chunk, which is full.
    Chunk { block: u16, generation: u32, chunk: usize },
    /// Sectors of the log of a block, from the number `first_sector` on.
    Log { block: u16, generation: u32, first_sector: u32, bytes: Vec<u8> },
}

/// The writes that are due to the device, oldest first. Its lock is held for a moment, and no other lock is taken under it.
#[derive(Debug)]
pub(super) struct WriteQueue {
    writes: Mutex<VecDeque<Write>>,
    is_claimed: AtomicBool,
}

impl WriteQueue {
    pub(super) fn new() -> Self {
        Self { writes: Mutex::default(), is_claimed: AtomicBool::new(false) }
    }

    /// Adds a write.
    pub(super) fn push(&self, write: Write) {
        enter(&self.writes).push_back(write);
    }

    /// Returns whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        enter(&self.writes).is_empty()
    }

    /// Takes the oldest write.
    pub(super) fn pop(&self) -> Option<Write> {
        enter(&self.writes).pop_front()
    }

    /// Returns whether the caller is the one that must have the queue written: something is queued, and no other caller
    /// has claimed the task since the last flush began.
    pub(super) fn claim(&self) -> bool {
        !enter(&self.writes).is_empty() && !self.is_claimed.swap(true, Ordering::AcqRel)
    }

    /// Lets the next caller of [`claim`](Self::claim) have the task, as a flush begins.
    pub(super) fn begin_flush(&self) {
        self.is_claimed.store(false, Ordering::Release);
    }
}
