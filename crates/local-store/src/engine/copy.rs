//! Copies objects to new blocks, and points their records there.

use std::sync::Arc;

use blobaccess::{ErrorKind, Result};

use super::put::{Contents, Owner, Replaces};
use super::space::{Purpose, RecordFields};
use super::{Engine, Mode, Put, Read, Space, Trailer, count};
use crate::key_location_map::Record;
use crate::object::checksums::PIECE_BYTES;

/// The result of copying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    Done,
    /// Another record has the key by now: another thread was faster, or the object was overwritten.
    Moved,
    /// No record has the key any more.
    Gone,
    /// Copies have taken their share of the store.
    NoShare,
    /// A block must be recycled first.
    NoSpace,
}

impl Engine {
    /// Copies an object to a new block, if its record is unchanged, together with the records of its parts.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the object cannot be read. An object that fails verification is quarantined, which is no error.
    pub(super) fn copy_forward(
        self: &Arc<Self>,
        record: &Record,
        parts: &[Record],
        purpose: Purpose,
    ) -> Result<Copied> {
        let _copying = self.upkeep.copy(record);
        let size = record.location.size_bytes;
        let is_streamed = size > PIECE_BYTES && !record.is_part && !self.storage_type.is_mutable();
        let result = if is_streamed && self.is_large(size) {
            self.copy_in_pieces(record, parts, purpose)
        } else {
            self.copy_whole(record, parts, purpose)
        };
        match result {
            Err(error) if error.kind() == ErrorKind::DataLoss => Ok(Copied::Gone),
            Ok(Copied::Done) => {
                count(&self.counters.copied, 1);
                count(&self.counters.copied_bytes, size);
                Ok(Copied::Done)
            }
            other => other,
        }
    }

    /// Returns whether a record is still the one that its key has.
    pub(super) fn is_current(&self, record: &Record) -> bool {
        self.is_current_in(&self.space(), record)
    }

    fn is_current_in(&self, space: &Space, record: &Record) -> bool {
        let key = record.key(self.map.check_mask());
        self.map.lookup_as_writer(&key, &space.map).is_some_and(|found| found.record == *record)
    }

    /// Returns what became of a record that is not current, or that cannot be read since its block is in another use.
    fn fate(&self, record: &Record) -> Copied {
        let key = record.key(self.map.check_mask());
        if self.map.lookup(&key, &self.space).is_some() { Copied::Moved } else { Copied::Gone }
    }

    /// Draws the cost of copying a record from the share of copies. `Err` says why there must be no copy.
    fn draw(&self, record: &Record, purpose: Purpose) -> std::result::Result<(), Copied> {
        let mut space = self.space();
        if !self.is_current_in(&space, record) {
            return Err(self.fate(record));
        }
        let is_drawn = space.draw_share(record, purpose);
        if is_drawn { Ok(()) } else { Err(Copied::NoShare) }
    }

    /// Returns the owner of an object that is copied; `None` if the object is gone.
    fn owner_of(&self, record: &Record) -> Result<Option<Owner>> {
        let tail = self.read_tail(record)?;
        Ok(tail.map(|tail| Owner {
            function: record.function,
            account_name: record.account_name,
            new_account: None,
            tail,
        }))
    }

    fn copy_whole(self: &Arc<Self>, record: &Record, parts: &[Record], purpose: Purpose) -> Result<Copied> {
        let bytes = match self.read(record, 0..record.location.size_bytes, Mode::Waiting)? {
            Read::Bytes(bytes) => bytes,
            Read::Gone | Read::NotAtOnce => return Ok(self.fate(record)),
        };
        let Some(owner) = self.owner_of(record)? else { return Ok(self.fate(record)) };
        if let Err(instead) = self.draw(record, purpose) {
            return Ok(instead);
        }
        let key = record.key(self.map.check_mask());
        match self.store(&key, &Contents { bytes, owner }, Replaces::Copied(record, parts), purpose.into()) {
            Put::Done { .. } => Ok(Copied::Done),
            Put::NeedsSpace => Ok(Copied::NoSpace),
            Put::Leaving | Put::Changed | Put::Crowded | Put::Refused => Ok(self.fate(record)),
        }
    }

    fn copy_in_pieces(self: &Arc<Self>, record: &Record, parts: &[Record], purpose: Purpose) -> Result<Copied> {
        let size = record.location.size_bytes;
        let Some(owner) = self.owner_of(record)? else { return Ok(self.fate(record)) };
        if let Err(instead) = self.draw(record, purpose) {
            return Ok(instead);
        }
        let Some(mut writer) = self.begin_large_for(size, owner, purpose.into()) else { return Ok(Copied::NoSpace) };
        let (mut at, trailer) = (0, Trailer::default());
        while at < size {
            let to = size.min(at + PIECE_BYTES);
            match self.read_by(&trailer, record, at..to, Mode::Waiting)? {
                Read::Bytes(bytes) => writer.write(&bytes)?,
                Read::Gone | Read::NotAtOnce => return Ok(self.fate(record)),
            }
            at = to;
            if self.is_congested() {
                self.flush()?;
            }
        }
        Ok(if writer.finish_copy(record, parts) { Copied::Done } else { self.fate(record) })
    }

    /// Points the record of an object to its copy, and the records of its parts into it: those that are unchanged, as
    /// far as the log has room.
    pub(super) fn repoint(&self, space: &mut Space, from: &Record, to: &Record, parts: &[Record]) -> bool {
        space.append(to);
        let is_replaced = self.map.replace(&mut space.map, from, to);
        for part in parts {
            let has_log_space = space.has_log_space(to.location.block);
            let Some(within) = part.location.offset.checked_sub(from.location.offset) else { continue };
            if !has_log_space || !self.is_current_in(space, part) {
                continue;
            }
            let named = RecordFields {
                key_words: part.key_words,
                function: part.function,
                size_bytes: part.location.size_bytes,
                is_part: true,
                has_tail: false,
                account_name: part.account_name,
            };
            let moved = space.draft(to.location.block, to.location.offset + within, named, part.sequence);
            space.append(&moved);
            self.map.replace(&mut space.map, part, &moved);
        }
        is_replaced
    }
}
