//! Puts records into the map, moving others aside where that makes room, and takes records out.

use std::sync::atomic::Ordering;

use super::place::Place;
use super::tag_line::{FOUND, SLOTS, TOUCHED, block_of, near, near_slots, tag};
use super::{Found, KeyLocationMap, MapWriter, Record};
use crate::key::Key;
use crate::machine::casts;

/// How many records are looked at for one whose move lets another one move that is in the way. Of two such steps, half as
/// many suffice at a load of 0.95.
const SECOND_STEPS: u32 = 256;

/// From this load on, in percent, few second steps would help, and each is as much work as a put.
const FULL_PERCENT: u64 = 96;

/// A record is young until a map's worth of slots, divided by this, was put after it. It goes for no other put then.
const YOUNG_SHARE: u64 = 2;

/// A record that is to come into the map, as far as that matters to those that are there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Newcomer<'a> {
    /// It is of a put, and has this sequence. Blocks of the generation `safe_from`, and later ones, outlast a promise.
    Put { sequence: u64, safe_from: u32 },
    /// It can be had again.
    Spare { safe_from: u32 },
    /// It was in the map before a restart.
    Restored { record: &'a Record, flags: u32 },
}

/// Room for a record in the map. It is to be used before the map is changed otherwise.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Room {
    place: Place,
    bucket: u32,
    slot: usize,
    tenant: Tenant,
}

/// The record that lies where there is room for another one.
#[derive(Clone, Copy, Debug)]
enum Tenant {
    Nobody,
    SameKey(Record),
    Victim { record: Record, was_promised: bool },
}

impl Room {
    /// Returns the record that the same key has.
    pub(crate) fn replaced(&self) -> Option<&Record> {
        match &self.tenant {
            Tenant::SameKey(record) => Some(record),
            Tenant::Nobody | Tenant::Victim { .. } => None,
        }
    }
}

/// The result of an insertion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// The record that the same key had.
    pub(crate) replaced: Option<Record>,
    /// A valid record that there is no room for any more; perhaps the one that was to be inserted.
    pub(crate) dropped: Option<Record>,
    /// Whether the record that was dropped was promised to stay.
    pub(crate) was_promised: bool,
}

/// The order in which records go for a newcomer, lowest first.
type Rank = (bool, u32, bool, u64);

/// A record that can move to its other bucket.
#[derive(Clone, Copy, Debug)]
struct Move {
    record: Record,
    home: Place,
    from: (u32, usize),
    to: u32,
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
    /// Finds room for a record of `key`: where the same key has one, or in a slot that is free, perhaps after others
    /// moved, or else in that of a victim.
    ///
    /// What is put is never given up for others. Its victim is a record whose promise is over, if there is one, and of
    /// several the one in the oldest block, and there one that was not touched; else the oldest that is promised. A record
    /// that is young is no victim. `None` if there is none at all: a put is refused then, and another record goes itself.
    pub(crate) fn admit(&self, writer: &mut MapWriter, key: &Key, newcomer: Newcomer<'_>) -> Option<Room> {
        let place = self.placement.of(key);
        if let Some(found) = self.lookup_as_writer(key, writer) {
            let (bucket, slot) = (found.at.bucket, found.at.slot);
            return Some(Room { place, bucket, slot, tenant: Tenant::SameKey(found.record) });
        }
        let secondary = self.placement.secondary(place);
        for bucket in [place.primary, secondary] {
            if let Some(slot) = self.free_slot(writer, bucket, place.fingerprint) {
                return Some(Room { place, bucket, slot, tenant: Tenant::Nobody });
            }
        }
        if let Some((bucket, slot)) = self.displace(writer, [place.primary, secondary]) {
            return Some(Room { place, bucket, slot, tenant: Tenant::Nobody });
        }
        let (bucket, slot, tenant) = self.victim([place.primary, secondary], newcomer)?;
        Some(Room { place, bucket, slot, tenant })
    }

    /// Puts a record where there is room for it.
    pub(crate) fn fill(&self, writer: &mut MapWriter, room: Room, record: &Record, flags: u32) -> Inserted {
        let Room { place, bucket, slot, tenant } = room;
        match tenant {
            Tenant::Nobody => {
                Edit::new(self).write(bucket, slot, record, place, flags);
                writer.records += 1;
                Inserted::default()
            }
            Tenant::SameKey(replaced) => {
                let mut edit = Edit::new(self);
                edit.clear(bucket, slot, place);
                edit.write(bucket, slot, record, place, flags);
                Inserted { replaced: Some(replaced), ..Inserted::default() }
            }
            Tenant::Victim { record: victim, was_promised } => {
                // Two edits, as victim and record may differ in their primary bucket.
                Edit::new(self).clear(bucket, slot, self.placement.of(&victim.key(self.check_mask)));
                Edit::new(self).write(bucket, slot, record, place, flags);
                Inserted { replaced: None, dropped: Some(victim), was_promised }
            }
        }
    }

    /// Puts a record in that was in the map before a restart, in place of any of the same key, unless there is no room
    /// and those in its way are younger.
    pub(crate) fn restore(&self, writer: &mut MapWriter, record: &Record, flags: u32) -> Inserted {
        match self.admit(writer, &record.key(self.check_mask), Newcomer::Restored { record, flags }) {
            Some(room) => self.fill(writer, room, record, flags),
            None => Inserted { dropped: Some(*record), ..Inserted::default() },
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

    /// Moves a record of one of these full buckets to its other one, if need be after another one moved out of that, and
    /// returns the slot that is free then.
    fn displace(&self, writer: &mut MapWriter, crowded: [u32; 2]) -> Option<(u32, usize)> {
        for bucket in crowded {
            for slot in 0..SLOTS {
                let Some(first) = self.way_out(writer, bucket, slot).filter(|first| !crowded.contains(&first.to))
                else {
                    continue;
                };
                if let Some(free) = self.free_slot(writer, first.to, first.home.fingerprint) {
                    self.make_move(writer, &first, free);
                    return Some((bucket, slot));
                }
            }
        }
        if writer.records.saturating_mul(100) > self.capacity().saturating_mul(FULL_PERCENT) {
            return None;
        }
        let mut steps = 0;
        for bucket in crowded {
            for slot in 0..SLOTS {
                let Some(first) = self.way_out(writer, bucket, slot).filter(|first| !crowded.contains(&first.to))
                else {
                    continue;
                };
                for next in 0..SLOTS {
                    steps += 1;
                    if steps > SECOND_STEPS {
                        return None;
                    }
                    let Some(second) = self.way_out(writer, first.to, next) else { continue };
                    if second.to == first.to || crowded.contains(&second.to) {
                        continue;
                    }
                    if let Some(free) = self.free_slot(writer, second.to, second.home.fingerprint) {
                        self.make_move(writer, &second, free);
                        let free = self.free_slot(writer, first.to, first.home.fingerprint)?;
                        self.make_move(writer, &first, free);
                        return Some((bucket, slot));
                    }
                }
            }
        }
        None
    }

    /// Returns the way of a record to its other bucket, unless it is to stay where it is.
    fn way_out(&self, writer: &MapWriter, bucket: u32, slot: usize) -> Option<Move> {
        let record = self.slot(bucket, slot)?.load();
        if writer.pinned == Some(record.location.block) {
            return None;
        }
        let home = self.placement.of(&record.key(self.check_mask));
        let to = if home.primary == bucket { self.placement.secondary(home) } else { home.primary };
        Some(Move { record, home, from: (bucket, slot), to })
    }

    /// Moves a record to a free slot of its other bucket.
    fn make_move(&self, writer: &mut MapWriter, moved: &Move, free: usize) {
        let (bucket, slot) = moved.from;
        let mut edit = Edit::new(self);
        // Both are open, so nobody believes what is seen of either in between.
        edit.open(moved.to);
        let flags = edit.clear(bucket, slot, moved.home);
        edit.write(moved.to, free, &moved.record, moved.home, flags);
        writer.note_move(&moved.record);
    }

    /// Returns the record of these full buckets that is given up for a newcomer; `None` if there is none.
    fn victim(&self, crowded: [u32; 2], newcomer: Newcomer<'_>) -> Option<(u32, usize, Tenant)> {
        let mut first: Option<(Rank, (u32, usize, Tenant))> = None;
        for bucket in crowded {
            let line = self.line(bucket)?;
            for (slot, tag) in line.tags().iter().enumerate() {
                let record = self.slot(bucket, slot)?.load();
                let Some((rank, was_promised)) = self.rank(&record, tag.load(Ordering::Relaxed), newcomer) else {
                    continue;
                };
                if first.as_ref().is_none_or(|(first, _)| rank < *first) {
                    first = Some((rank, (bucket, slot, Tenant::Victim { record, was_promised })));
                }
            }
        }
        first.map(|(_, victim)| victim)
    }

    /// Returns how soon a record goes for a newcomer, and whether it is promised to stay; `None` if it does not go.
    fn rank(&self, record: &Record, flags: u32, newcomer: Newcomer<'_>) -> Option<(Rank, bool)> {
        let generation = record.location.generation;
        let is_touched = flags & TOUCHED != 0;
        let by_promise = |safe_from| {
            let is_promised = flags & FOUND != 0 || generation >= safe_from;
            ((is_promised, generation, is_touched, record.sequence), is_promised)
        };
        match newcomer {
            Newcomer::Put { sequence, safe_from } => {
                let young = (self.capacity() / YOUNG_SHARE).max(2);
                (record.sequence.saturating_add(young) <= sequence).then(|| by_promise(safe_from))
            }
            Newcomer::Spare { safe_from } => Some(by_promise(safe_from)).filter(|(_, is_promised)| !is_promised),
            Newcomer::Restored { record: new, flags: of_new } => {
                let by_age =
                    |is_touched, record: &Record| (is_touched, record.location.generation, false, record.sequence);
                let rank = by_age(is_touched, record);
                (rank < by_age(of_new & TOUCHED != 0, new)).then_some((rank, false))
            }
        }
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
    pub(crate) fn clear_if_in(&self, writer: &mut MapWriter, bucket: u32, slot: usize, block: u16) -> Option<Record> {
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
