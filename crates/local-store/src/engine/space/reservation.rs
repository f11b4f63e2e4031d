//! Ranges of blocks that are their writers' own, until they are published or given up.

use std::ops::Range;

use crate::block::{Claim, Pending};
use crate::engine::blocks::Blocks;
use crate::machine::casts;

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
    /// The bytes that copies were granted for it, and that go with it if it is given up.
    granted: u64,
    /// The bytes that other blocks were left with unused, to make room for it.
    left_unused: u64,
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
    Own { _pending: Option<Pending>, held: Held },
}

/// The written part of a range with sectors of its own, as far as it is still the writer's alone.
///
/// Nothing of it is shared before the range is published, but for whole chunks that go to a device: those are given back
/// as they are. So a range that is given up leaves no trace.
#[derive(Debug, Default)]
struct Held {
    /// Places that follow each other, one a chunk; the last one may be filled in part.
    claims: Vec<Claim>,
    /// The chunks that were let go to the device.
    gone: Vec<usize>,
}

impl Reservation {
    pub(super) fn shared(block: u16, generation: u32, offset: u64, length: u64, claim: Claim, round: u64) -> Self {
        let sectors = Sectors::Shared { claim: Some(claim), round };
        Self { block, generation, offset, length, granted: 0, left_unused: 0, sectors }
    }

    pub(super) fn own(block: u16, generation: u32, offset: u64, length: u64, pending: Option<Pending>) -> Self {
        let sectors = Sectors::Own { _pending: pending, held: Held::default() };
        Self { block, generation, offset, length, granted: 0, left_unused: 0, sectors }
    }

    /// Notes what copies were granted for the range, in bytes.
    pub(super) fn grant(&mut self, granted: u64) {
        self.granted = granted;
    }

    /// Notes what other blocks were left with unused, in bytes.
    pub(super) fn note_left_unused(&mut self, bytes: u64) {
        self.left_unused = bytes;
    }

    /// Returns what other blocks were left with unused, in bytes.
    pub(super) fn left_unused(&self) -> u64 {
        self.left_unused
    }

    /// Returns what copies were granted for the range, in bytes.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Returns where in its block the range lies.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.length
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

    /// Writes `bytes` from position `at` of the range on, under no lock but for a moment. In sectors of its own, each
    /// write goes on where the last one ended.
    pub(in crate::engine) fn write(&mut self, blocks: &Blocks, at: u64, bytes: &[u8]) {
        let (block, generation, range) = (self.block, self.generation, self.range());
        match &mut self.sectors {
            Sectors::Shared { claim: Some(claim), .. } => claim.write(at, bytes),
            Sectors::Shared { claim: None, .. } => {}
            Sectors::Own { held, .. } => held.write(blocks, (block, generation, &range), range.start + at, bytes),
        }
    }

    /// Returns `length` bytes from position `at` of the range on, by chunk, with their positions: `None` of those that
    /// went to the device. The sectors are its own.
    pub(in crate::engine) fn parts(&self, chunk_bytes: u64, at: u64, length: u64) -> Vec<(Range<u64>, Option<&[u8]>)> {
        let Sectors::Own { held, .. } = &self.sectors else { return Vec::new() };
        let (mut from, end) = (self.offset + at, self.offset + at + length);
        let mut parts = Vec::new();
        while from < end {
            let number = from / chunk_bytes;
            let to = end.min((number + 1) * chunk_bytes);
            let claim = held.claims.binary_search_by_key(&casts::in_memory(number), Claim::chunk);
            let bytes = claim.ok().and_then(|claim| held.claims.get(claim)).and_then(|claim| {
                let begin = claim.offset(chunk_bytes);
                claim.bytes().get(casts::in_memory(from - begin)..casts::in_memory(to - begin))
            });
            parts.push((from - self.offset..to - self.offset, bytes));
            from = to;
        }
        parts
    }

    /// Ends writing right before the range is published, with its first `written` bytes written.
    pub(in crate::engine) fn finish(&mut self, blocks: &Blocks, written: u64) {
        let (block, generation, range) = (self.block, self.generation, self.range());
        match &mut self.sectors {
            Sectors::Shared { claim, .. } => {
                if let Some(claim) = claim.take() {
                    blocks.commit(block, generation, claim, true);
                }
            }
            Sectors::Own { held, .. } => {
                let begun = held.finish(blocks, block, generation, range.start + written);
                blocks.pad(block, generation, begun..range.end);
            }
        }
    }

    /// Makes a range of shared sectors padding.
    pub(in crate::engine) fn make_padding(self, blocks: &Blocks) {
        if let Sectors::Shared { claim: Some(claim), .. } = self.sectors {
            // Not dirty: a superblock may vouch for the sector by now, so it is not written any more.
            blocks.commit(self.block, self.generation, claim, false);
        }
    }

    /// Gives back a range with sectors of its own, as if nothing had been written to it.
    pub(super) fn release(self, blocks: &Blocks) {
        if let Sectors::Own { held, .. } = self.sectors {
            for claim in held.claims {
                blocks.unclaim(self.block, self.generation, claim);
            }
            for chunk in held.gone {
                blocks.reset(self.block, self.generation, chunk);
            }
        }
    }
}

impl Held {
    fn write(
        &mut self,
        blocks: &Blocks,
        (block, generation, range): (u16, u32, &Range<u64>),
        mut from: u64,
        mut bytes: &[u8],
    ) {
        let chunk_bytes = blocks.chunk_bytes();
        while !bytes.is_empty() {
            let number = casts::in_memory(from / chunk_bytes);
            if self.claims.last().is_none_or(|claim| claim.chunk() != number) {
                // All of the range that lies in the chunk, so that it is claimed once.
                let end = range.end.min((from / chunk_bytes + 1) * chunk_bytes);
                let Some(claim) = blocks.claim(block, generation, from..end) else { return };
                self.claims.push(claim);
            }
            let Some(claim) = self.claims.last_mut() else { return };
            let within = from - claim.offset(chunk_bytes);
            let length = casts::on_device(bytes.len()).min(claim.len() - within);
            if length == 0 {
                return;
            }
            let (now, later) = bytes.split_at(casts::in_memory(length));
            claim.write(within, now);
            let is_whole = within + length == chunk_bytes;
            (from, bytes) = (from + length, later);
            if is_whole
                && blocks.is_on_device()
                && let Some(claim) = self.claims.pop()
            {
                self.gone.push(claim.chunk());
                blocks.commit(block, generation, claim, true);
            }
        }
    }

    /// Lets go of everything up to `end`, and gives up what was claimed beyond it. Returns where that ends.
    fn finish(&mut self, blocks: &Blocks, block: u16, generation: u32, end: u64) -> u64 {
        let claimed = self.claims.last().map_or(end, |claim| claim.offset(blocks.chunk_bytes()) + claim.len());
        for mut claim in self.claims.drain(..) {
            let begin = claim.offset(blocks.chunk_bytes());
            let written = claim.split_to(end.saturating_sub(begin).min(claim.len()));
            blocks.commit(block, generation, written, true);
            blocks.pad_claim(block, generation, end.max(begin), claim);
        }
        self.gone.clear();
        claimed
    }
}
