//! The entries of the queue, by key and in the order of arrival.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::time::Instant;

use blobaccess::{DigestKey, Kind};
use tokio::sync::oneshot;

use super::contents::Contents;
use super::joined::{Joined, JoinedTicket};
use super::outage::Outage;
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

/// The fate of an upload that asked for its place.
pub(super) enum Inserted<K: Kind> {
    /// It has its place.
    New,
    /// It has the place of an older value.
    Instead(Queued<K>),
    /// The queue has given everything up.
    TooLate(Queued<K>),
}

/// The entries of a queue.
pub(super) struct Entries<K: Kind> {
    by_key: HashMap<DigestKey, Entry<K>>,
    /// The keys whose turn has come, each once.
    ready: VecDeque<DigestKey>,
    /// The keys whose uploads failed and are tried again, by the time of that and the sequence number.
    delayed: BTreeMap<(Instant, u64), DigestKey>,
    uploading: usize,
    next_sequence: u64,
    items: usize,
    held_bytes: u64,
    /// The number of tickets of puts that joined an upload.
    joined_tickets: usize,
    counts: Counts,
    outage: Outage,
    given_up: bool,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    uploaded: u64,
    failed: u64,
    dropped: u64,
    joined: u64,
    superseded: u64,
    retried: u64,
}

/// The uploads of one key: one under way, and one that waits.
struct Entry<K: Kind> {
    uploading: Option<Contents<K>>,
    waiting: Option<Queued<K>>,
    /// The callers that joined the upload under way.
    joined: Vec<Joined>,
    /// The results that wait for an upload of this key to end, whatever its outcome.
    watchers: Vec<oneshot::Sender<()>>,
    /// Whether the key is among those whose turn has come.
    ready: bool,
    /// The place of the key among those that are delayed.
    delayed: Option<(Instant, u64)>,
}

impl<K: Kind> Default for Entry<K> {
    fn default() -> Self {
        Self { uploading: None, waiting: None, joined: Vec::new(), watchers: Vec::new(), ready: false, delayed: None }
    }
}

impl<K: Kind> Drop for Entries<K> {
    fn drop(&mut self) {
        if self.items > 0 {
            tracing::warn!(
                uploads = self.items,
                "an upload queue is dropped with uploads that were not made: drain it"
            );
        }
    }
}

impl<K: Kind> Entries<K> {
    pub(super) fn new(options: &QueueOptions) -> Self {
        Self {
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeMap::new(),
            uploading: 0,
            next_sequence: 0,
            items: 0,
            held_bytes: 0,
            joined_tickets: 0,
            counts: Counts::default(),
            outage: Outage::new(options.backoff_first, options.backoff_max),
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

    /// Joins the upload of `key`, if there is one; else returns the waiter. The ticket of the put ends with the upload; there is
    /// none if as many wait for that as uploads may be queued.
    pub(super) fn join(
        &mut self,
        options: &QueueOptions,
        key: &DigestKey,
        waiter: Option<Waiter>,
    ) -> Result<Option<JoinedTicket>, Option<Waiter>> {
        let Some(entry) = self.by_key.get_mut(key) else { return Err(waiter) };
        let ticket = (self.joined_tickets < options.max_items).then(JoinedTicket::default);
        self.joined_tickets += usize::from(ticket.is_some());
        let joined = Joined { waiter, ticket: ticket.clone() };
        if joined.waiter.is_some() || joined.ticket.is_some() {
            match &mut entry.waiting {
                Some(queued) => queued.waiters.push(joined),
                None => entry.joined.push(joined),
            }
        }
        self.counts.joined += 1;
        Ok(ticket)
    }

    /// Takes room for `bytes` more of an upload that has `room`. Returns `false` if there is none.
    pub(super) fn grow(&mut self, options: &QueueOptions, room: &mut Room, bytes: u64) -> bool {
        match self.held_bytes.checked_add(bytes) {
            Some(total) if total <= options.max_bytes => {
                self.held_bytes = total;
                room.held_bytes += bytes;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Gives `queued` its place, and returns an older value of the same entry that was still waiting: that one is not
    /// uploaded. Immutable contents have no older value, as the caller joins an equal upload instead. Returns `queued` itself
    /// if the queue has given everything up.
    pub(super) fn insert(&mut self, mut queued: Queued<K>) -> Inserted<K> {
        if self.given_up {
            return Inserted::TooLate(queued);
        }
        queued.sequence = self.next_sequence;
        self.next_sequence += 1;
        let key = queued.job.key.clone();
        let entry = self.by_key.entry(key.clone()).or_default();
        let mut older = entry.waiting.take();
        if let Some(older) = &mut older {
            self.counts.superseded += 1;
            queued.supersede(older);
        }
        entry.waiting = Some(queued);
        self.list(&key);
        older.map_or(Inserted::New, Inserted::Instead)
    }

    /// Lists a key among those whose turn has come, unless it is listed, has nothing to send, or is being sent.
    fn list(&mut self, key: &DigestKey) {
        let Some(entry) = self.by_key.get_mut(key) else { return };
        if let Some(place) = entry.delayed.take() {
            self.delayed.remove(&place);
        }
        if !entry.ready && entry.uploading.is_none() && entry.waiting.is_some() {
            entry.ready = true;
            self.ready.push_back(key.clone());
        }
    }

    /// Takes the next upload whose turn has come. While the store is down there is one at a time, after a pause.
    pub(super) fn next(&mut self, now: Instant) -> Option<Queued<K>> {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.list(&key);
        }
        if !self.outage.permits(now) {
            return None;
        }
        while let Some(key) = self.pop_ready() {
            let Some(entry) = self.by_key.get_mut(&key) else { continue };
            entry.ready = false;
            if entry.uploading.is_some() {
                continue;
            }
            if let Some(queued) = entry.waiting.take() {
                entry.uploading = Some(queued.contents.clone());
                self.uploading += 1;
                self.outage.begin_upload(queued.sequence);
                return Some(queued);
            }
        }
        None
    }

    /// Takes the first key whose turn has come. While the store is down that is one that never failed, or else one that was not
    /// refused: an upload that the store will never take cannot tell whether it is back.
    fn pop_ready(&mut self) -> Option<DigestKey> {
        if !self.outage.is_paused() {
            return self.ready.pop_front();
        }
        let waiting = |key| self.by_key.get(key).and_then(|entry: &Entry<K>| entry.waiting.as_ref());
        let first = |test: fn(&Queued<K>) -> bool| self.ready.iter().position(|key| waiting(key).is_some_and(test));
        let place = first(|queued| queued.failures == 0).or_else(|| first(|queued| !queued.was_refused()));
        self.ready.remove(place.unwrap_or(0))
    }

    /// Returns the time at which another upload can begin, if that takes nothing but time.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|(place, _)| place.0);
        let waiting = if self.ready.is_empty() { delayed } else { None };
        match self.outage.until() {
            Some(until) if !self.ready.is_empty() || delayed.is_some_and(|delayed| delayed < until) => Some(until),
            Some(_) | None => waiting,
        }
    }

    fn ended_uploading(&mut self, key: &DigestKey) {
        if let Some(entry) = self.by_key.get_mut(key)
            && entry.uploading.take().is_some()
        {
            self.uploading -= 1;
        }
    }

    /// Gives its place back to an upload that was interrupted before its first byte.
    pub(super) fn put_back(&mut self, queued: Queued<K>) -> PutBack<K> {
        self.wait_again(queued, None)
    }

    /// Gives its place back to an upload that failed, until `again`.
    pub(super) fn retry(&mut self, queued: Queued<K>, now: Instant, again: Instant) -> PutBack<K> {
        self.counts.retried += 1;
        if queued.failures > 1 && queued.was_refused() {
            self.outage.note_refused_again(now);
        } else {
            self.outage.note_failure(now);
        }
        self.wait_again(queued, Some(again))
    }

    /// Lets another upload look whether the store is back, as the one with this sequence number waits for something else.
    pub(super) fn end_probe(&mut self, sequence: u64) {
        self.outage.end_probe(sequence);
    }

    /// Does the same for an upload that is slow: it may be large, or the store may be silent. The pause grows, so that a
    /// silent store has few uploads under way.
    pub(super) fn end_slow_probe(&mut self, sequence: u64, now: Instant) {
        if self.outage.end_probe(sequence) {
            self.outage.note_failure(now);
        }
    }

    fn wait_again(&mut self, mut queued: Queued<K>, again: Option<Instant>) -> PutBack<K> {
        self.outage.end_probe(queued.sequence);
        let key = queued.job.key.clone();
        if self.given_up || !self.by_key.contains_key(&key) {
            return PutBack::GivenUp(queued);
        }
        self.ended_uploading(&key);
        let Some(entry) = self.by_key.get_mut(&key) else { return PutBack::GivenUp(queued) };
        queued.waiters.append(&mut entry.joined);
        let superseded = match &mut entry.waiting {
            None => {
                let place = again.map(|again| (again, queued.sequence));
                entry.waiting = Some(queued);
                if let Some(place) = place {
                    entry.delayed = Some(place);
                    self.delayed.insert(place, key);
                    return PutBack::Waits;
                }
                None
            }
            Some(newer) => {
                self.counts.superseded += 1;
                newer.supersede(&mut queued);
                Some(queued)
            }
        };
        self.list(&key);
        superseded.map_or(PutBack::Waits, PutBack::Superseded)
    }

    /// Removes an upload that has ended, and hands it the puts that joined it.
    pub(super) fn finish(&mut self, queued: &mut Queued<K>, well: bool) {
        let room = std::mem::replace(&mut queued.room, Room { held_bytes: 0 });
        self.give_back(room);
        if well {
            self.counts.uploaded += 1;
            if self.outage.end() {
                // Whatever waits for the store to come back may go on.
                for key in std::mem::take(&mut self.delayed).into_values() {
                    self.list(&key);
                }
            }
        } else {
            self.counts.failed += 1;
        }
        self.outage.end_probe(queued.sequence);
        let key = queued.job.key.clone();
        self.ended_uploading(&key);
        if let Some(entry) = self.by_key.get_mut(&key) {
            queued.waiters.append(&mut entry.joined);
            // Those that watch look again.
            entry.watchers.clear();
            if entry.waiting.is_some() {
                self.list(&key);
            } else {
                self.by_key.remove(&key);
            }
        }
        let ended = queued.waiters.iter().filter(|joined| joined.ticket.is_some()).count();
        self.joined_tickets = self.joined_tickets.saturating_sub(ended);
    }

    /// Takes every upload that is not under way.
    ///
    /// An upload that was given up still has its room.
    pub(super) fn give_up(&mut self) -> Vec<Queued<K>> {
        self.given_up = true;
        self.ready.clear();
        self.delayed.clear();
        let waiting = self.by_key.values_mut().filter_map(|entry| {
            (entry.ready, entry.delayed) = (false, None);
            entry.waiting.take()
        });
        waiting.collect()
    }

    /// Returns a wait for the upload of `key` to end, if there is one.
    pub(super) fn watch(&mut self, key: &DigestKey) -> Option<oneshot::Receiver<()>> {
        let entry = self.by_key.get_mut(key)?;
        let (sender, ended) = oneshot::channel();
        entry.watchers.push(sender);
        Some(ended)
    }

    /// Returns the newest contents that are queued under `key`.
    pub(super) fn contents(&self, key: &DigestKey) -> Option<Contents<K>> {
        let entry = self.by_key.get(key)?;
        entry.waiting.as_ref().map(|queued| &queued.contents).or(entry.uploading.as_ref()).cloned()
    }

    pub(super) fn count_dropped(&mut self) {
        self.counts.dropped += 1;
    }

    pub(super) fn count_failed(&mut self) {
        self.counts.failed += 1;
    }

    /// Returns whether nothing is queued, under way, or on its way into the queue.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.items == 0
    }

    /// Returns whether nothing will be sent any more: all ended, or was given up.
    pub(super) fn is_over(&self) -> bool {
        self.is_empty() || self.given_up && self.uploading == 0
    }

    /// Returns whether an upload of these contents is queued or under way, or any is.
    pub(super) fn has_uploads(&self) -> bool {
        !self.by_key.is_empty()
    }

    pub(super) fn snapshot(&self) -> QueueSnapshot {
        QueueSnapshot {
            items: self.items,
            held_bytes: self.held_bytes,
            uploading: self.uploading,
            delayed: self.delayed.len(),
            is_paused: self.outage.until().is_some(),
            uploaded: self.counts.uploaded,
            failed: self.counts.failed,
            dropped: self.counts.dropped,
            joined: self.counts.joined,
            superseded: self.counts.superseded,
            retried: self.counts.retried,
        }
    }
}

impl<K: Kind> Debug for Entries<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("items", &self.items).finish_non_exhaustive()
    }
}
