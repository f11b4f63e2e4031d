//! Describes a space in a superblock, and goes on from one.

use std::collections::{HashSet, VecDeque};

use blobaccess::{Error, Result};

use super::block_use::BlockUse;
use super::{Space, growth};
use crate::account_totals::{Account, Accounts, Amount};
use crate::block::Rotation;
use crate::machine::casts;
use crate::persistence::{Identity, LiveBlock, Superblock};

/// How far sequences jump when a store is opened, so that none is drawn twice, whatever was drawn after the last sync.
const RECORD_JUMP: u64 = 1 << 32;

/// How far generations jump when a store is opened, so that none is drawn twice.
const GENERATION_JUMP: u32 = 1 << 10;

impl Space {
    /// Returns whether a superblock would say anything new.
    pub(in crate::engine) fn has_changes(&self) -> bool {
        self.has_changed || self.rotation.blocks().any(|block| self.has_dirty_touches(block))
    }

    fn has_dirty_touches(&self, block: u16) -> bool {
        self.neighbours.blocks.get(block).is_some_and(|touched| touched.touches.is_dirty())
    }

    /// Ends the sectors that are begun, in data and logs, so that appending goes on in fresh ones. Returns the blocks
    /// with data that may not be written yet, by number and generation. The superblock that is described next says
    /// everything that is new.
    pub(in crate::engine) fn end_sectors(&mut self) -> Vec<(u16, u32)> {
        self.has_changed = false;
        let blocks = &self.neighbours.blocks;
        self.lanes.end_sectors(blocks);
        let mut dirty = Vec::new();
        for block in self.rotation.blocks() {
            let Some(usage) = self.uses.get_mut(usize::from(block)) else { continue };
            if let Some(log) = usage.take_log() {
                blocks.queue_log(block, usage.generation, log.first_sector, log.bytes);
            }
            if std::mem::take(&mut usage.is_dirty) {
                dirty.push((block, usage.generation));
            }
        }
        dirty
    }

    /// Returns the superblock that describes the space now.
    pub(in crate::engine) fn describe(&self, identity: Identity, sequence: u64, is_closed: bool) -> Superblock {
        let live = self.rotation.blocks().filter_map(|block| {
            let usage = self.use_of(block)?;
            Some(LiveBlock {
                block,
                generation: usage.generation,
                seed: usage.seed,
                data_bytes: usage.cursor,
                log_sectors: usage.log_sectors,
                is_sealed: self
                    .sizes
                    .entries_per_block()
                    .is_some_and(|max_entries| u64::from(usage.entries) >= max_entries),
                begun_at: usage.begun_at,
                touch_sectors: 0,
            })
        });
        let (old, current, _) = self.rotation.groups();
        Superblock {
            identity,
            sequence,
            next_record: self.next_record,
            next_generation: self.next_generation,
            old: casts::narrow(old),
            current: casts::narrow(current),
            is_closed,
            live: live.collect(),
            quarantined: self.quarantined.clone(),
            accounts: self.named_accounts(),
        }
    }

    /// Goes on from a superblock, with everything but the records of its blocks.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the superblock contradicts itself.
    pub(in crate::engine) fn restore(&mut self, state: &Superblock) -> Result<()> {
        let blocks: VecDeque<u16> = state.live.iter().map(|live| live.block).collect();
        let taken: HashSet<u16> = blocks.iter().copied().collect();
        let is_sound = taken.len() == blocks.len()
            && blocks.iter().all(|block| u32::from(*block) < self.sizes.blocks)
            && state.live.iter().all(|live| live.data_bytes <= self.sizes.data_bytes)
            && casts::index(state.old + state.current) <= blocks.len();
        if !is_sound {
            return Err(Error::data_loss("the superblock passes verification, but contradicts itself"));
        }
        self.free.retain(|block| !taken.contains(block));
        let (old, current) = (casts::index(state.old), casts::index(state.current));
        self.rotation = Rotation::restore(growth(&self.sizes), blocks, old, current);
        self.next_record = state.next_record + RECORD_JUMP;
        self.next_generation = state.next_generation.saturating_add(GENERATION_JUMP);
        self.quarantined.clone_from(&state.quarantined);
        let newest = state.live.iter().map(|live| live.generation).max().unwrap_or_default();
        self.neighbours.ages.note_begun(newest);
        let released = state.accounts.iter().map(|named| Account { stored: Amount::default(), ..named.account });
        self.accounts = Accounts::new(released);
        Ok(())
    }

    /// Goes on with the use of a block, whose log has `log_sectors`.
    pub(in crate::engine) fn restore_use(&mut self, live: &LiveBlock, log_sectors: u32) {
        let chunk_bytes = self.sizes.chunk_bytes;
        if let Some(usage) = self.use_mut(live.block) {
            *usage = BlockUse::restored(live, log_sectors, chunk_bytes);
        }
    }

    /// Notes that parts of objects lie in a block.
    pub(in crate::engine) fn note_parts(&mut self, block: u16) {
        if let Some(usage) = self.use_mut(block) {
            usage.has_parts = true;
        }
    }

    /// Ends the restoration: notes which blocks are old, and that objects were given up which the superblock counted as
    /// stored and whose records were not found.
    pub(in crate::engine) fn finish_restoring(&mut self, state: &Superblock) {
        self.note_old();
        self.accounts.reconcile(state.accounts.iter().map(|named| named.account.stored));
    }
}
