//! A piece of a block in memory: written, then shared with readers, then perhaps only on a device.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// What a chunk has in memory.
#[derive(Debug, Default)]
enum Held {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Some of it is written, some is to come.
    Open { buffer: BytesMut, filled: usize },
    /// All of it is written.
    Full(Bytes),
    /// It is on the device only.
    OnDevice,
}

/// A piece of a block, under the lock of which it is written and read.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Of the use of the block that this belongs to.
    generation: u32,
    held: Held,
    /// What is written but not yet on the device: ranges that do not overlap, in no order.
    dirty: Vec<Range<usize>>,
}

/// What a chunk has of a range.
#[derive(Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    OnDevice,
    /// The block is in another use.
    Gone,
}

impl Chunk {
    /// Writes `bytes`, which nobody has written yet, at `offset`. Returns whether the chunk is full now.
    ///
    /// `fresh` makes the memory for a chunk that has none.
    pub(super) fn write(
        &mut self,
        generation: u32,
        offset: usize,
        bytes: &[u8],
        fresh: impl FnOnce() -> BytesMut,
    ) -> bool {
        self.fill(generation, offset, bytes.len(), fresh, |place| place.copy_from_slice(bytes))
    }

    /// Gives up a range that nobody will write. Returns whether the chunk is full now.
    pub(super) fn pad(&mut self, generation: u32, range: Range<usize>, fresh: impl FnOnce() -> BytesMut) -> bool {
        self.fill(generation, range.start, range.len(), fresh, |place| place.fill(0))
    }

    fn fill(
        &mut self,
        generation: u32,
        offset: usize,
        length: usize,
        fresh: impl FnOnce() -> BytesMut,
        write: impl FnOnce(&mut [u8]),
    ) -> bool {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        if let Held::Nothing = self.held {
            self.held = Held::Open { buffer: fresh(), filled: 0 };
        }
        let Held::Open { buffer, filled } = &mut self.held else { return false };
        let end = offset + length;
        let Some(place) = buffer.get_mut(offset..end) else { return false };
        write(place);
        *filled += length;
        match self.dirty.iter_mut().find(|dirty| dirty.end == offset) {
            Some(before) => before.end = end,
            None if length > 0 => self.dirty.push(offset..end),
            None => {}
        }
        if *filled < buffer.len() {
            return false;
        }
        self.held = Held::Full(std::mem::take(buffer).freeze());
        true
    }

    /// All of it, once it is written.
    #[inline]
    pub(super) fn full(&self, generation: u32) -> Option<&Bytes> {
        match &self.held {
            Held::Full(bytes) if self.generation == generation => Some(bytes),
            Held::Full(_) | Held::Nothing | Held::Open { .. } | Held::OnDevice => None,
        }
    }

    /// What it has of a range that was written whole.
    pub(super) fn read(&self, generation: u32, range: Range<usize>) -> Part {
        if self.generation != generation {
            return Part::Gone;
        }
        match &self.held {
            Held::Nothing => Part::Gone,
            Held::Open { buffer, .. } => buffer.get(range).map_or(Part::Gone, |part| {
                // Others go on writing elsewhere in this chunk, so this cannot be shared.
                Part::Bytes(Bytes::copy_from_slice(part))
            }),
            Held::Full(bytes) => {
                if range.end <= bytes.len() {
                    Part::Bytes(bytes.slice(range))
                } else {
                    Part::Gone
                }
            }
            Held::OnDevice => Part::OnDevice,
        }
    }

    /// What is to be written to the device, with where it begins; nothing of it is dirty any more.
    pub(super) fn take_dirty(&mut self, generation: u32) -> Vec<(usize, Bytes)> {
        if self.generation != generation {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let ranges = dirty.into_iter().filter_map(|range| {
            let from = range.start;
            match &self.held {
                Held::Open { buffer, .. } => Some((from, Bytes::copy_from_slice(buffer.get(range)?))),
                Held::Full(bytes) => Some((from, bytes.slice(range))),
                Held::Nothing | Held::OnDevice => None,
            }
        });
        ranges.collect()
    }

    /// Notes that all of it is on the device, if it is full and nothing of it is dirty. Returns whether it gave up
    /// memory for that.
    pub(super) fn settle(&mut self, generation: u32) -> bool {
        let settled = self.generation == generation && self.dirty.is_empty() && matches!(self.held, Held::Full(_));
        if settled {
            self.held = Held::OnDevice;
        }
        settled
    }

    /// Takes the chunk for one that is on the device, and that nothing more is written to.
    pub(super) fn restore(&mut self, generation: u32) {
        *self = Self { generation, held: Held::OnDevice, dirty: Vec::new() };
    }

    /// Gives up what it holds. Returns the memory, if it had any and nobody reads it.
    pub(super) fn clear(&mut self) -> (bool, Option<BytesMut>) {
        let before = std::mem::take(self);
        match before.held {
            Held::Open { buffer, .. } => (true, Some(buffer)),
            Held::Full(bytes) => (true, bytes.try_into_mut().ok()),
            Held::Nothing | Held::OnDevice => (false, None),
        }
    }
}
