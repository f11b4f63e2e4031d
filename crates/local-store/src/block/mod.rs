//! A large piece of storage, filled front to back, released whole.
//!
//! A block is a row of chunks. A chunk is written in memory: whoever writes claims a place, fills it under no lock, and
//! commits it; from then on it is shared with readers as it is. On a device, a chunk gives up its memory when it is full
//! and has been written there; in a store in memory, many chunks lie in one piece of it, so that what lies over several
//! is read as one. Each use of a block has a *generation* of its own, which everybody who writes or reads
//! must name.

mod chunk;
mod dirty_chunks;
mod free;
mod growth;
mod handles;
mod memory;
mod pool;
mod rotation;
mod spans;

use std::ops::{DerefMut, Range};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use self::chunk::{Chunk, Part};
use self::dirty_chunks::DirtyChunks;
use self::handles::Handles;
use self::memory::{Place, stretch};
use self::spans::Spans;
use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::machine::concurrency::{AtomicBool, AtomicU32, Mutex};
use crate::persistence::Touches;

pub(crate) use self::growth::Growth;
pub(crate) use self::memory::Written;
pub(crate) use self::pool::ChunkPool;
pub(crate) use self::rotation::{Choice, Rotation};

/// A row of chunks.
#[derive(Debug)]
pub(crate) struct Block {
    /// The generation of the present use; 0 if there is none.
    generation: AtomicU32,
    /// Whether what was touched is being copied elsewhere, since the block is to be recycled.
    copying: AtomicBool,
    chunk_bytes: u64,
    chunks: Box<[Mutex<Chunk>]>,
    dirty: DirtyChunks,
    spans: Spans,
    handles: Handles,
    /// Reservations whose entries are to come: see [`Pending`].
    pending: Arc<AtomicU32>,
    /// Which entries were touched, where that is to be durable.
    pub(crate) touches: Touches,
}

/// A place in a chunk that is the holder's to fill.
#[derive(Debug)]
pub(crate) struct Claim {
    chunk: usize,
    place: Place,
}

impl Claim {
    pub(crate) fn len(&self) -> u64 {
        casts::on_device(self.place.len())
    }

    /// Returns where in its block the place begins, which has chunks of `chunk_bytes`.
    pub(crate) fn offset(&self, chunk_bytes: u64) -> u64 {
        casts::on_device(self.chunk) * chunk_bytes + casts::on_device(self.place.range().start)
    }

    /// Returns the number of the chunk that the place lies in.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// Returns the bytes as they are now.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.place.bytes()
    }

    /// Writes `bytes` from position `at` on.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.place.write(casts::in_memory(at), bytes);
    }

    /// Writes zeros from position `at` on.
    pub(crate) fn clear(&mut self, at: u64) {
        self.place.clear(casts::in_memory(at));
    }

    /// Gives up the first `length` bytes, and returns them.
    pub(crate) fn split_to(&mut self, length: u64) -> Self {
        Self { chunk: self.chunk, place: self.place.split_to(casts::in_memory(length)) }
    }
}

/// Room for one entry in the log of a block, kept until this is dropped.
#[derive(Debug)]
pub(crate) struct Pending(Arc<AtomicU32>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A range of a block, as far as one chunk has it.
#[derive(Debug)]
pub(crate) enum ReadPart {
    Bytes(Bytes),
    /// It is to be read from the device, from there.
    OnDevice(Range<u64>),
}

/// A range of a block that may lie in one chunk.
#[derive(Debug)]
pub(crate) enum One {
    Bytes(Bytes),
    /// It lies in a chunk that is being filled.
    Written(Written),
    OnDevice,
    /// The block is in another use.
    Gone,
    /// It lies in several, or in none.
    Several,
}

impl Block {
    /// Makes a block of `chunks` chunks. Where they stay in memory, `reader_groups` is the number of groups of threads
    /// that read them independently; elsewhere it is 0.
    pub(crate) fn new(chunk_bytes: u64, chunks: usize, touches: Touches, reader_groups: usize) -> Self {
        Self {
            generation: AtomicU32::new(0),
            copying: AtomicBool::new(false),
            chunk_bytes,
            chunks: (0..chunks).map(|_| Mutex::default()).collect(),
            dirty: DirtyChunks::new(chunks),
            spans: Spans::default(),
            handles: Handles::new(chunks, reader_groups),
            pending: Arc::new(AtomicU32::new(0)),
            touches,
        }
    }

    /// Returns whether the block is in the use that `generation` names. If so, bytes read from the device before the
    /// call are of that use.
    #[inline]
    pub(crate) fn is(&self, generation: u32) -> bool {
        self.generation.load(Ordering::SeqCst) == generation
    }

    pub(crate) fn begin(&self, generation: u32) {
        self.generation.store(generation, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_copying(&self) -> bool {
        self.copying.load(Ordering::SeqCst)
    }

    /// Marks the block as being copied: a touch of one of its records from now on learns that it may be too late.
    pub(crate) fn begin_copying(&self) {
        self.copying.store(true, Ordering::SeqCst);
    }

    /// Ends the present use. Readers keep what they hold.
    pub(crate) fn end(&self, pool: &ChunkPool) {
        self.generation.store(0, Ordering::SeqCst);
        for index in 0..self.chunks.len() {
            if let Some(mut chunk) = self.chunk(index) {
                self.handles.clear(index);
                if chunk.clear() {
                    pool.gave_up();
                }
            }
        }
        self.spans.clear(pool);
        self.copying.store(false, Ordering::SeqCst);
        self.touches.clear();
    }

    fn chunk(&self, index: usize) -> Option<impl DerefMut<Target = Chunk>> {
        // A chunk is changed by assignments, and by copies between checked slices: nothing panics midway.
        Some(self.chunks.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the parts of a range by chunk: index, range within the chunk.
    fn parts(&self, range: Range<u64>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let chunk_bytes = self.chunk_bytes;
        let mut from = range.start;
        std::iter::from_fn(move || {
            if from >= range.end {
                return None;
            }
            let index = from / chunk_bytes;
            let begin = index * chunk_bytes;
            let to = range.end.min(begin + chunk_bytes);
            let part = casts::in_memory(from - begin)..casts::in_memory(to - begin);
            from = to;
            Some((casts::in_memory(index), part))
        })
    }

    /// Keeps room for an entry in the log of this block.
    pub(crate) fn keep_log_space(&self) -> Pending {
        self.pending.fetch_add(1, Ordering::AcqRel);
        Pending(Arc::clone(&self.pending))
    }

    /// Returns the number of entries for which room is kept.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Acquire)
    }

    /// Claims a range of one chunk that was reserved and that nobody has claimed. Returns `None` if the block is in
    /// another use.
    pub(crate) fn claim(&self, pool: &ChunkPool, generation: u32, range: Range<u64>) -> Option<Claim> {
        let (chunk, part) = self.parts(range).next()?;
        let mut of = self.chunk(chunk)?;
        if !self.is(generation) {
            return None;
        }
        let place = of.claim(generation, &part, || self.spans.claim(pool, generation, chunk))?;
        Some(Claim { chunk, place })
    }

    /// Takes back what was claimed, written or not. What `is_dirty` is to go to the device. Tells `full` the chunk if
    /// it is full now.
    pub(crate) fn commit(&self, generation: u32, claim: Claim, is_dirty: bool, full: impl FnOnce(usize)) {
        let Claim { chunk: index, place } = claim;
        let is_full = self.chunk(index).is_some_and(|mut chunk| {
            if !self.is(generation) {
                return false;
            }
            let was_clean = chunk.is_clean();
            let is_full = chunk.commit(generation, place, is_dirty);
            if was_clean && !chunk.is_clean() {
                self.dirty.note(index);
            }
            is_full
        });
        if is_full {
            full(index);
        }
    }

    /// Takes back what was claimed and is not going to be written: zeros up to the end of the sector, as far as it may
    /// be shared, and whatever is there beyond it. `offset` is where in the block it begins.
    pub(crate) fn pad_claim(&self, generation: u32, offset: u64, mut claim: Claim, mut full: impl FnMut(usize)) {
        let shared = offset.next_multiple_of(SECTOR_BYTES) - offset;
        let mut begun = claim.split_to(shared.min(claim.len()));
        begun.clear(0);
        self.commit(generation, begun, true, &mut full);
        self.commit(generation, claim, false, full);
    }

    /// Writes what was reserved and not written yet, in tests. Tells `full` each chunk that is full now.
    #[cfg(test)]
    pub(crate) fn write(
        &self,
        pool: &ChunkPool,
        generation: u32,
        offset: u64,
        mut bytes: &[u8],
        mut full: impl FnMut(usize),
    ) {
        let mut at = offset;
        for (_, part) in self.parts(offset..offset + casts::on_device(bytes.len())) {
            let (now, later) = bytes.split_at(part.len().min(bytes.len()));
            let end = at + casts::on_device(part.len());
            if let Some(mut claim) = self.claim(pool, generation, at..end) {
                claim.write(0, now);
                self.commit(generation, claim, true, &mut full);
            }
            (at, bytes) = (end, later);
        }
    }

    /// Gives up a range that was reserved and is not going to be written: zeros up to the end of a sector that is begun,
    /// and no memory beyond it. Tells `full` each chunk that is full now.
    pub(crate) fn pad(&self, pool: &ChunkPool, generation: u32, range: Range<u64>, mut full: impl FnMut(usize)) {
        let begun = range.start.next_multiple_of(SECTOR_BYTES).min(range.end);
        let mut at = range.start;
        for (_, part) in self.parts(range.start..begun) {
            let end = at + casts::on_device(part.len());
            if let Some(claim) = self.claim(pool, generation, at..end) {
                self.pad_claim(generation, at, claim, &mut full);
            }
            at = end;
        }
        for (index, part) in self.parts(begun..range.end) {
            let Some(mut chunk) = self.chunk(index) else { return };
            let is_full = self.is(generation) && chunk.give_up(generation, &part, casts::in_memory(self.chunk_bytes));
            drop(chunk);
            if is_full {
                full(index);
            }
        }
    }

    /// Takes back what was claimed, so that others can claim it.
    pub(crate) fn unclaim(&self, generation: u32, claim: Claim) {
        if let Some(mut chunk) = self.chunk(claim.chunk) {
            chunk.unclaim(generation, claim.place);
        }
    }

    /// Forgets what was written to a chunk on a device, all of which one writer had, so that it can be claimed anew.
    pub(crate) fn reset(&self, pool: &ChunkPool, generation: u32, index: usize) {
        let Some(mut chunk) = self.chunk(index) else { return };
        if !self.is(generation) {
            return;
        }
        if chunk.reset(generation) {
            pool.gave_up();
        }
        self.spans.release(pool, index);
    }

    /// Reads a range that was written whole, and lies in one chunk.
    #[inline]
    pub(crate) fn read_one(&self, generation: u32, range: &Range<u64>) -> One {
        let index = range.start / self.chunk_bytes;
        let begin = index * self.chunk_bytes;
        // What is empty lies nowhere.
        if range.end > begin + self.chunk_bytes || range.is_empty() {
            return One::Several;
        }
        let (index, part) =
            (casts::in_memory(index), casts::in_memory(range.start - begin)..casts::in_memory(range.end - begin));
        let one = match self.handles.read(generation, index, &part) {
            Some(bytes) => One::Bytes(bytes),
            None => self.read_locked(generation, index, part),
        };
        // After it was read: whoever ends the use of a block says so before anything else.
        if self.is(generation) { one } else { One::Gone }
    }

    fn read_locked(&self, generation: u32, index: usize, part: Range<usize>) -> One {
        let Some(chunk) = self.chunk(index) else { return One::Gone };
        if let Some(full) = chunk.full(generation) {
            self.handles.offer(generation, index, full);
        }
        match chunk.read(generation, part) {
            Part::Bytes(bytes) => One::Bytes(bytes),
            Part::Written(written) => One::Written(written),
            Part::OnDevice => One::OnDevice,
            Part::Gone => One::Gone,
        }
    }

    /// Reads a range that was written whole, if it lies in one piece of memory, over however many chunks. Of which use
    /// of the block it is, is to be asked afterwards.
    pub(crate) fn read_stretch(&self, generation: u32, range: &Range<u64>) -> Option<Bytes> {
        let written = |(index, part)| self.chunk(index)?.written(generation, &part);
        stretch(self.parts(range.clone()).map(written))
    }

    /// Reads a range that was written whole; `None` if the block is in another use.
    pub(crate) fn read(&self, generation: u32, range: Range<u64>) -> Option<Vec<ReadPart>> {
        if let Some(bytes) = self.read_stretch(generation, &range) {
            return self.is(generation).then(|| vec![ReadPart::Bytes(bytes)]);
        }
        let mut parts = Vec::with_capacity(1);
        let mut at = range.start;
        for (index, part) in self.parts(range) {
            let length = casts::on_device(part.len());
            match self.chunk(index)?.read(generation, part) {
                Part::Bytes(bytes) => parts.push(ReadPart::Bytes(bytes)),
                Part::Written(written) => parts.push(ReadPart::Bytes(Bytes::from_owner(written))),
                Part::OnDevice => match parts.last_mut() {
                    Some(ReadPart::OnDevice(before)) => before.end += length,
                    Some(ReadPart::Bytes(_)) | None => parts.push(ReadPart::OnDevice(at..at + length)),
                },
                Part::Gone => return None,
            }
            at += length;
        }
        self.is(generation).then_some(parts)
    }

    /// Takes the chunks with bytes to be written to the device that were not taken yet.
    pub(crate) fn take_dirty_chunks(&self) -> Vec<usize> {
        self.dirty.take()
    }

    /// Returns the bytes of a chunk to be written to the device, with their offsets in the block.
    pub(crate) fn take_dirty(&self, generation: u32, index: usize) -> Vec<(u64, Bytes)> {
        let begin = casts::on_device(index) * self.chunk_bytes;
        let dirty = self.chunk(index).map(|mut chunk| chunk.take_dirty(generation)).unwrap_or_default();
        dirty.into_iter().map(|(offset, bytes)| (begin + casts::on_device(offset), bytes)).collect()
    }

    /// Notes that what was taken of a chunk is on the device.
    pub(crate) fn settle(&self, pool: &ChunkPool, generation: u32, index: usize) {
        if self.chunk(index).is_some_and(|mut chunk| chunk.settle(generation)) {
            pool.gave_up();
        }
    }

    /// Goes on with a use of which the first `written` bytes are on the device.
    pub(crate) fn restore(&self, generation: u32, written: u64) {
        self.begin(generation);
        let full = casts::in_memory(written.div_ceil(self.chunk_bytes)).min(self.chunks.len());
        for index in 0..full {
            if let Some(mut chunk) = self.chunk(index) {
                chunk.restore(generation);
            }
        }
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
