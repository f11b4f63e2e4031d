//! Finds what is stored, and notes that somebody was told so.

use std::sync::Arc;

use blobaccess::{Digest, Result};

use super::share::Purpose;
use super::{Copied, Engine, enter};
use crate::block::Block;
use crate::key::Key;
use crate::key_location_map::{FOUND, Found, READ, Record, Touch};
use crate::options::Refresh;

/// Whether an object is stored, once somebody is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is, and stays as long as is promised.
    Present(Record),
    Absent,
    /// It is, in a block that is about to be recycled: it must be copied first.
    Leaving,
}

impl Engine {
    /// Whether the object of `key` is stored; notes that somebody is told.
    #[inline(never)]
    pub(crate) fn find(&self, key: &Key) -> Presence {
        loop {
            let Some(found) = self.map.lookup(key) else { return Presence::Absent };
            if let Some(presence) = self.note_found(&found) {
                return presence;
            }
        }
    }

    /// The same for many. Tells `absent` and `leaving` the positions of those.
    #[inline]
    pub(crate) fn find_all(&self, digests: &[Digest], mut absent: impl FnMut(usize), mut leaving: impl FnMut(usize)) {
        let keys = digests.iter().map(|digest| self.keys.key(digest));
        self.map.lookup_all(keys, |position, key, found| {
            let presence = match found {
                None => Presence::Absent,
                Some(found) => self.note_found(&found).unwrap_or_else(|| self.find(key)),
            };
            match presence {
                Presence::Present(_) => {}
                Presence::Absent => absent(position),
                Presence::Leaving => leaving(position),
            }
        });
    }

    /// `None` if the record has moved meanwhile.
    #[inline]
    fn note_found(&self, found: &Found) -> Option<Presence> {
        let location = found.record.location;
        let block = self.block(location.block)?;
        if self.is_safe(&found.record) {
            // It stays as long as is promised, touched or not; this is use, and no more.
            self.note_use(found);
        } else {
            if !found.has(FOUND) {
                // Before the flag: who sees the flag need not look whether this is noted.
                block.touches.set(found.record.entry);
                if self.map.touch(found, FOUND) == Touch::Moved {
                    return None;
                }
            }
            if self.refresh == Refresh::OnTouch {
                self.note_use(found);
            }
        }
        // After the flag: either the copier sees the flag, or this sees that there is a copier.
        if block.is_copying() {
            return Some(Presence::Leaving);
        }
        block.is(location.generation).then_some(Presence::Present(found.record))
    }

    /// Looks up an object to read it. To be read counts as use, unless it is among the newest.
    #[inline]
    pub(crate) fn look_up_to_read(&self, key: &Key) -> Option<Record> {
        let found = self.map.lookup(key)?;
        self.note_use(&found);
        Some(found.record)
    }

    #[inline]
    fn note_use(&self, found: &Found) {
        if found.has(READ) {
            return;
        }
        if self.refresh == Refresh::OnTouch {
            if self.is_old(&found.record) {
                self.queue_refresh(found);
            }
        } else if !self.is_newest(&found.record) {
            // If the record moved meanwhile, this use goes unnoted: nothing was promised.
            let _: Touch = self.map.touch(found, READ);
        }
    }

    /// Looks up a record without noting a use.
    pub(crate) fn peek(&self, key: &Key) -> Option<Record> {
        self.map.lookup(key).map(|found| found.record)
    }

    /// Whether a record lies in one of the blocks begun last.
    #[inline]
    fn is_newest(&self, record: &Record) -> bool {
        let newest = self.newest_generation.load(std::sync::atomic::Ordering::Relaxed);
        record.location.generation + self.sizes.new_blocks > newest
    }

    /// Whether a record lies in a block that is recycled so late that what was promised of it today is over by then.
    #[inline]
    pub(super) fn is_safe(&self, record: &Record) -> bool {
        let newest = self.newest_generation.load(std::sync::atomic::Ordering::Relaxed);
        record.location.generation.saturating_add(self.sizes.safe_blocks()) >= newest
    }

    /// Sees to it that an object stays whose block is about to be recycled: copies it now. It may block.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or the device fails. A copy that proves wrong is absent, and so is from now on what there is
    /// no share left for: it goes in a moment. Where there is no space for the copy, whoever recycles its block has the
    /// last word.
    pub(crate) fn rescue(self: &Arc<Self>, key: &Key) -> Result<Presence> {
        loop {
            match self.find(key) {
                Presence::Leaving => {
                    // What was promised before comes first.
                    drop(enter(&self.setting_aside));
                    let Some(record) = self.peek(key) else { continue };
                    if !self.block(record.location.block).is_some_and(Block::is_copying) {
                        // It was copied meanwhile: not from there again.
                        continue;
                    }
                    match self.copy_forward(&record, &[], Purpose::Promised { offset: record.location.offset })? {
                        Copied::Done | Copied::Moved | Copied::Gone => {}
                        Copied::NoShare => self.give_up(&record),
                        // Once this is done, the block is no more, and space is free.
                        Copied::NoSpace => self.recycle_blocks()?,
                    }
                }
                known @ (Presence::Present(_) | Presence::Absent) => return Ok(known),
            }
        }
    }

    /// Takes out of the map what cannot be kept, so that nobody is told that it is there.
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
