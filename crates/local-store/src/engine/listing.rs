//! Lists the stored objects in an order that no move and no restart changes.

use blobaccess::{Digest, DigestFunction, ErrorKind, InstanceName, InventoryEntry, Result};

use super::Engine;
use crate::account_names::NOBODY;
use crate::key::Key;
use crate::key_location_map::{Position, Record};
use crate::machine::casts;

/// The least number of records of a page, unless it is the last one.
const LEAST_PAGE: u64 = 1_000;

/// A page ends with a segment of the map, which has up to 122,865 records. In a map of few segments, a page that has a
/// share of all records of one in so many ends before: each page looks at all of its segments.
const PAGES: u64 = 8;

/// How often a segment is looked at without the lock of the space before it is looked at under it.
const ATTEMPTS: u32 = 2;

impl Engine {
    /// Returns the page of the listing that follows `after`, and the position after which the next one begins, if there
    /// may be more. It may block.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails.
    pub(crate) fn list(&self, after: Option<&Position>) -> Result<(Vec<InventoryEntry>, Option<Position>)> {
        let (records, next) = self.records_after(after);
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            if let Some(digest) = self.digest_of(&record.key(self.map.check_mask()), record)? {
                entries.push(InventoryEntry::new(digest, record.location.size_bytes));
            }
        }
        Ok((entries, next))
    }

    /// Returns the records of the next segments after a position, and the position after them, if there are more segments.
    fn records_after(&self, after: Option<&Position>) -> (Vec<Record>, Option<Position>) {
        let longest = casts::in_memory((self.space().records() / PAGES).max(LEAST_PAGE));
        let mut page = Vec::new();
        let mut segment = after.map_or(0, |after| self.map.segment_of(after));
        loop {
            let end = self.map.end_of(segment);
            if after != Some(&end) {
                page.extend(self.records_of_segment(segment, after));
            }
            if page.len() > longest {
                page.truncate(longest);
                let next = page.last().map(|last| self.map.position(&last.key(self.map.check_mask())));
                return (page, next);
            }
            segment += 1;
            if segment >= self.map.segments() {
                return (page, None);
            }
            if page.len() >= casts::in_memory(LEAST_PAGE) {
                return (page, Some(end));
            }
        }
    }

    /// Returns the records of a segment after a position, in order, each key once.
    ///
    /// A record that is in the map all the time is among them: buckets are seen as they are at one moment, and moves from
    /// one to another are noted meanwhile.
    fn records_of_segment(&self, segment: u32, after: Option<&Position>) -> Vec<Record> {
        let mut found: Vec<(Position, Record)> = Vec::new();
        let mut attempts = 0;
        loop {
            found.clear();
            let mut take = |position: Position, record: Record| {
                if record.account_name != NOBODY && after.is_none_or(|after| position > *after) {
                    found.push((position, record));
                }
            };
            attempts += 1;
            if attempts > ATTEMPTS {
                let _turn = self.space.take_turn();
                self.map.records_of_segment(segment, &(), take);
                break;
            }
            self.space().map.begin_listing();
            self.map.records_of_segment(segment, &self.space, &mut take);
            let Some(moved) = self.space().map.end_listing() else { continue };
            for record in moved {
                let position = self.map.position(&record.key(self.map.check_mask()));
                if self.map.segment_of(&position) == segment {
                    take(position, record);
                }
            }
            break;
        }
        once_each(&found)
    }

    /// Returns the digest that a record is stored under. `None` if the object is gone, or fails verification.
    fn digest_of(&self, key: &Key, mut record: Record) -> Result<Option<Digest>> {
        let Some(function) = DigestFunction::from_number(i32::from(record.function)) else { return Ok(None) };
        let length = function.hash_size_bytes();
        if let Some(hash) = crate::key::bytes(&record.key_words).get(..length)
            && !self.storage_type.is_mutable()
        {
            return Ok(Digest::from_hash(InstanceName::empty(), function, hash, record.location.size_bytes).ok());
        }
        loop {
            match self.tail(&record) {
                Ok(Some(tail)) => return Ok(tail.digest),
                Err(error) if error.kind() == ErrorKind::DataLoss => return Ok(None),
                Err(error) => return Err(error),
                // It was moved, or is gone: the map says which.
                Ok(None) => match self.peek(key) {
                    Some(now) => record = now,
                    None => return Ok(None),
                },
            }
        }
    }
}

/// Returns one of the records at each position, in order.
fn once_each(found: &[(Position, Record)]) -> Vec<Record> {
    // By number and place first: few positions share a number, so few are compared in full.
    let mut order: Vec<u64> = (0..).zip(found).map(|(place, (at, _))| u64::from(at.number) << 32 | place).collect();
    order.sort_unstable();
    let places = order.into_iter().filter_map(|place| found.get(casts::index(casts::low(place))));
    let mut listed: Vec<&(Position, Record)> = places.collect();
    for same_number in listed.chunk_by_mut(|(before, _), (after, _)| before.number == after.number) {
        same_number.sort_unstable_by_key(|(position, _)| *position);
    }
    listed.dedup_by_key(|(position, _)| *position);
    listed.into_iter().map(|(_, record)| *record).collect()
}
