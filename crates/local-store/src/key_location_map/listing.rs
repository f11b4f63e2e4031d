//! Walks over all records in an order that no move, no restart and no other size of the map changes: that of the numbers
//! of their keys, which primary buckets follow from.

use std::sync::atomic::Ordering;

use super::lookup::patiently;
use super::tag_line::{TagLine, block_of};
use super::{KeyLocationMap, Record, Writers};
use crate::key::Key;

/// A position in a listing: a listing that goes on from here has seen the keys up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The number that the buckets of a key follow from.
    pub(crate) number: u32,
    pub(crate) words: [u64; 4],
    pub(crate) check: u64,
}

impl KeyLocationMap {
    /// Returns the position of a key.
    pub(crate) fn position(&self, key: &Key) -> Position {
        Position { number: self.placement.of(key).number, words: key.words, check: key.check }
    }

    /// Returns the number of segments. The keys of the first have the first positions.
    pub(crate) fn segments(&self) -> u32 {
        self.placement.segments()
    }

    /// Returns the segment that keys at a position belong to.
    pub(crate) fn segment_of(&self, position: &Position) -> u32 {
        self.placement.segment(position.number)
    }

    /// Returns the position behind all keys of a segment.
    pub(crate) fn end_of(&self, segment: u32) -> Position {
        Position { number: self.placement.last_number(segment), words: [u64::MAX; 4], check: u64::MAX }
    }

    /// Tells `each` the records of a segment, with their positions. It takes no lock as a rule.
    ///
    /// Each bucket is seen as it is at one moment. A record that moves from a bucket that is not looked at yet to one that
    /// was is missed, if the caller has no part in the writers' right.
    pub(crate) fn records_of_segment(
        &self,
        segment: u32,
        writers: &impl Writers,
        mut each: impl FnMut(Position, Record),
    ) {
        let mut seen = Vec::new();
        for bucket in self.placement.buckets_of(segment) {
            let Some(line) = self.line(bucket) else { return };
            if !self.see_bucket(bucket, line, &mut seen) {
                patiently(writers, || self.see_bucket(bucket, line, &mut seen).then_some(()));
            }
            for record in &seen {
                let position = self.position(&record.key(self.check_mask));
                if self.segment_of(&position) == segment {
                    each(position, *record);
                }
            }
        }
    }

    /// Reads all records of a bucket. Returns whether nothing changed meanwhile.
    fn see_bucket(&self, bucket: u32, line: &TagLine, seen: &mut Vec<Record>) -> bool {
        seen.clear();
        let Some(version) = line.begin() else { return false };
        for (slot, tag) in line.tags().iter().enumerate() {
            if block_of(tag.load(Ordering::Relaxed)).is_some()
                && let Some(slot) = self.slot(bucket, slot)
            {
                seen.push(slot.load());
            }
        }
        line.is_unchanged(version)
    }
}
