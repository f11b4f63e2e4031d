//! What is queued, by what it is called and in the order of its arrival.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestKey, Kind, PutOutcome, Result};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::QueueOptions;
use crate::ticket::Ticket;

type Waiter = oneshot::Sender<Result<PutOutcome>>;

/// Where the contents of an upload are until its turn comes.
pub(super) enum Contents<K: Kind> {
    /// In memory.
    Held(Bytes),
    /// In a store.
    Stored(Arc<dyn BlobAccess<Kind = K>>),
}

impl<K: Kind> Clone for Contents<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Held(bytes) => Self::Held(bytes.clone()),
            Self::Stored(store) => Self::Stored(Arc::clone(store)),
        }
    }
}

/// Room in the queue for one upload.
#[derive(Debug)]
pub(super) struct Room {
    held_bytes: u64,
}

/// An upload.
pub(super) struct Job<K: Kind> {
    pub(super) key: DigestKey,
    pub(super) digest: Digest,
    pub(super) ctx: Context,
    pub(super) contents: Contents<K>,
    pub(super) stored_bytes: Option<u64>,
    pub(super) ticket: Option<Ticket>,
    pub(super) room: Room,
    /// What has to have come before it.
    pub(super) barrier: u64,
    pub(super) sequence: u64,
    pub(super) waiters: Vec<Waiter>,
    /// Those who put values that this one took the place of.
    pub(super) superseded: Vec<Waiter>,
}

/// What came of an upload that was to be queued.
pub(super) enum Inserted<K: Kind> {
    /// It has its place.
    New { sequence: u64, older: Option<Job<K>> },
    /// An equal one had it already.
    Joined(Job<K>),
}

/// What came of an upload that was interrupted before its first byte.
pub(super) enum PutBack<K: Kind> {
    /// It waits again.
    Waits,
    /// A newer value waits in its place.
    Superseded(Job<K>),
    /// Nothing waits any more.
    GivenUp(Job<K>),
}

impl<K: Kind> Job<K> {
    pub(super) async fn blob(&self) -> Result<Blob> {
        match &self.contents {
            Contents::Held(bytes) if K::STORAGE_TYPE.is_mutable() => Ok(Blob::from_bytes(bytes.clone())),
            Contents::Held(bytes) => Ok(Blob::from_verified_bytes(&self.digest, bytes.clone())),
            Contents::Stored(store) => store.get(&self.ctx, &self.digest).await,
        }
    }

    /// Takes the place of `older`: who waits for that is told what becomes of this.
    fn supersede(&mut self, older: &mut Self) {
        self.superseded.append(&mut older.superseded);
        self.superseded.append(&mut older.waiters);
    }

    /// Tells everybody who waits. Only the first of them can have created anything.
    pub(super) fn answer(&mut self, result: &Result<PutOutcome>) {
        let mut result = result.clone();
        for waiter in self.waiters.drain(..) {
            // Who does not wait any more need not be told.
            drop(waiter.send(result.clone()));
            if let Ok(PutOutcome::Created { stored_bytes }) = result {
                result = Ok(PutOutcome::AlreadyExists { stored_bytes });
            }
        }
        let result = result.map(|_| PutOutcome::Unclassified { stored_bytes: None });
        for waiter in self.superseded.drain(..) {
            drop(waiter.send(result.clone()));
        }
    }
}

/// What is queued.
pub(super) struct Entries<K: Kind> {
    by_key: HashMap<DigestKey, Entry<K>>,
    ready: VecDeque<DigestKey>,
    /// Of what has neither been uploaded nor given up.
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
}

impl<K: Kind> Default for Entry<K> {
    fn default() -> Self {
        Self { uploading: None, waiting: None, joined: Vec::new() }
    }
}

/// What there is of one key: a value that is being uploaded, and one that waits.
struct Entry<K: Kind> {
    uploading: Option<Contents<K>>,
    waiting: Option<Job<K>>,
    /// Those who joined what is being uploaded.
    joined: Vec<Waiter>,
}

/// What is queued and what became of it so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSnapshot {
    /// Uploads queued or under way.
    pub items: usize,
    /// The contents of those that are in memory, in bytes.
    pub held_bytes: u64,
    /// Those of them under way.
    pub uploading: usize,
    /// Uploads that ended well.
    pub uploaded: u64,
    /// Uploads that failed, and those that were dropped.
    pub failed: u64,
    /// Uploads that were given up before their first byte, for want of room among other reasons.
    pub dropped: u64,
    /// Puts of what was queued already.
    pub joined: u64,
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

    pub(super) fn reserve(&mut self, options: &QueueOptions, held_bytes: u64) -> Option<Room> {
        let total = self.held_bytes.checked_add(held_bytes)?;
        if self.items >= options.max_items || total > options.max_bytes {
            return None;
        }
        self.items += 1;
        self.held_bytes = total;
        Some(Room { held_bytes })
    }

    #[expect(clippy::needless_pass_by_value, reason = "what was given back is gone")]
    pub(super) fn give_back(&mut self, room: Room) {
        let Room { held_bytes } = room;
        self.items -= 1;
        self.held_bytes -= held_bytes;
    }

    /// Joins the upload of `key`, if there is one; else the waiter comes back.
    pub(super) fn join(&mut self, key: &DigestKey, waiter: Option<Waiter>) -> Result<(), Option<Waiter>> {
        let Some(entry) = self.by_key.get_mut(key) else { return Err(waiter) };
        match &mut entry.waiting {
            Some(job) => job.waiters.extend(waiter),
            None => entry.joined.extend(waiter),
        }
        self.counts.joined += 1;
        Ok(())
    }

    /// Gives `job` its place, in which it waits for its ticket. An equal upload that is queued already is joined instead.
    /// An older value of a mutable kind that was still waiting comes back: it is not to be uploaded.
    pub(super) fn insert(&mut self, mut job: Job<K>) -> Inserted<K> {
        if !K::STORAGE_TYPE.is_mutable() && self.by_key.contains_key(&job.key) {
            for waiter in job.waiters.drain(..) {
                drop(self.join(&job.key, Some(waiter)));
            }
            return Inserted::Joined(job);
        }
        job.sequence = self.next_sequence;
        self.next_sequence += 1;
        let sequence = job.sequence;
        self.pending.insert(sequence);
        let entry = self.by_key.entry(job.key.clone()).or_default();
        let mut older = entry.waiting.take();
        if let Some(older) = &mut older {
            self.pending.remove(&older.sequence);
            self.counts.joined += 1;
            job.supersede(older);
        }
        entry.waiting = Some(job);
        Inserted::New { sequence, older }
    }

    /// Gives its ticket to what waits for it under `key`. It comes back if that does not wait any more.
    pub(super) fn arm(&mut self, key: &DigestKey, sequence: u64, ticket: Ticket) -> Option<Ticket> {
        let Some(entry) = self.by_key.get_mut(key) else { return Some(ticket) };
        match &mut entry.waiting {
            Some(job) if job.sequence == sequence => {
                job.ticket = Some(ticket);
                if entry.uploading.is_none() {
                    self.ready.push_back(key.clone());
                }
                None
            }
            Some(_) | None => Some(ticket),
        }
    }

    /// Takes back what waits for a ticket that it does not get.
    pub(super) fn withdraw(&mut self, key: &DigestKey, sequence: u64) -> Option<Job<K>> {
        let entry = self.by_key.get_mut(key)?;
        let job = entry.waiting.take_if(|job| job.sequence == sequence)?;
        self.pending.remove(&sequence);
        if entry.uploading.is_none() {
            self.by_key.remove(key);
        }
        Some(job)
    }

    /// The upload whose turn it is.
    pub(super) fn next(&mut self) -> Option<Job<K>> {
        while let Some(key) = self.ready.pop_front() {
            let Some(entry) = self.by_key.get_mut(&key) else { continue };
            if let Some(job) = entry.waiting.take_if(|job| job.ticket.is_some()) {
                entry.uploading = Some(job.contents.clone());
                return Some(job);
            }
        }
        None
    }

    /// Gives its place back to an upload that was interrupted before its first byte, ahead of all others.
    pub(super) fn put_back(&mut self, mut job: Job<K>) -> PutBack<K> {
        if self.given_up {
            return PutBack::GivenUp(job);
        }
        let Some(entry) = self.by_key.get_mut(&job.key) else { return PutBack::GivenUp(job) };
        entry.uploading = None;
        job.waiters.append(&mut entry.joined);
        match &mut entry.waiting {
            None => {
                self.ready.push_front(job.key.clone());
                entry.waiting = Some(job);
                PutBack::Waits
            }
            Some(newer) => {
                self.pending.remove(&job.sequence);
                self.counts.joined += 1;
                newer.supersede(&mut job);
                if newer.ticket.is_some() {
                    self.ready.push_front(job.key.clone());
                }
                PutBack::Superseded(job)
            }
        }
    }

    /// An upload ended. Those who joined it come back.
    pub(super) fn finish(&mut self, job: &mut Job<K>, well: bool) -> Vec<Waiter> {
        self.pending.remove(&job.sequence);
        let room = std::mem::replace(&mut job.room, Room { held_bytes: 0 });
        self.give_back(room);
        if well {
            self.counts.uploaded += 1;
        } else {
            self.counts.failed += 1;
        }
        let Some(entry) = self.by_key.get_mut(&job.key) else { return Vec::new() };
        entry.uploading = None;
        let joined = std::mem::take(&mut entry.joined);
        match &entry.waiting {
            Some(next) if next.ticket.is_some() => self.ready.push_back(job.key.clone()),
            Some(_) => {}
            None => drop(self.by_key.remove(&job.key)),
        }
        joined
    }

    /// Everything that is not under way.
    ///
    /// What is given up still has its room, and its place among what is pending.
    pub(super) fn give_up(&mut self) -> Vec<Job<K>> {
        self.given_up = true;
        self.ready.clear();
        self.by_key.values_mut().filter_map(|entry| entry.waiting.take()).collect()
    }

    pub(super) fn contents(&self, key: &DigestKey) -> Option<Contents<K>> {
        let entry = self.by_key.get(key)?;
        entry.waiting.as_ref().map(|job| &job.contents).or(entry.uploading.as_ref()).cloned()
    }

    pub(super) fn count_dropped(&mut self) {
        self.counts.dropped += 1;
    }

    /// The number that everything queued from now on is not below.
    pub(super) const fn barrier(&self) -> u64 {
        self.next_sequence
    }

    /// Whether everything below `barrier` has been uploaded or given up.
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
        }
    }
}

impl<K: Kind> Debug for Entries<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("items", &self.items).finish_non_exhaustive()
    }
}
