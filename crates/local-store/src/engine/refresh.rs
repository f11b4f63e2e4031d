//! Copies what is used in an old block soon, long before that block goes: the policy "on touch".

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::Result;

use super::recycle::Wanted;
use super::share::Purpose;
use super::{Copied, Engine, count, enter};
use crate::key_location_map::{READ, Record, Sighting, Touch};

/// So many wait at most, in up to 0.8 MB.
const MOST_QUEUED: usize = 8192;

/// So many are copied before who recycles gets a turn.
const AT_ONCE: usize = 256;

/// Somebody who recycles and copies in the background, until this is dropped.
#[derive(Debug)]
pub(crate) struct Runner(Arc<Engine>);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.runners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Whether this is the generation of an old block.
    #[inline]
    pub(super) fn is_old(&self, generation: u32) -> bool {
        generation <= self.old_generation.load(Ordering::Relaxed)
    }

    /// How many objects are to be copied soon.
    pub(crate) fn queued_refreshes(&self) -> usize {
        enter(&self.refreshes).len()
    }

    /// Queues an object that is used in an old block, if it is not queued and there is room.
    #[inline(never)]
    pub(super) fn queue_refresh(&self, at: &Sighting) {
        // If it has moved, it is queued when it is used next.
        let Some(record) = self.map.record_at(at) else { return };
        {
            let mut queue = enter(&self.refreshes);
            if queue.len() >= MOST_QUEUED {
                // Not flagged: it may be queued when it is used next.
                count(&self.counters.unrefreshed, 1);
                return;
            }
            // Who sets the flag queues it. If it has moved, it may be queued twice, and is copied once all the same.
            if self.map.touch(at, READ) == Touch::Again {
                return;
            }
            queue.push_back(record);
        }
        self.work.notify_one();
    }

    /// Recycles, and copies what is queued. It may block.
    pub(crate) fn maintain(self: &Arc<Self>) -> Result<()> {
        self.recycle_blocks()?;
        self.refresh();
        Ok(())
    }

    /// As long as what is returned is held, somebody else copies what is queued than those who need space.
    pub(crate) fn begin_to_run(self: &Arc<Self>) -> Runner {
        self.runners.fetch_add(1, Ordering::Relaxed);
        Runner(Arc::clone(self))
    }

    /// Copies what is queued now, unless a block is to be recycled first. It may block.
    ///
    /// What cannot be copied stays where it is: that fails nobody.
    pub(super) fn refresh(self: &Arc<Self>) {
        let mut left = self.queued_refreshes();
        while left > 0 && self.check_device().is_ok() && !self.needs_recycling() {
            // Nobody recycles the blocks that are copied from, or looks at what is set aside.
            let _recycling = enter(&self.recycling);
            let some: Vec<Record> = {
                let mut queue = enter(&self.refreshes);
                let count = queue.len().min(AT_ONCE).min(left);
                queue.drain(..count).collect()
            };
            if some.is_empty() {
                return;
            }
            left -= some.len();
            let mut by_block: BTreeMap<u16, Vec<Record>> = BTreeMap::new();
            for record in some {
                by_block.entry(record.location.block).or_default().push(record);
            }
            for (block, records) in by_block {
                self.refresh_in(block, &records);
            }
        }
        if left > 0 {
            self.work.notify_one();
        }
    }

    /// Copies these objects out of a block, each with its parts and its names.
    fn refresh_in(self: &Arc<Self>, block: u16, records: &[Record]) {
        self.refresh_with_parts(block, records);
        self.let_names_follow(block, records);
    }

    fn refresh_with_parts(self: &Arc<Self>, block: u16, records: &[Record]) {
        let has_parts = self.space().use_of(block).is_some_and(|usage| usage.has_parts);
        if !has_parts {
            for record in records {
                self.refresh_one(record, &[]);
            }
            return;
        }
        // From here on, records of this block stay where they are in the map, so that none is missed.
        self.space().map.pin(Some(block));
        let queued: HashSet<u64> = records.iter().map(|record| record.sequence).collect();
        let is_queued = |record: &Record| queued.contains(&record.sequence);
        let wanted = self.wanted(block, 0);
        self.space().map.pin(None);
        let wanted = wanted
            .into_iter()
            .filter(|Wanted { record, parts, .. }| is_queued(record) || parts.iter().any(|(part, _)| is_queued(part)));
        for Wanted { record, parts, .. } in wanted {
            let parts: Vec<Record> = parts.iter().map(|(part, _)| *part).collect();
            self.refresh_one(&record, &parts);
        }
    }

    fn refresh_one(self: &Arc<Self>, record: &Record, parts: &[Record]) {
        match self.copy_forward(record, parts, Purpose::Refreshed) {
            Ok(Copied::Done) => {
                count(&self.counters.refreshed, 1);
                count(&self.counters.refreshed_bytes, record.location.size_bytes);
            }
            // It is gone, overwritten, or was copied otherwise.
            Ok(Copied::Moved | Copied::Gone) => {}
            Ok(Copied::NoShare | Copied::NoSpace) => count(&self.counters.unrefreshed, 1),
            Err(error) => {
                count(&self.counters.unrefreshed, 1);
                tracing::debug!(storage_type = self.storage_type.name(), %error, "an object was not refreshed");
            }
        }
    }
}
