//! Walks over the map for the records of one block, without the writers' lock.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::lookup::patiently;
use super::tag_line::{TOUCHED, block_of};
use super::{KeyLocationMap, Record, Writers};
use crate::machine::concurrency::fence;
use crate::machine::{advise, casts};

/// How many buckets are swept at a time: some 50 µs.
pub(crate) const SWEEP_BUCKETS: u32 = if cfg!(shuttle) { 1 } else { 4096 };

/// How many buckets ahead records are asked for.
const BUCKETS_AHEAD: usize = 32;

/// Returns the slots that are set in `bits`.
fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = (bits != 0).then(|| casts::index(bits.trailing_zeros()))?;
        bits &= bits - 1;
        Some(slot)
    })
}

impl KeyLocationMap {
    /// Returns all buckets, in ranges that are swept at a time.
    pub(crate) fn sweeps(&self) -> impl Iterator<Item = Range<u32>> + use<> {
        let buckets = casts::narrow(self.lines.len());
        (0..buckets).step_by(casts::index(SWEEP_BUCKETS)).map(move |from| from..buckets.min(from + SWEEP_BUCKETS))
    }

    /// Tells `each` the records of these buckets that lie in `block`, with their flags; of `only` those with one of these
    /// flags, if that is not 0. It takes no lock as a rule.
    ///
    /// The tags are read such that a touch is seen unless whoever touches sees the state that the block was given
    /// before this is called. None is missed if the block is pinned and nothing is added to it any more; else records may
    /// come, go and move meanwhile, so what is told is to be confirmed.
    pub(crate) fn records_in(
        &self,
        buckets: Range<u32>,
        block: u16,
        only: u32,
        writers: &impl Writers,
        each: &mut impl FnMut(Record, u32),
    ) {
        // Orders the tags behind the state of the block.
        fence(Ordering::SeqCst);
        self.each_slot_in(buckets, block, |bucket, slot| {
            let see = || self.see_slot(bucket, slot, block);
            if let Some((record, flags)) = see().unwrap_or_else(|| patiently(writers, see))
                && (only == 0 || flags & only != 0)
            {
                each(record, flags);
            }
        });
    }

    /// Returns the record in a slot, if it lies in `block`, with its flags. `None` if something changed meanwhile.
    #[expect(clippy::option_option, reason = "the outer one is of the attempt")]
    fn see_slot(&self, bucket: u32, slot: usize, block: u16) -> Option<Option<(Record, u32)>> {
        let (Some(line), Some(stored)) = (self.line(bucket), self.slot(bucket, slot)) else { return Some(None) };
        let Some(tag) = line.tags().get(slot) else { return Some(None) };
        let seen = line.begin()?;
        let tag = tag.load(Ordering::SeqCst);
        let found = (block_of(tag) == Some(block)).then(|| (stored.load(), tag & TOUCHED));
        line.is_unchanged(seen).then_some(found)
    }

    /// Returns the slots of these buckets that are taken by records in `block`, without a lock. None is missed under the
    /// conditions of [`records_in`](Self::records_in).
    pub(crate) fn slots_in(&self, buckets: Range<u32>, block: u16) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        self.each_slot_in(buckets, block, |bucket, slot| found.push((bucket, slot)));
        found
    }

    /// Returns the slots of these buckets that are taken by records in `block`. It prefetches their records some
    /// buckets ahead.
    fn each_slot_in(&self, buckets: Range<u32>, block: u16, mut each: impl FnMut(u32, usize)) {
        let mut ahead = [0_u32; BUCKETS_AHEAD];
        for bucket in buckets.start..buckets.end.saturating_add(casts::narrow(BUCKETS_AHEAD)) {
            let Some(found) = ahead.get_mut(casts::index(bucket) % BUCKETS_AHEAD) else { return };
            if let Some(before) = bucket.checked_sub(casts::narrow(BUCKETS_AHEAD))
                && before >= buckets.start
            {
                for slot in slots(*found) {
                    each(before, slot);
                }
            }
            *found = if bucket < buckets.end { self.line(bucket).map_or(0, |line| line.in_block(block)) } else { 0 };
            for slot in slots(*found) {
                if let Some(slot) = self.slot(bucket, slot) {
                    advise::prefetch_one_of_many(slot);
                }
            }
        }
    }
}
