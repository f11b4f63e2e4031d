//! Makes durable every put, touch and copy: data, logs and touches, a sync, the superblock, a sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::Result;

use super::disk::Disk;
use super::flusher::Flusher;
use super::publications::Publications;
use super::space_lock::SpaceLock;
use crate::machine::concurrency::locks::{AtomicU64, Mutex, MutexGuard, enter};
use crate::persistence::{Identity, NamedAccount};

/// The superblocks of a store. Each vouches for everything put before it.
///
/// A sync takes the lock of syncs, that of the [`Flusher`], and then for a moment that of the space.
#[derive(Debug)]
pub(super) struct Durability {
    flusher: Arc<Flusher>,
    disk: Option<Arc<Disk>>,
    publications: Arc<Publications>,
    is_persistent: bool,
    last: Mutex<LastSync>,
    /// The accounts as the last superblock has them.
    reported: Mutex<Vec<NamedAccount>>,
    syncs: AtomicU64,
}

/// The state that the next superblock goes on from.
#[derive(Clone, Copy, Debug)]
struct LastSync {
    identity: Identity,
    /// The sequence of the last superblock.
    sequence: u64,
    /// Whether the last superblock says that the store was closed in an orderly way.
    is_closed: bool,
    /// Whether the superblock before the last one says the same, so that either may rot.
    is_even: bool,
}

/// The right to sync. While this is held, no superblock is written by others.
#[derive(Debug)]
pub(super) struct Syncing<'a> {
    durability: &'a Durability,
    last: MutexGuard<'a, LastSync>,
}

impl Durability {
    /// Takes a store whose last superblock has this sequence; 0 if there is none yet.
    pub(super) fn new(
        flusher: Arc<Flusher>,
        disk: Option<Arc<Disk>>,
        publications: Arc<Publications>,
        identity: Identity,
        sequence: u64,
        is_persistent: bool,
    ) -> Self {
        Self {
            flusher,
            disk,
            publications,
            is_persistent,
            last: Mutex::new(LastSync { identity, sequence, is_closed: false, is_even: false }),
            reported: Mutex::default(),
            syncs: AtomicU64::new(0),
        }
    }

    /// Waits for the right to sync.
    pub(super) fn begin(&self) -> Syncing<'_> {
        Syncing { durability: self, last: enter(&self.last) }
    }

    /// Makes durable everything that was put, found or refreshed before the call. It may block.
    ///
    /// Calls that come while one is under way share the next one.
    /// One for which there is nothing new has both superblocks say the same.
    pub(super) fn sync(&self, space: &SpaceLock) -> Result<()> {
        if !self.is_persistent {
            return self.flusher.check_device();
        }
        let mut syncing = self.begin();
        if space.enter().has_changes() {
            return syncing.sync_changes(space);
        }
        self.flusher.check_device()?;
        syncing.even_out(space, false)
    }

    /// Makes this number of publications durable, unless a sync has covered them. It may block.
    pub(super) fn sync_until(&self, space: &SpaceLock, publications: u64) -> Result<()> {
        if !self.is_persistent || self.publications.are_synced(publications) {
            return self.flusher.check_device();
        }
        let mut syncing = self.begin();
        if self.publications.are_synced(publications) {
            return self.flusher.check_device();
        }
        syncing.sync_changes(space)
    }

    /// Syncs for the last time, by two superblocks that say the same. It may block.
    pub(super) fn close(&self, space: &SpaceLock) -> Result<()> {
        if !self.is_persistent {
            return self.flusher.check_device();
        }
        let mut syncing = self.begin();
        syncing.run(space, false, true)?;
        syncing.even_out(space, true)
    }

    /// Has both superblocks say the same, if there is nothing new. It may block.
    pub(super) fn even_out(&self, space: &SpaceLock) -> Result<()> {
        if self.is_persistent { self.begin().even_out(space, false) } else { Ok(()) }
    }

    /// Returns whether anything is not durable.
    pub(super) fn is_dirty(&self, space: &SpaceLock) -> bool {
        self.is_persistent && space.enter().has_changes()
    }

    /// Returns the number of publications that no sync has covered yet; 0 of a store that is not persistent.
    pub(super) fn unsynced(&self) -> u64 {
        if self.is_persistent { self.publications.unsynced() } else { 0 }
    }

    /// Returns the accounts as the last superblock has them; `None` of a store that is not persistent.
    pub(super) fn reported(&self) -> Option<Vec<NamedAccount>> {
        self.is_persistent.then(|| enter(&self.reported).clone())
    }

    /// Returns the number of superblocks made durable.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl Syncing<'_> {
    /// Syncs if there is anything new.
    fn sync_changes(&mut self, space: &SpaceLock) -> Result<()> {
        self.run(space, false, false)
    }

    /// Writes another superblock, whether or not there is anything new.
    pub(super) fn sync_always(&mut self, space: &SpaceLock) -> Result<()> {
        self.run(space, true, false)
    }

    /// Writes the last superblock into the other slot as well, unless that says the same, or there is anything new.
    fn even_out(&mut self, space: &SpaceLock, is_closing: bool) -> Result<()> {
        if self.last.is_even || space.enter().has_changes() {
            return Ok(());
        }
        self.run(space, true, is_closing)
    }

    /// Syncs, if there is anything new or `always`.
    fn run(&mut self, space: &SpaceLock, always: bool, is_closing: bool) -> Result<()> {
        let Durability { flusher, disk: Some(disk), publications, reported, syncs, .. } = self.durability else {
            return Ok(());
        };
        let last = &mut *self.last;
        flusher.check_device()?;
        let Some(flushing) = flusher.begin() else { return Ok(()) };
        flushing.drain()?;
        let (mut superblock, dirty, published, is_new) = {
            let mut space = space.enter();
            let is_new = space.has_changes() || is_closing != last.is_closed;
            if !is_new && !always {
                return Ok(());
            }
            let dirty = space.end_sectors();
            let superblock = space.describe(last.identity, last.sequence + 1, is_closing);
            (superblock, dirty, space.publications(), is_new)
        };
        for (block, generation) in dirty {
            flushing.write_chunks(block, generation)?;
        }
        flushing.drain()?;
        for live in &mut superblock.live {
            flushing.write_touches(live)?;
        }
        // Others may write on: the superblock does not vouch for that.
        drop(flushing);
        disk.commit(&superblock)?;
        last.sequence = superblock.sequence;
        last.is_closed = is_closing;
        last.is_even = !is_new;
        *enter(reported) = superblock.accounts;
        publications.note_synced(published);
        syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
