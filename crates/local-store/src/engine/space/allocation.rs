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
        let mut reservation = self.reserve_in_lane(length, requester)?;
        reservation.grant(self.earn(length, requester));
        Some(reservation)
    }

    /// Reserves space in sectors of its own, whatever the length; `None` if a block must be recycled first.
    pub(in crate::engine) fn reserve_own(&mut self, length: u64, requester: Requester) -> Option<Reservation> {
        if !self.may_reserve(requester) {
            return None;
        }
        let padded = length.next_multiple_of(SECTOR_BYTES);
        let is_upload = requester == Requester::Upload;
        let mut left_unused = 0;
        let (block, offset) = if let Some(hole) = self.take_hole(padded) {
            hole
        } else if is_upload && let Some(ahead) = self.reserve_ahead(padded) {
            ahead
        } else if is_upload && self.must_wait(padded) {
            return None;
        } else {
            let unused = self.unused();
            let block = self.choose(padded, requester)?;
            let usage = self.use_mut(block)?;
            let offset = usage.cursor;
            usage.cursor += padded;
            left_unused = self.unused_since(&unused);
            (block, offset)
        };
        let chosen = self.neighbours.blocks.get(block);
        let pending = if self.neighbours.is_persistent { chosen.map(Block::keep_log_space) } else { None };
        let usage = self.use_mut(block)?;
        usage.is_dirty = true;
        let generation = usage.generation;
        let mut reservation = Reservation::own(block, generation, offset, padded, pending);
        reservation.grant(self.earn(length, requester));
        reservation.note_left_unused(left_unused);
        Some(reservation)
    }

    /// Returns whether an upload must wait until others have ended: a block would have to be given up for it, while
    /// failed uploads have cost more than one by now.
    pub(in crate::engine) fn must_wait(&self, length: u64) -> bool {
        self.spoiled > self.sizes.data_bytes
            && self.ahead.is_some()
            && !self.rotation.new_blocks().any(|block| self.has_room(block, length))
    }

    fn has_room(&self, block: u16, length: u64) -> bool {
        let Some(usage) = self.use_of(block) else { return false };
        let pending = self.neighbours.blocks.get(block).map_or(0, Block::pending);
        self.sizes.data_bytes.saturating_sub(usage.cursor) >= length
            && self.sizes.entries_per_block().is_none_or(|max_entries| usage.has_log_sector(pending, max_entries))
    }

    /// Reserves space for an upload that does not fit into the new blocks in a block that is not in use yet. So no block
    /// goes for an upload that fails. Returns the block, and where the space begins.
    fn reserve_ahead(&mut self, length: u64) -> Option<(u16, u64)> {
        // With fewer spare blocks, copies may need the last one.
        let is_possible = self.sizes.blocks >= self.sizes.live_blocks() + 3;
        if !is_possible || self.rotation.new_blocks().any(|block| self.has_room(block, length)) {
            return None;
        }
        let block = match self.ahead {
            Some(block) => block,
            None if self.free.len() > 2 => {
                let block = self.free.pop_front()?;
                self.begin_use(block);
                self.ahead = Some(block);
                block
            }
            None => return None,
        };
        if !self.has_room(block, length) {
            return None;
        }
        let usage = self.use_mut(block)?;
        let offset = usage.cursor;
        usage.cursor += length;
        Some((block, offset))
    }

    /// Makes the block of a reservation that is published now a new one, if it is not in use yet.
    pub(in crate::engine) fn adopt(&mut self, reservation: &Reservation) {
        if self.ahead != Some(reservation.block()) {
            return;
        }
        self.ahead = None;
        let before: Vec<u16> = self.rotation.new_blocks().collect();
        self.rotation.add(reservation.block());
        self.neighbours.ages.note_begun(reservation.generation());
        for block in before {
            if !self.is_new(block) {
                self.leave_new(block);
            }
        }
        self.note_old();
    }

    /// Returns how much of each new block is unused, in bytes.
    fn unused(&self) -> Vec<(u16, u64)> {
        let unused = |block| self.use_of(block).map_or(0, |usage| self.sizes.data_bytes.saturating_sub(usage.cursor));
        self.rotation.new_blocks().map(|block| (block, unused(block))).collect()
    }

    /// Returns how much of blocks that are no longer new was left unused, in bytes.
    fn unused_since(&self, before: &[(u16, u64)]) -> u64 {
        before.iter().filter(|(block, _)| !self.is_new(*block)).map(|(_, unused)| unused).sum()
    }

    /// Notes that a put or an upload is published, which takes `length` bytes: it makes up for some that failed.
    pub(in crate::engine) fn note_success(&mut self, length: u64) {
        self.spoiled = self.spoiled.saturating_sub(length / 8);
    }

    /// Takes `length` bytes that a put gave back, in a block that is new. Returns the block, and where they begin.
    fn take_hole(&mut self, length: u64) -> Option<(u16, u64)> {
        let Self { rotation, uses, sizes, neighbours, ahead, .. } = self;
        let max_entries = sizes.entries_per_block();
        rotation.new_blocks().chain(*ahead).find_map(|block| {
            let usage = uses.get_mut(usize::from(block))?;
            let pending = neighbours.blocks.get(block).map_or(0, Block::pending);
            if max_entries.is_some_and(|max_entries| !usage.has_log_sector(pending, max_entries)) {
                return None;
            }
            Some((block, usage.take_hole(length)?))
        })
    }

    fn may_reserve(&self, requester: Requester) -> bool {
        // Once copies have begun the block that is left to them, it is theirs, until another one is free.
        requester == Requester::Copy || !self.free.is_empty()
    }

    fn earn(&mut self, length: u64, requester: Requester) -> u64 {
        match requester {
            Requester::Put | Requester::Upload => self.share.earn(self.sizes.counted_stored(length)),
            Requester::Copy | Requester::Refresh => 0,
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

    /// Takes back a reservation with sectors of its own that is not going to be published. While its block is new, all of
    /// the space comes back.
    pub(in crate::engine) fn take_back(&mut self, reservation: Reservation) {
        let (block, generation, range) = (reservation.block(), reservation.generation(), reservation.range());
        self.share.waste(reservation.granted());
        self.spoiled = self.spoiled.saturating_add(reservation.left_unused());
        reservation.release(&self.neighbours.blocks);
        let is_new = self.is_new(block) || self.ahead == Some(block);
        let is_noted = match self.use_mut(block) {
            Some(usage) if usage.generation == generation && is_new => usage.give_back(range.clone()),
            Some(_) | None => false,
        };
        if !is_noted {
            self.neighbours.blocks.pad(block, generation, range);
        }
    }

    /// Returns a new block with `length` bytes of space. Blocks that are no longer new are closed.
    fn choose(&mut self, length: u64, requester: Requester) -> Option<u16> {
        let max_entries = self.sizes.entries_per_block();
        let data_bytes = self.sizes.data_bytes;
        let kept = match requester {
            Requester::Put | Requester::Upload | Requester::Refresh => 1,
            Requester::Copy => 0,
        };
        let before: Vec<u16> = self.rotation.new_blocks().collect();
        let (mut begun, mut adopted) = (Vec::new(), None);
        let Self { rotation, uses, free, neighbours, ahead, .. } = self;
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
                if let Some(block) = ahead.take() {
                    adopted = Some(block);
                    return Some(block);
                }
                if free.len() <= kept {
                    return None;
                }
                let block = free.pop_front()?;
                begun.push(block);
                Some(block)
            }),
        };
        for block in adopted.into_iter().chain(begun.iter().copied()) {
            if begun.contains(&block) {
                self.begin_use(block);
            }
            let generation = self.use_of(block).map_or(0, |usage| usage.generation);
            self.neighbours.ages.note_begun(generation);
        }
        for block in before {
            if !self.is_new(block) {
                if matches!(requester, Requester::Copy | Requester::Refresh) && length > data_bytes / 16 {
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
    }

    /// Closes a block that nothing more is going to be reserved in: its last chunk is padded.
    fn leave_new(&mut self, block: u16) {
        self.lanes.close_in(block, &self.neighbours.blocks);
        let chunk = self.sizes.chunk_bytes;
        if let Some(usage) = self.uses.get_mut(usize::from(block)) {
            let begin = usage.cursor;
            usage.cursor = begin.next_multiple_of(chunk);
            self.neighbours.blocks.pad(block, usage.generation, begin..usage.cursor);
            for hole in usage.take_holes() {
                self.neighbours.blocks.pad(block, usage.generation, hole);
            }
        }
    }
}
