//! Hands out the rest of chunks to small objects, one after another: a chunk for each thread, so that threads do not
//! write into the same lines.

use super::Engine;
use super::reservation::Reservation;
use super::share::Requester;
use super::space::Space;
use crate::block::Claim;
use crate::device::SECTOR_BYTES;
use crate::machine::threads::thread_number;

/// The rest of a chunk, which small objects go to.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) block: u16,
    pub(super) generation: u32,
    /// Where in the block the rest begins.
    at: u64,
    rest: Claim,
}

impl Lane {
    /// What is not used yet, in bytes.
    pub(super) fn unused(&self) -> u64 {
        self.rest.len()
    }
}

impl Engine {
    /// Reserves space in the lane of this thread; `None` if a block must be recycled first.
    pub(super) fn reserve_in_lane(&self, space: &mut Space, length: u64, requester: Requester) -> Option<Reservation> {
        let number = thread_number() % space.lanes.len().max(1);
        let most = self.sizes.entries_per_block();
        if let Some(lane) = space.lanes.get(number)?
            && (lane.unused() < length || !self.has_log_space(space, lane.block, most))
        {
            self.close_lane(space, number);
        }
        if space.lanes.get(number)?.is_none() {
            let lane = self.open_lane(space, requester)?;
            // Opening one may have closed others, but opened none.
            *space.lanes.get_mut(number)? = Some(lane);
        }
        let round = space.round;
        let lane = space.lanes.get_mut(number)?.as_mut()?;
        let (block, generation, offset) = (lane.block, lane.generation, lane.at);
        let claim = lane.rest.split_to(length);
        lane.at += length;
        Some(Reservation::shared(block, generation, offset, length, claim, round))
    }

    /// A lane is what is left of a chunk.
    fn open_lane(&self, space: &mut Space, requester: Requester) -> Option<Lane> {
        // What is left of the chunk may be too little, so there must be room for that and an object.
        let block = self.choose(space, 2 * self.sizes.small_bytes(), requester)?;
        let (small, chunk) = (self.sizes.small_bytes(), self.sizes.chunk_bytes);
        let data_bytes = self.sizes.data_bytes;
        let usage = space.use_mut(block)?;
        let generation = usage.generation;
        let begin = usage.cursor;
        let mut at = begin;
        let mut end = (begin + 1).next_multiple_of(chunk).min(data_bytes);
        if end - begin < small {
            at = end;
            end = (end + chunk).min(data_bytes);
        }
        usage.cursor = end;
        self.pad(block, generation, begin..at);
        let rest = self.block(block)?.claim(&self.pool, generation, at..end)?;
        Some(Lane { block, generation, at, rest })
    }

    /// Gives up the rest of a lane.
    fn close_lane(&self, space: &mut Space, number: usize) {
        let Some(lane) = space.lanes.get_mut(number).and_then(Option::take) else { return };
        let Lane { block, generation, at, rest } = lane;
        if let Some(of) = self.block(block) {
            of.pad_claim(generation, at, rest, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }

    /// Gives up the rest of those lanes that lie in `block`.
    pub(super) fn close_lanes_in(&self, space: &mut Space, block: u16) {
        for number in 0..space.lanes.len() {
            if space.lanes.get(number).is_some_and(|lane| lane.as_ref().is_some_and(|lane| lane.block == block)) {
                self.close_lane(space, number);
            }
        }
    }

    /// Lets all lanes go on in a fresh sector. What was reserved in the sectors before and is not published yet never
    /// will be: see `docs/decisions/0011-puts-outside-locks.md`.
    pub(super) fn end_lane_sectors(&self, space: &mut Space) {
        space.round += 1;
        for number in 0..space.lanes.len() {
            let Some(Some(lane)) = space.lanes.get_mut(number) else { continue };
            let padding = (lane.at.next_multiple_of(SECTOR_BYTES) - lane.at).min(lane.unused());
            if padding > 0 {
                let (block, generation, at) = (lane.block, lane.generation, lane.at);
                let begun = lane.rest.split_to(padding);
                lane.at += padding;
                if let Some(of) = self.block(block) {
                    of.pad_claim(generation, at, begun, |chunk| self.queue_chunk(block, generation, chunk));
                }
            }
            if let Some(lane) = space.lanes.get_mut(number)
                && lane.as_ref().is_some_and(|lane| lane.unused() == 0)
            {
                *lane = None;
            }
        }
    }
}
