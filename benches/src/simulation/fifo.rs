//! A cache that evicts the oldest object.

use std::collections::VecDeque;

use super::{PerObject, Policy};

/// First in, first out.
#[derive(Debug)]
pub struct Fifo {
    capacity_bytes: u64,
    used_bytes: u64,
    queue: VecDeque<(u32, u64)>,
    is_there: PerObject<bool>,
}

impl Fifo {
    /// Makes an empty cache of this size.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, used_bytes: 0, queue: VecDeque::new(), is_there: PerObject::default() }
    }
}

impl Policy for Fifo {
    fn access(&mut self, object: u32, size_bytes: u64) -> bool {
        if std::mem::replace(self.is_there.at(object), true) {
            return true;
        }
        self.queue.push_back((object, size_bytes));
        self.used_bytes += size_bytes;
        while self.used_bytes > self.capacity_bytes
            && let Some((object, size_bytes)) = self.queue.pop_front()
        {
            *self.is_there.at(object) = false;
            self.used_bytes -= size_bytes;
        }
        false
    }
}
