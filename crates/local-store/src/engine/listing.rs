//! Lists the stored objects in the order of keys, which no move and no restart changes.

use std::collections::BinaryHeap;

use blobaccess::{Digest, DigestFunction, ErrorKind, InstanceName, InventoryEntry, Result};

use super::Engine;
use crate::account_names::NOBODY;
use crate::key::Key;
use crate::key_location_map::Record;
use crate::machine::casts;

/// The least and the most records of a page. As each page takes a look at the whole map, there are about [`PAGES`] of
/// them as long as that many fit.
const PAGE: (u64, u64) = (1_000, 65_536);
const PAGES: u64 = 64;

/// A record, ordered by its key.
struct ByKey(Key, Record);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        position(&self.0).cmp(&position(&other.0))
    }
}

fn position(key: &Key) -> ([u64; 4], u64) {
    (key.words, key.check)
}

impl Engine {
    /// Returns the page of the listing that follows `after`, and the key after which the next one begins, if there may
    /// be more. It may block.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails.
    pub(crate) fn list(&self, after: Option<&Key>) -> Result<(Vec<InventoryEntry>, Option<Key>)> {
        let (records, next) = self.records_after(after);
        let mut entries = Vec::with_capacity(records.len());
        for ByKey(key, record) in records {
            if let Some(digest) = self.digest_of(&key, record)? {
                entries.push(InventoryEntry::new(digest, record.location.size_bytes));
            }
        }
        Ok((entries, next))
    }

    /// Returns the first records after a key. A record that is in the map all the time is among them, whatever moves:
    /// each part of the map is looked at while nothing moves, and moves from one part to another are noted.
    fn records_after(&self, after: Option<&Key>) -> (Vec<ByKey>, Option<Key>) {
        let records = {
            let mut space = self.space();
            space.map.begin_listing();
            space.records()
        };
        let page_length = casts::in_memory((records / PAGES).clamp(PAGE.0, PAGE.1));
        let mut first = BinaryHeap::with_capacity(page_length + 1);
        let mut offer = |record: Record| {
            let key = record.key(self.map.check_mask());
            let is_after = after.is_none_or(|after| position(&key) > position(after));
            if record.account_name == NOBODY || !is_after {
                return;
            }
            if first.len() < page_length {
                first.push(ByKey(key, record));
            } else if let Some(mut last) = first.peek_mut()
                && position(&key) < position(&last.0)
            {
                *last = ByKey(key, record);
            }
        };
        for buckets in self.map.sweeps() {
            let _turn = self.space.take_turn();
            self.map.records(buckets, &mut offer);
        }
        let moved = self.space().map.end_listing();
        moved.into_iter().for_each(offer);
        let is_full = first.len() >= page_length;
        let mut page = first.into_sorted_vec();
        page.dedup_by(|a, b| a == b);
        let next = page.last().filter(|_| is_full).map(|last| last.0);
        (page, next)
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
