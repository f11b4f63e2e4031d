//! Recycles blocks: copies touched objects, forgets the rest, and waits until no superblock vouches for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::Result;

use super::space::Purpose;
use super::{Copied, Engine, count};
use crate::key_location_map::{FOUND, KeyLocationMap, MapWriter, Record, TOUCHED};

/// The most records that are forgotten before others get a turn at the space: some 10 µs.
const FORGOTTEN_AT_ONCE: usize = if cfg!(shuttle) { 1 } else { 64 };

/// An object that is to be copied, with the records of its parts that lie in it.
pub(super) struct CopyCandidate {
    /// Whether a caller was told recently that the object or a part of it is stored.
    is_promised: bool,
    pub(super) record: Record,
    flags: u32,
    pub(super) parts: Vec<(Record, u32)>,
}

/// The records of a block that are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// All records but those of names.
    Contents,
    All,
}

impl Engine {
    /// Returns whether there is a block to recycle.
    pub(crate) fn needs_recycling(&self) -> bool {
        self.space().next_to_recycle().is_some()
    }

    /// Recycles all blocks that are retiring, or more than old, current and new together. Copies queued objects if no
    /// background task does. It may block.
    pub(crate) fn recycle(self: &Arc<Self>) -> Result<()> {
        if self.upkeep.has_runner() { self.recycle_blocks() } else { self.maintain() }
    }

    pub(super) fn recycle_blocks(self: &Arc<Self>) -> Result<()> {
        let _recycling = self.upkeep.recycle();
        loop {
            self.check_device()?;
            let Some(block) = self.space().next_to_recycle() else { return Ok(()) };
            let keys = self.keys_in(block);
            self.copy_touched(block)?;
            if self.names.is_some() {
                // First, so that no thread copies contents out of the block after its names were looked at.
                self.forget(block, Forgotten::Contents);
                self.move_names(block, &keys)?;
            }
            self.forget(block, Forgotten::All);
            self.free(block)?;
            count(&self.counters.recycled_blocks, 1);
        }
    }

    /// Copies the touched objects of a block, as far as the share goes: first the promised ones.
    pub(super) fn copy_touched(self: &Arc<Self>, block: u16) -> Result<()> {
        let setting_aside = self.upkeep.set_aside();
        self.space().begin_copying(block);
        let is_retiring = self.space().is_retiring(block);
        let mut wanted = self.copy_candidates(block, if is_retiring { FOUND } else { 0 });
        wanted.sort_unstable_by_key(|wanted| (!wanted.is_promised, wanted.record.location.offset));
        {
            let mut space = self.space();
            for wanted in wanted.iter().filter(|wanted| wanted.is_promised && !is_retiring) {
                space.set_aside(&wanted.record);
            }
        }
        drop(setting_aside);
        for wanted in &wanted {
            let parts: Vec<Record> = wanted.parts.iter().map(|(part, _)| *part).collect();
            let purpose = purpose_of(wanted.is_promised, is_retiring, &wanted.record);
            self.copy_wanted(&wanted.record, wanted.flags, purpose, &parts)?;
            // Parts that could not go with the object.
            for (part, flags) in &wanted.parts {
                if flags & TOUCHED != 0 && self.is_current(part) {
                    let purpose = purpose_of(flags & FOUND != 0, is_retiring, part);
                    self.copy_wanted(part, *flags, purpose, &[])?;
                }
            }
        }
        self.space().settle_share();
        Ok(())
    }

    fn copy_wanted(self: &Arc<Self>, record: &Record, flags: u32, purpose: Purpose, parts: &[Record]) -> Result<()> {
        match self.copy_forward(record, parts, purpose) {
            Ok(Copied::Done | Copied::Moved) => {}
            Ok(Copied::Gone | Copied::NoShare | Copied::NoSpace) => self.breached(record, flags),
            // The object cannot be read, so it goes.
            Err(error) => {
                self.check_device()?;
                tracing::warn!(storage_type = self.storage_type.name(), %error, "an object was not copied");
                self.breached(record, flags);
            }
        }
        Ok(())
    }

    fn breached(&self, record: &Record, flags: u32) {
        if flags & FOUND != 0 {
            let before = self.counters.breached_bytes.fetch_add(record.location.size_bytes, Ordering::Relaxed);
            if before == 0 {
                tracing::warn!(
                    storage_type = self.storage_type.name(),
                    "blobs that callers were told are stored go before their promise is over: more are found late than \
                     may be copied. `Snapshot::breached_bytes` counts them; a larger store or share of copies helps"
                );
            }
        }
    }

    /// Returns the touched objects of a block. An object is touched if a part of it is; a part whose object is gone
    /// stands for itself. All records count as if they had the flags `all`.
    pub(super) fn copy_candidates(&self, block: u16, all: u32) -> Vec<CopyCandidate> {
        let (mut wanted, mut parts) = (Vec::new(), Vec::new());
        let has_parts = self.space().has_parts(block);
        // Where there are parts, objects are needed as well that were not touched themselves.
        let only = if has_parts || all != 0 { 0 } else { TOUCHED };
        self.sweep(block, only, |record, flags| {
            let flags = flags | all;
            if record.is_name() {
                // The record of a name goes where its contents go.
            } else if record.is_part {
                parts.push((record, flags));
            } else if flags & TOUCHED != 0 {
                wanted.push(CopyCandidate { is_promised: flags & FOUND != 0, record, flags, parts: Vec::new() });
            }
        });
        if parts.is_empty() {
            return wanted;
        }
        parts.sort_unstable_by_key(|(part, _)| part.location.offset);
        let begins = |within: &Record| {
            let (from, to) = (within.location.offset, within.location.offset + within.location.size_bytes);
            let first = parts.partition_point(|(part, _)| part.location.offset < from);
            let last = parts.partition_point(|(part, _)| part.location.offset < to);
            parts.get(first..last).unwrap_or_default()
        };
        // These objects were not touched themselves, but perhaps a part of them was.
        self.sweep(block, 0, |record, flags| {
            let is_wanted = !record.is_part && (flags | all) & TOUCHED == 0;
            if is_wanted && begins(&record).iter().any(|(_, flags)| flags & TOUCHED != 0) {
                wanted.push(CopyCandidate { is_promised: false, record, flags, parts: Vec::new() });
            }
        });
        let mut with_parents = std::collections::HashSet::new();
        for wanted in &mut wanted {
            wanted.parts = begins(&wanted.record).to_vec();
            wanted.is_promised |= wanted.parts.iter().any(|(_, flags)| flags & FOUND != 0);
            with_parents.extend(wanted.parts.iter().map(|(part, _)| part.sequence));
        }
        // The object of these parts is gone: it was quarantined, or there was no room for its record.
        let orphans =
            parts.iter().filter(|(part, flags)| flags & TOUCHED != 0 && !with_parents.contains(&part.sequence));
        let orphans = orphans.map(|(record, flags)| CopyCandidate {
            is_promised: flags & FOUND != 0,
            record: *record,
            flags: *flags,
            parts: Vec::new(),
        });
        wanted.extend(orphans);
        wanted
    }

    fn sweep(&self, block: u16, only: u32, mut each: impl FnMut(Record, u32)) {
        for buckets in self.map.sweeps() {
            self.map.records_in(buckets, block, only, &self.space, &mut each);
        }
    }

    /// Takes the remaining records of a block out of the map, a few at a time: others get their turns in between.
    pub(super) fn forget(&self, block: u16, forgotten: Forgotten) {
        for buckets in self.map.sweeps() {
            let mut contents = Vec::new();
            let mut slots = Vec::new();
            match forgotten {
                Forgotten::Contents => {
                    self.map.records_in(buckets, block, 0, &self.space, &mut |record, _| contents.push(record));
                    contents.retain(|record| !record.is_name());
                }
                Forgotten::All => slots = self.map.slots_in(buckets, block),
            }
            for contents in contents.chunks(FORGOTTEN_AT_ONCE) {
                self.forget_some(contents, |map, writer, record| map.remove(writer, record).then_some(*record));
            }
            for slots in slots.chunks(FORGOTTEN_AT_ONCE) {
                self.forget_some(slots, |map, writer, (bucket, slot)| map.clear_if_in(writer, *bucket, *slot, block));
            }
        }
    }

    fn forget_some<T>(
        &self,
        some: &[T],
        mut take_out: impl FnMut(&KeyLocationMap, &mut MapWriter, &T) -> Option<Record>,
    ) {
        let gone: Vec<Record> = {
            let mut space = self.space.take_turn();
            let gone = some.iter().filter_map(|one| take_out(&self.map, &mut space.map, one)).collect::<Vec<_>>();
            // A superblock that is written before the block is given up still vouches for all of these.
            for record in &gone {
                space.accounts.leave(record);
            }
            gone
        };
        for record in &gone {
            self.evicted(record);
        }
    }

    /// Makes a block free that no record names, once nothing vouches for it.
    fn free(&self, block: u16) -> Result<()> {
        // No sync describes the block while it is taken away.
        let mut syncing = self.durability.begin();
        self.space().end_use(block);
        if self.is_persistent() {
            // Whichever of the two slots is torn or rots, the other one does not vouch for the block either.
            syncing.sync_always(&self.space)?;
            syncing.sync_always(&self.space)?;
        } else {
            // A write to the block may be under way that began before its use ended.
            self.flusher.wait();
        }
        drop(syncing);
        self.space().add_free(block);
        Ok(())
    }
}

fn purpose_of(is_promised: bool, is_retiring: bool, record: &Record) -> Purpose {
    match (is_retiring, is_promised) {
        (true, _) => Purpose::Retired,
        (false, true) => Purpose::Promised { sequence: record.sequence },
        (false, false) => Purpose::Used,
    }
}
