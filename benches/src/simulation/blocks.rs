//! A store that evicts by blocks: Buildbarn's local store, and ours.

use std::collections::VecDeque;

use super::{PerObject, Policy};

/// The numbers of old, current, new and spare blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The blocks that are recycled next.
    pub old: usize,
    /// The full blocks that are not old.
    pub current: usize,
    /// The blocks that are written to.
    pub new: usize,
    /// The free blocks.
    pub spare: usize,
}

/// The time at which a used object is copied to a new block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// When it is used and its block is old, as in Buildbarn. The copy in the old block stays until that block is
    /// recycled.
    OnTouch,
    /// When its block is recycled, if the object was used since it came there.
    AtRecycling {
        /// The maximum share of a block that is copied.
        copied_percent: u64,
    },
}

/// A store of blocks that rotate. The space at the ends of blocks is lost, as in the store. The ends of chunks are not
/// modelled.
#[derive(Debug)]
pub struct Blocks {
    groups: Groups,
    refresh: Refresh,
    block_bytes: u64,
    /// The blocks, oldest first.
    queue: VecDeque<Block>,
    old: usize,
    current: usize,
    next_serial: u64,
    cursor: Option<usize>,
    attempts: u32,
    copied_bytes: u64,
    objects: PerObject<Place>,
}

#[derive(Debug)]
struct Block {
    serial: u64,
    used_bytes: u64,
    items: Vec<(u32, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The number of the block; 0 for an absent object.
    serial: u64,
    is_touched: bool,
}

impl Blocks {
    /// Makes an empty store of `capacity_bytes` over all blocks.
    #[must_use]
    pub fn new(capacity_bytes: u64, groups: Groups, refresh: Refresh) -> Self {
        let Groups { old, current, new, spare } = groups;
        let blocks = u64::try_from(old + current + new + spare).unwrap_or(u64::MAX);
        Self {
            groups,
            refresh,
            block_bytes: capacity_bytes / blocks.max(1),
            queue: VecDeque::new(),
            old: 0,
            current: 0,
            next_serial: 1,
            cursor: None,
            attempts: 0,
            copied_bytes: 0,
            objects: PerObject::default(),
        }
    }

    fn begin_block(&mut self) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.queue.push_back(Block { serial, used_bytes: 0, items: Vec::new() });
    }

    fn has_space(&self, index: usize, size_bytes: u64) -> bool {
        self.queue.get(index).is_some_and(|block| self.block_bytes - block.used_bytes >= size_bytes)
    }

    /// Returns the place in the queue of a new block with space. The choice is that of the store's `rotation.rs`, by
    /// objects instead of chunks.
    fn choose(&mut self, size_bytes: u64) -> usize {
        while self.queue.len() < self.groups.current + self.groups.new && self.old + self.current == 0 {
            self.begin_block();
        }
        let first = self.old + self.current;
        if !self.has_space(first, size_bytes) {
            if self.queue.len() - first > self.groups.new {
                self.current += 1;
            } else {
                self.begin_block();
                self.old += 1;
            }
            self.cursor = None;
            self.attempts = 0;
            self.recycle();
            return self.choose(size_bytes);
        }
        let new = self.queue.len() - first;
        loop {
            if let Some(cursor) = self.cursor
                && self.attempts > 0
                && self.has_space(first + cursor, size_bytes)
            {
                self.attempts -= 1;
                return first + cursor;
            }
            let cursor = self.cursor.map_or(0, |cursor| (cursor + 1) % new);
            let weight = if cursor + self.groups.new >= new { new - cursor - 1 } else { self.groups.new };
            self.attempts = u32::try_from(weight).ok().and_then(|weight| 1_u32.checked_shl(weight)).unwrap_or(1 << 31);
            self.cursor = Some(cursor);
        }
    }

    fn store(&mut self, object: u32, size_bytes: u64) {
        if size_bytes > self.block_bytes {
            return;
        }
        let index = self.choose(size_bytes);
        if let Some(block) = self.queue.get_mut(index) {
            block.used_bytes += size_bytes;
            block.items.push((object, size_bytes));
            *self.objects.at(object) = Place { serial: block.serial, is_touched: false };
        }
    }

    fn recycle(&mut self) {
        while self.queue.len() > self.groups.old + self.groups.current + self.groups.new {
            let Some(block) = self.queue.pop_front() else { return };
            if self.old > 0 {
                self.old -= 1;
            } else {
                self.current = self.current.saturating_sub(1);
            }
            let mut left = match self.refresh {
                Refresh::OnTouch => 0,
                Refresh::AtRecycling { copied_percent } => self.block_bytes * copied_percent / 100,
            };
            for (object, size_bytes) in block.items {
                let place = self.objects.at(object);
                if place.serial != block.serial {
                    continue;
                }
                let is_copied = place.is_touched && size_bytes <= left;
                *place = Place::default();
                if is_copied {
                    left -= size_bytes;
                    self.copied_bytes += size_bytes;
                    self.store(object, size_bytes);
                }
            }
        }
    }
}

impl Policy for Blocks {
    fn access(&mut self, object: u32, size_bytes: u64) -> bool {
        let place = *self.objects.at(object);
        if place.serial == 0 {
            self.store(object, size_bytes);
            return false;
        }
        match self.refresh {
            Refresh::OnTouch => {
                let first_current = self.queue.get(self.old).map_or(0, |block| block.serial);
                if place.serial < first_current {
                    self.copied_bytes += size_bytes;
                    self.store(object, size_bytes);
                }
            }
            // The store does not count reads from its newest block. That changes a miss ratio by less than a hundredth
            // of it.
            Refresh::AtRecycling { .. } => self.objects.at(object).is_touched = true,
        }
        true
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}
