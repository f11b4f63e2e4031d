//! Ranges of blocks that are their writers' own, until they are published or given up.

use std::ops::Range;

use super::Engine;
use super::share::Requester;
use super::space::Space;
use crate::block::{Block, Claim, Pending};
use crate::device::SECTOR_BYTES;

/// A range of a block that is the caller's to write.
///
/// It ends in one of two ways: it is published, or [abandoned](Engine::abandon).
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) block: u16,
    pub(super) generation: u32,
    pub(super) offset: u64,
    /// With padding.
    pub(super) length: u64,
    kind: Sectors,
}

/// Whose the sectors of a reservation are.
#[derive(Debug)]
enum Sectors {
    /// Those of a lane, and so of others as well.
    Shared {
        /// `None` once it is given back.
        claim: Option<Claim>,
        round: u64,
    },
    /// Its own. Room for its entry is kept, as it may take long.
    Own { _pending: Option<Pending> },
}

impl Reservation {
    pub(super) fn shared(block: u16, generation: u32, offset: u64, length: u64, claim: Claim, round: u64) -> Self {
        let kind = Sectors::Shared { claim: Some(claim), round };
        Self { block, generation, offset, length, kind }
    }

    fn own(block: u16, generation: u32, offset: u64, length: u64, pending: Option<Pending>) -> Self {
        Self { block, generation, offset, length, kind: Sectors::Own { _pending: pending } }
    }
}

impl Engine {
    /// Reserves space for an object that takes `length` bytes; `None` if a block must be recycled first.
    pub(super) fn reserve(&self, space: &mut Space, length: u64, requester: Requester) -> Option<Reservation> {
        if length > self.sizes.small_bytes() {
            return self.reserve_own(space, length, requester);
        }
        let may_reserve = Self::may_reserve(space, requester);
        let reservation = if may_reserve { self.reserve_in_lane(space, length, requester)? } else { return None };
        self.earn(space, length, requester);
        Some(reservation)
    }

    /// The same in sectors of its own, whatever its size.
    pub(super) fn reserve_own(&self, space: &mut Space, length: u64, requester: Requester) -> Option<Reservation> {
        if !Self::may_reserve(space, requester) {
            return None;
        }
        let padded = length.next_multiple_of(SECTOR_BYTES);
        let block = self.choose(space, padded, requester)?;
        let pending = if self.is_persistent() { self.block(block).map(Block::keep_log_space) } else { None };
        let usage = space.use_mut(block)?;
        let (generation, offset) = (usage.generation, usage.cursor);
        usage.cursor += padded;
        usage.is_dirty = true;
        self.earn(space, length, requester);
        Some(Reservation::own(block, generation, offset, padded, pending))
    }

    fn may_reserve(space: &Space, requester: Requester) -> bool {
        // Once copies have begun the block that is left to them, it is theirs, until another one is free.
        requester == Requester::Copy || !space.free.is_empty()
    }

    fn earn(&self, space: &mut Space, length: u64, requester: Requester) {
        if requester == Requester::Put {
            space.share.earn(self.sizes.counted_stored(length));
        }
    }

    /// Whether a reservation can still be published: its block takes objects, and no sync has ended its sectors.
    pub(super) fn is_good(&self, space: &Space, reservation: &Reservation) -> bool {
        let Reservation { block, generation, .. } = *reservation;
        let is_in_time = match reservation.kind {
            Sectors::Shared { round, .. } => {
                (round == space.round || !self.is_persistent())
                    && self.has_log_space(space, block, self.sizes.entries_per_block())
            }
            Sectors::Own { .. } => true,
        };
        // Once what was touched is being copied, nothing is added to a block.
        is_in_time && self.block(block).is_some_and(|of| of.is(generation) && !of.is_copying())
    }

    /// Writes into a reservation, under no lock but for a moment.
    pub(super) fn write(&self, reservation: &mut Reservation, at: u64, bytes: &[u8]) {
        let Reservation { block, generation, offset, .. } = *reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim: Some(claim), .. } => claim.write(at, bytes),
            Sectors::Shared { claim: None, .. } => {}
            Sectors::Own { .. } => {
                if let Some(of) = self.block(block) {
                    let queue = |chunk| self.queue_chunk(block, generation, chunk);
                    of.write(&self.pool, generation, offset + at, bytes, queue);
                }
            }
        }
    }

    /// Ends writing into a reservation, of which the first `at` bytes are written, right before it is published.
    pub(super) fn pad_rest(&self, reservation: &mut Reservation, at: u64) {
        let Reservation { block, generation, offset, length, .. } = *reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim, .. } => {
                if let (Some(claim), Some(of)) = (claim.take(), self.block(block)) {
                    of.commit(generation, claim, true, |chunk| self.queue_chunk(block, generation, chunk));
                }
            }
            Sectors::Own { .. } => self.pad(block, generation, offset + at..offset + length),
        }
    }

    /// Gives up a reservation of which the first `at` bytes are written. It becomes padding; its sectors come back if
    /// nothing was written and nothing follows.
    pub(super) fn abandon(&self, mut reservation: Reservation, at: u64) {
        let Reservation { block, generation, offset, length, .. } = reservation;
        match &mut reservation.kind {
            Sectors::Shared { claim, .. } => {
                if let (Some(claim), Some(of)) = (claim.take(), self.block(block)) {
                    // Not dirty: a superblock may vouch for the sector by now, so it is not written any more.
                    of.commit(generation, claim, false, |chunk| self.queue_chunk(block, generation, chunk));
                }
            }
            Sectors::Own { .. } => {
                if at == 0 {
                    let mut space = self.space();
                    if let Some(usage) = space.use_mut(block)
                        && usage.generation == generation
                        && usage.cursor == offset + length
                    {
                        usage.cursor = offset;
                        return;
                    }
                }
                self.pad(block, generation, offset + at..offset + length);
            }
        }
    }

    pub(super) fn pad(&self, block: u16, generation: u32, range: Range<u64>) {
        if let Some(of) = self.block(block) {
            of.pad(&self.pool, generation, range, |chunk| self.queue_chunk(block, generation, chunk));
        }
    }
}
