//! Stores contents that are at hand: space is reserved, filled under no lock, and published.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use blobaccess::{Context, Digest, Error, PutOutcome, Result};

use super::space::{RecordFields, Requester, Reservation, Space};
use super::visibility::{ExistingPut, ShareOutcome};
use super::{Engine, Presence};
use crate::account_names;
use crate::key::Key;
use crate::key_location_map::{FOUND, Inserted, Newcomer, Record, Room};
use crate::machine::casts;
use crate::machine::concurrency::locks::enter;
use crate::object::checksums::{PIECE_BYTES, Sums};
use crate::object::provenance;

/// The account, the digest function and the tail of an object.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The digest function, by its number in the protocol.
    pub(crate) function: u8,
    /// The number of the account that the object is on; 0 if it is on none, or has no number yet.
    pub(crate) account_name: u16,
    /// The name of the account, if it has no number yet: it gets one with its first object.
    pub(crate) new_account: Option<Box<str>>,
    /// The tail without its checksum; empty if the object has none.
    pub(crate) tail: Vec<u8>,
}

impl Owner {
    fn named(&self, key_words: [u64; 4], size_bytes: u64) -> RecordFields {
        RecordFields {
            key_words,
            function: self.function,
            size_bytes,
            is_part: false,
            has_tail: !self.tail.is_empty(),
            account_name: self.account_name,
        }
    }
}

/// Contents at hand.
#[derive(Clone)]
pub(crate) struct Contents {
    pub(crate) bytes: Bytes,
    pub(crate) owner: Owner,
}

/// The record that a new one replaces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replaces<'a> {
    /// Nothing: no record may exist yet.
    Nothing,
    /// Nothing, as above. The instance name of this key sees the new record.
    NothingFor(&'a Key),
    /// The same contents, in a block whose log has no room for the instance name of this key, which sees the new record.
    SameContents(&'a Key),
    /// The message that is stored now, if there is one.
    Message(Option<&'a Record>),
    /// The record that the new one is a copy of, together with the records of its parts.
    Copied(&'a Record, &'a [Record]),
}

/// The result of publishing.
#[derive(Debug)]
pub(super) enum Published {
    Done(Put),
    /// Another put was first.
    Exists(Put),
    /// The stored record is not the one to be replaced.
    Changed,
    /// The map has no room, and nothing that may go instead.
    Refused,
    /// A sync ended the sectors, or the block takes no more objects.
    Void,
}

/// The result of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The object is stored, and durable once this number of publications is.
    Done { outcome: PutOutcome, publications: u64 },
    /// A block must be recycled first.
    NeedsSpace,
    /// The object is stored in a block that is about to be recycled: it must be rescued first.
    Leaving,
    /// The stored record is not the one that the caller compared with.
    Changed,
    /// The object is stored in a block whose log has no room for the record of one more name.
    Crowded,
    /// The map has no room, and nothing that may go instead.
    Refused,
}

impl Engine {
    /// Returns the owner of an object that this call puts.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the instance name is too long to be kept.
    pub(crate) fn owner(&self, ctx: &Context, digest: &Digest) -> Result<Owner> {
        let name = account_names::name_of(ctx, digest);
        let (account_name, new_account) = match enter(&self.account_names).known(name) {
            Some(number) => (number, None),
            None => (account_names::NOBODY, Some(name.into())),
        };
        let tail = provenance::encode(self.storage_type, digest, ctx.upload_token())?;
        Ok(Owner { function: crate::key::function(digest), account_name, new_account, tail })
    }

    /// Returns how much of a block an object of this size takes, trailer and tail included.
    pub(super) fn length(&self, size_bytes: u64, owner: &Owner) -> u64 {
        self.sizes.stored_bytes(size_bytes) + provenance::size_bytes(&owner.tail)
    }

    /// Stores contents that are not stored yet, and makes them visible to an instance name, if there is one.
    pub(crate) fn put_contents(&self, key: &Key, contents: &Contents, name: Option<&Key>) -> Result<Put> {
        self.check_device()?;
        let Some(name) = name else {
            return Ok(self
                .existing(key)
                .unwrap_or_else(|| self.store(key, contents, Replaces::Nothing, Requester::Put)));
        };
        let existing = self.shared(&mut self.space(), key, name);
        let put = match existing {
            None => self.store(key, contents, Replaces::NothingFor(name), Requester::Put),
            Some(ExistingPut { put: Put::Crowded, .. }) => {
                self.store(key, contents, Replaces::SameContents(name), Requester::Put)
            }
            Some(existing) => self.report(existing),
        };
        // A log that filled up meanwhile: the contents are at hand to be stored in another block.
        Ok(if put == Put::Crowded { Put::Changed } else { put })
    }

    /// Stores a message in place of `old`, if that is the stored record.
    pub(crate) fn put_message(&self, key: &Key, contents: &Contents, old: Option<&Record>) -> Result<Put> {
        self.check_device()?;
        Ok(self.store(key, contents, Replaces::Message(old), Requester::Put))
    }

    /// Returns the result of a put whose contents are stored; `None` if they are not.
    pub(super) fn existing(&self, key: &Key) -> Option<Put> {
        match self.find(key) {
            Presence::Absent => None,
            Presence::Leaving => Some(Put::Leaving),
            Presence::Present(record) => Some(Put::Done {
                outcome: PutOutcome::AlreadyExists { stored_bytes: record.location.size_bytes },
                publications: self.publications(),
            }),
        }
    }

    /// Reserves, fills and publishes.
    pub(super) fn store(&self, key: &Key, contents: &Contents, replaces: Replaces<'_>, requester: Requester) -> Put {
        let size_bytes = casts::on_device(contents.bytes.len());
        let length = self.length(size_bytes, &contents.owner);
        let mut is_alone = false;
        loop {
            let reservation = {
                let mut space = self.space();
                if is_alone { space.reserve_own(length, requester) } else { space.reserve(length, requester) }
            };
            let Some(mut reservation) = reservation else { return Put::NeedsSpace };
            let sums = self.fill(&mut reservation, &contents.bytes);
            match self.publish(key, &mut reservation, size_bytes, &contents.owner, sums.as_ref(), replaces) {
                Published::Done(put) => return put,
                Published::Exists(put) => {
                    self.abandon(reservation);
                    return put;
                }
                Published::Changed => {
                    self.abandon(reservation);
                    return Put::Changed;
                }
                Published::Refused => {
                    self.abandon(reservation);
                    return Put::Refused;
                }
                Published::Void => {
                    self.abandon(reservation);
                    // In sectors that no sync can take away.
                    is_alone = true;
                }
            }
        }
    }

    /// Copies contents into a reservation and sums them up, piece by piece, so that each is read from memory once.
    pub(super) fn fill(&self, reservation: &mut Reservation, bytes: &[u8]) -> Option<Sums> {
        let mut sums = self.sizes.has_trailers.then(Sums::new);
        let mut at = 0;
        for piece in bytes.chunks(casts::in_memory(PIECE_BYTES)) {
            if let Some(sums) = &mut sums {
                sums.add_piece(piece);
            }
            reservation.write(&self.blocks, at, piece);
            at += casts::on_device(piece.len());
        }
        if let Some(sums) = &mut sums {
            sums.end();
        }
        sums
    }

    /// Gives up a reservation that is not published. Sectors of its own come back, shared ones become padding.
    pub(super) fn abandon(&self, reservation: Reservation) {
        if reservation.has_own_sectors() {
            self.space().take_back(reservation);
        } else {
            reservation.make_padding(&self.blocks);
        }
    }

    /// Publishes the bytes written into a reservation, if that is still allowed.
    pub(super) fn publish(
        &self,
        key: &Key,
        reservation: &mut Reservation,
        size_bytes: u64,
        owner: &Owner,
        sums: Option<&Sums>,
        replaces: Replaces<'_>,
    ) -> Published {
        let mut space = self.space();
        let sequence = match replaces {
            Replaces::Nothing => {
                if let Some(put) = self.existing(key) {
                    return Published::Exists(put);
                }
                None
            }
            Replaces::NothingFor(name) => {
                if let Some(existing) = self.shared(&mut space, key, name) {
                    drop(space);
                    return Published::Exists(self.report(existing));
                }
                None
            }
            Replaces::SameContents(_) => None,
            Replaces::Message(old) => {
                if self.map.lookup_as_writer(key, &space.map).map(|found| found.record).as_ref() != old {
                    return Published::Changed;
                }
                None
            }
            Replaces::Copied(from, _) => {
                if self.map.lookup_as_writer(key, &space.map).is_none_or(|found| found.record != *from) {
                    return Published::Changed;
                }
                Some(from.sequence)
            }
        };
        // A newer message must not lie in an older block than the one before: it would go first.
        let is_in_order = !matches!(replaces, Replaces::Message(_)) || space.is_new(reservation.block());
        if !is_in_order || !space.is_good(reservation) {
            return Published::Void;
        }
        // Before anything is said of the record: what is put is stored, or refused.
        let room = match replaces {
            Replaces::Copied(..) => None,
            Replaces::Nothing | Replaces::NothingFor(_) | Replaces::SameContents(_) | Replaces::Message(_) => {
                let newcomer = self.newcomer(&space);
                let Some(room) = self.map.admit(&mut space.map, key, newcomer) else { return Published::Refused };
                Some(room)
            }
        };
        space.adopt(reservation);
        space.note_success(size_bytes);
        let sequence = sequence.unwrap_or_else(|| space.draw_sequence());
        let account_name = match &owner.new_account {
            Some(name) => enter(&self.account_names).number(name),
            None => owner.account_name,
        };
        let named = RecordFields { account_name, ..owner.named(key.words, size_bytes) };
        let record = space.draft(reservation.block(), reservation.offset(), named, sequence);
        self.end(reservation, &record, sums, owner);
        let inserted = match (replaces, room) {
            (Replaces::SameContents(_), Some(room)) => self.insert_again(&mut space, room, &record),
            (_, Some(room)) => self.insert_as_promised(&mut space, room, &record),
            (Replaces::Copied(from, parts), None) => {
                self.repoint(&mut space, from, &record, parts);
                Inserted::default()
            }
            (_, None) => Inserted::default(),
        };
        let sharing = match replaces {
            Replaces::NothingFor(name) | Replaces::SameContents(name) => {
                Some(self.share_with(&mut space, &record, name))
            }
            Replaces::Nothing | Replaces::Message(_) | Replaces::Copied(..) => None,
        };
        let publications = space.publications();
        drop(space);
        let put = self.report_published(&record, &inserted, publications, replaces);
        Published::Done(match sharing {
            None | Some(ShareOutcome::Known) => put,
            Some(ShareOutcome::New(dropped)) => self.report(ExistingPut { put, dropped }),
            // The object is stored, and the rest is done when the put is tried again.
            Some(ShareOutcome::NoRoom) => Put::Crowded,
            Some(ShareOutcome::Refused) => Put::Refused,
        })
    }

    /// Publishes a record that is promised from now on, though it may lie in a block that was begun long ago.
    pub(super) fn insert_as_promised(&self, space: &mut Space, room: Room, record: &Record) -> Inserted {
        if self.ages.is_safe(record.location.generation) {
            return self.insert(space, room, record, 0);
        }
        if let Some(block) = self.blocks.get(record.location.block) {
            block.touches.set(record.entry);
        }
        self.insert(space, room, record, FOUND)
    }

    /// Returns the standing of a record that a put is about to publish.
    pub(super) fn newcomer(&self, space: &Space) -> Newcomer<'static> {
        Newcomer::Put { sequence: space.next_sequence(), safe_from: self.ages.safe_from() }
    }

    /// Counts a put that the map had no room for, and returns its error.
    pub(crate) fn refuse(&self) -> Error {
        super::count(&self.counters.refused_puts, 1);
        self.warn_of_crowded_map();
        Error::resource_exhausted(format!(
            "the map of the store, of {} slots, is full of blobs that were put lately: more entries \
             (`Options::with_entries`) make it larger",
            self.map.capacity()
        ))
        .not_stored()
    }

    /// Reports, once no lock is held, a record that had to go for another one.
    pub(super) fn report_dropped(&self, dropped: &Record) {
        self.evicted(dropped);
        self.warn_of_crowded_map();
    }

    /// Warns, once, that the map is what evicts.
    pub(super) fn warn_of_crowded_map(&self) {
        if !self.counters.has_warned_of_map.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                storage_type = self.storage_type.name(),
                slots = self.map.capacity(),
                "the map is full, so it evicts before the space does: `Options::with_entries` makes it larger"
            );
        }
    }

    /// Publishes a record, and appends its entry to its block's log.
    pub(super) fn insert(&self, space: &mut Space, room: Room, record: &Record, flags: u32) -> Inserted {
        space.append(record);
        let inserted = self.map.fill(&mut space.map, room, record, flags);
        space.accounts.store(record);
        if let Some(replaced) = &inserted.replaced {
            space.accounts.release(replaced);
        }
        if let Some(dropped) = &inserted.dropped {
            // Its entry is still there, so a restart may find the record again.
            space.accounts.leave(dropped);
            super::count(&self.counters.dropped_records, 1);
            if inserted.was_promised {
                super::count(&self.counters.breached_bytes, dropped.location.size_bytes);
            }
        }
        inserted
    }

    /// Writes trailer, tail and padding behind the contents.
    fn end(&self, reservation: &mut Reservation, record: &Record, sums: Option<&Sums>, owner: &Owner) {
        let mut at = record.location.size_bytes;
        if let Some(sums) = sums {
            let trailer = sums.trailer(record);
            reservation.write(&self.blocks, at, trailer.as_ref());
            at += casts::on_device(trailer.as_ref().len());
        }
        if record.has_tail {
            let sum = provenance::sum(record, &owner.tail);
            reservation.write(&self.blocks, at, &sum);
            reservation.write(&self.blocks, at + casts::on_device(sum.len()), &owner.tail);
            at += provenance::size_bytes(&owner.tail);
        }
        reservation.finish(&self.blocks, at);
    }

    fn report_published(&self, record: &Record, inserted: &Inserted, publications: u64, replaces: Replaces<'_>) -> Put {
        if let Some(dropped) = &inserted.dropped {
            self.report_dropped(dropped);
        }
        let stored_bytes = record.location.size_bytes;
        let outcome = match replaces {
            Replaces::Message(Some(old)) | Replaces::Copied(old, _) => {
                PutOutcome::Replaced { stored_bytes, old_bytes: old.location.size_bytes }
            }
            Replaces::Nothing | Replaces::NothingFor(_) | Replaces::SameContents(_) | Replaces::Message(None) => {
                PutOutcome::Created { stored_bytes }
            }
        };
        Put::Done { outcome, publications }
    }
}
