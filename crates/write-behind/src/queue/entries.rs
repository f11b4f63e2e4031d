//! The entries of the queue, by key and in the order of arrival.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Debug, Formatter};

use blobaccess::{DigestKey, Kind};

use super::contents::Contents;
use super::queued::{Queued, Waiter};
use super::{QueueOptions, QueueSnapshot};

/// Room in the queue for one upload. Whoever has it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    held_bytes: u64,
}

/// The fate of an upload that was interrupted before its first byte.
pub(super) enum PutBack<K: Kind> {
    /// The upload waits again.
    Waits,
    /// A newer value waits instead.
    Superseded(Queued<K>),
    /// The queue has given everything up.
    GivenUp(Queued<K>),
}

/// The entries of a queue.
pub(super) struct Entries<K: Kind> {
    by_key: HashMap<DigestKey, Entry<K>>,
    ready: VecDeque<DigestKey>,
    /// The sequence numbers of uploads that have neither ended nor been given up.
    pending: BTreeSet<u64>,
    next_sequence: u64,
    items: usize,
    held_bytes: u64,
    counts: Counts,
    given_up: bool,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    uploaded: u64,
    failed: u64,
    dropped: u64,
    joined: u64,
    superseded: u64,
}

/// The uploads of one key: one under way, and one that waits.
struct Entry<K: Kind> {
    uploading: Option<Contents<K>>,
    waiting: Option<Queued<K>>,
    /// The callers that joined the upload under way.
    joined: Vec<Waiter>,
}

impl<K: Kind> Default for Entry<K> {
    fn default() -> Self {
        Self { uploading: None, waiting: None, joined: Vec::new() }
    }
}

impl<K: Kind> Entries<K> {
    pub(super) fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            pending: BTreeSet::new(),
            next_sequence: 0,
            items: 0,
            held_bytes: 0,
            counts: Counts::default(),
            given_up: false,
        }
    }

    /// Reserves room for an upload that holds `held_bytes` in memory; `None` if there is none.
    pub(super) fn reserve(&mut self, options: &QueueOptions, held_bytes: u64) -> Option<Room> {
        let total = self.held_bytes.checked_add(held_bytes)?;
        if self.items >= options.max_items || total > options.max_bytes {
            return None;
        }
        self.items += 1;
        self.held_bytes = total;
        Some(Room { held_bytes })
    }

    #[expect(clippy::needless_pass_by_value, reason = "room that was given back is gone")]
    pub(super) fn give_back(&mut self, room: Room) {
        let Room { held_bytes } = room;
        self.items -= 1;
        self.held_bytes -= held_bytes;
    }

    /// Joins the upload of `key`, if there is one; else returns the waiter.
    pub(super) fn join(&mut self, key: &DigestKey, waiter: Option<Waiter>) -> Result<(), Option<Waiter>> {
        let Some(entry) = self.by_key.get_mut(key) else { return Err(waiter) };
        match &mut entry.waiting {
            Some(queued) => queued.waiters.extend(waiter),
            None => entry.joined.extend(waiter),
        }
        self.counts.joined += 1;
        Ok(())
    }

    /// Gives `queued` its place, and returns an older value of the same entry that was still waiting: that one is not
    /// uploaded. Immutable contents have no older value, as the caller joins an equal upload instead.
    pub(super) fn insert(&mut self, mut queued: Queued<K>) -> Option<Queued<K>> {
        queued.sequence = self.next_sequence;
        self.next_sequence += 1;
        self.pending.insert(queued.sequence);
        let key = queued.job.key.clone();
        let entry = self.by_key.entry(key.clone()).or_default();
        let mut older = entry.waiting.take();
        if let Some(older) = &mut older {
            self.pending.remove(&older.sequence);
            self.counts.superseded += 1;
            queued.supersede(older);
        }
        entry.waiting = Some(queued);
        if entry.uploading.is_none() {
            self.ready.push_back(key);
        }
        older
    }

    /// Takes the next upload whose turn has come.
    pub(super) fn next(&mut self) -> Option<Queued<K>> {
        while let Some(key) = self.ready.pop_front() {
            let Some(entry) = self.by_key.get_mut(&key) else { continue };
            // A key is listed once for each value that was put, and only the newest value waits.
            if entry.uploading.is_some() {
                continue;
            }
            if let Some(queued) = entry.waiting.take() {
                entry.uploading = Some(queued.contents.clone());
                return Some(queued);
            }
        }
        None
    }

    /// Gives its place back to an upload that was interrupted before its first byte, ahead of all others.
    pub(super) fn put_back(&mut self, mut queued: Queued<K>) -> PutBack<K> {
        if self.given_up {
            return PutBack::GivenUp(queued);
        }
        let Some(entry) = self.by_key.get_mut(&queued.job.key) else { return PutBack::GivenUp(queued) };
        entry.uploading = None;
        queued.waiters.append(&mut entry.joined);
        self.ready.push_front(queued.job.key.clone());
        match &mut entry.waiting {
            None => {
                entry.waiting = Some(queued);
                PutBack::Waits
            }
            Some(newer) => {
                self.pending.remove(&queued.sequence);
                self.counts.superseded += 1;
                newer.supersede(&mut queued);
                PutBack::Superseded(queued)
            }
        }
    }

    /// Removes an upload that has ended, and returns the callers that joined it.
    pub(super) fn finish(&mut self, queued: &mut Queued<K>, well: bool) -> Vec<Waiter> {
        self.pending.remove(&queued.sequence);
        let room = std::mem::replace(&mut queued.room, Room { held_bytes: 0 });
        self.give_back(room);
        if well {
            self.counts.uploaded += 1;
        } else {
            self.counts.failed += 1;
        }
        let key = &queued.job.key;
        let Some(entry) = self.by_key.get_mut(key) else { return Vec::new() };
        entry.uploading = None;
        let joined = std::mem::take(&mut entry.joined);
        if entry.waiting.is_some() {
            self.ready.push_back(key.clone());
        } else {
            self.by_key.remove(key);
        }
        joined
    }

    /// Takes every upload that is not under way.
    ///
    /// An upload that was given up still has its room, and its place among the pending ones.
    pub(super) fn give_up(&mut self) -> Vec<Queued<K>> {
        self.given_up = true;
        self.ready.clear();
        self.by_key.values_mut().filter_map(|entry| entry.waiting.take()).collect()
    }

    /// Returns the newest contents that are queued under `key`.
    pub(super) fn contents(&self, key: &DigestKey) -> Option<Contents<K>> {
        let entry = self.by_key.get(key)?;
        entry.waiting.as_ref().map(|queued| &queued.contents).or(entry.uploading.as_ref()).cloned()
    }

    pub(super) fn count_dropped(&mut self) {
        self.counts.dropped += 1;
    }

    /// Returns the sequence number of the next upload.
    pub(super) const fn barrier(&self) -> u64 {
        self.next_sequence
    }

    /// Returns whether everything below `barrier` has ended or been given up.
    pub(super) fn has_passed(&self, barrier: u64) -> bool {
        self.pending.first().is_none_or(|first| *first >= barrier)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn snapshot(&self) -> QueueSnapshot {
        QueueSnapshot {
            items: self.items,
            held_bytes: self.held_bytes,
            uploading: self.by_key.values().filter(|entry| entry.uploading.is_some()).count(),
            uploaded: self.counts.uploaded,
            failed: self.counts.failed,
            dropped: self.counts.dropped,
            joined: self.counts.joined,
            superseded: self.counts.superseded,
        }
    }
}

impl<K: Kind> Debug for Entries<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("items", &self.items).finish_non_exhaustive()
    }
}
