//! Ranges of blocks that are their writers' own, until they are published or given up.

use crate::block::{Claim, Pending};
use crate::engine::blocks::Blocks;

/// A range of a block that is the holder's to write.
///
/// It ends in one of two ways: it is published, or given up by `Engine::abandon`.
#[derive(Debug)]
pub(in crate::engine) struct Reservation {
    block: u16,
    generation: u32,
    offset: u64,
    /// The length with padding, in bytes.
    length: u64,
    sectors: Sectors,
}

/// The kinds of sectors that a reservation may have.
#[derive(Debug)]
enum Sectors {
    /// Sectors of a lane, which others write to as well.
    Shared {
        /// `None` once it is given back.
        claim: Option<Claim>,
        round: u64,
    },
    /// Sectors of its own. Room for its entry is kept, as writing may take long.
    Own { _pending: Option<Pending> },
}

impl Reservation {
    pub(super) fn shared(block: u16, generation: u32, offset: u64, length: u64, claim: Claim, round: u64) -> Self {
        let sectors = Sectors::Shared { claim: Some(claim), round };
        Self { block, generation, offset, length, sectors }
    }

    pub(super) fn own(block: u16, generation: u32, offset: u64, length: u64, pending: Option<Pending>) -> Self {
        Self { block, generation, offset, length, sectors: Sectors::Own { _pending: pending } }
    }

    /// Returns the block that the range lies in.
    pub(in crate::engine) fn block(&self) -> u16 {
        self.block
    }

    /// Returns the generation that the block had when the range was reserved.
    pub(in crate::engine) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns where in the block the range begins.
    pub(in crate::engine) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns where in the block the range ends, padding included.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// Returns the round in which the range was reserved; `None` if its sectors are its own.
    pub(super) fn round(&self) -> Option<u64> {
        match self.sectors {
            Sectors::Shared { round, .. } => Some(round),
            Sectors::Own { .. } => None,
        }
    }

    /// Returns whether the sectors of the range are its own.
    pub(in crate::engine) fn has_own_sectors(&self) -> bool {
        self.round().is_none()
    }

    /// Writes `bytes` from position `at` of the range on, under no lock but for a moment.
    pub(in crate::engine) fn write(&mut self, blocks: &Blocks, at: u64, bytes: &[u8]) {
        match &mut self.sectors {
            Sectors::Shared { claim: Some(claim), .. } => claim.write(at, bytes),
            Sectors::Shared { claim: None, .. } => {}
            Sectors::Own { .. } => blocks.write(self.block, self.generation, self.offset + at, bytes),
        }
    }

    /// Ends writing right before the range is published, with its first `written` bytes written.
    pub(in crate::engine) fn finish(&mut self, blocks: &Blocks, written: u64) {
        self.give_back(blocks, written, true);
    }

    /// Makes the range padding, with its first `written` bytes written.
    pub(in crate::engine) fn make_padding(mut self, blocks: &Blocks, written: u64) {
        // Not dirty: a superblock may vouch for a shared sector by now, so the sector is not written any more.
        self.give_back(blocks, written, false);
    }

    fn give_back(&mut self, blocks: &Blocks, written: u64, is_dirty: bool) {
        match &mut self.sectors {
            Sectors::Shared { claim, .. } => {
                if let Some(claim) = claim.take() {
                    blocks.commit(self.block, self.generation, claim, is_dirty);
                }
            }
            Sectors::Own { .. } => blocks.pad(self.block, self.generation, self.offset + written..self.end()),
        }
    }
}
