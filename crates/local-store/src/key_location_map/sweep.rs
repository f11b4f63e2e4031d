//! Walks over the map for the records of one block.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::tag_line::{TOUCHED, block_of};
use super::{KeyLocationMap, MapWriter, Record};
use crate::machine::concurrency::fence;
use crate::machine::{advise, casts};

/// How many buckets are swept before others get a turn at the writers' lock: some 50 µs.
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

    /// Returns the records of these buckets that lie in `block`, with their flags; of `only` those with one of these
    /// flags, if that is not 0.
    ///
    /// The tags are read such that a touch is seen unless whoever touches sees the state that the block was given
    /// before this is called. Without the writer's right, records may come and go meanwhile, so what is returned is
    /// to be confirmed.
    pub(crate) fn records_in(&self, buckets: Range<u32>, block: u16, only: u32, each: &mut impl FnMut(Record, u32)) {
        // Orders the tags behind the state of the block.
        fence(Ordering::SeqCst);
        self.each_slot_in(buckets, block, |bucket, slot| {
            let Some(tag) = self.line(bucket).and_then(|line| line.tags().get(slot)) else { return };
            let tag = tag.load(Ordering::SeqCst);
            if block_of(tag) == Some(block)
                && (only == 0 || tag & only != 0)
                && let Some(slot) = self.slot(bucket, slot)
            {
                each(slot.load(), tag & TOUCHED);
            }
        });
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

    /// Returns all records of these buckets. Nothing moves meanwhile if the caller has the writer's right.
    pub(crate) fn records(&self, buckets: Range<u32>, each: &mut impl FnMut(Record)) {
        for bucket in buckets {
            let Some(line) = self.line(bucket) else { return };
            for (slot, tag) in line.tags().iter().enumerate() {
                if block_of(tag.load(Ordering::Relaxed)).is_some()
                    && let Some(slot) = self.slot(bucket, slot)
                {
                    each(slot.load());
                }
            }
        }
    }

    /// Takes the records of these buckets that lie in `block` out of the map.
    pub(crate) fn remove_in(
        &self,
        writer: &mut MapWriter,
        buckets: Range<u32>,
        block: u16,
        each: &mut impl FnMut(Record),
    ) {
        self.each_slot_in(buckets, block, |bucket, slot| {
            if let Some(record) = self.clear_if_in(writer, bucket, slot, block) {
                each(record);
            }
        });
    }
}
