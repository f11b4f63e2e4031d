//! Walks over the map for the records of one block.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::tag_line::{TOUCHED, block_of};
use super::{KeyLocationMap, MapWriter, Record};
use crate::sync::fence;
use crate::width;

/// How many buckets are swept before others get a turn at the writers' lock: some 50 µs.
pub(crate) const SWEEP_BUCKETS: u32 = 4096;

/// The slots that are set in `bits`.
fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = (bits != 0).then(|| width::index(bits.trailing_zeros()))?;
        bits &= bits - 1;
        Some(slot)
    })
}

impl KeyLocationMap {
    /// All buckets, in ranges that are swept at a time.
    pub(crate) fn sweeps(&self) -> impl Iterator<Item = Range<u32>> + use<> {
        let buckets = width::narrow(self.lines.len());
        (0..buckets).step_by(width::index(SWEEP_BUCKETS)).map(move |from| from..buckets.min(from + SWEEP_BUCKETS))
    }

    /// The records of these buckets that lie in `block`, with their flags.
    ///
    /// The tags are read such that a touch is seen unless whoever touches sees the state that the block was given
    /// before this is called. Without the writer's right, records may come and go meanwhile, so what is returned is
    /// to be confirmed.
    pub(crate) fn records_in(&self, buckets: Range<u32>, block: u16, each: &mut impl FnMut(Record, u32)) {
        // Orders the tags behind the state of the block.
        fence(Ordering::SeqCst);
        for bucket in buckets {
            let Some(line) = self.line(bucket) else { return };
            for slot in slots(line.in_block(block)) {
                let Some(tag) = line.tags().get(slot).map(|tag| tag.load(Ordering::SeqCst)) else { continue };
                if block_of(tag) == Some(block)
                    && let Some(slot) = self.slot(bucket, slot)
                {
                    each(slot.load(), tag & TOUCHED);
                }
            }
        }
    }

    /// All records of these buckets. Nothing moves meanwhile if the caller has the writer's right.
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
        for bucket in buckets {
            let Some(line) = self.line(bucket) else { return };
            for slot in slots(line.in_block(block)) {
                if let Some(record) = self.clear_if_in(writer, bucket, slot, block) {
                    each(record);
                }
            }
        }
    }
}
