//! Stores contents that arrive in pieces: into a reservation of their own, published once all of it is there.

use std::sync::Arc;

use blobaccess::{Error, PutCertainty, Result};

use super::put::Owner;
use super::space::{For, Reservation};
use super::{Engine, Put};
use crate::key::Key;
use crate::key_location_map::Record;
use crate::trailer::Sums;
use crate::width;

/// Contents that are being written into a reservation of their own. Dropped before it is finished, it gives up the
/// space: back, if nothing was written and nothing follows it, else as padding.
pub(crate) struct LargeWriter {
    engine: Arc<Engine>,
    reservation: Reservation,
    size_bytes: u64,
    owner: Owner,
    written: u64,
    sums: Option<Sums>,
    is_finished: bool,
}

impl Engine {
    /// Whether contents of this size may have a reservation of their own, rather than share a chunk.
    pub(crate) fn is_large(&self, size_bytes: u64) -> bool {
        self.sizes.stored_bytes(size_bytes) > self.sizes.small_bytes()
    }

    /// Reserves space for large contents; `None` if a block must be recycled first.
    pub(crate) fn begin_large(self: &Arc<Self>, size_bytes: u64, owner: &Owner) -> Result<Option<LargeWriter>> {
        self.check_device()?;
        Ok(self.begin_large_for(size_bytes, owner.clone(), For::Put))
    }

    pub(super) fn begin_large_for(self: &Arc<Self>, size_bytes: u64, owner: Owner, whom: For) -> Option<LargeWriter> {
        let reservation = self.reserve(&mut self.space(), self.length(size_bytes, &owner), whom)?;
        Some(LargeWriter {
            engine: Arc::clone(self),
            reservation,
            size_bytes,
            owner,
            written: 0,
            sums: self.sizes.has_trailers.then(Sums::new),
            is_finished: false,
        })
    }
}

impl LargeWriter {
    /// Writes the next piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        let length = width::on_device(piece.len());
        if self.size_bytes - self.written < length {
            return Err(Error::internal("contents are larger than they were said to be"));
        }
        self.engine.check_device()?;
        self.engine.write(&self.reservation, self.written, piece);
        self.written += length;
        if let Some(sums) = &mut self.sums {
            sums.update(piece);
        }
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.engine.block(self.reservation.block).is_some_and(|block| block.is(self.reservation.generation))
    }

    fn end(&mut self, record: &Record) {
        let mut at = self.written;
        if let Some(sums) = &mut self.sums {
            sums.end();
            let trailer = sums.trailer(record);
            self.engine.write(&self.reservation, at, &trailer);
            at += width::on_device(trailer.len());
        }
        self.engine.write_tail(&self.reservation, record, &self.owner, at);
        self.is_finished = true;
    }

    /// Publishes contents of which all was written and found right, unless somebody else has meanwhile, and makes them
    /// seen by a name, if there is one.
    pub(crate) fn finish(mut self, key: &Key, name: Option<&Key>) -> Result<Put> {
        if self.written != self.size_bytes {
            return Err(Error::internal("contents are smaller than they were said to be"));
        }
        let engine = Arc::clone(&self.engine);
        let mut space = engine.space();
        if let Some(existing) = engine.existing(&mut space, key, name) {
            drop(space);
            return Ok(engine.report(existing));
        }
        // What is published while a block is being recycled may not be seen by whoever copies what is promised.
        if !self.is_alive() || engine.block(self.reservation.block).is_some_and(crate::block::Block::is_copying) {
            let message = "the block of an upload was recycled before the upload was complete";
            return Err(Error::unavailable(message).with_put_certainty(PutCertainty::NotStored));
        }
        let Reservation { block, offset, .. } = self.reservation;
        let sequence = space.draw_sequence();
        let record = space.draft(block, offset, self.owner.named(key.words, self.size_bytes), sequence);
        self.end(&record);
        let inserted = engine.publish_as_promised(&mut space, &record);
        let shared = name.map(|name| engine.share_with(&mut space, &record, name));
        let publications = space.publications;
        drop(space);
        Ok(engine.conclude_named(Some((record, inserted)), publications, shared))
    }

    /// Points the record that this is a copy of here, if it is still the same. Returns whether it was.
    pub(super) fn finish_copy(mut self, from: &Record, parts: &[Record]) -> bool {
        let engine = Arc::clone(&self.engine);
        let mut space = engine.space();
        let key = from.key(engine.map.check_mask());
        let is_same = engine.map.lookup_as_writer(&key, &space.map).is_some_and(|found| found.record == *from);
        if !is_same || !self.is_alive() || self.written != self.size_bytes {
            drop(space);
            return false;
        }
        let Reservation { block, offset, .. } = self.reservation;
        let record = space.draft(block, offset, self.owner.named(from.key_words, self.size_bytes), from.sequence);
        self.end(&record);
        engine.repoint(&mut space, from, &record, parts)
    }
}

impl Drop for LargeWriter {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let Reservation { block, generation, offset, length } = self.reservation;
        if self.written == 0 {
            let mut space = self.engine.space();
            if let Some(usage) = space.use_mut(block)
                && usage.generation == generation
                && usage.cursor == offset + length
            {
                usage.cursor = offset;
                return;
            }
        }
        self.engine.pad_rest(&self.reservation, self.written);
    }
}
