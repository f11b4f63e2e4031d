//! The first cache line of a bucket: its version and a tag for each of its slots.

use std::sync::atomic::Ordering;

use crate::machine::casts;
use crate::machine::concurrency::{AtomicU32, fence};

/// Slots of a bucket: with the word for version and spill count, their tags fill a line. One is enough for a model.
pub(super) const SLOTS: usize = if cfg!(loom) { 1 } else { 15 };

/// Somebody was told that the object is stored.
pub(crate) const FOUND: u32 = 1 << 31;
/// The object was read.
pub(crate) const READ: u32 = 1 << 30;
/// Both of these.
pub(crate) const TOUCHED: u32 = FOUND | READ;

/// Bits of the key's hash that a tag has.
pub(super) const FINGERPRINT_MASK: u32 = 0x3fff << 16;
/// The block's index plus one; 0 in a slot that is free.
const BLOCK_MASK: u32 = 0xffff;

/// The bit that is set while a bucket is being changed.
const ODD: u32 = 1;
const VERSION_ONE: u32 = 2;
const VERSION_MASK: u32 = ((1 << 26) - 1) << 1;
/// How many records of this primary bucket lie in their secondary one. At its maximum it stays there.
const SPILL_ONE: u32 = 1 << 27;
const SPILL_MASK: u32 = 0x1f << 27;

/// Packs a tag: from the least significant bit, block plus one (16 bits), fingerprint (14), read, found.
pub(super) fn tag(fingerprint: u32, block: u16, flags: u32) -> u32 {
    flags | fingerprint | (u32::from(block) + 1)
}

/// Returns the block that a tag names, if its slot is taken.
#[inline]
pub(super) fn block_of(tag: u32) -> Option<u16> {
    u16::try_from((tag & BLOCK_MASK).checked_sub(1)?).ok()
}

/// Returns the first of the two slots that a record with this tag, or this fingerprint, prefers.
#[inline]
pub(super) fn near(tag: u32) -> usize {
    // The fingerprint as a fraction of the pairs. A model has none.
    let pairs = casts::narrow(SLOTS / 2);
    2 * casts::index((((tag & FINGERPRINT_MASK) >> 16) * pairs) >> 14)
}

/// Returns the two slots that begin at the one of [`near`], as bits.
#[inline]
pub(super) fn near_slots(tag: u32) -> u32 {
    0b11 << near(tag)
}

/// Version, spill count and tags of one bucket.
///
/// Only the one writer changes versions, spill counts, and which slots are taken. Anybody may set the flags of a tag,
/// by comparing and exchanging the whole tag.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct TagLine {
    /// First the control word, then the tags.
    words: [AtomicU32; 1 + SLOTS],
}

impl Default for TagLine {
    fn default() -> Self {
        Self { words: std::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

/// The control word as a look-up saw it: equal later on means that nothing changed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen(u32);

impl Seen {
    #[inline]
    pub(super) fn has_spilled(self) -> bool {
        self.0 & SPILL_MASK != 0
    }
}

impl TagLine {
    /// Begins a look-up; `None` while the bucket is being changed.
    #[inline]
    pub(super) fn begin(&self) -> Option<Seen> {
        let control = self.control().load(Ordering::Acquire);
        (control & ODD == 0).then_some(Seen(control))
    }

    /// Returns whether nothing has changed since [`begin`](Self::begin), so that everything read from the bucket in
    /// between is valid.
    #[inline]
    pub(super) fn is_unchanged(&self, seen: Seen) -> bool {
        // Orders the reads of tags and records before that of the version.
        fence(Ordering::Acquire);
        self.control().load(Ordering::Relaxed) == seen.0
    }

    #[inline]
    fn control(&self) -> &AtomicU32 {
        let [control, ..] = &self.words;
        control
    }

    /// Returns the slots whose tags have this fingerprint, as bits; free ones, too, where it is 0.
    #[inline]
    pub(super) fn matches(&self, fingerprint: u32) -> u32 {
        self.equal(FINGERPRINT_MASK, fingerprint)
    }

    /// Returns the slots that are taken by records in `block`, as bits.
    #[inline]
    pub(super) fn in_block(&self, block: u16) -> u32 {
        self.equal(BLOCK_MASK, u32::from(block) + 1)
    }

    /// Returns the slots that are free, as bits.
    #[inline]
    pub(super) fn free_slots(&self) -> u32 {
        self.equal(BLOCK_MASK, 0)
    }

    /// Returns the slots whose tags are `value` once masked, as bits.
    #[inline]
    #[cfg(not(any(loom, shuttle)))]
    fn equal(&self, mask: u32, value: u32) -> u32 {
        // The first word is that of control.
        crate::machine::line_compare::equal(&self.words, mask, value) >> 1
    }

    #[cfg(any(loom, shuttle))]
    fn equal(&self, mask: u32, value: u32) -> u32 {
        let is_equal = |tag: &AtomicU32| u32::from(tag.load(Ordering::Relaxed) & mask == value);
        (0..).zip(self.tags()).fold(0, |bits, (slot, tag): (u32, _)| bits | is_equal(tag) << slot)
    }

    #[inline]
    pub(super) fn tags(&self) -> &[AtomicU32; SLOTS] {
        let [_, tags @ ..] = &self.words;
        tags
    }

    /// Makes look-ups repeat until [`close`](Self::close). Returns whether it was not open yet.
    pub(super) fn open(&self) -> bool {
        let control = self.control().load(Ordering::Relaxed);
        if control & ODD != 0 {
            return false;
        }
        self.control().store(control | ODD, Ordering::Relaxed);
        // Orders the odd version before all changes.
        fence(Ordering::Release);
        true
    }

    pub(super) fn close(&self) {
        let control = self.control().load(Ordering::Relaxed);
        let version = control.wrapping_add(VERSION_ONE) & VERSION_MASK;
        self.control().store(control & SPILL_MASK | version, Ordering::Release);
    }

    /// Notes that one record more of this primary bucket lies elsewhere. The bucket must be open.
    pub(super) fn spill(&self) {
        let control = self.control().load(Ordering::Relaxed);
        if control & SPILL_MASK != SPILL_MASK {
            self.control().store(control + SPILL_ONE, Ordering::Relaxed);
        }
    }

    /// Notes that one record less of this primary bucket lies elsewhere. The bucket must be open.
    pub(super) fn unspill(&self) {
        let control = self.control().load(Ordering::Relaxed);
        // Once it was at its maximum, nobody knows how many there are.
        if control & SPILL_MASK != SPILL_MASK && control & SPILL_MASK != 0 {
            self.control().store(control - SPILL_ONE, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_cache_line() {
        assert_eq!(size_of::<TagLine>(), 64);
    }

    #[test]
    fn a_change_is_seen_by_whoever_began_before_it() {
        let line = TagLine::default();
        let seen = line.begin().unwrap();
        assert!(line.open());
        assert!(!line.open());
        assert_eq!(line.begin(), None);
        assert!(!line.is_unchanged(seen));
        line.close();
        assert!(!line.is_unchanged(seen));
        assert!(line.is_unchanged(line.begin().unwrap()));
    }

    #[test]
    fn spills_are_counted_up_to_a_point_and_then_kept() {
        let line = TagLine::default();
        line.spill();
        assert!(line.begin().unwrap().has_spilled());
        line.unspill();
        assert!(!line.begin().unwrap().has_spilled());
        for _ in 0..40 {
            line.spill();
        }
        for _ in 0..40 {
            line.unspill();
        }
        assert!(line.begin().unwrap().has_spilled());
    }

    #[test]
    fn versions_wrap_without_touching_the_spill_count() {
        let line = TagLine::default();
        line.spill();
        line.control().fetch_or(VERSION_MASK, Ordering::Relaxed);
        line.open();
        line.close();
        assert!(line.begin().unwrap().has_spilled());
        assert_eq!(line.begin(), Some(Seen(SPILL_ONE)));
    }
}
