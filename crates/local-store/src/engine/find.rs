//! Finds stored objects, and notes that a caller was told of them.

use std::sync::Arc;

use blobaccess::{Digest, Result};

use super::space::Purpose;
use super::{Copied, Engine};
use crate::block::Block;
use crate::key::{Key, by_position, key_of_contents};
use crate::key_location_map::{Brief, FOUND, READ, Record, Sighting, Touch};
use crate::options::Refresh;

/// Whether an object is stored, as a caller is told that will rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is stored, and stays as long as is promised.
    Present(Record),
    Absent,
    /// It is stored in a block that is about to be recycled: it must be copied first.
    Leaving,
}

/// Whether an object whose touch is noted stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Staying,
    Leaving,
}

impl Engine {
    /// Returns whether the object of `key` is stored, and notes that a caller is told.
    #[inline(never)]
    pub(crate) fn find(&self, key: &Key) -> Presence {
        loop {
            let Some(found) = self.map.lookup(key, &self.space) else { return Presence::Absent };
            match self.note_found(&found.at, found.record.brief()) {
                Some(Noted::Staying) => return Presence::Present(found.record),
                Some(Noted::Leaving) => return Presence::Leaving,
                None => {}
            }
        }
    }

    /// Does the same as [`find`](Self::find) for many digests. Tells `absent` and `leaving` the positions of digests
    /// that are.
    #[inline]
    pub(crate) fn find_all(&self, digests: &[Digest], absent: impl FnMut(usize), leaving: impl FnMut(usize)) {
        if self.keys.is_hash() {
            let key = |position| digests.get(position).map(key_of_contents).unwrap_or_default();
            self.find_all_keys(digests.len(), key, absent, leaving);
        } else {
            let keys: Vec<Key> = digests.iter().map(|digest| self.keys.key(digest)).collect();
            self.find_all_keys(keys.len(), by_position(&keys), absent, leaving);
        }
    }

    #[inline]
    fn find_all_keys(
        &self,
        length: usize,
        key: impl Fn(usize) -> Key,
        mut absent: impl FnMut(usize),
        mut leaving: impl FnMut(usize),
    ) {
        self.map.lookup_all(length, &key, &self.space, |position, found| {
            let Some((at, brief)) = found else { return absent(position) };
            match self.note_found(&at, brief) {
                Some(Noted::Staying) => {}
                Some(Noted::Leaving) => leaving(position),
                None => match self.find(&key(position)) {
                    Presence::Present(_) => {}
                    Presence::Absent => absent(position),
                    Presence::Leaving => leaving(position),
                },
            }
        });
    }

    /// Notes that a caller is told of a record. `None` if the record has moved meanwhile.
    #[expect(clippy::inline_always, reason = "a tenth of the time of a look-up in a batch went to the call")]
    #[inline(always)]
    fn note_found(&self, at: &Sighting, record: Brief) -> Option<Noted> {
        let block = self.blocks.get(at.block())?;
        if self.ages.is_safe(record.generation) {
            // The object stays as long as is promised, touched or not; this is use, and no more.
            self.note_use(at, record.generation);
        } else {
            if !at.has(FOUND) {
                // Before the flag: a thread that sees the flag need not look whether this is noted.
                block.touches.set(record.entry);
                if self.map.touch(at, FOUND) == Touch::Moved {
                    return None;
                }
            }
            if self.refresh == Refresh::OnTouch {
                self.note_use(at, record.generation);
            }
        }
        // After the flag: either the copier sees the flag, or this thread sees that there is a copier.
        if block.is_copying() {
            return Some(Noted::Leaving);
        }
        block.is(record.generation).then_some(Noted::Staying)
    }

    /// Looks up an object to read it. Reading counts as use, unless the object is among the newest.
    #[inline]
    pub(crate) fn look_up_to_read(&self, key: &Key) -> Option<Record> {
        let found = self.map.lookup(key, &self.space)?;
        self.note_use(&found.at, found.record.location.generation);
        Some(found.record)
    }

    #[inline]
    fn note_use(&self, at: &Sighting, generation: u32) {
        if at.has(READ) {
            return;
        }
        if self.refresh == Refresh::OnTouch {
            if self.ages.is_old(generation) {
                self.queue_refresh(at);
            }
        } else if !self.ages.is_newest(generation) {
            // If the record moved meanwhile, this use goes unnoted: nothing was promised.
            let _: Touch = self.map.touch(at, READ);
        }
    }

    /// Fetches the memory that a look-up of `key` will need.
    #[inline]
    pub(crate) fn expect(&self, key: &Key) {
        self.map.expect(key);
    }

    /// Looks up a record without noting a use.
    pub(crate) fn peek(&self, key: &Key) -> Option<Record> {
        self.map.lookup(key, &self.space).map(|found| found.record)
    }

    /// Keeps an object whose block is about to be recycled, by copying it. It may block.
    ///
    /// # Errors
    ///
    /// Fails if the object cannot be read, or the device fails. An object that fails verification is absent. So is,
    /// from now on, an object that no share is left for: it would go in a moment. Where there is no space for the copy,
    /// the thread that recycles the block has the last word.
    pub(crate) fn rescue(self: &Arc<Self>, key: &Key) -> Result<Presence> {
        loop {
            match self.find(key) {
                Presence::Leaving => {
                    // Earlier promises come first.
                    self.upkeep.wait_until_set_aside();
                    let Some(record) = self.peek(key) else { continue };
                    if !self.blocks.get(record.location.block).is_some_and(Block::is_copying) {
                        // The object was copied meanwhile: not from there again.
                        continue;
                    }
                    match self.copy_forward(&record, &[], Purpose::Promised { sequence: record.sequence })? {
                        Copied::Done | Copied::Moved | Copied::Gone => {}
                        Copied::NoShare => self.give_up(&record),
                        // After this, the block is out of use, and space is free.
                        Copied::NoSpace => self.recycle_blocks()?,
                    }
                }
                known @ (Presence::Present(_) | Presence::Absent) => return Ok(known),
            }
        }
    }

    /// Takes an object out of the map that cannot be kept, so that no caller is told of it.
    fn give_up(&self, record: &Record) {
        {
            let mut space = self.space();
            if !self.map.remove(&mut space.map, record) {
                return;
            }
            // The superblock still vouches for it.
            space.accounts.leave(record);
        }
        self.evicted(record);
    }
}
