//! Stores contents that arrive in pieces: into a reservation of their own, published once all of it is there.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Error, ErrorKind, Result};

use super::excerpt::Excerpt;
use super::put::{Owner, Published, Replaces};
use super::space::{Requester, Reservation};
use super::{Engine, Mode, Put, Read};
use crate::key::Key;
use crate::key_location_map::Record;
use crate::location::Location;
use crate::machine::casts;
use crate::object::checksums::Sums;
use crate::object::provenance;

/// Contents that are being written into a reservation of their own. A writer that is dropped before it is finished
/// gives the space back.
pub(crate) struct LargeWriter {
    engine: Arc<Engine>,
    /// `None` once it is published or given up.
    reservation: Option<Reservation>,
    size_bytes: u64,
    owner: Owner,
    written: u64,
    sums: Option<Sums>,
}

/// A part of contents that are being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyPart {
    location: Location,
    /// Where in the contents it begins.
    pub(crate) from: u64,
    /// Where in the contents it ends.
    pub(crate) to: u64,
}

impl Engine {
    /// Returns whether contents of this size may have a reservation of their own, rather than share a chunk.
    pub(crate) fn is_large(&self, size_bytes: u64) -> bool {
        self.sizes.stored_bytes(size_bytes) > self.sizes.small_bytes()
    }

    /// Reserves space for large contents; `None` if a block must be recycled first, or other uploads must end.
    pub(crate) fn begin_large(self: &Arc<Self>, size_bytes: u64, owner: &Owner) -> Result<Option<LargeWriter>> {
        self.check_device()?;
        // Whichever of several puts ends it, there is room for its tail.
        let length = self.sizes.stored_bytes(size_bytes) + provenance::max_bytes(self.storage_type);
        Ok(self.begin_writing(length, size_bytes, owner.clone(), Requester::Upload))
    }

    /// Returns whether there is no space for contents of this size until other uploads have ended.
    pub(crate) fn must_wait_for_uploads(&self, size_bytes: u64) -> bool {
        let length = self.sizes.stored_bytes(size_bytes) + provenance::max_bytes(self.storage_type);
        self.space().must_wait(length)
    }

    /// Reads a part of contents that are being written, which went to the device.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails.
    pub(crate) fn read_copy(&self, part: &CopyPart, mode: Mode) -> Result<Read<Excerpt>> {
        let read = self.reader.lend(&part.location, part.from..part.to, mode);
        // Nothing that is stored is lost.
        read.map_err(
            |error| if error.kind() == ErrorKind::DataLoss { error.with_kind(ErrorKind::Unavailable) } else { error },
        )
    }

    pub(super) fn begin_large_for(
        self: &Arc<Self>,
        size_bytes: u64,
        owner: Owner,
        requester: Requester,
    ) -> Option<LargeWriter> {
        self.begin_writing(self.length(size_bytes, &owner), size_bytes, owner, requester)
    }

    fn begin_writing(
        self: &Arc<Self>,
        length: u64,
        size_bytes: u64,
        owner: Owner,
        requester: Requester,
    ) -> Option<LargeWriter> {
        let reservation = self.space().reserve_own(length, requester)?;
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
    /// Returns the number of bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Sets the owner of the object to another put of the same contents.
    pub(crate) fn set_owner(&mut self, owner: &Owner) {
        self.owner.clone_from(owner);
    }

    /// Returns `length` bytes that were written from `at` on, in parts: `None` of those that went to the device.
    pub(crate) fn parts(&self, at: u64, length: u64) -> Vec<(CopyPart, Option<&[u8]>)> {
        let Some(reservation) = &self.reservation else { return Vec::new() };
        let location = Location {
            block: reservation.block(),
            generation: reservation.generation(),
            offset: reservation.offset(),
            size_bytes: self.size_bytes,
        };
        let parts = reservation.parts(self.engine.blocks.chunk_bytes(), at, length).into_iter();
        parts.map(|(range, bytes)| (CopyPart { location, from: range.start, to: range.end }, bytes)).collect()
    }

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
            self.engine.abandon(reservation);
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

impl Debug for LargeWriter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { reservation, size_bytes, written, .. } = self;
        let mut shown = f.debug_struct("LargeWriter");
        shown.field("reservation", reservation).field("size_bytes", size_bytes).field("written", written);
        shown.finish_non_exhaustive()
    }
}

impl Drop for LargeWriter {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.engine.abandon(reservation);
        }
    }
}
