//! Looks for keys without a lock, one by one or in batches.

use std::sync::atomic::Ordering;

use super::place::Place;
use super::record::{Brief, Slot};
use super::tag_line::{SLOTS, Seen, TagLine, block_of, near};
use super::{KeyLocationMap, MapWriter, Record, Writers};
use crate::key::Key;
use crate::machine::advise;
use crate::machine::casts;

/// How many look-ups are begun while one waits for its line.
const AHEAD: usize = 32;

/// How often a look-up repeats before it waits for the writers' lock. A change of a bucket takes some 100 ns, but its
/// writer may be kept from the processor meanwhile.
const PATIENCE: u32 = if cfg!(any(loom, shuttle)) { 3 } else { 256 };

/// Where a record was seen, so that it can be touched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    pub(super) bucket: u32,
    pub(super) slot: usize,
    tag: u32,
    seen: Seen,
}

impl Sighting {
    /// Returns whether all of `flags` were set.
    #[inline]
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.tag & flags == flags
    }

    /// Returns the block that the record lies in.
    #[inline]
    pub(crate) fn block(&self) -> u16 {
        block_of(self.tag).unwrap_or(u16::MAX)
    }
}

/// A record that was found, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) at: Sighting,
}

/// The result of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// The record has the flags now, and had not all of them.
    Touched,
    /// The record had the flags.
    Again,
    /// The record moved or went meanwhile: look it up again.
    Moved,
}

/// A look-up under way: what the tags of its primary bucket said.
#[derive(Clone, Copy, Debug, Default)]
struct Glance {
    place: Place,
    /// `None` if the bucket was being changed.
    seen: Option<Seen>,
    matches: u32,
}

/// The result of one pass over the buckets of a key.
enum Scan {
    Hit(Found),
    Miss,
    /// Something changed meanwhile.
    Again,
}

impl KeyLocationMap {
    /// Returns the record of `key`.
    ///
    /// It takes no lock, unless it meets one change after another: then it waits for that of the writers.
    #[inline]
    pub(crate) fn lookup(&self, key: &Key, writers: &impl Writers) -> Option<Found> {
        let place = self.placement.of(key);
        self.ask_for(place);
        self.lookup_at(key, place, writers)
    }

    /// Lets a look-up of `key` that comes in a moment wait for less.
    #[inline]
    pub(crate) fn expect(&self, key: &Key) {
        self.ask_for(self.placement.of(key));
    }

    /// Asks for the record along with the tags, where it most likely lies: else the one wait follows the other.
    #[inline]
    fn ask_for(&self, place: Place) {
        if let Some(line) = self.line(place.primary) {
            advise::prefetch(line);
        }
        let near = near(place.fingerprint);
        for slot in [near, near + 1] {
            if let Some(slot) = self.slot(place.primary, slot) {
                advise::prefetch(slot);
            }
        }
    }

    #[inline]
    fn lookup_at(&self, key: &Key, place: Place, writers: &impl Writers) -> Option<Found> {
        match self.scan(key, place) {
            Scan::Hit(found) => Some(found),
            Scan::Miss => None,
            Scan::Again => self.lookup_again(key, place, writers),
        }
    }

    #[cold]
    #[inline(never)]
    fn lookup_again(&self, key: &Key, place: Place, writers: &impl Writers) -> Option<Found> {
        patiently(writers, || match self.scan(key, place) {
            Scan::Hit(found) => Some(Some(found)),
            Scan::Miss => Some(None),
            Scan::Again => None,
        })
    }

    /// Returns the record of `key` to the writer, during whose calls nothing changes.
    pub(crate) fn lookup_as_writer(&self, key: &Key, _writer: &MapWriter) -> Option<Found> {
        self.lookup(key, &())
    }

    /// Looks for as many keys as `length` says, and tells `each` what was found of which, in order.
    ///
    /// Three steps: the first asks for the tag line, the second compares tags, which settles most of what is absent,
    /// and asks for the record, the third compares that. Look-ups at different steps take turns, so that lines are
    /// asked for as evenly as they arrive, and there is something to do meanwhile. `key` is asked for a key twice,
    /// since to make it is less work than to carry it along.
    #[inline]
    pub(crate) fn lookup_all(
        &self,
        length: usize,
        key: impl Fn(usize) -> Key,
        writers: &impl Writers,
        mut each: impl FnMut(usize, Option<(Sighting, Brief)>),
    ) {
        let mut glances = [Glance::default(); 2 * AHEAD];
        for turn in 0..length + 2 * AHEAD {
            if let Some(glance) = glances.get_mut(turn % (2 * AHEAD)) {
                if let Some(position) = turn.checked_sub(2 * AHEAD) {
                    each(position, self.look(glance, &key(position), writers));
                }
                if turn < length {
                    self.begin(glance, &key(turn));
                }
            }
            if turn.checked_sub(AHEAD).is_some_and(|position| position < length)
                && let Some(glance) = glances.get_mut((turn + AHEAD) % (2 * AHEAD))
            {
                self.glance(glance);
            }
        }
    }

    /// Asks for the tags of the primary bucket.
    #[inline]
    fn begin(&self, glance: &mut Glance, key: &Key) {
        glance.place = self.placement.of(key);
        if let Some(line) = self.line(glance.place.primary) {
            advise::prefetch_one_of_many(std::ptr::from_ref(line));
        }
    }

    /// Compares the tags of the primary bucket.
    #[inline]
    fn glance(&self, glance: &mut Glance) {
        (glance.seen, glance.matches) = (None, 0);
        let Some(line) = self.line(glance.place.primary) else { return };
        glance.seen = line.begin();
        glance.matches = line.matches(glance.place.fingerprint);
        let likeliest = casts::index(glance.matches.trailing_zeros()).min(SLOTS - 1);
        let Some(slot) = self.slot(glance.place.primary, likeliest) else { return };
        // What is there already costs nothing to ask for, while nobody can predict which of the two it will be.
        let is_there = std::ptr::from_ref(line).cast::<u8>();
        let wanted = std::ptr::from_ref(slot).cast::<u8>();
        advise::prefetch_one_of_many(std::hint::select_unpredictable(glance.matches != 0, wanted, is_there));
        if glance.seen.is_some_and(Seen::has_spilled)
            && glance.matches == 0
            && let Some(line) = self.line(self.placement.secondary(glance.place))
        {
            advise::prefetch_one_of_many(std::ptr::from_ref(line));
        }
    }

    /// Finishes a look-up from what was seen of the tags, if that settles it, else looks again.
    #[expect(clippy::inline_always, reason = "a tenth of the time of a look-up in a batch went to the call")]
    #[inline(always)]
    fn look(&self, glance: &Glance, key: &Key, writers: &impl Writers) -> Option<(Sighting, Brief)> {
        let Glance { place, seen, matches } = *glance;
        if let (Some(seen), Some(line)) = (seen, self.line(place.primary)) {
            if matches == 0 {
                if !seen.has_spilled() && line.is_unchanged(seen) {
                    return None;
                }
            } else if let Some((at, slot)) = self.compare(key, place.primary, line, seen, matches) {
                let brief = slot.load_brief();
                if line.is_unchanged(seen) {
                    return Some((at, brief));
                }
            }
        }
        self.look_again(key, place, writers)
    }

    /// Repeats the look-up. It is a function of its own, so that the rare case takes no registers from the usual one.
    #[inline(never)]
    fn look_again(&self, key: &Key, place: Place, writers: &impl Writers) -> Option<(Sighting, Brief)> {
        self.lookup_at(key, place, writers).map(|found| (found.at, found.record.brief()))
    }

    #[expect(clippy::inline_always, reason = "a twentieth of the instructions of a get went to the calls")]
    #[inline(always)]
    fn scan(&self, key: &Key, place: Place) -> Scan {
        let Some(first) = self.line(place.primary) else { return Scan::Miss };
        let Some(seen_first) = first.begin() else { return Scan::Again };
        if let Some(found) = self.scan_line(key, place, place.primary, first, seen_first) {
            return if first.is_unchanged(seen_first) { Scan::Hit(found) } else { Scan::Again };
        }
        if !seen_first.has_spilled() {
            return if first.is_unchanged(seen_first) { Scan::Miss } else { Scan::Again };
        }
        let secondary = self.placement.secondary(place);
        let Some(second) = self.line(secondary) else { return Scan::Miss };
        let Some(seen_second) = second.begin() else { return Scan::Again };
        if let Some(found) = self.scan_line(key, place, secondary, second, seen_second) {
            return if second.is_unchanged(seen_second) { Scan::Hit(found) } else { Scan::Again };
        }
        // A record may have moved from the second to the first after the first was looked at.
        if second.is_unchanged(seen_second) && first.is_unchanged(seen_first) { Scan::Miss } else { Scan::Again }
    }

    #[expect(clippy::inline_always, reason = "as of `scan`")]
    #[inline(always)]
    fn scan_line(&self, key: &Key, place: Place, bucket: u32, line: &TagLine, seen: Seen) -> Option<Found> {
        let (at, slot) = self.compare(key, bucket, line, seen, line.matches(place.fingerprint))?;
        Some(Found { record: slot.load(), at })
    }

    /// Returns the slot of `key` among those of a bucket whose tags match.
    #[inline]
    fn compare(
        &self,
        key: &Key,
        bucket: u32,
        line: &TagLine,
        seen: Seen,
        mut matches: u32,
    ) -> Option<(Sighting, &Slot)> {
        let slots = self.slots.get(casts::index(bucket))?;
        while matches != 0 {
            let slot = casts::index(matches.trailing_zeros());
            matches &= matches - 1;
            let tag = line.tags().get(slot)?.load(Ordering::Relaxed);
            let record = slots.get(slot)?;
            if block_of(tag).is_some() && record.has_key(key, self.check_mask) {
                return Some((Sighting { bucket, slot, tag, seen }, record));
            }
        }
        None
    }

    /// Sets flags of a record that was found.
    ///
    /// It is sequentially consistent with what follows: whoever looks at the state of the record's block afterwards
    /// either sees that its touches are being looked at, or this one will be seen.
    #[inline]
    pub(crate) fn touch(&self, at: &Sighting, flags: u32) -> Touch {
        let Some(line) = self.line(at.bucket) else { return Touch::Moved };
        let Some(tag) = line.tags().get(at.slot) else { return Touch::Moved };
        let mut current = at.tag;
        let was_set = loop {
            match tag.compare_exchange(current, current | flags, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(before) => break before & flags == flags,
                // Somebody else set a flag of the same record.
                Err(now) if now & !super::TOUCHED == at.tag & !super::TOUCHED => current = now,
                Err(_) => return Touch::Moved,
            }
        };
        // If the slot was given to another record meanwhile, that one was touched for nothing, which does no harm.
        match line.is_unchanged(at.seen) {
            true if was_set => Touch::Again,
            true => Touch::Touched,
            false => Touch::Moved,
        }
    }

    /// Returns the record that was seen there, if nothing has changed since.
    pub(crate) fn record_at(&self, at: &Sighting) -> Option<Record> {
        let record = self.slot(at.bucket, at.slot)?.load();
        self.line(at.bucket)?.is_unchanged(at.seen).then_some(record)
    }
}

/// Repeats `attempt` until it succeeds: at last under the lock of the writers, where nothing changes.
pub(super) fn patiently<T>(writers: &impl Writers, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut repeated = 0_u32;
    let mut turn = None;
    loop {
        repeated += 1;
        crate::machine::concurrency::wait(repeated);
        if repeated >= PATIENCE && turn.is_none() {
            turn = Some(writers.enter());
        }
        if let Some(result) = attempt() {
            return result;
        }
    }
}
