//! What is looked at first of a bucket: its version and a tag for each of its slots, in one cache line.

use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Slots of a bucket: with the word for version and spill count, their tags fill a line.
pub(super) const SLOTS: usize = 15;

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

/// A tag: from the least significant bit, block plus one (16 bits), fingerprint (14), read, found.
pub(super) fn tag(fingerprint: u32, block: u16, flags: u32) -> u32 {
    flags | fingerprint | (u32::from(block) + 1)
}

/// The block that a tag names, if its slot is taken.
#[inline]
pub(super) fn block_of(tag: u32) -> Option<u16> {
    u16::try_from((tag & BLOCK_MASK).checked_sub(1)?).ok()
}

/// Version, spill count and tags of one bucket.
///
/// Only the one writer changes versions, spill counts, and which slots are taken. Anybody may set the flags of a tag,
/// by comparing and exchanging the whole tag.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct TagLine {
    control: AtomicU32,
    tags: [AtomicU32; SLOTS],
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
        let control = self.control.load(Ordering::Acquire);
        (control & ODD == 0).then_some(Seen(control))
    }

    /// Whether nothing has changed since [`begin`](Self::begin): what was read from the bucket in between is right.
    #[inline]
    pub(super) fn is_unchanged(&self, seen: Seen) -> bool {
        // Orders the reads of tags and records before that of the version.
        fence(Ordering::Acquire);
        self.control.load(Ordering::Relaxed) == seen.0
    }

    /// The slots whose tags have this fingerprint, as bits.
    #[inline]
    pub(super) fn matches(&self, fingerprint: u32) -> u32 {
        let mut matches = 0;
        for (slot, tag) in self.tags.iter().enumerate() {
            let is_it = tag.load(Ordering::Relaxed) & FINGERPRINT_MASK == fingerprint;
            matches |= u32::from(is_it) << slot;
        }
        matches
    }

    #[inline]
    pub(super) fn tags(&self) -> &[AtomicU32; SLOTS] {
        &self.tags
    }

    /// Makes look-ups repeat until [`close`](Self::close). Returns whether it was not open yet.
    pub(super) fn open(&self) -> bool {
        let control = self.control.load(Ordering::Relaxed);
        if control & ODD != 0 {
            return false;
        }
        self.control.store(control | ODD, Ordering::Relaxed);
        // Orders the odd version before all changes.
        fence(Ordering::Release);
        true
    }

    pub(super) fn close(&self) {
        let control = self.control.load(Ordering::Relaxed);
        let version = control.wrapping_add(VERSION_ONE) & VERSION_MASK;
        self.control.store(control & SPILL_MASK | version, Ordering::Release);
    }

    /// Notes that one record more of this primary bucket lies elsewhere. The bucket must be open.
    pub(super) fn spill(&self) {
        let control = self.control.load(Ordering::Relaxed);
        if control & SPILL_MASK != SPILL_MASK {
            self.control.store(control + SPILL_ONE, Ordering::Relaxed);
        }
    }

    /// Notes that one record less of this primary bucket lies elsewhere. The bucket must be open.
    pub(super) fn unspill(&self) {
        let control = self.control.load(Ordering::Relaxed);
        // Once it was at its maximum, nobody knows how many there are.
        if control & SPILL_MASK != SPILL_MASK && control & SPILL_MASK != 0 {
            self.control.store(control - SPILL_ONE, Ordering::Relaxed);
        }
    }

    /// The first slot that is free.
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.tags.iter().position(|tag| tag.load(Ordering::Relaxed) & BLOCK_MASK == 0)
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
        line.control.fetch_or(VERSION_MASK, Ordering::Relaxed);
        line.open();
        line.close();
        assert!(line.begin().unwrap().has_spilled());
        assert_eq!(line.begin(), Some(Seen(SPILL_ONE)));
    }
}
