//! Makes contents visible to instance names by records that share the contents of another record, and go where those
//! go.
//!
//! The record of a name lies in the block that the contents lay in when it was made, and in the log of that block. It
//! says that its name sees the contents. The contents themselves are looked up by their own key.

use std::collections::HashMap;
use std::sync::Arc;

use blobaccess::{DigestFunction, Error, ErrorKind, PutOutcome, Result};

use super::space::{Purpose, RecordFields};
use super::{Copied, Engine, Mode, Presence, Put, Read, Space, count};
use crate::instance_names::{Mask, key_of_name};
use crate::key::{Key, by_position};
use crate::key_location_map::{FOUND, Inserted, Record, Room, Touch};
use crate::object::checksums::PIECE_BYTES;

/// The result of making contents visible to an instance name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShareOutcome {
    /// The name sees them from now on, and this record had to make room.
    New(Option<Record>),
    /// The name saw them before.
    Known,
    /// The log of the block that the contents lie in is full.
    NoRoom,
    /// The map has no room, and nothing that may go instead.
    Refused,
}

/// The result of moving the record of a name to where its contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowOutcome {
    /// The record moved, or is elsewhere by itself.
    Done,
    /// The contents are nowhere else.
    Nothing,
    /// The log of the block that they lie in is full.
    NoRoom,
}

/// The result of a put whose contents are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExistingPut {
    pub(super) put: Put,
    /// The record that had to make room in the map for the record of a name.
    pub(super) dropped: Option<Record>,
}

impl From<Put> for ExistingPut {
    fn from(put: Put) -> Self {
        Self { put, dropped: None }
    }
}

/// The keys of the objects of a block, by offset, size and function.
pub(super) type KeysByPlace = HashMap<(u64, u64, u8), Key>;

fn place(record: &Record) -> (u64, u64, u8) {
    (record.location.offset, record.location.size_bytes, record.function)
}

impl Engine {
    /// Returns whether one of the names with these masks has a record for the contents of `key`.
    pub(crate) fn sees(&self, key: &Key, masks: &[Mask]) -> bool {
        let mut keys = masks.iter().map(|mask| key_of_name(key, mask));
        keys.any(|name| {
            let mut is_seen = false;
            self.for_each_seen(&[name], |_| is_seen = true);
            is_seen
        })
    }

    /// Tells `seen` the positions of the keys of names that have a record.
    pub(crate) fn for_each_seen(&self, names: &[Key], mut seen: impl FnMut(usize)) {
        self.map.lookup_all(names.len(), by_position(names), &self.space, |position, found| {
            let Some((at, _)) = found.filter(|(_, record)| record.is_name) else { return };
            if !at.has(FOUND) {
                // This only makes a crowded map give up other records first: the record goes where its contents go.
                let _: Touch = self.map.touch(&at, FOUND);
            }
            seen(position);
        });
    }

    /// Tells `stored` the positions of the keys whose contents are stored, without a use of them.
    pub(crate) fn for_each_stored(&self, keys: &[Key], mut stored: impl FnMut(usize)) {
        self.map.lookup_all(keys.len(), by_position(keys), &self.space, |position, found| {
            if found.is_some() {
                stored(position);
            }
        });
    }

    /// Makes the contents of `key` visible to a name. `None` if they are not stored.
    pub(crate) fn share(&self, key: &Key, name: &Key) -> Result<Option<Put>> {
        self.check_device()?;
        let existing = self.shared(&mut self.space(), key, name);
        Ok(existing.map(|existing| self.report(existing)))
    }

    /// Returns the result of a put if its contents are stored, and makes them visible to a name.
    pub(super) fn shared(&self, space: &mut Space, key: &Key, name: &Key) -> Option<ExistingPut> {
        let record = match self.find(key) {
            Presence::Absent => return None,
            Presence::Leaving => return Some(Put::Leaving.into()),
            Presence::Present(record) => record,
        };
        let stored_bytes = record.location.size_bytes;
        let (outcome, dropped) = match self.share_with(space, &record, name) {
            ShareOutcome::Known => (PutOutcome::AlreadyExists { stored_bytes }, None),
            ShareOutcome::New(dropped) => (PutOutcome::Created { stored_bytes: 0 }, dropped),
            ShareOutcome::NoRoom => return Some(Put::Crowded.into()),
            ShareOutcome::Refused => return Some(Put::Refused.into()),
        };
        Some(ExistingPut { put: Put::Done { outcome, publications: space.publications() }, dropped })
    }

    /// Reports, once no lock is held, the record that had to make room.
    pub(super) fn report(&self, existing: ExistingPut) -> Put {
        if let Some(dropped) = &existing.dropped {
            self.report_dropped(dropped);
        }
        existing.put
    }

    /// Points the record of contents to where they were stored again.
    pub(super) fn insert_again(&self, space: &mut Space, room: Room, record: &Record) -> Inserted {
        let Some(old) = room.replaced().copied() else { return self.insert_as_promised(space, room, record) };
        space.append(record);
        let _: Inserted = self.map.fill(&mut space.map, room, record, 0);
        space.accounts.store(record);
        // The log of its block still names it.
        space.accounts.leave(&old);
        Inserted::default()
    }

    /// Makes the contents of `record` visible to a name. The block of `record` is not being recycled.
    pub(super) fn share_with(&self, space: &mut Space, record: &Record, name: &Key) -> ShareOutcome {
        let known = self.map.lookup_as_writer(name, &space.map).map(|found| found.record);
        if known.is_some_and(|known| known.location == record.location) {
            return ShareOutcome::Known;
        }
        if !space.has_log_space(record.location.block) {
            return if known.is_some() { ShareOutcome::Known } else { ShareOutcome::NoRoom };
        }
        let named = RecordFields {
            key_words: name.words,
            function: record.function,
            size_bytes: record.location.size_bytes,
            is_part: true,
            has_tail: true,
            account_name: 0,
        };
        let newcomer = self.newcomer(space);
        let Some(room) = self.map.admit(&mut space.map, name, newcomer) else { return ShareOutcome::Refused };
        let sequence = space.draw_sequence();
        let record_of_name = space.draft(record.location.block, record.location.offset, named, sequence);
        let inserted = self.insert(space, room, &record_of_name, 0);
        // A record that is replaced makes room itself.
        if known.is_some() { ShareOutcome::Known } else { ShareOutcome::New(inserted.dropped) }
    }

    /// Copies contents to a block whose log has room for one more name. It may block.
    ///
    /// # Errors
    ///
    /// `Unavailable` if copies have taken their share, or the device fails.
    pub(crate) fn make_room_for_name(self: &Arc<Self>, key: &Key) -> Result<()> {
        let record = match self.find(key) {
            Presence::Present(record) => record,
            Presence::Leaving => return self.rescue(key).map(|_| ()),
            Presence::Absent => return Ok(()),
        };
        match self.copy_forward(&record, &[], Purpose::Used)? {
            Copied::Done | Copied::Moved | Copied::Gone => Ok(()),
            Copied::NoSpace => self.recycle_blocks(),
            Copied::NoShare => Err(Error::unavailable(
                "the log of a block is full, and its objects cannot be copied now: copies have taken their share",
            )),
        }
    }

    /// Returns the keys of the objects in a block that is going to be recycled; none where names do not count.
    pub(super) fn keys_in(&self, block: u16) -> KeysByPlace {
        let mut keys = KeysByPlace::new();
        if self.names.is_none() {
            return keys;
        }
        for buckets in self.map.sweeps() {
            self.map.records_in(buckets, block, 0, &self.space, &mut |record, _| {
                if !record.is_name() {
                    keys.insert(place(&record), record.key(self.map.check_mask()));
                }
            });
        }
        keys
    }

    /// Moves the records of names to where the contents of a block are by now, and forgets the others.
    pub(super) fn move_names(&self, block: u16, keys: &KeysByPlace) -> Result<()> {
        for buckets in self.map.sweeps() {
            let mut names = Vec::new();
            self.map.records_in(buckets, block, 0, &self.space, &mut |record, _| {
                if record.is_name() {
                    names.push(record);
                }
            });
            for name in names {
                let key = match keys.get(&place(&name)) {
                    Some(key) => Some(*key),
                    // The contents are elsewhere by now: stored again for want of room in the log, for example.
                    None => self.key_of_contents(&name)?,
                };
                let mut space = self.space.take_turn();
                let following =
                    key.map_or(FollowOutcome::Nothing, |key| self.move_name(&mut space, block, &name, &key));
                match following {
                    FollowOutcome::Done => continue,
                    FollowOutcome::NoRoom => count(&self.counters.breached_bytes, name.location.size_bytes),
                    FollowOutcome::Nothing => {}
                }
                // In the same step: another put may store the contents anew, and then this name must not be found here.
                self.map.remove(&mut space.map, &name);
                self.names_seen.note_forgotten();
            }
        }
        Ok(())
    }

    /// Moves the records of names along with records that were copied out of a block that stays for now. Records that
    /// this misses follow when the block is recycled.
    pub(super) fn let_names_follow(&self, block: u16, contents: &[Record]) {
        if self.names.is_none() {
            return;
        }
        let check_mask = self.map.check_mask();
        let keys: KeysByPlace = contents.iter().map(|record| (place(record), record.key(check_mask))).collect();
        for buckets in self.map.sweeps() {
            let mut names = Vec::new();
            self.map.records_in(buckets, block, 0, &self.space, &mut |record, _| {
                if record.is_name()
                    && let Some(key) = keys.get(&place(&record))
                {
                    names.push((record, *key));
                }
            });
            for (name, key) in names {
                // Where there is no room for the record, it stays for now.
                let _: FollowOutcome = self.move_name(&mut self.space.take_turn(), block, &name, &key);
            }
        }
    }

    /// Moves the record of a name to its contents, if they are no longer in `block`.
    fn move_name(&self, space: &mut Space, block: u16, name: &Record, key: &Key) -> FollowOutcome {
        let contents = self.map.lookup_as_writer(key, &space.map).map(|found| found.record);
        let Some(contents) = contents.filter(|contents| contents.location.block != block) else {
            return FollowOutcome::Nothing;
        };
        let known = self.map.lookup_as_writer(&name.key(self.map.check_mask()), &space.map);
        if known.is_none_or(|known| known.record != *name) {
            return FollowOutcome::Done;
        }
        if !space.has_log_space(contents.location.block) {
            return FollowOutcome::NoRoom;
        }
        let named = RecordFields {
            key_words: name.key_words,
            function: name.function,
            size_bytes: name.location.size_bytes,
            is_part: true,
            has_tail: true,
            account_name: 0,
        };
        let moved = space.draft(contents.location.block, contents.location.offset, named, name.sequence);
        space.append(&moved);
        self.map.replace(&mut space.map, name, &moved);
        FollowOutcome::Done
    }

    /// Returns the key of the contents that lie where `name` says; `None` if they are gone, or cannot be read while others
    /// can: the name is forgotten then, and may prove again that it has them.
    fn key_of_contents(&self, name: &Record) -> Result<Option<Key>> {
        let Some(function) = DigestFunction::from_number(i32::from(name.function)) else { return Ok(None) };
        let size = name.location.size_bytes;
        let mut hasher = function.hasher(size);
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE_BYTES);
            let bytes = match self.reader.lend(&name.location, at..end, Mode::Waiting) {
                Ok(Read::Bytes(bytes)) => bytes,
                Ok(Read::Gone | Read::NotAtOnce) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::DataLoss => return Ok(None),
                Err(error) => return Err(error),
            };
            hasher.update(&bytes);
            at = end;
        }
        let words = crate::key::words_of_hash(hasher.finish().as_bytes());
        Ok(Some(Key { words, check: crate::key::pack(size, name.function) }))
    }
}
