//! Opens a store: empty, or as the last sync left it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Error, Result, StorageType};
use tokio::sync::Notify;

use super::durability::SyncState;
use super::recovery::{self, fresh_identity};
use super::share::Share;
use super::space::BlockUse;
use super::verified_pieces::Verified;
use super::{Counters, Disk, Engine, Space, Surroundings};
use crate::account_names::AccountNames;
use crate::account_totals::{Account, Accounts, Amount};
use crate::block::{Block, ChunkPool, Growth, Rotation};
use crate::device::SECTOR_BYTES;
use crate::device::{Devices, ReadBuffers};
use crate::instance_names::InstanceNames;
use crate::key::{Key, Keys};
use crate::key_location_map::{FOUND, KeyLocationMap, Record};
use crate::location::{Location, MAX_BLOCK_BYTES};
use crate::machine::casts;
use crate::machine::concurrency::locks::{AtomicBool, AtomicU32, AtomicU64, Mutex};
use crate::machine::random;
use crate::machine::threads::groups;
use crate::object::provenance;
use crate::options::Options;
use crate::persistence::{ENTRIES_PER_SECTOR, LiveBlock, Quarantined, Superblock, Touches, entry, superblock};
use crate::sizes::Sizes;

/// How far sequences jump when a store is opened, so that none is drawn twice, whatever was drawn after the last sync.
const RECORD_JUMP: u64 = 1 << 32;
/// The same for generations.
const GENERATION_JUMP: u32 = 1 << 10;

/// Memory of chunks that is kept for later, in bytes.
const POOL_BYTES: u64 = 64 << 20;

fn growth(sizes: &Sizes) -> Growth {
    Growth { current: casts::index(sizes.current_blocks), new: casts::index(sizes.new_blocks) }
}

/// So many records are taken over at once.
const RESTORED_AT_ONCE: usize = 32;

impl Engine {
    /// Opens a store of this kind. It blocks.
    pub(crate) fn open(
        options: &Options,
        storage_type: StorageType,
        devices: Option<Devices>,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>> {
        let sizes = Sizes::derive(options, storage_type)?;
        let devices = devices.map(|devices| match options.write_concurrency {
            None => devices,
            Some(most) => devices.limited(most),
        });
        let disk = devices.map(|devices| Disk::new(devices, &sizes, options.has_mapped_reads)).transpose()?;
        let restored = match &disk {
            Some(disk) => recovery::find(disk, &sizes, storage_type, options)?,
            None => None,
        };
        let identity = restored.as_ref().map_or_else(|| fresh_identity(storage_type, &sizes), |state| state.identity);
        let keys = Keys::new(storage_type, identity.secret);
        let who_sees = sizes.is_hierarchical.then(|| InstanceNames::new(identity.secret));
        let (map, writer) = KeyLocationMap::new(sizes.slots, [random::number(), random::number()], keys.check_mask());
        let touches = || Touches::new(sizes.touch_sectors);
        let reader_groups = if disk.is_none() { groups() } else { 0 };
        let block = |_| Block::new(sizes.chunk_bytes, sizes.chunks_per_block(), touches(), reader_groups);
        // What is in memory only is as large as it is said to be; of a device, so much is staged.
        let chunk_bytes = casts::in_memory(sizes.chunk_bytes);
        let pool = match &disk {
            Some(_) => ChunkPool::new(chunk_bytes, 1, POOL_BYTES.max(surroundings.staged_bytes)),
            None => ChunkPool::new(chunk_bytes, sizes.chunks_per_span(), u64::MAX).lending(sizes.lent_bytes()),
        };
        let sequence = restored.as_ref().map_or(0, |state| state.sequence);
        let share = Share::new(sizes.copied_percent, sizes.saved_copy_bytes(), sizes.copied_bytes_per_block());
        let engine = Self {
            storage_type,
            sizes,
            keys,
            names: who_sees,
            surroundings,
            counters: Counters::default(),
            map,
            blocks: (0..sizes.blocks).map(block).collect(),
            pool,
            account_names: Mutex::new(names(restored.as_ref(), &sizes)),
            space: Mutex::new(Space::new(writer, growth(&sizes), share, sizes.blocks, sizes.lanes)),
            disk,
            buffers: ReadBuffers::new(groups()),
            verified: options.verification.map(Verified::new),
            queue: Mutex::default(),
            flushing: Mutex::new(()),
            flush_is_scheduled: AtomicBool::new(false),
            store_id: identity.store_id,
            reported: Mutex::default(),
            syncing: Mutex::new(SyncState { identity: Some(identity), sequence, is_closed: false }),
            publications: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            recycling: Mutex::new(()),
            setting_aside: Mutex::new(()),
            copying: std::array::from_fn(|_| Mutex::new(())),
            newest_generation: AtomicU32::new(0),
            old_generation: AtomicU32::new(0),
            safe_blocks: sizes.safe_blocks(),
            refresh: options.refresh,
            forgotten_names: AtomicU64::new(0),
            refreshes: Mutex::default(),
            runners: AtomicU32::new(0),
            work: Notify::new(),
        };
        if let Some(state) = &restored {
            engine.restore(state)?;
        }
        if engine.is_persistent() {
            let mut state = super::enter(&engine.syncing);
            // The slot that is not restored from may vouch for blocks that are free: no more after this.
            engine.sync_under(&mut state, true, false)?;
            if restored.is_none() {
                // A state that has one superblock only is one that was never made: see `recovery::find`.
                engine.sync_under(&mut state, true, false)?;
            }
        }
        Ok(Arc::new(engine))
    }

    fn restore(&self, state: &Superblock) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mut space = self.space();
        let blocks: VecDeque<u16> = state.live.iter().map(|live| live.block).collect();
        let taken: HashSet<u16> = blocks.iter().copied().collect();
        let is_sound = taken.len() == blocks.len()
            && blocks.iter().all(|block| u32::from(*block) < self.sizes.blocks)
            && state.live.iter().all(|live| live.data_bytes <= self.sizes.data_bytes)
            && casts::index(state.old + state.current) <= blocks.len();
        if !is_sound {
            return Err(Error::data_loss("the superblock proves right, but contradicts itself"));
        }
        space.free.retain(|block| !taken.contains(block));
        let growth = growth(&self.sizes);
        let groups = (casts::index(state.old), casts::index(state.current));
        space.rotation = Rotation::restore(growth, blocks, groups.0, groups.1);
        space.next_record = state.next_record + RECORD_JUMP;
        space.next_generation = state.next_generation.saturating_add(GENERATION_JUMP);
        space.quarantined.clone_from(&state.quarantined);
        let newest = state.live.iter().map(|live| live.generation).max().unwrap_or_default();
        self.newest_generation.store(newest, Ordering::Relaxed);
        let quarantined: HashSet<Quarantined> = state.quarantined.iter().copied().collect();
        let released = state.accounts.iter().map(|of| Account { stored: Amount::default(), ..of.account });
        space.accounts = Accounts::new(released);
        let mut recovery =
            Recovery { quarantined, wrong: HashMap::new(), dropped: HashSet::new(), superseded: HashSet::new() };
        for live in state.live.iter().rev() {
            self.restore_block(disk, &mut space, live, &mut recovery)?;
        }
        self.note_old(&space);
        space.accounts.reconcile(state.accounts.iter().map(|of| of.account.stored));
        Ok(())
    }

    /// Takes over one block. They come newest first, so that a crowded map drops what is oldest.
    fn restore_block(&self, disk: &Disk, space: &mut Space, live: &LiveBlock, recovery: &mut Recovery) -> Result<()> {
        let LiveBlock { block, generation, seed, .. } = *live;
        let log_sectors = live.log_sectors.min(self.sizes.log_sectors);
        let touch_sectors = live.touch_sectors.min(self.sizes.touch_sectors);
        let Some(of) = self.block(block) else { return Ok(()) };
        of.restore(generation, live.data_bytes);
        let mut touches = vec![0; casts::in_memory(u64::from(touch_sectors) * SECTOR_BYTES)];
        disk.logs().read_at(disk.layout.touches(block), &mut touches)?;
        of.touches.restore(&touches, generation);
        if let Some(usage) = space.use_mut(block) {
            *usage = BlockUse {
                generation,
                seed,
                // What is left of the last chunk is not used: chunks are written in memory, from their beginning.
                cursor: live.data_bytes.next_multiple_of(self.sizes.chunk_bytes),
                entries: u32::try_from(u64::from(log_sectors) * ENTRIES_PER_SECTOR).unwrap_or(u32::MAX),
                log_sectors,
                begun_at: live.begun_at,
                ..BlockUse::default()
            };
        }
        let mut log = vec![0; casts::in_memory(u64::from(log_sectors) * SECTOR_BYTES)];
        disk.logs().read_at(disk.layout.log(block), &mut log)?;
        let mut records = entry::read_all(&log, block, generation, seed);
        let mut batch = Vec::with_capacity(RESTORED_AT_ONCE);
        loop {
            // The places of some in the map are asked for before the first of them is taken over.
            batch.extend(records.by_ref().take(RESTORED_AT_ONCE));
            if batch.is_empty() {
                return Ok(());
            }
            for record in &batch {
                self.map.expect(&record.key(self.map.check_mask()));
            }
            for record in batch.drain(..) {
                if let Some(usage) = space.use_mut(block) {
                    usage.has_parts |= record.is_part && !record.is_name();
                }
                let flags = if of.touches.is_set(record.entry) { FOUND } else { 0 };
                self.restore_record(space, &record, flags, live.data_bytes, recovery);
            }
        }
    }

    fn restore_record(&self, space: &mut Space, record: &Record, flags: u32, used: u64, recovery: &mut Recovery) {
        let Location { generation, offset, size_bytes, .. } = record.location;
        let stored = if record.is_part { size_bytes } else { self.sizes.stored_bytes(size_bytes.min(MAX_BLOCK_BYTES)) };
        let tail = if record.has_tail && !record.is_name() { provenance::HEAD_BYTES } else { 0 };
        let is_within =
            size_bytes <= self.sizes.data_bytes && offset.checked_add(stored + tail).is_some_and(|end| end <= used);
        if !is_within {
            return;
        }
        let key = record.key(self.map.check_mask());
        let name = Quarantined { generation, offset, sequence: record.sequence };
        let known = self.map.lookup_as_writer(&key, &space.map).map(|found| found.record);
        let is_mutable = self.storage_type.is_mutable();
        if recovery.quarantined.contains(&name) {
            // Neither what it was copied from comes back, nor a message that it had replaced.
            let wrong = recovery.wrong.entry(key).or_default();
            *wrong = record.sequence.max(*wrong);
            if let Some(known) = known.filter(|known| is_mutable && known.sequence <= record.sequence) {
                self.map.remove(&mut space.map, &known);
                space.accounts.forget(&known);
            }
            return;
        }
        let is_replaced = recovery
            .wrong
            .get(&key)
            .is_some_and(|wrong| if is_mutable { *wrong >= record.sequence } else { *wrong == record.sequence });
        if is_replaced || recovery.dropped.contains(&record.sequence) {
            return;
        }
        // Of contents, an entry that is superseded by one with another sequence is of an object that no look-up found
        // any more when its successor was put, and that was not counted as given up yet. A message that is
        // superseded was.
        if let Some(known) = known
            && (known.sequence, known.location.generation) > (record.sequence, generation)
        {
            if !is_mutable && known.sequence != record.sequence && recovery.superseded.insert(record.sequence) {
                space.accounts.store(record);
                space.accounts.leave(record);
            }
            return;
        }
        let inserted = self.map.insert(&mut space.map, record, flags);
        if inserted.replaced.is_none_or(|replaced| replaced.sequence != record.sequence) {
            space.accounts.store(record);
        }
        if let Some(replaced) = inserted.replaced.filter(|replaced| replaced.sequence != record.sequence) {
            if is_mutable {
                space.accounts.forget(&replaced);
            } else {
                recovery.superseded.insert(replaced.sequence);
                space.accounts.leave(&replaced);
            }
        }
        if let Some(dropped) = &inserted.dropped {
            recovery.dropped.insert(dropped.sequence);
            space.accounts.leave(dropped);
            super::count(&self.counters.dropped_records, 1);
        }
    }
}

/// What is known while blocks are taken over.
struct Recovery {
    quarantined: HashSet<Quarantined>,
    /// Of keys whose record proved wrong, the sequence of that.
    wrong: HashMap<Key, u64>,
    /// The sequences of records that there is no room for in the map.
    dropped: HashSet<u64>,
    /// The sequences of contents that were put again: copies of one object count as one.
    superseded: HashSet<u64>,
}

fn names(restored: Option<&Superblock>, sizes: &Sizes) -> AccountNames {
    let accounts = restored.map(|state| &*state.accounts).unwrap_or_default();
    let names = accounts.iter().map(|of| Arc::clone(&of.name));
    AccountNames::new(names, sizes.account_names, superblock::account_names_bytes(sizes.account_names))
}
