//! Makes durable what was put, found and refreshed: data, logs and touches, a sync, the superblock, a sync.

use std::sync::atomic::Ordering;

use blobaccess::Result;

use super::{Engine, Space, count, enter};
use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::machine::concurrency::locks::MutexGuard;
use crate::persistence::Identity;
use crate::persistence::{LiveBlock, Superblock};

/// What the next superblock goes on from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncState {
    pub(super) identity: Option<Identity>,
    /// Of the last superblock.
    pub(super) sequence: u64,
    /// Whether the last superblock says that the store was closed in an orderly way.
    pub(super) is_closed: bool,
}

impl Engine {
    /// Makes durable everything that was put, found or refreshed before the call. It may block.
    ///
    /// Calls that come while one is under way share the next one.
    pub(crate) fn sync(&self) -> Result<()> {
        if !self.is_persistent() {
            return self.check_device();
        }
        let mut state = enter(&self.syncing);
        self.sync_under(&mut state, false, false)
    }

    /// The same, if it does not yet cover so many publications.
    pub(crate) fn sync_until(&self, publications: u64) -> Result<()> {
        if !self.is_persistent() || self.synced.load(Ordering::Acquire) >= publications {
            return self.check_device();
        }
        let mut state = enter(&self.syncing);
        if self.synced.load(Ordering::Acquire) >= publications {
            return self.check_device();
        }
        self.sync_under(&mut state, false, false)
    }

    /// The last sync of a store.
    pub(crate) fn close(&self) -> Result<()> {
        if !self.is_persistent() {
            return self.check_device();
        }
        let mut state = enter(&self.syncing);
        self.sync_under(&mut state, false, true)
    }

    /// Whether anything is not durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_persistent() && {
            let space = self.space();
            space.has_changed || self.has_dirty_touches(&space)
        }
    }

    /// Publications that no sync has covered yet.
    pub(crate) fn unsynced(&self) -> u64 {
        if !self.is_persistent() {
            return 0;
        }
        // In this order: what was published by now is covered if as much is by then.
        let publications = self.publications();
        publications.saturating_sub(self.synced.load(Ordering::Acquire))
    }

    fn has_dirty_touches(&self, space: &Space) -> bool {
        space.rotation.blocks().any(|block| self.block(block).is_some_and(|of| of.touches.is_dirty()))
    }

    /// Syncs, if there is anything new or `always`.
    pub(super) fn sync_under(&self, state: &mut MutexGuard<'_, SyncState>, always: bool, closing: bool) -> Result<()> {
        let (Some(disk), Some(identity)) = (&self.disk, state.identity) else { return Ok(()) };
        disk.device.check()?;
        let flushing = enter(&self.flushing);
        self.drain(disk, &flushing)?;
        let (mut superblock, dirty, publications) = {
            let mut space = self.space();
            let is_new = space.has_changed || self.has_dirty_touches(&space) || closing != state.is_closed;
            if !is_new && !always {
                return Ok(());
            }
            space.has_changed = false;
            let dirty = self.end_sectors(&mut space);
            (self.describe(&space, identity, state.sequence + 1, closing), dirty, space.publications)
        };
        for (block, generation) in dirty {
            for chunk in 0..self.block(block).map_or(0, crate::block::Block::chunks) {
                self.write_chunk(disk, block, generation, chunk)?;
            }
        }
        self.drain(disk, &flushing)?;
        for live in &mut superblock.live {
            let Some(of) = self.block(live.block) else { continue };
            for (number, sector) in of.touches.take_dirty(live.generation) {
                let offset = disk.layout.touches(live.block) + u64::from(number) * SECTOR_BYTES;
                disk.logs().write_at(offset, &sector)?;
            }
            live.touch_sectors = of.touches.used();
        }
        // Others may write on: what they write is not vouched for.
        drop(flushing);
        disk.commit(&superblock)?;
        state.sequence = superblock.sequence;
        state.is_closed = closing;
        *enter(&self.reported) = superblock.accounts;
        self.synced.fetch_max(publications, Ordering::AcqRel);
        count(&self.counters.syncs, 1);
        Ok(())
    }

    /// Ends what is begun of sectors, in data and logs, so that appending goes on in fresh ones. Returns the blocks
    /// that have data which may not be written yet.
    fn end_sectors(&self, space: &mut Space) -> Vec<(u16, u32)> {
        self.end_lane_sectors(space);
        let blocks: Vec<u16> = space.rotation.blocks().collect();
        let mut dirty = Vec::new();
        for block in blocks {
            let Some(usage) = space.use_mut(block) else { continue };
            self.take_log(block, usage, true);
            if usage.is_dirty {
                dirty.push((block, usage.generation));
                usage.is_dirty = false;
            }
        }
        dirty
    }

    fn describe(&self, space: &Space, identity: Identity, sequence: u64, is_closed: bool) -> Superblock {
        let live = space.rotation.blocks().filter_map(|block| {
            let usage = space.use_of(block)?;
            Some(LiveBlock {
                block,
                generation: usage.generation,
                seed: usage.seed,
                data_bytes: usage.cursor,
                log_sectors: usage.log_sectors,
                is_sealed: self.sizes.entries_per_block().is_some_and(|most| u64::from(usage.entries) >= most),
                begun_at: usage.begun_at,
                touch_sectors: 0,
            })
        });
        let (old, current, _) = space.rotation.groups();
        Superblock {
            identity,
            sequence,
            next_record: space.next_record,
            next_generation: space.next_generation,
            old: casts::narrow(old),
            current: casts::narrow(current),
            is_closed,
            live: live.collect(),
            quarantined: space.quarantined.clone(),
            accounts: self.accounts_now(space),
        }
    }
}
