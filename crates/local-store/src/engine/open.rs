//! Opens a store: empty, or as the last sync left it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use blobaccess::{Result, StorageType};

use super::ages::Ages;
use super::block_reader::BlockReader;
use super::blocks::Blocks;
use super::disk::Disk;
use super::durability::Durability;
use super::flusher::Flusher;
use super::names_seen::NamesSeen;
use super::publications::Publications;
use super::recovery::{self, Found, fresh_identity};
use super::refresh_queue::RefreshQueue;
use super::space::{Neighbours, Space};
use super::space_lock::SpaceLock;
use super::survey::is_crowded;
use super::upkeep::Upkeep;
use super::verified_pieces::Verified;
use super::{Counters, Engine, Surroundings};
use crate::account_names::AccountNames;
use crate::device::{Devices, SECTOR_BYTES};
use crate::instance_names::InstanceNames;
use crate::key::{Key, Keys};
use crate::key_location_map::{FOUND, KeyLocationMap, Record};
use crate::location::{Location, MAX_BLOCK_BYTES};
use crate::machine::casts;
use crate::machine::concurrency::locks::Mutex;
use crate::object::provenance;
use crate::options::{Options, SyncPolicy};
use crate::persistence::{LiveBlock, Quarantined, Superblock, entry, superblock};
use crate::sizes::{Sizes, check_allocation};

/// The number of records that are restored together.
const RESTORED_AT_ONCE: usize = 32;

impl Engine {
    /// Returns an error if a store with these options could not go on with what `devices` hold. It only reads, and blocks.
    pub(crate) fn check(options: &Options, storage_type: StorageType, devices: Devices) -> Result<()> {
        let sizes = Sizes::derive(options, storage_type)?;
        let sizes = match options.persistence {
            Some(_) => sizes_as_made(options, storage_type, &devices, sizes)?,
            None => sizes,
        };
        match recovery::look_at(&Disk::new(devices, &sizes, false)?, &sizes, storage_type, options)? {
            Found::Refused(refusal) if !recovery::is_discarded(&refusal, options) => Err(refusal),
            Found::State(_) | Found::Nothing | Found::Refused(_) => Ok(()),
        }
    }

    /// Opens a store of this kind. It blocks.
    pub(crate) fn open(
        options: &Options,
        storage_type: StorageType,
        devices: Option<Devices>,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>> {
        let sizes = Sizes::derive(options, storage_type)?;
        let is_kept = options.persistence.is_some();
        let devices = devices.map(|devices| match options.write_concurrency {
            None => devices,
            Some(max_writers) => devices.limited(max_writers),
        });
        let sizes = match &devices {
            Some(devices) if is_kept => sizes_as_made(options, storage_type, devices, sizes)?,
            Some(_) | None => sizes,
        };
        check_allocation(&sizes)?;
        let disk = devices.map(|devices| Disk::new(devices, &sizes, options.has_mapped_reads)).transpose()?;
        let disk = disk.map(Arc::new);
        let restored = match &disk {
            Some(disk) => recovery::find(disk, &sizes, storage_type, options)?,
            None => None,
        };
        let identity = restored.as_ref().map_or_else(|| fresh_identity(storage_type, &sizes), |state| state.identity);
        let sequence = restored.as_ref().map_or(0, |state| state.sequence);
        let keys = Keys::new(storage_type, identity.secret);
        // The same after a restart, so that listings go on.
        let (map, writer) = KeyLocationMap::new(sizes.slots, identity.map_seeds(), keys.check_mask());
        let is_persistent = surroundings.policy.is_some();
        let blocks = Arc::new(Blocks::new(&sizes, disk.is_some(), surroundings.staged_bytes));
        let ages = Arc::new(Ages::new(&sizes));
        let publications = Arc::new(Publications::new());
        let account_names = Arc::new(Mutex::new(account_names(restored.as_ref(), &sizes)));
        let flusher = Arc::new(Flusher::new(Arc::clone(&blocks), disk.clone(), is_persistent));
        let neighbours = Neighbours {
            blocks: Arc::clone(&blocks),
            ages: Arc::clone(&ages),
            publications: Arc::clone(&publications),
            account_names: Arc::clone(&account_names),
            clock: Arc::clone(&surroundings.clock),
            is_persistent,
        };
        let engine = Self {
            storage_type,
            sizes,
            keys,
            names: sizes.is_hierarchical.then(|| InstanceNames::new(identity.secret)),
            names_seen: NamesSeen::new(),
            surroundings,
            counters: Counters::default(),
            store_id: identity.store_id,
            map,
            space: SpaceLock::new(Space::new(writer, sizes, neighbours)),
            reader: BlockReader::new(Arc::clone(&blocks), disk.clone()),
            durability: Durability::new(
                Arc::clone(&flusher),
                disk.clone(),
                Arc::clone(&publications),
                identity,
                sequence,
                is_persistent,
            ),
            flusher,
            blocks,
            upkeep: Arc::new(Upkeep::new()),
            refreshes: RefreshQueue::new(),
            ages,
            publications,
            account_names,
            verified: options.verification.map(Verified::new),
            refresh: options.refresh,
        };
        if let (Some(state), Some(disk)) = (&restored, &disk) {
            engine.restore(disk, state)?;
        }
        if is_persistent {
            let mut syncing = engine.durability.begin();
            // The slot that is not restored from may vouch for blocks that are free: no more after this.
            syncing.sync_always(&engine.space)?;
            if restored.is_none() {
                // A state that has one superblock only is one that was never made: see `recovery::find`.
                syncing.sync_always(&engine.space)?;
            }
        }
        Ok(Arc::new(engine))
    }

    fn restore(&self, disk: &Disk, state: &Superblock) -> Result<()> {
        let mut space = self.space();
        space.restore(state)?;
        let quarantined: HashSet<Quarantined> = state.quarantined.iter().copied().collect();
        let mut recovery =
            Recovery { quarantined, wrong: HashMap::new(), dropped: HashSet::new(), superseded: HashSet::new() };
        for live in state.live.iter().rev() {
            self.restore_block(disk, &mut space, live, &mut recovery)?;
        }
        space.finish_restoring(state);
        let is_crowded = is_crowded(space.records(), self.map.capacity());
        drop(space);
        if is_crowded {
            self.warn_of_crowded_map();
        }
        Ok(())
    }

    /// Restores the records of one block. Blocks come newest first, so that a crowded map drops the oldest records.
    fn restore_block(&self, disk: &Disk, space: &mut Space, live: &LiveBlock, recovery: &mut Recovery) -> Result<()> {
        let LiveBlock { block, generation, seed, .. } = *live;
        let log_sectors = live.log_sectors.min(self.sizes.log_sectors);
        let touch_sectors = live.touch_sectors.min(self.sizes.touch_sectors);
        let Some(restored) = self.blocks.get(block) else { return Ok(()) };
        restored.restore(generation, live.data_bytes);
        let mut touches = vec![0; casts::in_memory(u64::from(touch_sectors) * SECTOR_BYTES)];
        disk.logs().read_sectors(disk.layout.touches(block), &mut touches)?;
        restored.touches.restore(&touches, generation);
        space.restore_use(live, log_sectors);
        let mut log = vec![0; casts::in_memory(u64::from(log_sectors) * SECTOR_BYTES)];
        disk.logs().read_sectors(disk.layout.log(block), &mut log)?;
        let mut records = entry::read_all(&log, block, generation, seed);
        let mut batch = Vec::with_capacity(RESTORED_AT_ONCE);
        loop {
            // The places of a whole batch in the map are fetched before its first record is restored.
            batch.extend(records.by_ref().take(RESTORED_AT_ONCE));
            if batch.is_empty() {
                return Ok(());
            }
            for record in &batch {
                self.map.expect(&record.key(self.map.check_mask()));
            }
            for record in batch.drain(..) {
                if record.is_part && !record.is_name() {
                    space.note_parts(block);
                }
                let flags = if restored.touches.is_set(record.entry) { FOUND } else { 0 };
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
            // Neither the source of the copy comes back, nor a message that it had replaced.
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
        // Contents are put again only when no look-up finds them any more. So an entry of contents that is superseded by
        // one with another sequence belongs to an object that was not counted as given up yet. A superseded message was
        // counted.
        if let Some(known) = known
            && (known.sequence, known.location.generation) > (record.sequence, generation)
        {
            if !is_mutable && known.sequence != record.sequence && recovery.superseded.insert(record.sequence) {
                space.accounts.store(record);
                space.accounts.leave(record);
            }
            return;
        }
        let inserted = self.map.restore(&mut space.map, record, flags);
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

/// Returns the sizes of the store that the devices hold, if it differs from one of these sizes only by the sync policy that
/// its logs were made for: then it goes on with those logs.
fn sizes_as_made(options: &Options, storage_type: StorageType, devices: &Devices, sizes: Sizes) -> Result<Sizes> {
    let superblocks = recovery::superblocks(&Disk::new(devices.clone(), &sizes, false)?, &sizes)?;
    let Some(latest) = superblocks.into_iter().max_by_key(|superblock| superblock.sequence) else { return Ok(sizes) };
    let fits = |sizes: &Sizes| latest.identity.check(&fresh_identity(storage_type, sizes)).is_ok();
    if fits(&sizes) {
        return Ok(sizes);
    }
    for made_for in [SyncPolicy::OnPut, SyncPolicy::OnClose] {
        let made = Sizes::derive_as_made(options, storage_type, Some(made_for));
        if let Ok(made) = made
            && fits(&made)
        {
            tracing::info!(
                storage_type = storage_type.name(),
                log_sectors = made.log_sectors,
                "the store keeps the logs that it was made with, for another sync policy"
            );
            return Ok(made);
        }
    }
    Ok(sizes)
}

/// The facts that are gathered while blocks are restored.
struct Recovery {
    quarantined: HashSet<Quarantined>,
    /// The sequence of the record that failed verification, by key.
    wrong: HashMap<Key, u64>,
    /// The sequences of records that there is no room for in the map.
    dropped: HashSet<u64>,
    /// The sequences of contents that were put again: copies of one object count as one.
    superseded: HashSet<u64>,
}

fn account_names(restored: Option<&Superblock>, sizes: &Sizes) -> AccountNames {
    let accounts = restored.map(|state| &*state.accounts).unwrap_or_default();
    let names = accounts.iter().map(|named| Arc::clone(&named.name));
    AccountNames::new(names, sizes.account_names, superblock::account_names_bytes(sizes.account_names))
}
