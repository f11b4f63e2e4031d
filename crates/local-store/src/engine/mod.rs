//! The store without its trait: map, blocks, space and device, by synchronous calls that may block.
//!
//! Order of locks: `recycling`, `setting_aside`, one of `copying`, `syncing`, `flushing`, `space`, then that of
//! accounts, of a chunk, of a queue or of what was reported. Under that of a chunk there are those of its handles, of
//! its block's spans and of the pool. There is no I/O under `space`.

mod block_log;
mod copy;
mod disk;
mod durability;
mod excerpt;
mod find;
mod lane;
mod large;
mod listing;
mod open;
mod parts;
mod put;
mod read;
mod recovery;
mod recycle;
mod refresh;
mod reservation;
mod share;
mod space;
mod survey;
mod verified_pieces;
mod visibility;
mod write_queue;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use blobaccess::{Clock, Event, Observer, Result, StorageType};
use tokio::sync::Notify;

use self::disk::Disk;
use self::durability::SyncState;
use self::verified_pieces::Verified;
use self::write_queue::Write;
use crate::account_names::AccountNames;
use crate::account_totals::Account;
use crate::block::{Block, ChunkPool};
use crate::device::ReadBuffers;
use crate::instance_names::InstanceNames;
use crate::key::Keys;
use crate::key_location_map::{KeyLocationMap, Record};
use crate::machine::concurrency::locks::{AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard};
use crate::options::{Refresh, SyncPolicy};
use crate::persistence::{NamedAccount, Quarantined};
use crate::sizes::Sizes;

pub(crate) use self::copy::Copied;
pub(crate) use self::excerpt::Excerpt;
pub(crate) use self::find::Presence;
pub(crate) use self::large::LargeWriter;
pub(crate) use self::put::{Contents, Owner, Put};
pub(crate) use self::read::{Mode, Read};
pub(crate) use self::space::Space;

/// Whom the store tells, and when it makes durable what was put.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Option<SyncPolicy>,
    pub(crate) staged_bytes: u64,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) evicted: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
    pub(crate) dropped_records: AtomicU64,
    pub(crate) copied: AtomicU64,
    pub(crate) copied_bytes: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) refreshed_bytes: AtomicU64,
    pub(crate) unrefreshed: AtomicU64,
    pub(crate) breached_bytes: AtomicU64,
    pub(crate) corrupted: AtomicU64,
    pub(crate) recycled_blocks: AtomicU64,
    pub(crate) waits_for_space: AtomicU64,
    pub(crate) syncs: AtomicU64,
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
    pub(crate) surroundings: Surroundings,
    pub(crate) counters: Counters,
    map: KeyLocationMap,
    blocks: Box<[Block]>,
    pool: ChunkPool,
    space: Mutex<Space>,
    /// The numbers of accounts.
    account_names: Mutex<AccountNames>,
    disk: Option<Disk>,
    buffers: ReadBuffers,
    /// Pieces that were verified lately, if that is to be remembered.
    verified: Option<Verified>,
    /// What is to be written to the device.
    queue: Mutex<VecDeque<Write>>,
    flushing: Mutex<()>,
    flush_is_scheduled: AtomicBool,
    /// Tells this life of the store from all others.
    pub(crate) store_id: [u8; 16],
    /// The accounts as the last superblock has them.
    reported: Mutex<Vec<NamedAccount>>,
    syncing: Mutex<SyncState>,
    /// Records published so far.
    publications: AtomicU64,
    /// How many of them the last sync covered.
    synced: AtomicU64,
    recycling: Mutex<()>,
    /// Held until it is known what of a block that is being recycled was promised.
    setting_aside: Mutex<()>,
    /// By the sequence of an object: held while it is copied, so that nobody copies it twice.
    copying: [Mutex<()>; COPIED_AT_ONCE],
    /// Of the block that was begun last.
    newest_generation: AtomicU32,
    /// Of the youngest block that is old; 0 if there is none.
    old_generation: AtomicU32,
    /// As [`Sizes::safe_blocks`] says.
    safe_blocks: u32,
    /// When what is in use is copied.
    refresh: Refresh,
    /// Counts up when names do not see any more what they saw, and before anybody can put that again.
    forgotten_names: AtomicU64,
    /// What is to be copied soon, since it was used in an old block: each of these is flagged as read, once.
    refreshes: Mutex<VecDeque<Record>>,
    /// How many recycle and copy in the background.
    runners: AtomicU32,
    /// Is told when there is something to sync, to recycle or to copy.
    pub(crate) work: Notify,
}

/// So many objects are copied at once, at most.
const COPIED_AT_ONCE: usize = 16;

/// Enters a lock whose holder may have panicked.
///
/// That is safe wherever it is used: what the locks of an engine guard is changed in steps that do not panic, as the
/// crate denies unwrapping, indexing and overflow by design; a panic of an observer comes after the change.
fn enter<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub(crate) fn space(&self) -> MutexGuard<'_, Space> {
        enter(&self.space)
    }

    #[inline]
    fn block(&self, block: u16) -> Option<&Block> {
        self.blocks.get(usize::from(block))
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.surroundings.policy.is_some()
    }

    /// Records published so far. A sync that covers so many covers whatever was found before this is asked.
    pub(crate) fn publications(&self) -> u64 {
        self.publications.load(Ordering::Acquire)
    }

    /// What is on each account: of a persistent store, as far as a crash cannot undo it.
    pub(crate) fn accounts(&self) -> Vec<NamedAccount> {
        if self.is_persistent() {
            return enter(&self.reported).clone();
        }
        self.accounts_now(&self.space())
    }

    fn accounts_now(&self, space: &Space) -> Vec<NamedAccount> {
        let account_names = enter(&self.account_names);
        let accounts = space.accounts.all().iter().copied().chain(std::iter::repeat(Account::default()));
        let named = account_names.names().iter().zip(accounts);
        named.map(|(name, account)| NamedAccount { name: Arc::clone(name), account }).collect()
    }

    /// Refuses what a failed device cannot take.
    pub(crate) fn check_device(&self) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.device.check())
    }

    /// The map's slots.
    pub(crate) fn slots(&self) -> u64 {
        self.map.capacity()
    }

    /// Memory that chunks take, in bytes.
    pub(crate) fn chunk_memory_bytes(&self) -> usize {
        self.pool.taken_bytes()
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

    /// Takes an object that proved wrong out of the store, for good.
    pub(crate) fn quarantine(&self, record: &Record) {
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
                space.retire(location.block);
            }
        }
        count(&self.counters.corrupted, 1);
        let location = record.location;
        let message = format!(
            "an object of {} bytes in block {} at {} is not what was put",
            location.size_bytes, location.block, location.offset
        );
        tracing::error!(storage_type = self.storage_type.name(), "{message}");
        self.surroundings.observer.event(&Event::Corrupted { storage_type: self.storage_type, message });
        self.evicted(record);
        self.work.notify_one();
    }
}

#[cfg(test)]
#[cfg(shuttle)]
mod schedules;
#[cfg(test)]
mod tests;
