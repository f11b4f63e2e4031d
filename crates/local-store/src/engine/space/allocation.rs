//! Reserves ranges of blocks, and begins blocks for them.

use std::time::UNIX_EPOCH;

use super::block_use::BlockUse;
use super::lanes::Lane;
use super::{Requester, Reservation, Space};
use crate::block::{Block, Choice};
use crate::device::SECTOR_BYTES;
use crate::machine::random;

impl Space {
    /// Reserves space for an object that takes `length` bytes; `None` if a block must be recycled first.
    pub(in crate::engine) fn reserve(&mut self, length: u64, requester: Requester) -> Option<Reservation> {
        if length > self.sizes.small_bytes() {
            return self.reserve_own(length, requester);
        }
        if !self.may_reserve(requester) {
            return None;
        }
        let reservation = self.reserve_in_lane(length, requester)?;
        self.earn(length, requester);
        Some(reservation)
    }

    /// Reserves space in sectors of its own, whatever the length; `None` if a block must be recycled first.
    pub(in crate::engine) fn reserve_own(&mut self, length: u64, requester: Requester) -> Option<Reservation> {
        if !self.may_reserve(requester) {
            return None;
        }
        let padded = length.next_multiple_of(SECTOR_BYTES);
        let block = self.choose(padded, requester)?;
        let chosen = self.neighbours.blocks.get(block);
        let pending = if self.neighbours.is_persistent { chosen.map(Block::keep_log_space) } else { None };
        let usage = self.use_mut(block)?;
        let (generation, offset) = (usage.generation, usage.cursor);
        usage.cursor += padded;
        usage.is_dirty = true;
        self.earn(length, requester);
        Some(Reservation::own(block, generation, offset, padded, pending))
    }

    fn may_reserve(&self, requester: Requester) -> bool {
        // Once copies have begun the block that is left to them, it is theirs, until another one is free.
        requester == Requester::Copy || !self.free.is_empty()
    }

    fn earn(&mut self, length: u64, requester: Requester) {
        if requester == Requester::Put {
            self.share.earn(self.sizes.counted_stored(length));
        }
    }

    /// Reserves space in the lane of this thread; `None` if a block must be recycled first.
    fn reserve_in_lane(&mut self, length: u64, requester: Requester) -> Option<Reservation> {
        let number = self.lanes.own();
        if let Some(lane) = self.lanes.get(number)
            && (lane.unused() < length || !self.has_log_space(lane.block()))
        {
            self.lanes.close(number, &self.neighbours.blocks);
        }
        if self.lanes.get(number).is_none() {
            // Opening a lane may close others, but opens none.
            let lane = self.open_lane(requester)?;
            self.lanes.open(number, lane);
        }
        self.lanes.reserve(number, length)
    }

    /// Returns a lane: the rest of a chunk.
    fn open_lane(&mut self, requester: Requester) -> Option<Lane> {
        let (small, chunk) = (self.sizes.small_bytes(), self.sizes.chunk_bytes);
        let data_bytes = self.sizes.data_bytes;
        // The rest of the chunk may be too little, so there must be room for that and an object.
        let block = self.choose(2 * small, requester)?;
        let usage = self.use_mut(block)?;
        let generation = usage.generation;
        let begin = usage.cursor;
        let mut at = begin;
        let mut end = (begin + 1).next_multiple_of(chunk).min(data_bytes);
        if end - begin < small {
            at = end;
            end = (end + chunk).min(data_bytes);
        }
        usage.cursor = end;
        let blocks = &self.neighbours.blocks;
        blocks.pad(block, generation, begin..at);
        let rest = blocks.claim(block, generation, at..end)?;
        Some(Lane::new(block, generation, at, rest))
    }

    /// Returns whether a reservation can still be published: its block takes objects, and no sync has ended its sectors.
    pub(in crate::engine) fn is_good(&self, reservation: &Reservation) -> bool {
        let block = reservation.block();
        let is_in_time = reservation.round().is_none_or(|round| {
            (self.lanes.is_present(round) || !self.neighbours.is_persistent) && self.has_log_space(block)
        });
        // Once touched objects are being copied, nothing is added to a block.
        is_in_time
            && self
                .neighbours
                .blocks
                .get(block)
                .is_some_and(|written| written.is(reservation.generation()) && !written.is_copying())
    }

    /// Takes back a reservation with sectors of its own that nothing was written to, if nothing follows it. Returns
    /// whether nothing did.
    pub(in crate::engine) fn take_back(&mut self, reservation: &Reservation) -> bool {
        match self.use_mut(reservation.block()) {
            Some(usage) if usage.generation == reservation.generation() && usage.cursor == reservation.end() => {
                usage.cursor = reservation.offset();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Returns a new block with `length` bytes of space. Blocks that are no longer new are closed.
    fn choose(&mut self, length: u64, requester: Requester) -> Option<u16> {
        let max_entries = self.sizes.entries_per_block();
        let data_bytes = self.sizes.data_bytes;
        let kept = match requester {
            Requester::Put | Requester::Refresh => 1,
            Requester::Copy => 0,
        };
        let before: Vec<u16> = self.rotation.new_blocks().collect();
        let mut begun = Vec::new();
        let Self { rotation, uses, free, neighbours, .. } = self;
        let has_space = |block: u16| {
            // A block that has just been taken is not begun yet, and empty.
            uses.get(usize::from(block)).is_some_and(|usage| {
                usage.generation == 0
                    || (data_bytes.saturating_sub(usage.cursor) >= length
                        && max_entries.is_none_or(|max_entries| {
                            let pending = neighbours.blocks.get(block).map_or(0, Block::pending);
                            usage.has_log_sector(pending, max_entries)
                        }))
            })
        };
        // A large object goes to any new block that has room, rather than making the first one give up its rest.
        let first = rotation.new_blocks().next();
        let other = first.filter(|first| !has_space(*first)).and_then(|_| {
            let mut new = rotation.new_blocks();
            new.find(|block| has_space(*block))
        });
        let choice = match other.filter(|_| length > 2 * self.sizes.small_bytes()) {
            Some(block) => Choice::Block(block),
            None => rotation.choose(has_space, || {
                if free.len() <= kept {
                    return None;
                }
                let block = free.pop_front()?;
                begun.push(block);
                Some(block)
            }),
        };
        for block in begun {
            self.begin_use(block);
        }
        for block in before {
            if !self.is_new(block) {
                if requester != Requester::Put && length > data_bytes / 16 {
                    let left = self.use_of(block).map_or(0, |usage| data_bytes.saturating_sub(usage.cursor));
                    self.share.waste(left);
                }
                self.leave_new(block);
            }
        }
        self.note_old();
        match choice {
            Choice::Block(block) => Some(block),
            Choice::NeedsBlock => None,
        }
    }

    /// Notes which blocks are old.
    pub(super) fn note_old(&self) {
        let (old, ..) = self.rotation.groups();
        let youngest = old.checked_sub(1).and_then(|position| self.rotation.blocks().nth(position));
        let generation = youngest.and_then(|block| self.use_of(block)).map_or(0, |usage| usage.generation);
        self.neighbours.ages.note_old(generation);
    }

    fn begin_use(&mut self, block: u16) {
        let generation = self.next_generation;
        self.next_generation += 1;
        self.note_change();
        self.news.needs_upkeep = true;
        let now = self.neighbours.clock.now().duration_since(UNIX_EPOCH);
        let begun_at = now.map_or(0, |since| since.as_secs());
        if let Some(usage) = self.use_mut(block) {
            *usage = BlockUse::new(generation, random::number(), begun_at);
        }
        if let Some(begun) = self.neighbours.blocks.get(block) {
            begun.begin(generation);
        }
        self.neighbours.ages.note_begun(generation);
    }

    /// Closes a block that nothing more is going to be reserved in: its last chunk is padded.
    fn leave_new(&mut self, block: u16) {
        self.lanes.close_in(block, &self.neighbours.blocks);
        let chunk = self.sizes.chunk_bytes;
        if let Some(usage) = self.uses.get_mut(usize::from(block)) {
            let begin = usage.cursor;
            usage.cursor = begin.next_multiple_of(chunk);
            self.neighbours.blocks.pad(block, usage.generation, begin..usage.cursor);
        }
    }
}
