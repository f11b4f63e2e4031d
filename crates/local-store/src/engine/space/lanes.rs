//! Hands out the rest of chunks to small objects, one after another: a chunk for each thread, so that threads do not
//! write into the same lines.

use crate::block::Claim;
use crate::device::SECTOR_BYTES;
use crate::engine::blocks::Blocks;
use crate::machine::threads::thread_number;

use super::reservation::Reservation;

/// The rest of a chunk, which small objects go to.
#[derive(Debug)]
pub(super) struct Lane {
    block: u16,
    generation: u32,
    /// Where in the block the rest begins.
    at: u64,
    rest: Claim,
}

/// The lanes of a store, some of them closed.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Option<Lane>>,
    /// The number of syncs. A range that is reserved in one round and not published in it never is.
    round: u64,
}

impl Lane {
    pub(super) fn new(block: u16, generation: u32, at: u64, rest: Claim) -> Self {
        Self { block, generation, at, rest }
    }

    /// Returns the block that the lane lies in.
    pub(super) fn block(&self) -> u16 {
        self.block
    }

    /// Returns how much is not used yet, in bytes.
    pub(super) fn unused(&self) -> u64 {
        self.rest.len()
    }

    fn give_up(self, blocks: &Blocks) {
        blocks.pad_claim(self.block, self.generation, self.at, self.rest);
    }
}

impl Lanes {
    pub(super) fn new(count: u32) -> Self {
        Self { lanes: (0..count.max(1)).map(|_| None).collect(), round: 0 }
    }

    /// Returns the number of the lane that this thread keeps to.
    pub(super) fn own(&self) -> usize {
        thread_number() % self.lanes.len().max(1)
    }

    /// Returns the lane of this number, if it is open.
    pub(super) fn get(&self, number: usize) -> Option<&Lane> {
        self.lanes.get(number)?.as_ref()
    }

    /// Opens a lane that is closed.
    pub(super) fn open(&mut self, number: usize, lane: Lane) {
        if let Some(place) = self.lanes.get_mut(number) {
            *place = Some(lane);
        }
    }

    /// Reserves the next `length` bytes of a lane, which has as many; `None` if it is closed.
    pub(super) fn reserve(&mut self, number: usize, length: u64) -> Option<Reservation> {
        let lane = self.lanes.get_mut(number)?.as_mut()?;
        let offset = lane.at;
        let claim = lane.rest.split_to(length);
        lane.at += length;
        Some(Reservation::shared(lane.block, lane.generation, offset, length, claim, self.round))
    }

    /// Returns whether no sync has ended the sectors of a reservation that was made in `round`.
    pub(super) fn is_present(&self, round: u64) -> bool {
        self.round == round
    }

    /// Returns how much of a block lanes hold and have not used yet, in bytes.
    pub(super) fn unused_in(&self, block: u16) -> u64 {
        self.lanes.iter().flatten().filter(|lane| lane.block == block).map(Lane::unused).sum()
    }

    /// Gives up the rest of a lane.
    pub(super) fn close(&mut self, number: usize, blocks: &Blocks) {
        if let Some(lane) = self.lanes.get_mut(number).and_then(Option::take) {
            lane.give_up(blocks);
        }
    }

    /// Gives up the rest of the lanes that lie in `block`.
    pub(super) fn close_in(&mut self, block: u16, blocks: &Blocks) {
        for lane in &mut self.lanes {
            if let Some(lane) = lane.take_if(|lane| lane.block == block) {
                lane.give_up(blocks);
            }
        }
    }

    /// Lets all lanes go on in a fresh sector. A range that was reserved in an earlier sector and is not published yet
    /// never is: see `docs/decisions/0011-puts-outside-locks.md`.
    pub(super) fn end_sectors(&mut self, blocks: &Blocks) {
        self.round += 1;
        for place in &mut self.lanes {
            let Some(lane) = place else { continue };
            let padding = (lane.at.next_multiple_of(SECTOR_BYTES) - lane.at).min(lane.unused());
            if padding > 0 {
                let (offset, begun) = (lane.at, lane.rest.split_to(padding));
                lane.at += padding;
                blocks.pad_claim(lane.block, lane.generation, offset, begun);
            }
            if lane.unused() == 0 {
                *place = None;
            }
        }
    }
}
