//! Puts records into the map, moving others aside where that makes room, and takes records out.

use std::sync::atomic::Ordering;

use super::place::Place;
use super::tag_line::{SLOTS, TOUCHED, block_of, near, near_slots, tag};
use super::{Found, KeyLocationMap, MapWriter, Record};
use crate::key::Key;
use crate::machine::casts;

/// The result of an insertion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// The record that the same key had.
    pub(crate) replaced: Option<Record>,
    /// A valid record that there is no room for any more; perhaps the one that was to be inserted.
    pub(crate) dropped: Option<Record>,
}

/// Buckets that are being changed, closed when this is dropped.
struct Edit<'a> {
    map: &'a KeyLocationMap,
    /// At most: two of the new record, one that another moves to, one whose spill count changes.
    open: [Option<u32>; 4],
}

impl<'a> Edit<'a> {
    fn new(map: &'a KeyLocationMap) -> Self {
        Self { map, open: [None; 4] }
    }

    fn open(&mut self, bucket: u32) {
        if self.map.line(bucket).is_some_and(super::TagLine::open)
            && let Some(free) = self.open.iter_mut().find(|open| open.is_none())
        {
            *free = Some(bucket);
        }
    }

    fn write(&mut self, bucket: u32, slot: usize, record: &Record, place: Place, flags: u32) {
        self.open(bucket);
        if let Some(to) = self.map.slot(bucket, slot) {
            to.store(record);
        }
        if let Some(to) = self.map.line(bucket).and_then(|line| line.tags().get(slot)) {
            to.store(tag(place.fingerprint, record.location.block, flags), Ordering::SeqCst);
        }
        if bucket != place.primary {
            self.open(place.primary);
            if let Some(line) = self.map.line(place.primary) {
                line.spill();
            }
        }
    }

    /// Frees a slot, and returns the flags that its record had at last.
    fn clear(&mut self, bucket: u32, slot: usize, place: Place) -> u32 {
        self.open(bucket);
        let tags = self.map.line(bucket).and_then(|line| line.tags().get(slot));
        let flags = tags.map_or(0, |tag| tag.swap(0, Ordering::SeqCst)) & TOUCHED;
        if bucket != place.primary {
            self.open(place.primary);
            if let Some(line) = self.map.line(place.primary) {
                line.unspill();
            }
        }
        flags
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        for bucket in self.open.iter().flatten() {
            if let Some(line) = self.map.line(*bucket) {
                line.close();
            }
        }
    }
}

impl KeyLocationMap {
    /// Puts `record` in, in place of any of the same key.
    ///
    /// If both its buckets are full and no record of theirs can go to its other bucket, one is dropped: of those that
    /// were not touched the one in the oldest block, else of all.
    pub(crate) fn insert(&self, writer: &mut MapWriter, record: &Record, flags: u32) -> Inserted {
        let key = record.key(self.check_mask);
        let place = self.placement.of(&key);
        if let Some(found) = self.lookup_as_writer(&key, writer) {
            let mut edit = Edit::new(self);
            edit.clear(found.at.bucket, found.at.slot, place);
            edit.write(found.at.bucket, found.at.slot, record, place, flags);
            return Inserted { replaced: Some(found.record), dropped: None };
        }
        for bucket in [place.primary, place.secondary] {
            if let Some(slot) = self.free_slot(writer, bucket, place.fingerprint) {
                Edit::new(self).write(bucket, slot, record, place, flags);
                writer.records += 1;
                return Inserted::default();
            }
        }
        if let Some((bucket, slot)) = self.displace(writer, place) {
            Edit::new(self).write(bucket, slot, record, place, flags);
            writer.records += 1;
            return Inserted::default();
        }
        match self.victim(place, record, flags) {
            None => Inserted { replaced: None, dropped: Some(*record) },
            Some((bucket, slot, victim)) => {
                // Two edits, as victim and record may differ in their primary bucket.
                Edit::new(self).clear(bucket, slot, self.placement.of(&victim.key(self.check_mask)));
                Edit::new(self).write(bucket, slot, record, place, flags);
                Inserted { replaced: None, dropped: Some(victim) }
            }
        }
    }

    /// Returns a free slot of a bucket: one of the two near ones, if one of these is free.
    ///
    /// A record that is not near anyway makes room. At a load of three quarters, 63 % lie near so after many others came
    /// and went, and 36 % otherwise.
    fn free_slot(&self, writer: &MapWriter, bucket: u32, fingerprint: u32) -> Option<usize> {
        let line = self.line(bucket)?;
        let free = line.free_slots();
        let first = |slots: u32| (slots != 0).then(|| casts::index(slots.trailing_zeros()));
        let any = first(free)?;
        let near_slots = near_slots(fingerprint);
        if let Some(near) = first(free & near_slots) {
            return Some(near);
        }
        let near = near(fingerprint);
        for slot in (near..SLOTS).take(2) {
            let tag = line.tags().get(slot)?.load(Ordering::Relaxed);
            let record = self.slot(bucket, slot)?.load();
            if near_slots != self::near_slots(tag) && writer.pinned != Some(record.location.block) {
                let home = self.placement.of(&record.key(self.check_mask));
                let to = first(free & self::near_slots(tag)).unwrap_or(any);
                let mut edit = Edit::new(self);
                let flags = edit.clear(bucket, slot, home);
                edit.write(bucket, to, &record, home, flags);
                return Some(slot);
            }
        }
        Some(any)
    }

    /// Moves a record of one of these full buckets to its other one, and returns the slot that is free then.
    fn displace(&self, writer: &mut MapWriter, place: Place) -> Option<(u32, usize)> {
        for bucket in [place.primary, place.secondary] {
            for slot in 0..SLOTS {
                let record = self.slot(bucket, slot)?.load();
                if writer.pinned == Some(record.location.block) {
                    continue;
                }
                let home = self.placement.of(&record.key(self.check_mask));
                let other = if home.primary == bucket { home.secondary } else { home.primary };
                if other == place.primary || other == place.secondary {
                    continue;
                }
                let Some(free) = self.free_slot(writer, other, home.fingerprint) else { continue };
                let mut edit = Edit::new(self);
                // Both are open, so nobody believes what is seen of either in between.
                edit.open(other);
                let flags = edit.clear(bucket, slot, home);
                edit.write(other, free, &record, home, flags);
                writer.note_move(&record);
                return Some((bucket, slot));
            }
        }
        None
    }

    /// Returns the record of these full buckets that is given up for `new`; `None` if that is `new` itself.
    fn victim(&self, place: Place, new: &Record, flags: u32) -> Option<(u32, usize, Record)> {
        let age = |record: &Record, flags: u32| (flags & TOUCHED != 0, record.location.generation, record.sequence);
        let mut oldest = (age(new, flags), None);
        for bucket in [place.primary, place.secondary] {
            let line = self.line(bucket)?;
            for (slot, tag) in line.tags().iter().enumerate() {
                let record = self.slot(bucket, slot)?.load();
                let candidate = age(&record, tag.load(Ordering::Relaxed));
                if candidate < oldest.0 {
                    oldest = (candidate, Some((bucket, slot, record)));
                }
            }
        }
        oldest.1
    }

    /// Points the record of a key elsewhere, if it is still exactly `from`. Flags are cleared.
    pub(crate) fn replace(&self, writer: &mut MapWriter, from: &Record, to: &Record) -> bool {
        let key = from.key(self.check_mask);
        let Some(found) = self.lookup_as_writer(&key, writer).filter(|found| found.record == *from) else {
            return false;
        };
        let place = self.placement.of(&key);
        let mut edit = Edit::new(self);
        edit.clear(found.at.bucket, found.at.slot, place);
        edit.write(found.at.bucket, found.at.slot, to, place, 0);
        true
    }

    /// Takes a record out, if it is still exactly `record`.
    pub(crate) fn remove(&self, writer: &mut MapWriter, record: &Record) -> bool {
        let key: Key = record.key(self.check_mask);
        let Some(found) = self.lookup_as_writer(&key, writer).filter(|found| found.record == *record) else {
            return false;
        };
        self.remove_found(writer, &found);
        true
    }

    fn remove_found(&self, writer: &mut MapWriter, found: &Found) {
        let place = self.placement.of(&found.record.key(self.check_mask));
        Edit::new(self).clear(found.at.bucket, found.at.slot, place);
        writer.records = writer.records.saturating_sub(1);
    }

    /// Frees a slot of a bucket, if it is taken by a record in `block`.
    pub(super) fn clear_if_in(&self, writer: &mut MapWriter, bucket: u32, slot: usize, block: u16) -> Option<Record> {
        let now = self.line(bucket)?.tags().get(slot)?.load(Ordering::Relaxed);
        if block_of(now) != Some(block) {
            return None;
        }
        let record = self.slot(bucket, slot)?.load();
        Edit::new(self).clear(bucket, slot, self.placement.of(&record.key(self.check_mask)));
        writer.records = writer.records.saturating_sub(1);
        Some(record)
    }
}
