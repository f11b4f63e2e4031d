//! Finds where blobs lie; when crowded, forgets the oldest first.
//!
//! A key has two buckets of 15 slots that it may lie in. A bucket is a line of tags and 15 records of a line each, so
//! that a look-up of what is absent reads one line as a rule, and one of what is there two.
//!
//! Look-ups take no lock. There is one writer at a time, which the type system sees to: whoever changes the map needs
//! the one [`MapWriter`]. A look-up believes what it saw if the versions of the buckets that it looked at did not
//! change meanwhile. For a miss these are both buckets, since a record may move from the one to the other. A look-up that
//! meets one change after another waits for the lock of the writers at last.

mod insert;
mod listing;
mod lookup;
mod place;
mod record;
mod sweep;
mod tag_line;

use self::place::Placement;
use self::record::Slot;
use self::tag_line::{SLOTS, TagLine};
use crate::machine::{advise, casts};

pub(crate) use self::insert::{Inserted, Newcomer, Room};
pub(crate) use self::listing::Position;
pub(crate) use self::lookup::{Found, Sighting, Touch};
pub(crate) use self::record::{Brief, MAX_ACCOUNT_NUMBER, Record};
pub(crate) use self::tag_line::{FOUND, READ, TOUCHED};

/// Bytes that a slot takes: a record of 64 and a fifteenth of a tag line of 64.
pub(crate) const BYTES_PER_BUCKET: u64 = 64 * 16;

/// Finds where blobs lie.
#[derive(Debug)]
pub(crate) struct KeyLocationMap {
    lines: Box<[TagLine]>,
    slots: Box<[[Slot; SLOTS]]>,
    placement: Placement,
    /// Which bits of a record's size and function must be those of a key.
    check_mask: u64,
}

/// The threads that change a map. `()` stands for them where nothing is going to change.
pub(crate) trait Writers {
    /// The time during which nobody else changes the map.
    type Turn<'a>
    where
        Self: 'a;

    /// Waits for the lock of the writers.
    fn enter(&self) -> Self::Turn<'_>;
}

impl Writers for () {
    type Turn<'a> = ();

    fn enter(&self) {}
}

/// The most moves that are noted for listings. A listing that misses some looks again.
const MAX_MOVED: usize = if cfg!(shuttle) { 2 } else { 4096 };

/// The right to change a map.
#[derive(Debug)]
pub(crate) struct MapWriter {
    /// The number of slots that are taken.
    records: u64,
    /// The block whose records stay where they are, so that a sweep for them misses none.
    pinned: Option<u16>,
    /// How many are listing the map, and what has gone from one bucket to another since the first of them began.
    listings: u32,
    moved: Vec<Record>,
    /// Whether moves were not noted, as there were too many.
    has_missed_moves: bool,
}

impl MapWriter {
    /// Keeps the records of `block`, and of no other, where they are.
    pub(crate) fn pin(&mut self, block: Option<u16>) {
        self.pinned = block;
    }

    /// Begins to note the records that move from one bucket to another.
    pub(crate) fn begin_listing(&mut self) {
        self.listings += 1;
    }

    /// Returns the records that moved from one bucket to another since the listing began, or earlier; `None` if there
    /// were too many.
    pub(crate) fn end_listing(&mut self) -> Option<Vec<Record>> {
        self.listings = self.listings.saturating_sub(1);
        if self.listings > 0 {
            return (!self.has_missed_moves).then(|| self.moved.clone());
        }
        let moved = std::mem::take(&mut self.moved);
        (!std::mem::take(&mut self.has_missed_moves)).then_some(moved)
    }

    fn note_move(&mut self, record: &Record) {
        if self.listings == 0 {
            return;
        }
        if self.moved.len() < MAX_MOVED {
            self.moved.push(*record);
        } else {
            self.has_missed_moves = true;
        }
    }

    /// Returns the number of slots that are taken.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }
}

/// Buckets for as many slots, rounded up.
pub(crate) fn buckets_for(slots: u64) -> u32 {
    u32::try_from(slots.div_ceil(casts::on_device(SLOTS))).unwrap_or(u32::MAX).max(1)
}

impl KeyLocationMap {
    /// Makes an empty map with at least this many slots, and the right to change it.
    pub(crate) fn new(slots: u64, seeds: [u64; 2], check_mask: u64) -> (Self, MapWriter) {
        let buckets = buckets_for(slots);
        let map = Self {
            lines: advise::boxed_slice(casts::index(buckets)),
            slots: advise::boxed_slice(casts::index(buckets)),
            placement: Placement::new(seeds, buckets),
            check_mask,
        };
        (map, MapWriter { records: 0, pinned: None, listings: 0, moved: Vec::new(), has_missed_moves: false })
    }

    /// Returns the number of slots.
    pub(crate) fn capacity(&self) -> u64 {
        casts::on_device(self.lines.len() * SLOTS)
    }

    pub(crate) fn check_mask(&self) -> u64 {
        self.check_mask
    }

    #[inline]
    fn line(&self, bucket: u32) -> Option<&TagLine> {
        self.lines.get(casts::index(bucket))
    }

    #[inline]
    fn slot(&self, bucket: u32, slot: usize) -> Option<&Slot> {
        self.slots.get(casts::index(bucket))?.get(slot)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
