//! Recycles blocks: copies what was touched, forgets the rest, waits until no superblock vouches for them.

use std::sync::Arc;

use blobaccess::{Error, ErrorKind, PutCertainty, Result};

use super::put::{Contents, Owner};
use super::space::{For, Use};
use super::{Engine, Mode, Read, count, enter};
use crate::key_location_map::{FOUND, Record, TOUCHED};
use crate::trailer::{PIECE_BYTES, Sums};
use crate::width;

impl Engine {
    /// Whether there are more blocks than old, current and new together.
    pub(crate) fn needs_recycling(&self) -> bool {
        self.space().rotation.blocks().len() > width::index(self.sizes.live_blocks())
    }

    /// Recycles all blocks that are more than old, current and new together. It may block.
    pub(crate) fn recycle(self: &Arc<Self>) -> Result<()> {
        let recycling = enter(&self.recycling);
        loop {
            self.check_device()?;
            let oldest = {
                let space = self.space();
                let is_needed = space.rotation.blocks().len() > width::index(self.sizes.live_blocks());
                space.rotation.oldest().filter(|_| is_needed)
            };
            let Some(block) = oldest else {
                drop(recycling);
                return Ok(());
            };
            let keys = self.keys_in(block);
            self.copy_touched(block)?;
            self.move_names(block, &keys)?;
            self.forget(block);
            self.free(block)?;
            count(&self.counters.recycled_blocks, 1);
        }
    }

    /// Copies what was touched of a block, as far as its share goes: first what somebody was told is there.
    fn copy_touched(self: &Arc<Self>, block: u16) -> Result<()> {
        {
            // From here on, records of this block stay where they are in the map, and none is added.
            let mut space = self.space();
            space.map.pin(Some(block));
            if let Some(of) = self.block(block) {
                of.begin_copying();
            }
        }
        let mut touched = Vec::new();
        for buckets in self.map.sweeps() {
            let _space = self.space();
            self.map.records_in(buckets, block, &mut |record, flags| {
                if flags & TOUCHED != 0 && !record.is_name() {
                    touched.push((flags & FOUND == 0, record.location.offset, record));
                }
            });
        }
        touched.sort_unstable_by_key(|(is_read_only, offset, _)| (*is_read_only, *offset));
        let mut left = self.sizes.data_bytes / 100 * u64::from(self.sizes.copied_percent);
        for (is_read_only, _, record) in touched {
            let size = record.location.size_bytes;
            let taken = self.sizes.taken_bytes(size);
            let is_copied = taken <= left
                && match self.copy_forward(&record) {
                    Ok(()) => true,
                    // It can not be read, or there is no space: it goes.
                    Err(error) => {
                        self.check_device()?;
                        tracing::warn!(storage_type = self.storage_type.name(), %error, "an object was not copied");
                        false
                    }
                };
            if is_copied {
                left -= taken;
            } else if !is_read_only {
                count(&self.counters.breached_bytes, size);
            }
        }
        Ok(())
    }

    /// Copies an object to a new block, if its record is still this one.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is no space, or it cannot be read. What proves wrong is quarantined, and no error.
    pub(super) fn copy_forward(self: &Arc<Self>, record: &Record) -> Result<()> {
        let size = record.location.size_bytes;
        let is_streamed = size > PIECE_BYTES && !record.is_part && !self.storage_type.is_mutable();
        let result =
            if is_streamed && self.is_large(size) { self.copy_in_pieces(record) } else { self.copy_whole(record) };
        match result {
            Err(error) if error.kind() == ErrorKind::DataLoss => Ok(()),
            Err(error) => Err(error),
            Ok(is_copied) => {
                if is_copied {
                    count(&self.counters.copied, 1);
                    count(&self.counters.copied_bytes, size);
                }
                Ok(())
            }
        }
    }

    /// Whose an object is that is copied. `None` if it is gone.
    fn owner_of(&self, record: &Record) -> Result<Option<Owner>> {
        let tail = self.read_tail(record)?;
        Ok(tail.map(|tail| Owner { function: record.function, namespace: record.namespace, tail }))
    }

    fn copy_whole(self: &Arc<Self>, record: &Record) -> Result<bool> {
        let bytes = match self.read(record, 0..record.location.size_bytes, Mode::Waiting)? {
            Read::Bytes(bytes) => bytes,
            Read::Gone | Read::NotAtOnce => return Ok(false),
        };
        let Some(owner) = self.owner_of(record)? else { return Ok(false) };
        let sums = self.sizes.has_trailers.then(|| Sums::of(&bytes));
        let contents = Contents { bytes, sums, owner };
        let mut space = self.space();
        let key = record.key(self.map.check_mask());
        if self.map.lookup_as_writer(&key, &space.map).is_none_or(|found| found.record != *record) {
            return Ok(false);
        }
        let stored = self.length(record.location.size_bytes, &contents.owner);
        let reservation = self.reserve(&mut space, stored, For::Copy).ok_or_else(no_space)?;
        let named = contents.owner.named(record.key_words, record.location.size_bytes);
        let copy = space.draft(reservation.block, reservation.offset, named, record.sequence);
        self.write_whole(&reservation, &copy, &contents);
        self.append(&mut space, &copy);
        Ok(self.map.replace(&mut space.map, record, &copy))
    }

    fn copy_in_pieces(self: &Arc<Self>, record: &Record) -> Result<bool> {
        let size = record.location.size_bytes;
        let Some(owner) = self.owner_of(record)? else { return Ok(false) };
        let mut writer = self.begin_large_for(size, owner, For::Copy).ok_or_else(no_space)?;
        let mut at = 0;
        while at < size {
            let to = size.min(at + PIECE_BYTES);
            match self.read(record, at..to, Mode::Waiting)? {
                Read::Bytes(bytes) => writer.write(&bytes)?,
                Read::Gone | Read::NotAtOnce => return Ok(false),
            }
            at = to;
            if self.is_congested() {
                self.flush()?;
            }
        }
        Ok(writer.finish_copy(record))
    }

    /// Takes what is left of a block out of the map.
    fn forget(&self, block: u16) {
        for buckets in self.map.sweeps() {
            let mut gone = Vec::new();
            {
                let mut space = self.space();
                self.map.remove_in(&mut space.map, buckets, block, &mut |record| gone.push(record));
                // A superblock that comes before the block is given up still vouches for all of these.
                for record in &gone {
                    space.accounts.leave(record);
                }
            }
            for record in gone {
                self.evicted(&record);
            }
        }
    }

    /// Gives a block back that no record names, once nothing vouches for it.
    fn free(&self, block: u16) -> Result<()> {
        // No sync describes the block while it is taken away.
        let mut state = enter(&self.syncing);
        {
            let mut space = self.space();
            space.rotation.pop_oldest();
            space.map.pin(None);
            space.has_changed = true;
            space.accounts.release_block(block);
            if let Some(usage) = space.use_mut(block) {
                let generation = std::mem::take(usage).generation;
                space.quarantined.retain(|record| record.generation != generation);
            }
            if let Some(of) = self.block(block) {
                of.end(&self.pool);
            }
        }
        if self.is_persistent() {
            // Whichever of the two slots is torn or rots, the other one does not vouch for the block either.
            self.sync_under(&mut state, true, false)?;
            self.sync_under(&mut state, true, false)?;
        } else {
            // A write to the block may be under way that began before its use ended.
            drop(enter(&self.flushing));
        }
        drop(state);
        let mut space = self.space();
        if let Some(usage) = space.use_mut(block) {
            *usage = Use::default();
        }
        space.free.push_back(block);
        Ok(())
    }
}

fn no_space() -> Error {
    Error::unavailable("there is no space for a copy").with_put_certainty(PutCertainty::NotStored)
}
