//! Copies objects that are used in an old block soon, long before that block goes: the policy "on touch".

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use blobaccess::Result;

use super::recycle::CopyCandidate;
use super::refresh_queue::Queued;
use super::space::Purpose;
use super::{Copied, Engine, Runner, count};
use crate::key_location_map::{READ, Record, Sighting, Touch};

/// The number of objects that are copied before a thread that recycles gets a turn.
const AT_ONCE: usize = 256;

impl Engine {
    /// Returns the number of objects that are to be copied soon.
    pub(crate) fn queued_refreshes(&self) -> usize {
        self.refreshes.len()
    }

    /// Queues an object that is used in an old block, if it is not queued and there is room.
    #[inline(never)]
    pub(super) fn queue_refresh(&self, at: &Sighting) {
        // If it has moved, it is queued when it is used next.
        let Some(record) = self.map.record_at(at) else { return };
        // The caller that sets the flag queues the object. If that has moved, it may be queued twice, and is copied once.
        match self.refreshes.push(record, || self.map.touch(at, READ) != Touch::Again) {
            Queued::First => self.space.upkeep.notify_one(),
            Queued::Done | Queued::Before => {}
            Queued::Full => count(&self.counters.unrefreshed, 1),
        }
    }

    /// Recycles, and copies the queued objects. It may block.
    pub(crate) fn maintain(self: &Arc<Self>) -> Result<()> {
        self.recycle_blocks()?;
        self.refresh();
        Ok(())
    }

    /// Begins to recycle and copy in the background. Until the returned value is dropped, threads that need space leave
    /// the queued objects to the background.
    pub(crate) fn begin_to_run(&self) -> Runner {
        self.upkeep.begin_to_run()
    }

    /// Copies the objects that are queued now, unless a block is to be recycled first. It may block.
    ///
    /// An object that cannot be copied stays where it is: that fails no call.
    pub(super) fn refresh(self: &Arc<Self>) {
        let mut left = self.queued_refreshes();
        while left > 0 && self.check_device().is_ok() && !self.needs_recycling() {
            // While this is held, no thread recycles the blocks that are copied from, or looks at what is set aside.
            let _recycling = self.upkeep.recycle();
            let records = self.refreshes.take(AT_ONCE.min(left));
            if records.is_empty() {
                break;
            }
            left -= records.len();
            let mut by_block: BTreeMap<u16, Vec<Record>> = BTreeMap::new();
            for record in records {
                by_block.entry(record.location.block).or_default().push(record);
            }
            for (block, records) in by_block {
                self.refresh_in(block, &records);
            }
        }
        // Objects that were queued meanwhile found others in the queue, so they told nobody.
        if self.queued_refreshes() > 0 {
            self.space.upkeep.notify_one();
        }
    }

    /// Copies these objects out of a block, each with its parts and its names.
    fn refresh_in(self: &Arc<Self>, block: u16, records: &[Record]) {
        self.refresh_with_parts(block, records);
        self.let_names_follow(block, records);
    }

    fn refresh_with_parts(self: &Arc<Self>, block: u16, records: &[Record]) {
        let has_parts = self.space().has_parts(block);
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
        let wanted = self.copy_candidates(block, 0);
        self.space().map.pin(None);
        let wanted = wanted.into_iter().filter(|CopyCandidate { record, parts, .. }| {
            is_queued(record) || parts.iter().any(|(part, _)| is_queued(part))
        });
        for CopyCandidate { record, parts, .. } in wanted {
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
            // The object is gone, was overwritten, or was copied by another thread.
            Ok(Copied::Moved | Copied::Gone) => {}
            Ok(Copied::NoShare | Copied::NoSpace) => count(&self.counters.unrefreshed, 1),
            Err(error) => {
                count(&self.counters.unrefreshed, 1);
                tracing::debug!(storage_type = self.storage_type.name(), %error, "an object was not refreshed");
            }
        }
    }
}
