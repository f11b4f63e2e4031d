//! Stores contents that are at hand: decides about existence, reserves, writes and publishes under one lock.

use bytes::Bytes;

use blobaccess::{PutOutcome, Result};

use super::space::{For, Named, Reservation};
use super::{Engine, Presence, Space};
use crate::key::Key;
use crate::key_location_map::{Inserted, Record};
use crate::trailer::Sums;
use crate::width;

/// Contents at hand, summed up before any lock is taken.
pub(crate) struct Contents {
    pub(crate) bytes: Bytes,
    /// `None` where nothing is checked later.
    pub(crate) sums: Option<Sums>,
    /// The digest function, by its number in the protocol.
    pub(crate) function: u8,
}

/// What a put came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is stored, and durable once that many publications are.
    Done { outcome: PutOutcome, publications: u64 },
    /// A block must be recycled first.
    NeedsSpace,
    /// It is stored in a block that is about to be recycled: it must be rescued first.
    Leaving,
    /// What is stored is not what the caller compared with.
    Changed,
}

impl Engine {
    pub(crate) fn contents(&self, bytes: Bytes, function: u8) -> Contents {
        let sums = self.sizes.has_trailers.then(|| Sums::of(&bytes));
        Contents { bytes, sums, function }
    }

    /// Stores what is not there yet.
    pub(crate) fn put_contents(&self, key: &Key, contents: &Contents) -> Result<Put> {
        self.check_device()?;
        let mut space = self.space();
        if let Some(put) = self.existing(&space, key) {
            return Ok(put);
        }
        let stored = self.store(&mut space, key, contents);
        let publications = space.publications;
        drop(space);
        Ok(self.conclude(stored, publications, None))
    }

    /// Stores a message in place of `old`, if that is what is stored.
    pub(crate) fn put_message(&self, key: &Key, contents: &Contents, old: Option<&Record>) -> Result<Put> {
        self.check_device()?;
        let mut space = self.space();
        let found = self.map.lookup_as_writer(key, &space.map);
        if found.map(|found| found.record).as_ref() != old {
            return Ok(Put::Changed);
        }
        let stored = self.store(&mut space, key, contents);
        let publications = space.publications;
        drop(space);
        Ok(self.conclude(stored, publications, old))
    }

    /// What a put of contents that are stored comes to.
    pub(super) fn existing(&self, space: &Space, key: &Key) -> Option<Put> {
        match self.find(key) {
            Presence::Absent => None,
            Presence::Leaving => Some(Put::Leaving),
            Presence::Present(record) => Some(Put::Done {
                outcome: PutOutcome::AlreadyExists { stored_bytes: record.location.size_bytes },
                publications: space.publications,
            }),
        }
    }

    fn store(&self, space: &mut Space, key: &Key, contents: &Contents) -> Option<(Record, Inserted)> {
        let size_bytes = width::on_device(contents.bytes.len());
        let reservation = self.reserve(space, self.sizes.stored_bytes(size_bytes), For::Put)?;
        let named = Named { key_words: key.words, function: contents.function, size_bytes, is_part: false };
        let sequence = space.draw_sequence();
        let record = space.draft(reservation.block, reservation.offset, named, sequence);
        self.write_whole(&reservation, &record, contents);
        Some((record, self.publish(space, &record)))
    }

    pub(super) fn write_whole(&self, reservation: &Reservation, record: &Record, contents: &Contents) {
        let mut at = width::on_device(contents.bytes.len());
        self.write(reservation, 0, &contents.bytes);
        if let Some(sums) = &contents.sums {
            let trailer = sums.trailer(record);
            self.write(reservation, at, &trailer);
            at += width::on_device(trailer.len());
        }
        self.pad_rest(reservation, at);
    }

    pub(super) fn pad_rest(&self, reservation: &Reservation, at: u64) {
        let Reservation { block, generation, offset, length } = *reservation;
        self.pad(block, generation, offset + at..offset + length);
    }

    pub(super) fn conclude(&self, stored: Option<(Record, Inserted)>, publications: u64, old: Option<&Record>) -> Put {
        let Some((record, inserted)) = stored else { return Put::NeedsSpace };
        if let Some(dropped) = &inserted.dropped {
            self.evicted(dropped);
        }
        let stored_bytes = record.location.size_bytes;
        let outcome = match old {
            None => PutOutcome::Created { stored_bytes },
            Some(old) => PutOutcome::Replaced { stored_bytes, old_bytes: old.location.size_bytes },
        };
        self.work.notify_one();
        Put::Done { outcome, publications }
    }
}
