//! The store without its trait: map, blocks, space and device, by synchronous calls that may block.
//!
//! The [`Engine`] puts calls together. It consists of parts with private fields, each of which owns its locks:
//!
//! | part | owns | may call |
//! |---|---|---|
//! | [`Upkeep`] | the locks of those who recycle and copy | |
//! | [`Durability`] | superblocks, the lock of syncs | `Flusher`, `Space` |
//! | [`Flusher`] | the right to write to the device | `Blocks`, the device |
//! | [`Space`] | everything that happens in one order | `Blocks`, `Ages`, `Publications`, account names |
//! | [`BlockReader`] | buffers | `Blocks`, the device |
//! | [`RefreshQueue`] | the objects that are copied soon | |
//! | [`Blocks`] | chunks, their memory, the queue of writes | |
//! | [`Ages`], [`Publications`], [`NamesSeen`] | counters | |
//!
//! # Order of locks
//!
//! Recycling, setting aside and copying (`Upkeep`); syncing (`Durability`); flushing (`Flusher`); the space; then one of
//! those that nothing but a counter is under: account names, accounts as reported, a chunk, the queue of writes, the queue
//! of refreshes. Under that of a chunk there are those of its handles, of its block's spans and of the pool.
//!
//! A part is handed only parts whose locks come after its own, so it cannot take one that comes before. The space is handed
//! no device, so its methods do no I/O. The engine itself, which knows all parts, calls none that comes before one whose guard
//! it holds. `docs/decisions/0041-walls-in-the-engine.md` has the reasons.

mod ages;
mod block_reader;
mod blocks;
mod copy;
mod disk;
mod durability;
mod excerpt;
mod find;
mod flusher;
mod large;
mod listing;
mod names_seen;
mod open;
mod ownership;
mod parts;
mod publications;
mod put;
mod read;
mod recovery;
mod recycle;
mod refresh;
mod refresh_queue;
mod space;
mod space_lock;
mod survey;
mod upkeep;
mod verified_pieces;
mod visibility;
mod write_queue;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Clock, Event, Observer, Result, StorageType};

use self::ages::Ages;
use self::block_reader::BlockReader;
use self::blocks::Blocks;
use self::durability::Durability;
use self::flusher::Flusher;
use self::publications::Publications;
use self::refresh_queue::RefreshQueue;
use self::space_lock::{SpaceGuard, SpaceLock};
use self::upkeep::Upkeep;
use self::verified_pieces::Verified;
use self::write_queue::WriteQueue;
use crate::account_names::AccountNames;
use crate::instance_names::InstanceNames;
use crate::key::Keys;
use crate::key_location_map::{KeyLocationMap, Record};
use crate::machine::concurrency::locks::{AtomicBool, AtomicU64, Mutex};
use crate::options::{Refresh, SyncPolicy};
use crate::persistence::{NamedAccount, Quarantined};
use crate::sizes::Sizes;

pub(crate) use self::block_reader::{Mode, Read};
pub(crate) use self::copy::Copied;
pub(crate) use self::excerpt::Excerpt;
pub(crate) use self::find::Presence;
pub(crate) use self::large::{CopyPart, LargeWriter};
pub(crate) use self::names_seen::NamesSeen;
pub(crate) use self::put::{Contents, Owner, Put};
pub(crate) use self::read::Trailer;
pub(crate) use self::space::Space;
pub(crate) use self::upkeep::Runner;

/// The observer, the clock, and when the store makes puts durable.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Option<SyncPolicy>,
    pub(crate) staged_bytes: u64,
}

/// The numbers of events so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) evicted: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
    pub(crate) dropped_records: AtomicU64,
    pub(crate) refused_puts: AtomicU64,
    /// Whether it was said that the map is what evicts.
    pub(crate) has_warned_of_map: AtomicBool,
    pub(crate) copied: AtomicU64,
    pub(crate) copied_bytes: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) refreshed_bytes: AtomicU64,
    pub(crate) unrefreshed: AtomicU64,
    pub(crate) breached_bytes: AtomicU64,
    pub(crate) corrupted: AtomicU64,
    pub(crate) recycled_blocks: AtomicU64,
    pub(crate) waits_for_space: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The store without its trait.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) storage_type: StorageType,
    pub(crate) sizes: Sizes,
    pub(crate) keys: Keys,
    /// `None` where names do not count, or are a part of the key.
    pub(crate) names: Option<InstanceNames>,
    pub(crate) names_seen: NamesSeen,
    pub(crate) surroundings: Surroundings,
    pub(crate) counters: Counters,
    /// Tells this life of the store from all others.
    pub(crate) store_id: [u8; 16],
    map: KeyLocationMap,
    space: SpaceLock,
    blocks: Arc<Blocks>,
    reader: BlockReader,
    flusher: Arc<Flusher>,
    durability: Durability,
    upkeep: Arc<Upkeep>,
    refreshes: RefreshQueue,
    ages: Arc<Ages>,
    publications: Arc<Publications>,
    /// The numbers of accounts.
    account_names: Arc<Mutex<AccountNames>>,
    /// Pieces that were verified recently, if that is to be remembered.
    verified: Option<Verified>,
    /// When objects in use are copied.
    refresh: Refresh,
}

impl Engine {
    fn space(&self) -> SpaceGuard<'_> {
        self.space.enter()
    }

    /// Waits until there is something to recycle or to copy that there was not before.
    pub(crate) async fn upkeep_needed(&self) {
        self.space.upkeep.notified().await;
    }

    /// Wakes one who waits for what there is to do in the background.
    pub(crate) fn wake_runner(&self) {
        self.space.upkeep.notify_one();
        self.space.changed.notify_one();
    }

    /// Waits until something changes that no sync has covered.
    pub(crate) async fn changed(&self) {
        self.space.changed.notified().await;
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.surroundings.policy.is_some()
    }

    /// Returns the number of records published so far. A sync that covers this number covers everything found before the
    /// call.
    pub(crate) fn publications(&self) -> u64 {
        self.publications.published()
    }

    /// Returns the accounts: of a persistent store, as far as a crash cannot undo them.
    pub(crate) fn accounts(&self) -> Vec<NamedAccount> {
        self.durability.reported().unwrap_or_else(|| self.space().named_accounts())
    }

    /// Returns the error of a device that has failed.
    pub(crate) fn check_device(&self) -> Result<()> {
        self.flusher.check_device()
    }

    /// Returns whether puts should wait until more is written to the device.
    pub(crate) fn is_congested(&self) -> bool {
        self.blocks.is_congested()
    }

    /// Returns whether the caller is the one that must call [`flush`](Self::flush), or have it called.
    pub(crate) fn claim_flush(&self) -> bool {
        self.blocks.queue().is_some_and(WriteQueue::claim)
    }

    /// Writes what is queued to the device. It may block.
    pub(crate) fn flush(&self) -> Result<()> {
        self.flusher.flush()
    }

    /// Makes durable everything that was put, found or refreshed before the call. It may block.
    pub(crate) fn sync(&self) -> Result<()> {
        self.durability.sync(&self.space)
    }

    /// Returns whether this number of publications is durable.
    pub(crate) fn is_durable(&self, publications: u64) -> bool {
        self.publications.are_synced(publications)
    }

    /// Returns the number of blocks recycled.
    pub(crate) fn recycled_blocks(&self) -> u64 {
        self.counters.recycled_blocks.load(Ordering::Relaxed)
    }

    /// Makes this number of publications durable. It may block.
    pub(crate) fn sync_until(&self, publications: u64) -> Result<()> {
        self.durability.sync_until(&self.space, publications)
    }

    /// Has both superblocks say the same, if there is nothing new. It may block.
    pub(crate) fn even_out(&self) -> Result<()> {
        self.durability.even_out(&self.space)
    }

    /// Syncs for the last time. It may block.
    pub(crate) fn close(&self) -> Result<()> {
        self.durability.close(&self.space)
    }

    /// Returns the number of publications that no sync has covered yet; 0 if the store is not persistent.
    pub(crate) fn unsynced(&self) -> u64 {
        self.durability.unsynced()
    }

    /// Returns whether anything is not durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.durability.is_dirty(&self.space)
    }

    fn evicted(&self, record: &Record) {
        if record.is_name() {
            // It held nothing of its own.
            return;
        }
        count(&self.counters.evicted, 1);
        count(&self.counters.evicted_bytes, record.location.size_bytes);
        let event = Event::Evicted { storage_type: self.storage_type, released_bytes: record.location.size_bytes };
        self.surroundings.observer.event(&event);
    }

    /// Takes an object out of the store, for good, that `failed`: verification, or to be read.
    pub(crate) fn quarantine(&self, record: &Record, failed: &str) {
        {
            let mut space = self.space();
            if !self.map.remove(&mut space.map, record) {
                return;
            }
            let location = record.location;
            let name =
                Quarantined { generation: location.generation, offset: location.offset, sequence: record.sequence };
            if !self.is_persistent() || space.quarantine(name) {
                space.accounts.release(record);
            } else {
                // Until its block is no more, a restart finds it again.
                space.accounts.leave(record);
                // A value before it, in the log of an older block, must not outlive it.
                space.retire(location.block, self.storage_type.is_mutable());
            }
        }
        count(&self.counters.corrupted, 1);
        let location = record.location;
        let message = format!(
            "an object of {} bytes in block {} at {} {failed}",
            location.size_bytes, location.block, location.offset
        );
        tracing::error!(storage_type = self.storage_type.name(), "{message}");
        self.surroundings.observer.event(&Event::Corrupted { storage_type: self.storage_type, message });
        self.evicted(record);
    }
}

#[cfg(test)]
#[cfg(shuttle)]
mod schedules;
#[cfg(test)]
mod tests;
