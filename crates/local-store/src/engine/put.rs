//! Stores contents that are at hand: decides about existence, reserves, writes and publishes under one lock.

use bytes::Bytes;

use blobaccess::{Context, Digest, PutOutcome, Result};

use super::names::Existing;
use super::space::{For, Named, Reservation};
use super::{Engine, Presence, Space};
use crate::key::Key;
use crate::key_location_map::{Inserted, Record};
use crate::trailer::Sums;
use crate::{namespaces, tail, width};

/// Whose an object is, and what is kept with it.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The digest function, by its number in the protocol.
    pub(crate) function: u8,
    /// The number of the namespace on whose account it is; 0 if it is on nobody's.
    pub(crate) namespace: u16,
    /// What its tail has behind its checksum; nothing if it has none.
    pub(crate) tail: Vec<u8>,
}

impl Owner {
    pub(super) fn named(&self, key_words: [u64; 4], size_bytes: u64) -> Named {
        Named {
            key_words,
            function: self.function,
            size_bytes,
            is_part: false,
            has_tail: !self.tail.is_empty(),
            namespace: self.namespace,
        }
    }
}

/// Contents at hand, summed up before any lock is taken.
pub(crate) struct Contents {
    pub(crate) bytes: Bytes,
    /// `None` where nothing is checked later.
    pub(crate) sums: Option<Sums>,
    pub(crate) owner: Owner,
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
    /// It is stored in a block whose log has no room for the record of one more name.
    Crowded,
}

impl Engine {
    /// Whose an object is that is put by this call.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the instance name is too long to be kept.
    pub(crate) fn owner(&self, ctx: &Context, digest: &Digest) -> Result<Owner> {
        let namespace = super::enter(&self.namespaces).number(namespaces::name_of(ctx, digest));
        let tail = tail::of(self.storage_type, digest, ctx.upload_token())?;
        Ok(Owner { function: crate::key::function(digest), namespace, tail })
    }

    pub(crate) fn contents(&self, bytes: Bytes, owner: Owner) -> Contents {
        let sums = self.sizes.has_trailers.then(|| Sums::of(&bytes));
        Contents { bytes, sums, owner }
    }

    /// What an object of this size takes of a block, with all that lies behind it.
    pub(super) fn length(&self, size_bytes: u64, owner: &Owner) -> u64 {
        self.sizes.stored_bytes(size_bytes) + tail::size_bytes(&owner.tail)
    }

    /// Stores what is not there yet, and makes it seen by a name, if there is one.
    pub(crate) fn put_contents(&self, key: &Key, contents: &Contents, name: Option<&Key>) -> Result<Put> {
        self.check_device()?;
        let mut space = self.space();
        if let Some(existing) = self.existing(&mut space, key, name) {
            let existing = match (existing.put, name) {
                (Put::Crowded, Some(name)) => self.store_again(&mut space, key, contents, name),
                _ => existing,
            };
            drop(space);
            return Ok(self.report(existing));
        }
        let stored = self.store(&mut space, key, contents);
        let shared = stored.as_ref().zip(name).map(|((record, _), name)| self.share_with(&mut space, record, name));
        let publications = space.publications;
        drop(space);
        Ok(self.conclude_named(stored, publications, shared))
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
    pub(super) fn existing(&self, space: &mut Space, key: &Key, name: Option<&Key>) -> Option<Existing> {
        match self.find(key) {
            Presence::Absent => None,
            Presence::Leaving => Some(Put::Leaving.into()),
            Presence::Present(record) => Some(self.shared(space, &record, name)),
        }
    }

    fn store(&self, space: &mut Space, key: &Key, contents: &Contents) -> Option<(Record, Inserted)> {
        let size_bytes = width::on_device(contents.bytes.len());
        let reservation = self.reserve(space, self.length(size_bytes, &contents.owner), For::Put)?;
        let named = contents.owner.named(key.words, size_bytes);
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
        self.write_tail(reservation, record, &contents.owner, at);
    }

    /// Writes what lies behind contents and trailer, and padding behind that.
    pub(super) fn write_tail(&self, reservation: &Reservation, record: &Record, owner: &Owner, mut at: u64) {
        if record.has_tail {
            let sum = tail::sum(record, &owner.tail);
            self.write(reservation, at, &sum);
            self.write(reservation, at + width::on_device(sum.len()), &owner.tail);
            at += tail::size_bytes(&owner.tail);
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
