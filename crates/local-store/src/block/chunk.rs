//! A piece of a block in memory: claimed and written in parts, then shared with readers, then perhaps only on a device.

use std::ops::Range;

use bytes::Bytes;

use super::memory::{Place, Written};

/// The memory of a chunk.
#[derive(Debug, Default)]
enum ChunkState {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Some of it is written, some is being written, some is to come.
    Open {
        length: usize,
        /// The ranges that no writer has claimed, in no order.
        unclaimed: Vec<Place>,
        /// The ranges that are written, which do not meet, in no order.
        written: Vec<Written>,
    },
    /// All of it is written; the bytes are the same, as readers of a part share them.
    Full { all: Written, bytes: Bytes },
    /// It is on the device only.
    OnDevice,
}

/// A piece of a block. Its lock is held to claim, to commit and to look; never while bytes are copied.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The generation of the use of the block that this belongs to.
    generation: u32,
    held: ChunkState,
    /// The ranges that are written but not yet on the device, which do not overlap, in no order.
    dirty: Vec<Range<usize>>,
    /// The ranges that were given up before the chunk had memory, which do not overlap, in no order.
    given_up: Vec<Range<usize>>,
}

/// The part of a range that a chunk has in memory.
#[derive(Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    /// It is written, in a chunk of which some is not.
    Written(Written),
    OnDevice,
    /// The block is in another use.
    Gone,
}

impl Chunk {
    /// Claims a range that nobody has claimed yet. `fresh` makes the memory for a chunk that has none.
    pub(super) fn claim(
        &mut self,
        generation: u32,
        range: &Range<usize>,
        fresh: impl FnOnce() -> Option<Place>,
    ) -> Option<Place> {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        if let ChunkState::Nothing = self.held {
            let all = fresh()?;
            self.held = ChunkState::Open { length: all.len(), unclaimed: vec![all], written: Vec::new() };
            for range in std::mem::take(&mut self.given_up) {
                let place = self.take(&range);
                if let (Some(place), ChunkState::Open { written, .. }) = (place, &mut self.held) {
                    note(written, place.into_written());
                }
            }
        }
        self.take(range)
    }

    /// Takes a range out of those that nobody has claimed.
    fn take(&mut self, range: &Range<usize>) -> Option<Place> {
        let ChunkState::Open { unclaimed, .. } = &mut self.held else { return None };
        let holds = |place: &Place| place.range().start <= range.start && range.end <= place.range().end;
        let at = unclaimed.iter().position(holds)?;
        let mut before = unclaimed.swap_remove(at);
        let mut claimed = before.split_off(range.start - before.range().start);
        let after = claimed.split_off(range.len());
        unclaimed.extend([before, after].into_iter().filter(|place| place.len() > 0));
        Some(claimed)
    }

    /// Takes back what was claimed, so that others can claim it.
    pub(super) fn unclaim(&mut self, generation: u32, mut place: Place) {
        let ChunkState::Open { unclaimed, .. } = &mut self.held else { return };
        if self.generation != generation || place.len() == 0 {
            return;
        }
        // Places that meet become one, as a range is claimed out of one.
        for _ in 0..2 {
            let (start, end) = (place.range().start, place.range().end);
            let meets = |other: &Place| other.range().end == start || other.range().start == end;
            let Some(at) = unclaimed.iter().position(meets) else { break };
            let other = unclaimed.swap_remove(at);
            let (mut before, after) = if other.range().end == start { (other, place) } else { (place, other) };
            if let Err(apart) = before.join(after) {
                unclaimed.extend([before, apart]);
                return;
            }
            place = before;
        }
        unclaimed.push(place);
    }

    /// Notes that a range that nobody has claimed will never be written. A chunk of `length` bytes without memory takes
    /// none for that. Returns whether the chunk is full now.
    pub(super) fn give_up(&mut self, generation: u32, range: &Range<usize>, length: usize) -> bool {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        if let ChunkState::Nothing = self.held {
            self.given_up.push(range.clone());
            if self.given_up.iter().map(ExactSizeIterator::len).sum::<usize>() >= length {
                *self = Self { generation, held: ChunkState::OnDevice, ..Self::default() };
            }
            return false;
        }
        self.take(range).is_some_and(|place| self.commit(generation, place, false))
    }

    /// Forgets what was written, so that all of the chunk can be claimed anew. Returns whether it gave up memory.
    pub(super) fn reset(&mut self, generation: u32) -> bool {
        if self.generation != generation {
            return false;
        }
        let had_memory = self.clear();
        self.generation = generation;
        had_memory
    }

    /// Takes back what was claimed: it is written now, or never will be. If it `is_dirty`, it is to go to the device.
    /// Returns whether the chunk is full now.
    pub(super) fn commit(&mut self, generation: u32, place: Place, is_dirty: bool) -> bool {
        let range = place.range();
        if self.generation != generation || range.is_empty() {
            return false;
        }
        let ChunkState::Open { length, written, .. } = &mut self.held else { return false };
        let length = *length;
        if is_dirty {
            match self.dirty.iter_mut().find(|dirty| dirty.end == range.start) {
                Some(before) => before.end = range.end,
                None => self.dirty.push(range.clone()),
            }
        }
        note(written, place.into_written());
        let [all] = written.as_slice() else { return false };
        let Some(bytes) = all.bytes(0..length) else { return false };
        self.held = ChunkState::Full { all: all.clone(), bytes };
        true
    }

    /// Returns the whole chunk, once it is written.
    #[inline]
    pub(super) fn full(&self, generation: u32) -> Option<&Bytes> {
        match &self.held {
            ChunkState::Full { bytes, .. } if self.generation == generation => Some(bytes),
            ChunkState::Full { .. } | ChunkState::Nothing | ChunkState::Open { .. } | ChunkState::OnDevice => None,
        }
    }

    /// Returns the part in memory of a range that was written whole.
    pub(super) fn read(&self, generation: u32, range: Range<usize>) -> Part {
        if self.generation != generation {
            return Part::Gone;
        }
        match &self.held {
            ChunkState::Nothing => Part::Gone,
            ChunkState::Open { .. } => self.written(generation, &range).map_or(Part::Gone, Part::Written),
            ChunkState::Full { bytes, .. } => {
                if range.end <= bytes.len() {
                    Part::Bytes(bytes.slice(range))
                } else {
                    Part::Gone
                }
            }
            ChunkState::OnDevice => Part::OnDevice,
        }
    }

    /// Returns a range that was written whole, if it is in memory.
    pub(super) fn written(&self, generation: u32, range: &Range<usize>) -> Option<Written> {
        match &self.held {
            ChunkState::Open { written, .. } if self.generation == generation => {
                written.iter().find_map(|written| written.slice(range.clone()))
            }
            ChunkState::Full { all, .. } if self.generation == generation => all.slice(range.clone()),
            ChunkState::Open { .. } | ChunkState::Full { .. } | ChunkState::Nothing | ChunkState::OnDevice => None,
        }
    }

    /// Returns whether nothing of it is to be written to the device.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Returns the bytes to be written to the device, with their offsets, and marks them as clean.
    pub(super) fn take_dirty(&mut self, generation: u32) -> Vec<(usize, Bytes)> {
        if self.generation != generation {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        let bytes = |range: &Range<usize>| self.written(generation, range).map(Bytes::from_owner);
        dirty.filter_map(|range| Some((range.start, bytes(&range)?))).collect()
    }

    /// Notes that all of it is on the device, if it is full and nothing of it is dirty. Returns whether it gave up
    /// memory for that.
    pub(super) fn settle(&mut self, generation: u32) -> bool {
        let settled =
            self.generation == generation && self.dirty.is_empty() && matches!(self.held, ChunkState::Full { .. });
        if settled {
            self.held = ChunkState::OnDevice;
        }
        settled
    }

    /// Takes the chunk for one that is on the device, and that nothing more is written to.
    pub(super) fn restore(&mut self, generation: u32) {
        *self = Self { generation, held: ChunkState::OnDevice, ..Self::default() };
    }

    /// Gives up what it holds. Returns whether that was memory.
    pub(super) fn clear(&mut self) -> bool {
        matches!(std::mem::take(self).held, ChunkState::Open { .. } | ChunkState::Full { .. })
    }
}

/// Adds a range to those that are written, and joins it with its neighbours.
fn note(written: &mut Vec<Written>, mut new: Written) {
    let end = new.range().end;
    if let Some(after) = written.iter().position(|other| other.range().start == end) {
        let after = written.swap_remove(after);
        if !new.join(&after) {
            written.push(after);
        }
    }
    if !written.iter_mut().any(|before| before.join(&new)) {
        written.push(new);
    }
}
