//! Stores contents that arrive in pieces: into a reservation of their own, published once all of it is there.

use std::sync::Arc;

use blobaccess::{Error, Result};

use super::put::{Owner, Published, Replaces};
use super::space::{Requester, Reservation};
use super::{Engine, Put};
use crate::key::Key;
use crate::key_location_map::Record;
use crate::machine::casts;
use crate::object::checksums::Sums;

/// Contents that are being written into a reservation of their own. A writer that is dropped before it is finished
/// gives the space back if nothing was written and nothing follows, else the space becomes padding.
pub(crate) struct LargeWriter {
    engine: Arc<Engine>,
    /// `None` once it is published or given up.
    reservation: Option<Reservation>,
    size_bytes: u64,
    owner: Owner,
    written: u64,
    sums: Option<Sums>,
}

impl Engine {
    /// Returns whether contents of this size may have a reservation of their own, rather than share a chunk.
    pub(crate) fn is_large(&self, size_bytes: u64) -> bool {
        self.sizes.stored_bytes(size_bytes) > self.sizes.small_bytes()
    }

    /// Reserves space for large contents; `None` if a block must be recycled first.
    pub(crate) fn begin_large(self: &Arc<Self>, size_bytes: u64, owner: &Owner) -> Result<Option<LargeWriter>> {
        self.check_device()?;
        Ok(self.begin_large_for(size_bytes, owner.clone(), Requester::Put))
    }

    pub(super) fn begin_large_for(
        self: &Arc<Self>,
        size_bytes: u64,
        owner: Owner,
        requester: Requester,
    ) -> Option<LargeWriter> {
        let reservation = self.space().reserve_own(self.length(size_bytes, &owner), requester)?;
        Some(LargeWriter {
            engine: Arc::clone(self),
            reservation: Some(reservation),
            size_bytes,
            owner,
            written: 0,
            sums: self.sizes.has_trailers.then(Sums::new),
        })
    }
}

impl LargeWriter {
    /// Writes the next piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        let length = casts::on_device(piece.len());
        if self.size_bytes - self.written < length {
            return Err(Error::internal("contents are larger than they were said to be"));
        }
        self.engine.check_device()?;
        if let Some(reservation) = &mut self.reservation {
            reservation.write(&self.engine.blocks, self.written, piece);
        }
        self.written += length;
        if let Some(sums) = &mut self.sums {
            sums.update(piece);
        }
        Ok(())
    }

    fn publish(&mut self, key: &Key, replaces: Replaces<'_>) -> Published {
        let Some(mut reservation) = self.reservation.take() else { return Published::Void };
        if let Some(sums) = &mut self.sums {
            sums.end();
        }
        let (size, sums) = (self.size_bytes, self.sums.as_ref());
        let published = self.engine.publish(key, &mut reservation, size, &self.owner, sums, replaces);
        if !matches!(published, Published::Done(_)) {
            self.engine.abandon(reservation, self.written);
        }
        published
    }

    /// Publishes contents that were written and verified in full, unless another put was first, and makes them visible
    /// to an instance name, if there is one.
    pub(crate) fn finish(mut self, key: &Key, name: Option<&Key>) -> Result<Put> {
        if self.written != self.size_bytes {
            return Err(Error::internal("contents are smaller than they were said to be"));
        }
        match self.publish(key, name.map_or(Replaces::Nothing, Replaces::NothingFor)) {
            Published::Done(put) | Published::Exists(put) => Ok(put),
            Published::Refused => Ok(Put::Refused),
            Published::Changed | Published::Void => {
                let message = "the block of an upload was recycled before the upload was complete";
                Err(Error::unavailable(message).not_stored())
            }
        }
    }

    /// Points the record that this is a copy of to the copy, and the records of its parts into it. Returns whether the
    /// record was unchanged.
    pub(super) fn finish_copy(mut self, from: &Record, parts: &[Record]) -> bool {
        let key = from.key(self.engine.map.check_mask());
        self.written == self.size_bytes
            && matches!(self.publish(&key, Replaces::Copied(from, parts)), Published::Done(_))
    }
}

impl Drop for LargeWriter {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.engine.abandon(reservation, self.written);
        }
    }
}
