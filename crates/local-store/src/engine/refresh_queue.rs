//! The objects that are to be copied soon, since they were used in an old block.

use std::collections::VecDeque;

use crate::key_location_map::Record;
use crate::machine::concurrency::locks::{Mutex, enter};

/// The most objects that are queued, in up to 0.8 MB.
const MAX_QUEUED: usize = 8192;

/// The result of queueing an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// The object is queued behind others.
    Done,
    /// The object is queued, and was the first.
    First,
    /// The object is queued already.
    Before,
    /// The queue is full.
    Full,
}

/// The objects that are to be copied soon, oldest use first. Each of them is flagged as read, once.
#[derive(Debug)]
pub(super) struct RefreshQueue(Mutex<VecDeque<Record>>);

impl RefreshQueue {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Returns the number of objects that are queued.
    pub(super) fn len(&self) -> usize {
        enter(&self.0).len()
    }

    /// Queues an object, if there is room and `flag` flags it as read, which nobody did before.
    pub(super) fn push(&self, record: Record, flag: impl FnOnce() -> bool) -> Queued {
        let mut queue = enter(&self.0);
        if queue.len() >= MAX_QUEUED {
            // Not flagged: it may be queued when it is used next.
            return Queued::Full;
        }
        if !flag() {
            return Queued::Before;
        }
        queue.push_back(record);
        if queue.len() == 1 { Queued::First } else { Queued::Done }
    }

    /// Takes up to `count` objects.
    pub(super) fn take(&self, count: usize) -> Vec<Record> {
        let mut queue = enter(&self.0);
        let count = queue.len().min(count);
        queue.drain(..count).collect()
    }
}
