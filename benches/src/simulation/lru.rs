//! A cache that evicts the least recently used object.

use std::collections::VecDeque;

use super::{PerObject, Policy};

/// Least recently used.
#[derive(Debug)]
pub struct Lru {
    capacity_bytes: u64,
    used_bytes: u64,
    uses: u64,
    /// The uses with their numbers. Only the last one of an object counts.
    queue: VecDeque<(u32, u64, u64)>,
    /// The number of the last use; 0 for an absent object.
    last_use: PerObject<u64>,
}

impl Lru {
    /// Makes an empty cache of this size.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, used_bytes: 0, uses: 0, queue: VecDeque::new(), last_use: PerObject::default() }
    }
}

impl Policy for Lru {
    fn access(&mut self, object: u32, size_bytes: u64) -> bool {
        self.uses += 1;
        let is_hit = std::mem::replace(self.last_use.at(object), self.uses) != 0;
        self.queue.push_back((object, size_bytes, self.uses));
        if is_hit {
            return true;
        }
        self.used_bytes += size_bytes;
        while self.used_bytes > self.capacity_bytes
            && let Some((object, size_bytes, number)) = self.queue.pop_front()
        {
            let last_use = self.last_use.at(object);
            if *last_use == number {
                *last_use = 0;
                self.used_bytes -= size_bytes;
            }
        }
        false
    }
}
