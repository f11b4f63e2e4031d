//! Takes blocks out of use, and accounts for the share of copies.

use super::block_use::BlockUse;
use super::{Purpose, Space};
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::persistence::Quarantined;
use crate::persistence::superblock::MAX_QUARANTINED;

impl Space {
    /// Returns the block that is to be recycled next, if one is: one that is retiring, or the oldest, where there are
    /// more blocks than old, current and new together.
    pub(in crate::engine) fn next_to_recycle(&self) -> Option<u16> {
        let is_needed = self.rotation.blocks().len() > casts::index(self.sizes.live_blocks());
        self.retiring.first().copied().or_else(|| self.rotation.oldest().filter(|_| is_needed))
    }

    /// Keeps the records of a block where they are in the map. From now on, none is added to the block, and a thread
    /// that touches one of them knows that it may be too late.
    pub(in crate::engine) fn begin_copying(&mut self, block: u16) {
        self.map.pin(Some(block));
        if let Some(copied) = self.neighbours.blocks.get(block) {
            copied.begin_copying();
        }
    }

    /// Takes a block out of use that no record names.
    pub(in crate::engine) fn end_use(&mut self, block: u16) {
        self.rotation.remove(block);
        self.retiring.retain(|retiring| *retiring != block);
        self.lanes.close_in(block, &self.neighbours.blocks);
        self.note_old();
        self.map.pin(None);
        self.note_change();
        self.accounts.release_block(block);
        if let Some(usage) = self.use_mut(block) {
            let generation = std::mem::take(usage).generation;
            self.quarantined.retain(|record| record.generation != generation);
        }
        self.neighbours.blocks.end(block);
    }

    /// Makes a block free whose use has ended, and that no superblock vouches for.
    pub(in crate::engine) fn add_free(&mut self, block: u16) {
        if let Some(usage) = self.use_mut(block) {
            *usage = BlockUse::default();
        }
        self.free.push_back(block);
    }

    /// Notes that a record failed verification. Returns whether there was room for it in the list.
    pub(in crate::engine) fn quarantine(&mut self, record: Quarantined) -> bool {
        let has_room = self.quarantined.len() < MAX_QUARANTINED;
        if has_room {
            self.quarantined.push(record);
            self.note_change();
        }
        has_room
    }

    /// Has a block recycled before its turn, and with it all older ones if `with_older`, the oldest first. Nothing more is
    /// put into them.
    pub(in crate::engine) fn retire(&mut self, block: u16, with_older: bool) {
        let Some(position) = self.position(block) else { return };
        let first = if with_older { 0 } else { position };
        let retiring: Vec<u16> = self.rotation.blocks().skip(first).take(position - first + 1).collect();
        for block in retiring {
            if let Some(usage) = self.use_mut(block) {
                usage.is_retiring = true;
            }
        }
        let is_retiring = |block: &u16| self.use_of(*block).is_some_and(|usage| usage.is_retiring);
        self.retiring = self.rotation.blocks().filter(is_retiring).collect();
        self.news.needs_upkeep = true;
    }

    /// Returns whether a block is to be recycled before its turn.
    pub(in crate::engine) fn is_retiring(&self, block: u16) -> bool {
        self.retiring.contains(&block)
    }

    /// Takes the cost of copying a record from the share of copies. Returns whether that much was left.
    pub(in crate::engine) fn draw_share(&mut self, record: &Record, purpose: Purpose) -> bool {
        let cost = self.sizes.cost(record.location.size_bytes);
        self.share.draw(purpose, cost)
    }

    /// Sets aside the cost of copying a promised record, if that much is left.
    pub(in crate::engine) fn set_aside(&mut self, record: &Record) {
        let cost = self.sizes.cost(record.location.size_bytes);
        self.share.set_aside(record.sequence, cost);
    }

    /// Gives back the share that was set aside and not drawn.
    pub(in crate::engine) fn settle_share(&mut self) {
        self.share.settle();
    }
}
